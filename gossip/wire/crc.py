"""The CRC header: `0c | crc32(rest) big-endian | rest`.

A prefix, though upstream's comment says appended."""

import struct
from binascii import crc32

from gossip.wire.errors import Refusal, WireError
from gossip.wire.messages import MessageType

_HEADER = struct.Struct("!BI")
OVERHEAD = _HEADER.size


def add(message: bytes) -> bytes:
    """Put the header before a message."""
    return _HEADER.pack(MessageType.HAS_CRC, crc32(message)) + message


def strip(data: bytes | memoryview) -> memoryview:
    """Check and remove the header, type byte first. Raises WireError."""
    if len(data) < OVERHEAD:
        raise WireError(Refusal.TRUNCATED)
    rest = memoryview(data)[OVERHEAD:]
    if _HEADER.unpack_from(data)[1] != crc32(rest):
        raise WireError(Refusal.BAD_CRC)
    return rest
