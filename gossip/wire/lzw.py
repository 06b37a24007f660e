"""LZW as Go's compress/lzw writes it: least significant bit first, 8-bit literals, 9 to 12 bits.

Code 256 clears the table, 257 ends the stream, strings are numbered from 258. A code's width grows
as soon as the next string's number needs it, without the early change of TIFF.
"""

from gossip.wire.errors import Refusal, WireError

_CLEAR = 256
_EOF = 257
_FIRST = 258
_MIN_WIDTH = 9
_MAX_WIDTH = 12
_MAX_CODE = (1 << _MAX_WIDTH) - 1

_LITERALS = [bytes((value,)) for value in range(256)] + [b"", b""]


class _BitWriter:
    """Packs codes, least significant bit first."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._bits = 0
        self._count = 0

    def write(self, code: int, width: int) -> None:
        self._bits |= code << self._count
        self._count += width
        while self._count >= 8:
            self._out.append(self._bits & 0xFF)
            self._bits >>= 8
            self._count -= 8

    def finish(self) -> bytes:
        if self._count:
            self._out.append(self._bits & 0xFF)
        return bytes(self._out)


def compress(data: bytes) -> bytes:
    """Compress, byte for byte as Go does; empty input gives its 3-byte form of nothing."""
    out = _BitWriter()
    width, last = _MIN_WIDTH, _EOF
    out.write(_CLEAR, width)
    if not data:
        out.write(_EOF, width)
        return out.finish()
    table: dict[int, int] = {}
    code = data[0]
    for literal in memoryview(data)[1:]:
        key = code << 8 | literal
        known = table.get(key)
        if known is not None:
            code = known
            continue
        out.write(code, width)
        code = literal
        width, last = _next_number(out, width, last)
        if last == _EOF:
            table.clear()
        else:
            table[key] = last
    out.write(code, width)
    width, _ = _next_number(out, width, last)
    out.write(_EOF, width)
    return out.finish()


def _next_number(out: _BitWriter, width: int, last: int) -> tuple[int, int]:
    """Step to the next string's number; with the table full, clear it and start over."""
    last += 1
    if last == 1 << width:
        width += 1
    if last == _MAX_CODE:
        out.write(_CLEAR, width)
        return _MIN_WIDTH, _EOF
    return width, last


def decompress(data: bytes | memoryview, limit: int) -> bytes:
    """Decompress to at most `limit` bytes.

    WireError TOO_LONG beyond that, COMPRESSION for an impossible code or a missing end.
    """
    table = list(_LITERALS)
    chunks: list[bytes] = []
    width, bits, count, size = _MIN_WIDTH, 0, 0, 0
    previous = b""
    for octet in data:
        bits |= octet << count
        count += 8
        if count < width:
            continue
        code = bits & ((1 << width) - 1)
        bits >>= width
        count -= width
        if code == _CLEAR:
            del table[_FIRST:]
            width, previous = _MIN_WIDTH, b""
            continue
        if code == _EOF:
            return b"".join(chunks)
        previous = _step(table, previous, code)
        if len(table) == 1 << width and width < _MAX_WIDTH:
            width += 1
        size += len(previous)
        if size > limit:
            raise WireError(Refusal.TOO_LONG)
        chunks.append(previous)
    raise WireError(Refusal.COMPRESSION)


def _step(table: list[bytes], previous: bytes, code: int) -> bytes:
    """Look `code` up and number the string it completes, while there is room for one."""
    room = previous and len(table) <= _MAX_CODE
    if code < len(table):
        entry = table[code]
        if room:
            table.append(previous + entry[:1])
        return entry
    if code > len(table) or not room:
        raise WireError(Refusal.COMPRESSION)
    # The one string used before it is known: the previous one and its own first byte again.
    entry = previous + previous[:1]
    table.append(entry)
    return entry
