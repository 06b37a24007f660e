"""ARP for IPv4 over Ethernet (RFC 826).

 0        2        4    5    6         8               14              18              24
+--------+--------+----+----+---------+---------------+---------------+---------------+-----...
| htype  | ptype  |hlen|plen|   op    |  sender MAC   |  sender IP    |  target MAC   | target IP
+--------+--------+----+----+---------+---------------+---------------+---------------+-----...
"""

import struct
from enum import IntEnum
from ipaddress import IPv4Address
from typing import NamedTuple

from link.drop import DecodeError, DropReason

_LAYOUT = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET, _IPV4 = 1, 0x0800
_LENGTHS = (6, 4)


class Operation(IntEnum):
    """The two operations that matter on Ethernet."""

    REQUEST = 1
    REPLY = 2


_OPERATIONS = {int(operation): operation for operation in Operation}


class ArpPacket(NamedTuple):
    """One ARP packet; MACs are 6 raw bytes. RFC 826 calls the fields sha, spa, tha, tpa.

    A tuple, as a frozen dataclass takes four times as long to make, for every question.
    """

    operation: Operation
    sender_mac: bytes
    sender_ip: IPv4Address
    target_mac: bytes
    target_ip: IPv4Address


def decode(payload: bytes) -> ArpPacket:
    """Read the payload of an ARP frame; trailing padding is ignored. Raises DecodeError."""
    if len(payload) < _LAYOUT.size:
        raise DecodeError(DropReason.TRUNCATED)
    htype, ptype, hlen, plen, operation, sha, spa, tha, tpa = _LAYOUT.unpack_from(payload)
    if htype != _ETHERNET:
        raise DecodeError(DropReason.HARDWARE_TYPE)
    if ptype != _IPV4 or (hlen, plen) != _LENGTHS:
        raise DecodeError(DropReason.PROTOCOL_TYPE)
    known = _OPERATIONS.get(operation)
    if known is None:
        raise DecodeError(DropReason.OPERATION)
    return ArpPacket(known, sha, IPv4Address(spa), tha, IPv4Address(tpa))


def encode(packet: ArpPacket) -> bytes:
    """Write the 28 bytes of a packet."""
    return _LAYOUT.pack(
        _ETHERNET,
        _IPV4,
        *_LENGTHS,
        packet.operation,
        packet.sender_mac,
        packet.sender_ip.packed,
        packet.target_mac,
        packet.target_ip.packed,
    )
