"""NDP for Ethernet (RFC 4861), as the instruments need it; apart from the speaker's codec.

destination 6 | source 6 | 0x86dd 2 | IPv6 header 40 | type 1 | code 1 | checksum 2
flags 4 | target 16 | option: type 1 | length in 8 bytes 1 | MAC 6
"""

import socket
import struct

ETH_P_IPV6 = 0x86DD
SOLICITATION, ADVERTISEMENT = 135, 136
SOLICITED = 1 << 30
SOURCE_LINK, TARGET_LINK = 1, 2
_IP = struct.Struct("!IHBB16s16s")
_MESSAGE = struct.Struct("!BBHI16sBB6s")
_ICMPV6, _HOP_LIMIT = 58, 255


def question(mac: bytes, own_ip: str, ip: str) -> bytes:
    """A solicitation for `ip`, to its multicast group."""
    source, target = (socket.inet_pton(socket.AF_INET6, one) for one in (own_ip, ip))
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + target[13:]
    fields = (SOLICITATION, 0, 0, 0, target, SOURCE_LINK, 1, mac)
    checksum = _checksum(source + group, _MESSAGE.pack(*fields))
    message = _MESSAGE.pack(*fields[:2], checksum, *fields[3:])
    header = _IP.pack(6 << 28, len(message), _ICMPV6, _HOP_LIMIT, source, group)
    return b"\x33\x33" + group[12:] + mac + struct.pack("!H", ETH_P_IPV6) + header + message


def _checksum(addresses: bytes, message: bytes) -> int:
    """RFC 4443's, over the pseudo-header too; `message` has an even length."""
    data = addresses + struct.pack("!II", len(message), _ICMPV6) + message
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def decode(frame: bytes) -> tuple[str, str, str, bool] | None:
    """MAC, IP, kind and whether it answers a question; None for all but neighbour messages."""
    if len(frame) < 14 + _IP.size + 24 or frame[12:14] != b"\x86\xdd":
        return None
    _, _, header, _, source, _ = _IP.unpack_from(frame, 14)
    message = frame[14 + _IP.size :]
    if header != _ICMPV6 or message[0] not in (SOLICITATION, ADVERTISEMENT):
        return None
    if message[0] == SOLICITATION:
        return frame[6:12].hex(":"), _text(source), "solicitation", False
    mac = message[26:32] if message[24:26] == bytes((TARGET_LINK, 1)) else frame[6:12]
    solicited = bool(int.from_bytes(message[4:8], "big") & SOLICITED)
    kind = "advertisement" if solicited else "unsolicited advertisement"
    return mac.hex(":"), _text(message[8:24]), kind, solicited


def _text(ip: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6, ip)
