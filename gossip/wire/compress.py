"""The compress wrapper: `09 | {Algo: 0, Buf: LZW of another whole message}`."""

from collections.abc import Callable

import msgpack  # type: ignore[import-untyped]

from gossip.wire import lzw
from gossip.wire.bites import PIECE, Bites, at_once
from gossip.wire.errors import Refusal, WireError
from gossip.wire.fields import pack
from gossip.wire.messages import MessageType

LZW = 0
_KEYS = (b"Algo", b"Buf")


def wrap(message: bytes) -> bytes:
    """Wrap an encoded message; ValueError if it is empty, which kills older peers."""
    return at_once(wrapping(message))


def wrapping(message: bytes) -> Bites[bytes]:
    """Wrap in bites; ValueError for an empty message."""
    if not message:
        raise ValueError("an empty message is never sent")
    body = pack({b"Algo": LZW, b"Buf": (yield from lzw.compressing(message))})
    return bytes((MessageType.COMPRESS,)) + body


def unwrap(data: bytes | memoryview, limit: int) -> bytes:
    """Unwrap a message, type byte first, of at most `limit` bytes once decompressed.

    Raises WireError.
    """
    return at_once(unwrapping(data, limit))


def unwrapping(data: bytes | memoryview, limit: int) -> Bites[bytes]:
    """Unwrap in bites. Raises WireError."""
    algorithm, body = yield from _reading(data[1:])
    if algorithm != LZW:
        raise WireError(Refusal.COMPRESSION)
    message = yield from lzw.decompressing(body, limit)
    if not message:
        raise WireError(Refusal.EMPTY)
    return message


def _reading(data: bytes | memoryview) -> Bites[tuple[object, bytes]]:
    """Read Algo and Buf; unknown values are skipped unbuilt, for they may be megabytes of lists."""
    try:
        found = yield from _Reader(data).fields()
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        raise WireError(Refusal.BAD_BODY) from None
    body = found.get(b"Buf")
    if not isinstance(body, bytes):
        raise WireError(Refusal.BAD_BODY)
    return found.get(b"Algo") or LZW, body


class _Reader:
    """Feeds the wrapper to msgpack piece by piece, which goes on wherever it had to stop."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self._fed = 0
        self._unpacker = msgpack.Unpacker(
            raw=True, max_buffer_size=len(data) + 1, max_array_len=0, max_map_len=0
        )
        self._feed()

    def fields(self) -> Bites[dict[bytes, object]]:
        """Read what a map has under our keys, or an array in their places."""
        unpacker = self._unpacker
        found: dict[bytes, object] = {}
        if not _is_map(self._data):
            for wanted in _KEYS[: unpacker.read_array_header()]:
                found[wanted] = yield from self._take(unpacker.unpack)
            return found
        for _ in range(unpacker.read_map_header()):
            key = yield from self._take(unpacker.unpack)
            if isinstance(key, bytes) and key in _KEYS:
                found[key] = yield from self._take(unpacker.unpack)
            else:
                yield from self._take(unpacker.skip)
        return found

    def _take(self, read: Callable[[], object]) -> Bites[object]:
        while True:
            try:
                return read()
            except msgpack.OutOfData:
                if self._fed >= len(self._data):
                    raise
                yield
                self._feed()

    def _feed(self) -> None:
        self._unpacker.feed(self._data[self._fed : self._fed + PIECE])
        self._fed += PIECE


def _is_map(data: bytes | memoryview) -> bool:
    return len(data) > 0 and (data[0] & 0xF0 == 0x80 or data[0] in (0xDE, 0xDF))
