"""Neighbour solicitation and advertisement (RFC 4861 sections 4.3, 4.4), IPv6 header included.

 0                   4         6      7      8               24              40
+-------------------+---------+------+------+---------------+---------------+
| version, class,   | payload | next | hop  |    source     |  destination  |
| flow label        | length  | = 58 | = 255|               |               |
+------+------+-----+---+-----+------+------+---------------+---------------+
| type | code | checksum| flags       |    target     | options ...
+------+------+---------+-------------+---------------+-------------
40     41     42        44            48              64
                                             option: | type | length in 8 bytes | MAC |
"""

import struct
from enum import IntEnum, IntFlag
from ipaddress import IPv6Address
from typing import NamedTuple

from link.checksum import ICMPV6, internet_checksum
from link.drop import DecodeError, DropReason

_IP = struct.Struct("!IHBB16s16s")
_MESSAGE = struct.Struct("!BBHI16s")
_LINK_OPTION = struct.Struct("!BB6s")
_VERSION_6 = 6 << 28
_HOP_LIMIT = 255
_SOURCE_LINK, _TARGET_LINK = 1, 2
_MOST_OPTIONS = 16
_MULTICAST = 0xFF


class ICMPv6Type(IntEnum):
    """The two ICMPv6 types that matter here."""

    SOLICITATION = 135
    ADVERTISEMENT = 136


class AdvertFlags(IntFlag):
    """The flags of an advertisement, in the first bits of its 32-bit field."""

    NONE = 0
    ROUTER = 1 << 31
    SOLICITED = 1 << 30
    OVERRIDE = 1 << 29


class NeighborMessage(NamedTuple):
    """One message with the addresses of its IPv6 header.

    `link_address` is the MAC (6 bytes) of the source-link option in a solicitation, of the
    target-link option in an advertisement; None where the option is missing. `flags` is zero in a
    solicitation.
    """

    type: ICMPv6Type
    source: IPv6Address
    destination: IPv6Address
    target: IPv6Address
    link_address: bytes | None = None
    flags: AdvertFlags = AdvertFlags.NONE


def decode(payload: bytes) -> NeighborMessage:
    """Read and verify the payload of an IPv6 frame; its padding is ignored. Raises DecodeError.

    The checks are those of RFC 4861 sections 7.1.1 and 7.1.2 that every receiver must make.
    """
    if len(payload) < _IP.size + _MESSAGE.size:
        raise DecodeError(DropReason.TRUNCATED)
    start, length, next_header, hop_limit, source, destination = _IP.unpack_from(payload)
    _check_header(start, length, next_header, hop_limit, len(payload))
    message = payload[_IP.size : _IP.size + length]
    kind, code, _, flags, target = _MESSAGE.unpack_from(message)
    if kind not in (ICMPv6Type.SOLICITATION, ICMPv6Type.ADVERTISEMENT):
        raise DecodeError(DropReason.MESSAGE_TYPE)
    if code:
        raise DecodeError(DropReason.MESSAGE_CODE)
    if internet_checksum(source, destination, message):
        raise DecodeError(DropReason.CHECKSUM)
    if target[0] == _MULTICAST:
        raise DecodeError(DropReason.TARGET_ADDRESS)
    solicitation = kind == ICMPv6Type.SOLICITATION
    return NeighborMessage(
        ICMPv6Type(kind),
        IPv6Address(source),
        IPv6Address(destination),
        IPv6Address(target),
        _link_option(message, _SOURCE_LINK if solicitation else _TARGET_LINK),
        AdvertFlags.NONE if solicitation else AdvertFlags(flags & (0b111 << 29)),
    )


def _check_header(start: int, length: int, next_header: int, hop_limit: int, held: int) -> None:
    if start >> 28 != _VERSION_6 >> 28:
        raise DecodeError(DropReason.IP_VERSION)
    if next_header != ICMPV6:
        raise DecodeError(DropReason.NEXT_HEADER)
    if hop_limit != _HOP_LIMIT:
        # Only a neighbour can send 255: every router takes one off (RFC 4861 section 11.2).
        raise DecodeError(DropReason.HOP_LIMIT)
    if length < _MESSAGE.size or _IP.size + length > held:
        raise DecodeError(DropReason.TRUNCATED)


def _link_option(message: bytes, wanted: int) -> bytes | None:
    """Walk the options, unknown ones by their length; return the MAC of the first wanted one."""
    found: bytes | None = None
    at = _MESSAGE.size
    for _ in range(_MOST_OPTIONS):
        if at == len(message):
            return found
        if at + 2 > len(message):
            break
        kind, size = message[at], 8 * message[at + 1]
        if size == 0 or at + size > len(message):
            break
        if kind == wanted and size == _LINK_OPTION.size and found is None:
            found = message[at + 2 : at + 8]
        at += size
    raise DecodeError(DropReason.OPTION)


def encode(message: NeighborMessage) -> bytes:
    """Write header, message and (where there is a `link_address`) its option."""
    source, destination = message.source.packed, message.destination.packed
    option = b""
    if message.link_address is not None:
        solicitation = message.type is ICMPv6Type.SOLICITATION
        kind = _SOURCE_LINK if solicitation else _TARGET_LINK
        option = _LINK_OPTION.pack(kind, 1, message.link_address)
    flags, target = int(message.flags), message.target.packed
    unsigned = _MESSAGE.pack(message.type, 0, 0, flags, target) + option
    checksum = internet_checksum(source, destination, unsigned)
    signed = _MESSAGE.pack(message.type, 0, checksum, flags, target) + option
    return _IP.pack(_VERSION_6, len(signed), ICMPV6, _HOP_LIMIT, source, destination) + signed
