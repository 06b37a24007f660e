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

SPARE_CLEARS = 16
"""How often the table may be cleared without need; the first code of a stream does."""
BYTES_A_CLEAR = 1_024
"""Bytes of output for each further time: Go's encoder clears a full table, which is after 3,838 at
least. With it no more codes are read than the limit of the output can need, and a few."""

_FLUSH_BITS = 256
_FLUSH_MASK = (1 << _FLUSH_BITS) - 1

_LITERALS = [bytes((value,)) for value in range(256)] + [b"", b""]


def compress(data: bytes) -> bytes:
    """Compress, byte for byte as Go does; empty input gives its 3-byte form of nothing.

    Written flat, for it runs on every outgoing datagram: a call a code would triple its time.
    """
    out = bytearray()
    bits, count, width = _CLEAR, _MIN_WIDTH, _MIN_WIDTH
    table: dict[int, int] = {}
    last = _EOF
    code = -1
    for literal in data:
        key = code << 8 | literal
        if code < 0 or key in table:
            code = literal if code < 0 else table[key]
            continue
        bits |= code << count
        count += width
        code = literal
        last += 1
        if last == 1 << width:
            width += 1
        if last < _MAX_CODE:
            table[key] = last
        else:
            bits |= _CLEAR << count
            count += width
            width, last = _MIN_WIDTH, _EOF
            table.clear()
        if count >= _FLUSH_BITS:
            out += (bits & _FLUSH_MASK).to_bytes(_FLUSH_BITS // 8, "little")
            bits >>= _FLUSH_BITS
            count -= _FLUSH_BITS
    if code >= 0:
        bits, count, width = _last_code(bits, count, width, last, code)
    bits |= _EOF << count
    count += width
    return bytes(out) + bits.to_bytes((count + 7) // 8, "little")


def _last_code(bits: int, count: int, width: int, last: int, code: int) -> tuple[int, int, int]:
    """Write the code still held; it too takes a number, which may widen the end code or clear."""
    bits |= code << count
    count += width
    if last + 1 == 1 << width:
        width += 1
    if last + 1 == _MAX_CODE:
        return bits | _CLEAR << count, count + width, _MIN_WIDTH
    return bits, count, width


def decompress(data: bytes | memoryview, limit: int) -> bytes:
    """Decompress to at most `limit` bytes.

    WireError TOO_LONG beyond that, COMPRESSION for an impossible code, a missing end or too many
    clears, which bring no output. Flat, as `compress` is: the table of a large cluster holds the
    loop for as long as this takes.
    """
    table = list(_LITERALS)
    chunks: list[bytes] = []
    width, bits, count, size, clears = _MIN_WIDTH, 0, 0, 0, 0
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
            clears += 1
            if (clears - SPARE_CLEARS) * BYTES_A_CLEAR > size:
                raise WireError(Refusal.COMPRESSION)
            del table[_FIRST:]
            width, previous = _MIN_WIDTH, b""
            continue
        if code == _EOF:
            return b"".join(chunks)
        known = len(table)
        room = previous and known <= _MAX_CODE
        if code < known:
            entry = table[code]
            if room:
                table.append(previous + entry[:1])
        elif code == known and room:
            # The one string used before it is known: the previous one and its first byte again.
            entry = previous + previous[:1]
            table.append(entry)
        else:
            raise WireError(Refusal.COMPRESSION)
        if len(table) == 1 << width and width < _MAX_WIDTH:
            width += 1
        previous = entry
        size += len(entry)
        if size > limit:
            raise WireError(Refusal.TOO_LONG)
        chunks.append(entry)
    raise WireError(Refusal.COMPRESSION)
