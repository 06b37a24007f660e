"""Ethernet II frames.

 0                 6                 12        14
+-----------------+-----------------+---------+---------- ...
|   destination   |     source      |  type   | payload
+-----------------+-----------------+---------+---------- ...
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from link.drop import DecodeError, DropReason

HEADER = struct.Struct("!6s6sH")
MINIMUM_LENGTH = 60
"""Shortest frame on the wire without its checksum (IEEE 802.3); shorter ones are zero-padded."""
LONGEST_FRAME = 2048
"""Bytes read of a frame; one that fills them was longer."""


class EtherType(IntEnum):
    """The EtherTypes that a speaker reads."""

    ARP = 0x0806
    IPV6 = 0x86DD


class EthernetFrame(NamedTuple):
    """A decoded frame; `payload` still carries the padding of short frames."""

    destination: bytes
    source: bytes
    ethertype: int
    payload: bytes


def decode(data: bytes) -> EthernetFrame:
    """Read a frame; raise DecodeError where it is shorter than its header."""
    if len(data) < HEADER.size:
        raise DecodeError(DropReason.TRUNCATED)
    destination, source, ethertype = HEADER.unpack_from(data)
    return EthernetFrame(destination, source, ethertype, data[HEADER.size :])


def encode(frame: EthernetFrame) -> bytes:
    """Write a frame, padded to the minimum length."""
    header = HEADER.pack(frame.destination, frame.source, frame.ethertype)
    return (header + frame.payload).ljust(MINIMUM_LENGTH, b"\0")
