"""What Clarion speakers tell each other, written and read back; the malformed is refused."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownership.letters import letters
from ownership.letters.courier import MAX_PAYLOAD
from ownership.letters.letters import (
    IPS_A_LETTER,
    MOST_ADDRESSES,
    MOST_GATEWAYS,
    MOST_LINKS,
    MOST_SUBNETS,
    QUIET_IPS,
    QUIET_LINKS,
    Hello,
    LetterError,
    PeerLink,
    Quiet,
    Subnet,
    Whereabouts,
    decode_hello,
    decode_ips,
    decode_link_name,
    decode_quiet,
    decode_whereabouts,
    encode_hello,
    encode_ips,
    encode_quiet,
    encode_whereabouts,
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


# ---- what was taken over quietly

NODES = st.text("node-0.ä", min_size=1, max_size=253).filter(lambda name: len(name.encode()) <= 253)
QUIETS = st.builds(
    Quiet,
    NODES,
    st.lists(LINKS, max_size=MOST_LINKS).map(tuple),
    st.frozensets(ADDRESSES, min_size=1, max_size=3 * QUIET_IPS),
)


def test_a_quiet_takeover_is_written_as_documented() -> None:
    quiet = Quiet("b", (PeerLink("eth0", MAC, (FOUR, SIX)),), frozenset({FOUR}))
    links = b"\x00" + GOLDEN[1:]
    ips = b"\x04" + FOUR.packed
    assert list(encode_quiet(quiet)) == [b"\x01b" + bytes([len(links)]) + links + ips]


@settings(deadline=None)
@given(QUIETS)
def test_a_quiet_takeover_comes_back_whole_in_as_many_letters_as_it_needs(quiet: Quiet) -> None:
    payloads = list(encode_quiet(quiet))
    assert all(len(payload) <= MAX_PAYLOAD for payload in payloads)
    assert len(payloads) == -(-len(quiet.ips) // QUIET_IPS)
    told = [decode_quiet(payload) for payload in payloads]
    assert {each.owner for each in told} == {quiet.owner}
    assert frozenset[IPv4Address | IPv6Address]().union(*(each.ips for each in told)) == quiet.ips
    for each in told:
        assert each.links == quiet.links[:QUIET_LINKS]


def test_the_longest_quiet_takeover_fits_a_letter() -> None:
    """The longest name that Kubernetes allows a node, and all links with all addresses."""
    links = tuple(
        PeerLink(f"{index}" + "n" * 14, MAC, (SIX,) * MOST_ADDRESSES) for index in range(MOST_LINKS)
    )
    ips = frozenset(IPv6Address(index) for index in range(1, 30))
    payloads = list(encode_quiet(Quiet("n" * 253, links, ips)))
    assert len(payloads) == -(-29 // QUIET_IPS)
    for payload in payloads:
        assert len(payload) <= MAX_PAYLOAD
        told = decode_quiet(payload)
        assert told.owner == "n" * 253
        assert told.links == links[:QUIET_LINKS]
        assert all(len(link.ips) == MOST_ADDRESSES for link in told.links)


def test_no_ip_needs_no_letter() -> None:
    assert list(encode_quiet(Quiet("b", (), frozenset()))) == []


QUIET = b"\x01b" + bytes([len(GOLDEN)]) + GOLDEN
MALFORMED_QUIETS = {
    "empty": b"",
    "owner cut": b"\x05node",
    "owner that is no UTF-8": b"\x01\xff" + QUIET[2:],
    "no links": b"\x01b",
    "links cut": QUIET[:-1],
    "links without a first byte": b"\x01b\x00",
    "address cut": QUIET + b"\x04" + bytes(3),
    "address of no family": QUIET + b"\x05" + bytes(5),
}


@pytest.mark.parametrize("payload", MALFORMED_QUIETS.values(), ids=MALFORMED_QUIETS.keys())
def test_a_malformed_quiet_takeover_is_refused(payload: bytes) -> None:
    with pytest.raises(LetterError):
        decode_quiet(payload)


@pytest.mark.parametrize("name", ["", "eth0", "n" * 15])
def test_a_link_name_comes_back(name: str) -> None:
    assert decode_link_name(letters.encode_link_name(name)) == name


@pytest.mark.parametrize("payload", [b"n" * 16, b"\xc3"])
def test_a_malformed_link_name_is_refused(payload: bytes) -> None:
    with pytest.raises(LetterError):
        decode_link_name(payload)


def rewritten(quiet: Quiet) -> frozenset[IPv4Address | IPv6Address]:
    """Write it and read it back; return its IPs."""
    told = [decode_quiet(payload) for payload in encode_quiet(quiet)]
    assert {each.owner for each in told} <= {quiet.owner}
    return frozenset[IPv4Address | IPv6Address]().union(*(each.ips for each in told))


@settings(deadline=None)
@given(st.binary(max_size=MAX_PAYLOAD))
def test_any_bytes_are_a_letter_or_refused_by_the_one_exception(payload: bytes) -> None:
    """What was read says the same when it is written again."""
    for decode in (decode_hello, decode_ips, decode_link_name, decode_quiet, decode_whereabouts):
        try:
            found = decode(payload)
        except LetterError:
            continue
        if isinstance(found, Hello):
            assert decode_hello(encode_hello(found)) == found
        elif isinstance(found, str):
            assert letters.encode_link_name(found) == payload
        elif isinstance(found, Quiet):
            assert rewritten(found) == found.ips
        elif isinstance(found, Whereabouts):
            assert decode_whereabouts(encode_whereabouts(found)) == found
        else:
            assert set().union(*map(decode_ips, encode_ips(found))) == found


# ---- where somebody stands

NET4, NET6 = ip_network("192.0.2.0/24"), ip_network("2001:db8::/64")
WHERE = Whereabouts((Subnet(NET4, (FOUR,)), Subnet(NET6)), asks=True)
WRITTEN = bytes.fromhex("01 18 04 c0000200 01 04 c0000207 40 10") + NET6[0].packed + b"\0"
"""`asks`; prefix length, subnet by length, how many gateways, each by length; the same again."""


def test_subnets_are_written_as_documented_and_come_back() -> None:
    assert encode_whereabouts(WHERE) == WRITTEN
    assert decode_whereabouts(WRITTEN) == WHERE
    assert decode_whereabouts(encode_whereabouts(Whereabouts())) == Whereabouts()


def test_the_most_that_anybody_tells_fits_a_letter() -> None:
    subnet = Subnet(NET6, (SIX,) * (MOST_GATEWAYS + 1))
    written = encode_whereabouts(Whereabouts((subnet,) * (MOST_SUBNETS + 1)))
    assert len(written) <= MAX_PAYLOAD
    told = decode_whereabouts(written).subnets
    assert (len(told), len(told[0].gateways)) == (MOST_SUBNETS, MOST_GATEWAYS)


_SUBNET4 = WRITTEN[1:12]
ELSEWHERE = {
    "empty": b"",
    "no subnet": b"\x00\x18",
    "subnet cut": b"\x00\x18\x04\xc0\x00\x02",
    "subnet of no family": b"\x00\x18\x05\xc0\x00\x02\x00\x00\x00",
    "subnet too narrow": b"\x00\x21\x04\xc0\x00\x02\x00\x00",
    "bits behind the subnet": b"\x00\x18\x04\xc0\x00\x02\x01\x00",
    "subnet of everything": b"\x00\x00\x04\x00\x00\x00\x00\x00",
    "no count": WRITTEN[:7],
    "gateway cut": WRITTEN[:11],
    "gateway elsewhere": WRITTEN[:9] + b"\xc0\x00\x03\x07",
    "gateway of the other family": WRITTEN[:8] + b"\x10" + SIX.packed,
    "too many gateways": WRITTEN[:7] + bytes([MOST_GATEWAYS + 1]),
    "too many subnets": b"\x00" + _SUBNET4 * (MOST_SUBNETS + 1),
}


@pytest.mark.parametrize("payload", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_malformed_subnets_are_refused(payload: bytes) -> None:
    with pytest.raises(LetterError):
        decode_whereabouts(payload)
