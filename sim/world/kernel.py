"""A node's kernel, as far as others can see it: ARP for its own IP, ICMP echo, forwarding. Pure.

It works as long as the machine does, whatever state the speaker's process is in. Echoes cross the
segment as values: kernels on both ends read and write them, and no part of a speaker does.
"""

from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv4Address
from typing import NamedTuple

from arp import packet, responder
from arp.packet import ArpPacket, Operation
from link import frame as ethernet
from link.drop import DecodeError
from link.frame import EtherType
from link.resolution import Question
from ownership.announcing.pace import Pace

ECHO_BURST = 5
"""Answers at once where they are limited: that of nftables' `limit rate`."""
_FRAMES = 4_096


class Echo(NamedTuple):
    """An ICMP echo request or reply (RFC 792) in its Ethernet frame, between two MACs."""

    to_mac: bytes
    from_mac: bytes
    source: IPv4Address
    target: IPv4Address
    request: bool
    payload: bytes = b""

    def reply(self) -> "Echo":
        """Turn a request round."""
        return Echo(self.from_mac, self.to_mac, self.target, self.source, False, self.payload)


Frame = bytes | Echo
"""What the segment carries: Ethernet frames with ARP, and echoes."""


@lru_cache(maxsize=_FRAMES)
def read_arp(frame: bytes) -> ArpPacket | None:
    """Read the ARP packet of a frame, None where there is none; the same few fly all the time."""
    try:
        received = ethernet.decode(frame)
        return packet.decode(received.payload) if received.ethertype == EtherType.ARP else None
    except DecodeError:
        return None


class Kernel:
    """Answers for its own addresses, and forwards what is meant for `services`, whose backends
    answer."""

    def __init__(self, mac: bytes, ip: IPv4Address, services: Collection[IPv4Address]) -> None:
        self._mac = mac
        self.ips = {ip}
        self._services = frozenset(services)
        self.forwarded = 0
        self.packed: frozenset[bytes] = frozenset({ip.packed})
        """Its addresses as they stand in frames."""
        self._echoes: float | None = None
        self._pace = Pace()

    def add_address(self, ip: IPv4Address) -> None:
        """Take one more address of its own."""
        self.ips.add(ip)
        self.packed = frozenset(own.packed for own in self.ips)

    def remove_address(self, ip: IPv4Address) -> None:
        """Give an address up."""
        self.ips.discard(ip)
        self.packed = frozenset(own.packed for own in self.ips)

    def limit_echoes(self, rate: float | None) -> None:
        """Answer so many echo requests a second at most, 0: none, None: all."""
        self._echoes = rate
        self._pace = Pace(rate or 0.0, ECHO_BURST)

    def answer_arp(self, frame: bytes) -> bytes | None:
        """Return the reply to a question about an address of the node's own."""
        heard = read_arp(frame)
        if heard is None or heard.operation is not Operation.REQUEST:
            return None
        if heard.target_ip not in self.ips:
            return None
        question = Question(heard.target_ip, heard.sender_ip, heard.sender_mac)
        return responder.reply(self._mac, question)

    def answer_echo(self, asked: Echo, now: float) -> Echo | None:
        """Return the reply to an echo request, the node's own or that of a backend."""
        if not asked.request or asked.to_mac != self._mac:
            return None
        if asked.target not in self.ips:
            if asked.target not in self._services:
                return None
            self.forwarded += 1
        elif self._echoes is not None and not (self._echoes and self._pace.take(now)):
            return None
        return asked.reply()
