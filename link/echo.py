"""ICMP and ICMPv6 echo (RFC 792, RFC 4443 section 4): how one kernel asks another for life.

 0      1      2          4            6          8
+------+------+----------+------------+----------+---------- ...
| type | code | checksum | identifier | sequence | payload
+------+------+----------+------------+----------+---------- ...
"""

import struct
from dataclasses import dataclass

from link.checksum import checksum
from link.drop import DecodeError, DropReason
from link.filter import Program

_HEADER = struct.Struct("!BBHHH")
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_SHORTEST_IPV4_HEADER = 20


@dataclass(frozen=True, slots=True)
class EchoReply:
    """What came back; `identifier` and `sequence` are 16-bit numbers."""

    identifier: int
    sequence: int
    payload: bytes


def encode_request(version: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """Write a request as a raw socket wants it. The kernel fills in the checksum of ICMPv6."""
    bare = _HEADER.pack(_REQUEST[version], 0, 0, identifier, sequence) + payload
    if version == 6:
        return bare
    return bare[:2] + checksum(bare).to_bytes(2, "big") + bare[4:]


def decode_reply(version: int, data: bytes) -> EchoReply:
    """Read what a raw socket received: for IPv4 that begins with the IP header. Raises DecodeError.

    The kernel has verified the checksums.
    """
    message = _without_header(data) if version == 4 else data
    if len(message) < _HEADER.size:
        raise DecodeError(DropReason.TRUNCATED)
    kind, code, _, identifier, sequence = _HEADER.unpack_from(message)
    if kind != _REPLY[version]:
        raise DecodeError(DropReason.MESSAGE_TYPE)
    if code:
        raise DecodeError(DropReason.MESSAGE_CODE)
    return EchoReply(identifier, sequence, message[_HEADER.size :])


def only_identifier(version: int, identifier: int) -> Program:
    """Return the filter of a raw socket that lets only messages with this identifier pass: every
    such socket gets a copy of all that come to the machine."""
    # X = 4 * (byte 0 & 15): the length of the IPv4 header; a half word at X + 4, or at 4.
    begin: Program = ((0xB1, 0, 0, 0), (0x48, 0, 0, 4)) if version == 4 else ((0x28, 0, 0, 4),)
    return (*begin, (0x15, 0, 1, identifier), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0))


def _without_header(packet: bytes) -> bytes:
    if len(packet) < _SHORTEST_IPV4_HEADER:
        raise DecodeError(DropReason.TRUNCATED)
    if packet[0] >> 4 != 4:
        raise DecodeError(DropReason.IP_VERSION)
    return packet[4 * (packet[0] & 0x0F) :]
