"""ICMP echo: bytes against scapy, any bytes against the decoder, and a kernel that answers."""

import select
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link.drop import DecodeError, DropReason
from link.echo import EchoReply, decode_reply, encode_request
from link.echo_socket import EchoSocket
from netns import Host, missing_right, segment

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest

NUMBERS = st.integers(0, 0xFFFF)
PAYLOADS = st.binary(max_size=64)


@settings(deadline=None)
@given(NUMBERS, NUMBERS, PAYLOADS)
def test_a_request_is_what_scapy_builds(identifier: int, sequence: int, payload: bytes) -> None:
    four = bytes(ICMP(type="echo-request", id=identifier, seq=sequence) / payload)
    assert encode_request(4, identifier, sequence, payload) == four
    six = ICMPv6EchoRequest(id=identifier, seq=sequence, data=payload, cksum=0)
    # The kernel fills in this checksum (RFC 3542 section 3.1).
    assert encode_request(6, identifier, sequence, payload) == bytes(six)


@settings(deadline=None)
@given(NUMBERS, NUMBERS, PAYLOADS, st.integers(5, 15))
def test_a_reply_that_scapy_built_is_read(
    identifier: int, sequence: int, payload: bytes, words: int
) -> None:
    """For IPv4 behind an IP header of any length."""
    expected = EchoReply(identifier, sequence, payload)
    options = b"\x01" * (4 * words - 20)
    header = bytes(IP(src="192.0.2.2", dst="192.0.2.1", proto=1, ihl=words))[:20] + options
    four = bytes(ICMP(type="echo-reply", id=identifier, seq=sequence) / payload)
    assert decode_reply(4, header + four) == expected
    six = ICMPv6EchoReply(id=identifier, seq=sequence, data=payload, cksum=0)
    assert decode_reply(6, bytes(six)) == expected


HEADER = bytes(IP(src="192.0.2.2", dst="192.0.2.1", proto=1, ihl=5))[:20]


@pytest.mark.parametrize(
    ("version", "data", "reason"),
    [
        (4, b"", DropReason.TRUNCATED),
        (4, HEADER[:19], DropReason.TRUNCATED),
        (4, HEADER + bytes(7), DropReason.TRUNCATED),
        (4, b"\x65" + HEADER[1:] + bytes(8), DropReason.IP_VERSION),
        (4, b"\x4f" + HEADER[1:] + bytes(8), DropReason.TRUNCATED),
        (4, HEADER + b"\x08" + bytes(7), DropReason.MESSAGE_TYPE),
        (4, HEADER + b"\x00\x01" + bytes(6), DropReason.MESSAGE_CODE),
        (6, bytes(7), DropReason.TRUNCATED),
        (6, b"\x80" + bytes(7), DropReason.MESSAGE_TYPE),
        (6, b"\x00" + bytes(7), DropReason.MESSAGE_TYPE),
        (6, b"\x81\x01" + bytes(6), DropReason.MESSAGE_CODE),
    ],
)
def test_what_is_no_reply_is_refused_by_its_reason(
    version: int, data: bytes, reason: DropReason
) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_reply(version, data)
    assert refused.value.reason is reason


@settings(deadline=None)
@given(st.sampled_from([4, 6]), st.binary(max_size=80))
def test_any_bytes_are_a_reply_or_refused(version: int, data: bytes) -> None:
    with suppress(DecodeError):
        assert data.endswith(decode_reply(version, data).payload)


# ---- a real kernel


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Host]]:
    """Two hosts on one bridge."""
    if (reason := missing_right()) is not None:
        pytest.skip(reason)
    with segment(["asker", "asked"]) as made:
        yield made


@dataclass(frozen=True)
class Loopback:
    """A socket on the asker's loopback, its address, and one that may not be sent to."""

    socket: EchoSocket
    ip: str
    far: str


@pytest.fixture(params=[(4, "127.0.0.1", "255.255.255.255"), (6, "::1", "2001:db8:ffff::1")])
def loopback(hosts: dict[str, Host], request: pytest.FixtureRequest) -> Iterator[Loopback]:
    version, ip, far = request.param
    opened = hosts["asker"].namespace.run(lambda: EchoSocket("lo", version))
    yield Loopback(opened, ip, far)
    opened.close()


def _replies(used: EchoSocket, wait: float = 2.0) -> list[tuple[str, EchoReply]]:
    """What has come by the time that something has."""
    select.select([used], [], [], wait)
    return list(used.receive(64))


@pytest.mark.root
def test_a_kernel_answers_with_our_token_and_nothing_but_replies_come(loopback: Loopback) -> None:
    """Our own requests pass by on the loopback: the socket's filter drops them."""
    used, ip = loopback.socket, loopback.ip
    assert used.send(ip, 0xC7A1, 9, b"token")
    assert _replies(used) == [(ip, EchoReply(0xC7A1, 9, b"token"))]
    assert _replies(used, wait=0.0) == []


@pytest.mark.root
def test_no_more_replies_are_read_than_asked_for(loopback: Loopback) -> None:
    used = loopback.socket
    for sequence in range(3):
        assert used.send(loopback.ip, 1, sequence, b"")
    select.select([used], [], [], 2.0)
    assert [reply.sequence for _, reply in used.receive(2)] == [0, 1]
    assert [reply.sequence for _, reply in _replies(used)] == [2]


@pytest.mark.root
def test_what_the_kernel_refuses_to_send_is_no_error(loopback: Loopback) -> None:
    """And the socket still works."""
    used = loopback.socket
    assert not used.send(loopback.far, 1, 1, b"")
    assert used.send(loopback.ip, 1, 2, b"")
    assert [reply.sequence for _, reply in _replies(used)] == [2]


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
def test_a_link_that_is_not_there_cannot_be_opened(hosts: dict[str, Host], version: int) -> None:
    with pytest.raises(OSError, match="No such device"):
        hosts["asker"].namespace.run(lambda: EchoSocket("eth99", version))


@pytest.mark.root
def test_another_hosts_kernel_answers_over_the_link(hosts: dict[str, Host]) -> None:
    asker, asked = hosts["asker"], hosts["asked"]
    used = asker.namespace.run(lambda: EchoSocket("eth0", 4))
    try:
        ip = asked.ip
        assert used.send(ip, 1, 1, b"token")
        assert _replies(used) == [(ip, EchoReply(1, 1, b"token"))]
    finally:
        used.close()


@pytest.mark.root
@pytest.mark.parametrize(("version", "ip"), [(4, "127.0.0.1"), (6, "::1")])
def test_one_on_no_link_is_woken_by_its_own_replies_alone(
    hosts: dict[str, Host], version: int, ip: str
) -> None:
    """The kernel finds the way. Each socket gets what all others asked for, unless its filter drops
    it before anybody wakes."""

    def opened() -> tuple[EchoSocket, EchoSocket]:
        return EchoSocket(None, version, only=0xC7A2), EchoSocket(None, version)

    own, others = hosts["asker"].namespace.run(opened)
    try:
        assert others.send(ip, 0xC7A1, 1, b"theirs")
        assert others.send(ip, 0xC7A2, 2, b"ours")
        assert [reply.sequence for _, reply in _replies(others)] == [1, 2]
        assert [reply.payload for _, reply in _replies(own)] == [b"ours"]
    finally:
        own.close()
        others.close()
