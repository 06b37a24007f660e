"""NDP for Ethernet (RFC 4861), as the instruments need it; apart from the speaker's codec.

destination 6 | source 6 | 0x86dd 2 | IPv6 header 40 | type 1 | code 1 | checksum 2
flags 4 | target 16 | option: type 1 | length in 8 bytes 1 | MAC 6
"""

import socket
import struct
from typing import NamedTuple

ETH_P_IPV6 = 0x86DD
SOLICITATION, ADVERTISEMENT = 135, 136
SOLICITED, OVERRIDE = 1 << 30, 1 << 29
SOURCE_LINK, TARGET_LINK = 1, 2
_IP = struct.Struct("!IHBB16s16s")
_MESSAGE = struct.Struct("!BBHI16sBB6s")
_ICMPV6, _HOP_LIMIT = 58, 255


class Neighbour(NamedTuple):
    """One neighbour message: MACs as text, IPs as text."""

    destination: str
    source: str
    source_ip: str
    type: int
    solicited: bool
    target: str
    link: str
    """The MAC of the option, else the sender's."""


def question(mac: bytes, own_ip: str, ip: str) -> bytes:
    """A solicitation for `ip`, to its multicast group."""
    source, target = _pack(own_ip), _pack(ip)
    group = _pack("ff02::1:ff00:0")[:13] + target[13:]
    fields = (SOLICITATION, 0, 0, 0, target, SOURCE_LINK, 1, mac)
    return _frame(b"\x33\x33" + group[12:] + mac, source + group, fields)


def reply(mac: bytes, asked: Neighbour) -> bytes:
    """The advertisement that what was asked for is at `mac`."""
    target, asker = _pack(asked.target), bytes.fromhex(asked.link.replace(":", ""))
    fields = (ADVERTISEMENT, 0, 0, SOLICITED | OVERRIDE, target, TARGET_LINK, 1, mac)
    return _frame(asker + mac, target + _pack(asked.source_ip), fields)


def unsolicited_advertisement(mac: bytes, ip: str) -> bytes:
    """An advertisement to all nodes that tells where `ip` is."""
    target, everybody = _pack(ip), _pack("ff02::1")
    fields = (ADVERTISEMENT, 0, 0, OVERRIDE, target, TARGET_LINK, 1, mac)
    return _frame(b"\x33\x33" + everybody[12:] + mac, target + everybody, fields)


def _frame(
    macs: bytes, ips: bytes, fields: tuple[int, int, int, int, bytes, int, int, bytes]
) -> bytes:
    """`ips` are source and destination; the checksum, the third field, is filled in."""
    checksum = _checksum(ips, _MESSAGE.pack(*fields))
    message = _MESSAGE.pack(*fields[:2], checksum, *fields[3:])
    header = _IP.pack(6 << 28, len(message), _ICMPV6, _HOP_LIMIT, ips[:16], ips[16:])
    return macs + struct.pack("!H", ETH_P_IPV6) + header + message


def _checksum(addresses: bytes, message: bytes) -> int:
    """RFC 4443's, over the pseudo-header too; `message` has an even length."""
    data = addresses + struct.pack("!II", len(message), _ICMPV6) + message
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def decode(frame: bytes) -> Neighbour | None:
    """Read a frame; None for all but neighbour messages."""
    if len(frame) < 14 + _IP.size + 24 or frame[12:14] != b"\x86\xdd":
        return None
    _, _, header, _, source, _ = _IP.unpack_from(frame, 14)
    message = frame[14 + _IP.size :]
    if header != _ICMPV6 or message[0] not in (SOLICITATION, ADVERTISEMENT):
        return None
    option = SOURCE_LINK if message[0] == SOLICITATION else TARGET_LINK
    link = message[26:32] if message[24:26] == bytes((option, 1)) else frame[6:12]
    return Neighbour(
        frame[:6].hex(":"),
        frame[6:12].hex(":"),
        _text(source),
        message[0],
        bool(int.from_bytes(message[4:8], "big") & SOLICITED),
        _text(message[8:24]),
        link.hex(":"),
    )


def _pack(ip: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, ip)


def _text(ip: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6, ip)
