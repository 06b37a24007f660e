"""Questions and announcements of either family: what the instruments say and hear."""

import ctypes
import socket
import struct
from typing import NamedTuple

from netnslab import arp, ndp

_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("HBBI")
# Keep what the speaker sends of ICMPv6: byte 20 is the next header, byte 54 the ICMPv6 type.
_NEIGHBOUR_MESSAGES = (
    (0x30, 0, 0, 20),
    (0x15, 0, 4, 58),
    (0x30, 0, 0, 54),
    (0x15, 1, 0, ndp.SOLICITATION),
    (0x15, 0, 1, ndp.ADVERTISEMENT),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


class Said(NamedTuple):
    """A frame that speaks for an IP; `answer` where it answers a question."""

    mac: str
    ip: str
    kind: str
    answer: bool


class _Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def family(ips: list[str]) -> int:
    """4 or 6; all IPs of a run are of one family."""
    return 6 if ":" in ips[0] else 4


def ethertype(ips: list[str]) -> int:
    """What questions for these IPs are sent as."""
    return ndp.ETH_P_IPV6 if family(ips) == 6 else arp.ETH_P_ARP


def neighbour_messages_only(raw: socket.socket) -> None:
    """Have the kernel keep all other IPv6 traffic away from a raw socket."""
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*i) for i in _NEIGHBOUR_MESSAGES))
    program = _Program(len(_NEIGHBOUR_MESSAGES), ctypes.addressof(code))
    raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))


def question(mac: bytes, own_ip: str, ip: str) -> bytes:
    """The frame that asks everybody for `ip`."""
    ask = ndp.question if ":" in ip else arp.question
    return ask(mac, own_ip, ip)


def said(frame: bytes) -> Said | None:
    """Reads a frame; None where it is neither ARP nor a neighbour message."""
    if frame[12:14] == b"\x86\xdd":
        found = ndp.decode(frame)
        return None if found is None else Said(*found)
    packet = arp.decode(frame)
    if packet is None:
        return None
    answer = packet.operation == arp.REPLY and packet.spa != packet.tpa
    return Said(packet.sha, packet.spa, packet.kind(), answer)
