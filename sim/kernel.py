"""A node's kernel, as far as others can see it: ARP for its own IP, ICMP echo, forwarding. Pure.

It works as long as the machine does, whatever state the speaker's process is in.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address

from arp import responder
from link import frame as ethernet
from link.checksum import checksum
from link.drop import DecodeError, DropReason
from link.frame import EthernetFrame, EtherType

IPV4 = 0x0800
ETHERNET = ethernet.HEADER.size
_ICMP = 1
_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
_VERSION_AND_LENGTH = 0x45
_TTL = 64
_ICMP_HEADER = struct.Struct("!BBHHH")


@dataclass(frozen=True, slots=True)
class Echo:
    """An ICMP echo request or reply (RFC 792)."""

    source: IPv4Address
    target: IPv4Address
    request: bool
    identifier: int
    sequence: int
    payload: bytes = b""


def encode_echo(echo: Echo) -> bytes:
    """Write the IPv4 packet of an echo."""
    kind = _ECHO_REQUEST if echo.request else _ECHO_REPLY
    bare = _ICMP_HEADER.pack(kind, 0, 0, echo.identifier, echo.sequence) + echo.payload
    icmp = bare[:2] + checksum(bare).to_bytes(2, "big") + bare[4:]
    length = _IP_HEADER.size + len(icmp)
    addresses = (echo.source.packed, echo.target.packed)
    fields = (_VERSION_AND_LENGTH, 0, length, 0, 0, _TTL, _ICMP)
    header = _IP_HEADER.pack(*fields, 0, *addresses)
    return _IP_HEADER.pack(*fields, checksum(header), *addresses) + icmp


def decode_echo(packet: bytes) -> Echo | None:
    """Read an IPv4 packet; None where it is no whole and sound echo."""
    if len(packet) < _IP_HEADER.size + _ICMP_HEADER.size:
        return None
    first, _, length, _, _, _, protocol, _, source, target = _IP_HEADER.unpack_from(packet)
    icmp = packet[_IP_HEADER.size : length]
    if first != _VERSION_AND_LENGTH or protocol != _ICMP or len(icmp) < _ICMP_HEADER.size:
        return None
    kind, _, _, identifier, sequence = _ICMP_HEADER.unpack_from(icmp)
    if kind not in (_ECHO_REQUEST, _ECHO_REPLY) or checksum(icmp):
        return None
    payload = icmp[_ICMP_HEADER.size :]
    ends = IPv4Address(source), IPv4Address(target)
    return Echo(*ends, kind == _ECHO_REQUEST, identifier, sequence, payload)


def frame_of(echo: Echo, source: bytes, destination: bytes) -> bytes:
    """Put an echo into an Ethernet frame between two MACs."""
    return ethernet.encode(EthernetFrame(destination, source, IPV4, encode_echo(echo)))


class Kernel:
    """Answers for `ip`, and forwards what is meant for `services`, whose backends answer."""

    def __init__(self, mac: bytes, ip: IPv4Address, services: Collection[IPv4Address]) -> None:
        self._mac = mac
        self._ip = ip
        self._services = frozenset(services)
        self.forwarded = 0

    def receive(self, data: bytes) -> bytes | None:
        """Give the frame that answers a received one, if the kernel answers it."""
        try:
            received = ethernet.decode(data)
        except DecodeError:
            return None
        if received.ethertype == EtherType.ARP:
            reply = responder.respond(data, self._mac, self._owns)
            return reply if isinstance(reply, bytes) else None
        if received.ethertype == IPV4 and received.destination == self._mac:
            return self._echo(received)
        return None

    def _owns(self, ip: IPv4Address) -> DropReason | None:
        return None if ip == self._ip else DropReason.NOT_ANNOUNCED

    def _echo(self, received: EthernetFrame) -> bytes | None:
        asked = decode_echo(received.payload)
        if asked is None or not asked.request:
            return None
        if asked.target in self._services:
            self.forwarded += 1
        elif asked.target != self._ip:
            return None
        answer = Echo(
            asked.target, asked.source, False, asked.identifier, asked.sequence, asked.payload
        )
        return frame_of(answer, self._mac, received.source)
