"""What Clarion speakers tell each other, written and read back; the malformed is refused."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.courier import MAX_PAYLOAD
from speaker import letters
from speaker.letters import (
    IPS_A_LETTER,
    MOST_ADDRESSES,
    MOST_LINKS,
    Hello,
    LetterError,
    PeerLink,
    decode_hello,
    decode_ips,
    decode_link_name,
    encode_hello,
    encode_ips,
)

FOUR, SIX = IPv4Address("192.0.2.7"), IPv6Address("2001:db8::7")
MAC = bytes.fromhex("02000000000a")
GOLDEN = bytes.fromhex("01 04 65746830 02000000000a 02 04 c0000207 10") + SIX.packed
"""`asks`; eth0; its MAC; two addresses, each by length."""

# Far faster than ip_addresses() and characters().
ADDRESSES = st.one_of(
    st.builds(IPv4Address, st.integers(0, 2**32 - 1)),
    st.builds(IPv6Address, st.integers(0, 2**128 - 1)),
)
NAMES = st.text("eth0-.ä", min_size=1, max_size=15).filter(lambda name: len(name.encode()) <= 15)
LINKS = st.builds(
    PeerLink,
    NAMES,
    st.binary(min_size=6, max_size=6),
    st.lists(ADDRESSES, max_size=MOST_ADDRESSES).map(tuple),
)


def test_a_hello_is_written_as_documented() -> None:
    assert encode_hello(Hello((PeerLink("eth0", MAC, (FOUR, SIX)),), asks=True)) == GOLDEN


@settings(deadline=None)
@given(st.builds(Hello, st.lists(LINKS, max_size=4).map(tuple), st.booleans()))
def test_a_hello_comes_back_as_it_was(hello: Hello) -> None:
    assert decode_hello(encode_hello(hello)) == hello


@settings(deadline=None)
@given(st.builds(Hello, st.lists(LINKS, max_size=MOST_LINKS + 1).map(tuple), st.booleans()))
def test_any_hello_fits_a_letter_with_all_its_links(hello: Hello) -> None:
    """The courier refuses to send more than its limit."""
    written = encode_hello(hello)
    assert len(written) <= MAX_PAYLOAD
    told = decode_hello(written)
    for link, asked in zip(told.links, hello.links[:MOST_LINKS], strict=True):
        assert (link.name, link.mac) == (asked.name, asked.mac)
        assert link.ips == asked.ips[: len(link.ips)]


def test_the_longest_hello_tells_two_addresses_of_each_link() -> None:
    links = tuple(PeerLink("n" * 15, MAC, (SIX,) * MOST_ADDRESSES) for _ in range(MOST_LINKS))
    written = encode_hello(Hello(links))
    assert len(written) <= MAX_PAYLOAD
    assert {len(link.ips) for link in decode_hello(written).links} == {2}


def test_more_links_and_addresses_than_others_are_told_are_left_out() -> None:
    ips = tuple(IPv4Address(index) for index in range(MOST_ADDRESSES + 1))
    links = tuple(PeerLink(f"eth{index}", MAC, ips) for index in range(MOST_LINKS + 1))
    told = decode_hello(encode_hello(Hello(links)))
    assert [link.name for link in told.links] == [f"eth{index}" for index in range(MOST_LINKS)]
    assert {link.ips for link in told.links} == {ips[:MOST_ADDRESSES]}


_LINK = GOLDEN[1:]
HELLOS = {
    "empty": b"",
    "name cut": b"\x00\x04et",
    "name longer than the kernel allows": b"\x00\x10" + b"n" * 16 + MAC + b"\x00",
    "name that is no UTF-8": b"\x00\x01\xff" + MAC + b"\x00",
    "MAC cut": b"\x00\x04eth0" + MAC[:5],
    "no count": b"\x00\x04eth0" + MAC,
    "address cut": GOLDEN[:-1],
    "address of no family": b"\x00\x04eth0" + MAC + b"\x01\x05" + bytes(5),
    "address of no length": b"\x00\x04eth0" + MAC + b"\x01\x00",
    "too many addresses": b"\x00\x04eth0" + MAC + bytes([MOST_ADDRESSES + 1]),
    "too many links": b"\x00" + _LINK * (MOST_LINKS + 1),
}


@pytest.mark.parametrize("payload", HELLOS.values(), ids=HELLOS.keys())
def test_a_malformed_hello_is_refused(payload: bytes) -> None:
    with pytest.raises(LetterError):
        decode_hello(payload)


@settings(deadline=None)
@given(st.sets(ADDRESSES, max_size=3 * IPS_A_LETTER))
def test_ips_come_back_whole_in_as_many_letters_as_they_need(
    ips: set[IPv4Address | IPv6Address],
) -> None:
    payloads = list(encode_ips(ips))
    assert len(payloads) == -(-len(ips) // IPS_A_LETTER)
    assert all(len(payload) <= MAX_PAYLOAD for payload in payloads)
    assert set().union(*map(decode_ips, payloads)) == ips


@pytest.mark.parametrize("payload", [b"\x04\xc0", b"\x03abc", b"\x00", b"\x10" + bytes(15)])
def test_malformed_ips_are_refused(payload: bytes) -> None:
    with pytest.raises(LetterError):
        decode_ips(payload)


@pytest.mark.parametrize("name", ["", "eth0", "n" * 15])
def test_a_link_name_comes_back(name: str) -> None:
    assert decode_link_name(letters.encode_link_name(name)) == name


@pytest.mark.parametrize("payload", [b"n" * 16, b"\xc3"])
def test_a_malformed_link_name_is_refused(payload: bytes) -> None:
    with pytest.raises(LetterError):
        decode_link_name(payload)


@settings(deadline=None)
@given(st.binary(max_size=MAX_PAYLOAD))
def test_any_bytes_are_a_letter_or_refused_by_the_one_exception(payload: bytes) -> None:
    """What was read says the same when it is written again."""
    for decode in (decode_hello, decode_ips, decode_link_name):
        try:
            found = decode(payload)
        except LetterError:
            continue
        if isinstance(found, Hello):
            assert decode_hello(encode_hello(found)) == found
        elif isinstance(found, str):
            assert letters.encode_link_name(found) == payload
        else:
            assert set().union(*map(decode_ips, encode_ips(found))) == found
