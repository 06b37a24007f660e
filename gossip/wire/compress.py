"""The compress wrapper: `09 | {Algo: 0, Buf: LZW of another whole message}`."""

import msgpack  # type: ignore[import-untyped]

from gossip.wire import lzw
from gossip.wire.errors import Refusal, WireError
from gossip.wire.fields import pack
from gossip.wire.messages import MessageType

LZW = 0
_KEYS = (b"Algo", b"Buf")


def wrap(message: bytes) -> bytes:
    """Wrap an encoded message; ValueError if it is empty, which kills older peers."""
    if not message:
        raise ValueError("an empty message is never sent")
    body = pack({b"Algo": LZW, b"Buf": lzw.compress(message)})
    return bytes((MessageType.COMPRESS,)) + body


def unwrap(data: bytes | memoryview, limit: int) -> bytes:
    """Unwrap a message, type byte first, of at most `limit` bytes once decompressed."""
    algorithm, body = _read(data[1:])
    if algorithm != LZW:
        raise WireError(Refusal.COMPRESSION)
    message = lzw.decompress(body, limit)
    if not message:
        raise WireError(Refusal.EMPTY)
    return message


def _read(data: bytes | memoryview) -> tuple[object, bytes]:
    """Read Algo and Buf; unknown values are skipped unbuilt, for they may be megabytes of lists."""
    unpacker = msgpack.Unpacker(
        raw=True, max_buffer_size=len(data) + 1, max_array_len=0, max_map_len=0
    )
    unpacker.feed(data)
    try:
        found = _read_map(unpacker) if _is_map(data) else _read_array(unpacker)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        raise WireError(Refusal.BAD_BODY) from None
    body = found.get(b"Buf")
    if not isinstance(body, bytes):
        raise WireError(Refusal.BAD_BODY)
    return found.get(b"Algo") or LZW, body


def _is_map(data: bytes | memoryview) -> bool:
    return len(data) > 0 and (data[0] & 0xF0 == 0x80 or data[0] in (0xDE, 0xDF))


def _read_map(unpacker: msgpack.Unpacker) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for _ in range(unpacker.read_map_header()):
        key = unpacker.unpack()
        if key in _KEYS:
            found[key] = unpacker.unpack()
        else:
            unpacker.skip()
    return found


def _read_array(unpacker: msgpack.Unpacker) -> dict[bytes, object]:
    count = unpacker.read_array_header()
    return {key: unpacker.unpack() for key in _KEYS[:count]}
