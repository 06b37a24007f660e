"""ARP for Ethernet and IPv4 (RFC 826), as the instruments need it; apart from the speaker's codec.

destination 6 | source 6 | 0x0806 2 | 1 2 | 0x0800 2 | 6 1 | 4 1 | operation 2
sha 6 | spa 4 | tha 6 | tpa 4
"""

import socket
import struct
from typing import NamedTuple

ETH_P_ARP = 0x0806
REQUEST, REPLY = 1, 2
BROADCAST = b"\xff" * 6
_FRAME = struct.Struct("!6s6sHHHBBH6s4s6s4s")


class Arp(NamedTuple):
    """One ARP frame: MACs as text, IPs as text."""

    destination: str
    operation: int
    sha: str
    spa: str
    tha: str
    tpa: str

    def kind(self) -> str:
        """What a person calls it."""
        verb = "request" if self.operation == REQUEST else "reply"
        return f"gratuitous {verb}" if self.spa == self.tpa else verb


def mac_text(mac: bytes) -> str:
    """Six bytes as `aa:bb:cc:dd:ee:ff`."""
    return mac.hex(":")


def question(mac: bytes, own_ip: str, ip: str) -> bytes:
    """A broadcast request for `ip`."""
    spa, tpa = socket.inet_aton(own_ip), socket.inet_aton(ip)
    return encode(BROADCAST, mac, REQUEST, (mac, spa), (b"\0" * 6, tpa))


def reply(mac: bytes, asked: "Arp") -> bytes:
    """The answer that what was asked for is at `mac`."""
    asker = (bytes.fromhex(asked.sha.replace(":", "")), socket.inet_aton(asked.spa))
    return encode(asker[0], mac, REPLY, (mac, socket.inet_aton(asked.tpa)), asker)


def gratuitous(mac: bytes, ip: str, operation: int = REQUEST) -> bytes:
    """A frame to all that tells where `ip` is, as whoever takes an address over sends."""
    spa, tha = socket.inet_aton(ip), BROADCAST if operation == REPLY else b"\0" * 6
    return encode(BROADCAST, mac, operation, (mac, spa), (tha, spa))


def encode(
    destination: bytes,
    source: bytes,
    operation: int,
    sender: tuple[bytes, bytes],
    target: tuple[bytes, bytes],
) -> bytes:
    """Any ARP frame; `sender` and `target` are (MAC, IP)."""
    head = (destination, source, ETH_P_ARP, 1, 0x0800, 6, 4, operation)
    return _FRAME.pack(*head, *sender, *target)


def decode(frame: bytes) -> Arp | None:
    """Read a frame; None where it is not ARP for IPv4."""
    if len(frame) < _FRAME.size:
        return None
    destination, _, ether, hardware, protocol, _, _, operation, sha, spa, tha, tpa = (
        _FRAME.unpack_from(frame)
    )
    if (ether, hardware, protocol) != (ETH_P_ARP, 1, 0x0800):
        return None
    return Arp(
        mac_text(destination),
        operation,
        mac_text(sha),
        socket.inet_ntoa(spa),
        mac_text(tha),
        socket.inet_ntoa(tpa),
    )
