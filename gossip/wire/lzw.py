"""LZW as Go's compress/lzw writes it: least significant bit first, 8-bit literals, 9 to 12 bits.

Code 256 clears the table, 257 ends the stream, strings are numbered from 258. A code's width grows
as soon as the next string's number needs it, without the early change of TIFF.
"""

from gossip.wire.bites import BITE, Bites, at_once
from gossip.wire.errors import Refusal, WireError

_CLEAR = 256
_EOF = 257
_FIRST = 258
_MIN_WIDTH = 9
_MAX_WIDTH = 12
_MIN_MASK = (1 << _MIN_WIDTH) - 1
_MAX_CODE = (1 << _MAX_WIDTH) - 1

SPARE_CLEARS = 16
"""How often the table may be cleared without need; the first code of a stream does."""
BYTES_A_CLEAR = 1_024
"""Bytes of output for each further time: Go's encoder clears a full table, which is after 3,838 at
least. With it no more codes are read than the limit of the output can need, and a few."""

OUTPUT_A_BITE = 32 * 1024
"""Bytes of output after which a bite of decompression ends early: a few bytes may mean megabytes,
and whoever has to wait after the first bite keeps them until it is his turn."""

_FLUSH_BITS = 256
_FLUSH_MASK = (1 << _FLUSH_BITS) - 1

_LITERALS = [bytes((value,)) for value in range(256)] + [b"", b""]


def compress(data: bytes) -> bytes:
    """Compress, byte for byte as Go does; empty input gives its 3-byte form of nothing."""
    return at_once(compressing(data))


def compressing(data: bytes) -> Bites[bytes]:
    """Compress in bites.

    Written flat, for it runs on every outgoing datagram: a call a code would triple its time.
    """
    out = bytearray()
    bits, count, width = _CLEAR, _MIN_WIDTH, _MIN_WIDTH
    table: dict[int, int] = {}
    last = _EOF
    code = data[0] if data else -1
    for start in range(1, len(data), BITE):
        if start > 1:
            yield
        for literal in data[start : start + BITE]:
            key = code << 8 | literal
            if key in table:
                code = table[key]
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
    clears, which bring no output.
    """
    return at_once(decompressing(data, limit))


def decompressing(data: bytes | memoryview, limit: int) -> Bites[bytes]:
    """Decompress in bites, of input and of output; flat, as `compressing` is. Raises WireError."""
    table = list(_LITERALS)
    done: list[bytes] = []
    chunks: list[bytes] = []
    width, bits, count, size, clears = _MIN_WIDTH, 0, 0, 0, 0
    mask, previous = _MIN_MASK, b""
    stop = min(limit, OUTPUT_A_BITE)
    for start in range(0, len(data), BITE):
        for octet in data[start : start + BITE]:
            bits |= octet << count
            count += 8
            if count < width:
                continue
            code = bits & mask
            bits >>= width
            count -= width
            if code == _CLEAR:
                clears += 1
                if (clears - SPARE_CLEARS) * BYTES_A_CLEAR > size:
                    raise WireError(Refusal.COMPRESSION)
                del table[_FIRST:]
                width, mask, previous = _MIN_WIDTH, _MIN_MASK, b""
                continue
            if code == _EOF:
                done += chunks
                return b"".join(done)
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
            if len(table) > mask and width < _MAX_WIDTH:
                width += 1
                mask = (1 << width) - 1
            previous = entry
            size += len(entry)
            chunks.append(entry)
            if size > stop:
                stop = _next_stop(size, limit)
                done.append(b"".join(chunks))
                chunks.clear()
                yield
        yield
    raise WireError(Refusal.COMPRESSION)


def _next_stop(size: int, limit: int) -> int:
    """Return the size of the output at which the next bite ends; WireError beyond the limit."""
    if size > limit:
        raise WireError(Refusal.TOO_LONG)
    return min(limit, size + OUTPUT_A_BITE)
