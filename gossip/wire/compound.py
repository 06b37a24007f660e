"""Several messages in one: `07 | count u8 | count x u16 big-endian lengths | parts`."""

import struct
from collections.abc import Sequence

from gossip.wire.errors import Refusal, WireError
from gossip.wire.messages import MessageType

MAX_PARTS = 255
MAX_PART = 0xFFFF
OVERHEAD = 2
PART_OVERHEAD = 2

_HEADER = struct.Struct("!BB")


def pack(parts: Sequence[bytes]) -> bytes:
    """Join up to 255 encoded messages; ValueError if one is empty or there are too many."""
    if len(parts) > MAX_PARTS:
        raise ValueError(f"{len(parts)} parts, more than {MAX_PARTS}")
    if any(not 0 < len(part) <= MAX_PART for part in parts):
        raise ValueError("a part is empty or longer than 65,535 bytes")
    lengths = struct.pack(f"!{len(parts)}H", *map(len, parts))
    return _HEADER.pack(MessageType.COMPOUND, len(parts)) + lengths + b"".join(parts)


def unpack(data: bytes | memoryview) -> tuple[list[memoryview], int]:
    """Split a compound, type byte first, into its whole parts and the number of those cut off.

    WireError where the length table is not whole. Bytes after the last part are ignored.
    """
    view = memoryview(data)
    if len(view) < OVERHEAD:
        raise WireError(Refusal.TRUNCATED)
    count = view[1]
    at = OVERHEAD + PART_OVERHEAD * count
    if len(view) < at:
        raise WireError(Refusal.TRUNCATED)
    parts: list[memoryview] = []
    for length in struct.unpack_from(f"!{count}H", view, OVERHEAD):
        if at + length > len(view):
            break
        parts.append(view[at : at + length])
        at += length
    return parts, count - len(parts)
