"""LZW and its wrapper: round trips across table overflows, and bombs."""

import random
from collections.abc import Callable, Iterator
from typing import Any, SupportsIndex

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.wire import compress, lzw
from gossip.wire.bites import BITE, PIECE, Bites
from gossip.wire.errors import Refusal, WireError
from machine import cost

LIMIT = 64 * 1024


def codes_as_bytes(codes: list[tuple[int, int]]) -> bytes:
    """Pack (code, width) pairs, least significant bit first."""
    value = at = 0
    for code, width in codes:
        value |= code << at
        at += width
    return value.to_bytes((at + 7) // 8, "little")


def refusal_of(data: bytes, limit: int = LIMIT) -> Refusal:
    with pytest.raises(WireError) as caught:
        lzw.decompress(data, limit)
    return caught.value.reason


@given(st.binary(max_size=2000) | st.text("ab", max_size=5000).map(str.encode))
def test_round_trip(data: bytes) -> None:
    assert lzw.decompress(lzw.compress(data), LIMIT) == data


@pytest.mark.parametrize("length", [3_836, 3_837, 3_838, 3_839, 3_840, 7_677, 20_000])
def test_round_trip_around_a_full_table(length: int) -> None:
    """Random bytes number a new string each, so the table is full after some 3,837 of them."""
    data = random.Random(length).randbytes(length)
    assert lzw.decompress(lzw.compress(data), LIMIT) == data


@pytest.mark.parametrize("length", [1, 2, 3, 50_000])
def test_round_trip_of_one_byte_repeated(length: int) -> None:
    data = b"a" * length
    assert lzw.decompress(lzw.compress(data), LIMIT) == data


def test_nothing_is_clear_and_end() -> None:
    assert lzw.compress(b"") == codes_as_bytes([(256, 9), (257, 9)])
    assert lzw.decompress(lzw.compress(b""), LIMIT) == b""


def test_a_stream_may_begin_without_a_clear_and_go_on_with_the_table_full() -> None:
    """Go's own decoder stops numbering at 4,096 strings and reads on at 12 bits."""
    codes, width = [], 9
    for count in range(5_000):
        codes.append((65 + count % 3, width))
        if min(257 + count + 1, 4096) == 1 << width and width < 12:
            width += 1
    data = lzw.decompress(codes_as_bytes([*codes, (257, 12)]), LIMIT)
    assert data == bytes(65 + count % 3 for count in range(5_000))


@pytest.mark.parametrize(
    ("codes", "wanted"),
    [
        ([], Refusal.COMPRESSION),
        ([(256, 9)], Refusal.COMPRESSION),
        ([(256, 9), (65, 9)], Refusal.COMPRESSION),
        ([(256, 9), (258, 9), (257, 9)], Refusal.COMPRESSION),
        ([(256, 9), (65, 9), (259, 9), (257, 9)], Refusal.COMPRESSION),
    ],
    ids=["empty", "no end", "no end after data", "unknown first", "number too high"],
)
def test_impossible_streams(codes: list[tuple[int, int]], wanted: Refusal) -> None:
    assert refusal_of(codes_as_bytes(codes)) is wanted


def test_the_limit_is_exact() -> None:
    packed = lzw.compress(b"a" * 1000)
    assert len(lzw.decompress(packed, 1000)) == 1000
    assert refusal_of(packed, 999) is Refusal.TOO_LONG


def test_a_bomb_stops_at_the_limit_at_once() -> None:
    bomb, whole = lzw.compress(bytes(4_000_000)), lzw.compress(bytes(LIMIT))
    assert len(bomb) < 10_000
    assert refusal_of(bomb) is Refusal.TOO_LONG
    assert cost(lambda: refusal_of(bomb)) < 4 * cost(lambda: lzw.decompress(whole, LIMIT))


def test_endless_clears_end_in_a_refusal() -> None:
    assert refusal_of(codes_as_bytes([(256, 9)] * 50_000)) is Refusal.COMPRESSION


class Counted(bytes):
    """Bytes that note how many of them have been looked at, in slices of them too."""

    seen = 0
    whole: "Counted | None" = None

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        found = super().__getitem__(at)
        if isinstance(found, int):
            return found
        part = Counted(found)
        part.whole = self
        return part

    def __iter__(self) -> Iterator[int]:
        counter = self.whole or self
        for octet in super().__iter__():
            counter.seen += 1
            yield octet


@pytest.mark.parametrize("codes", [[256], [256, 65], [256, 65, 258]], ids=str)
def test_a_table_cleared_again_and_again_ends_it_at_once(codes: list[int]) -> None:
    """What brings no output, or hardly any, is not bounded by how much that may be."""
    flood = Counted(codes_as_bytes([(code, 9) for code in codes * 20_000]))
    assert refusal_of(flood, 8 * 1024 * 1024) is Refusal.COMPRESSION
    assert flood.seen < 200


def test_no_more_codes_are_read_than_the_limit_can_need() -> None:
    packed = Counted(lzw.compress(random.Random(3).randbytes(200_000)))
    assert refusal_of(packed, 20_000) is Refusal.TOO_LONG
    assert packed.seen < 20_000 * 12 / 8 + 100


def test_an_encoder_may_clear_earlier_than_go_does() -> None:
    """A table begun anew every 1,024 codes is four times as often as when it is full."""
    codes: list[tuple[int, int]] = []
    for _ in range(50):
        codes.append((256, 11 if codes else 9))
        codes += [(65 + at % 2, 9 + (at > 254) + (at > 766)) for at in range(1_024)]
    text = lzw.decompress(codes_as_bytes([*codes, (257, 11)]), LIMIT)
    assert text == b"AB" * 512 * 50


def spans(bites: Bites[bytes], measure: Callable[[], int]) -> tuple[list[int], bytes]:
    """Do all of it; give what each bite has added to `measure`, and the result."""
    found, before = list[int](), measure()
    while True:
        try:
            next(bites)
        except StopIteration as end:
            return [*found, measure() - before], end.value
        found.append(measure() - before)
        before = measure()


@pytest.mark.parametrize("length", [0, 1, BITE - 1, BITE, BITE + 1, 5 * BITE + 7])
def test_bites_look_at_so_many_bytes_and_come_to_the_same(length: int) -> None:
    plain = Counted(random.Random(length).randbytes(length))
    looked_at, packed = spans(lzw.compressing(plain), lambda: plain.seen)
    assert max(looked_at) <= BITE
    assert sum(looked_at) == max(0, length - 1), "the first begins a string"
    assert packed == lzw.compress(bytes(plain))

    body = Counted(packed)
    looked_at, again = spans(lzw.decompressing(body, 6 * BITE), lambda: body.seen)
    assert max(looked_at) <= BITE
    assert sum(looked_at) == len(packed)
    assert again == plain


def test_a_bite_brings_little_output_however_well_it_compressed() -> None:
    """As many megabytes wait at once as there are streams, each with its first bite."""
    packed = lzw.compress(bytes(1_000_000))
    assert len(packed) < BITE
    bites, plain = spans(lzw.decompressing(packed, 1_000_000), lambda: 0)
    assert len(plain) == 1_000_000
    assert len(bites) > 1_000_000 / (lzw.OUTPUT_A_BITE + 4096)


@pytest.mark.parametrize("reason", [Refusal.TOO_LONG, Refusal.COMPRESSION])
def test_bites_end_in_the_same_refusal(reason: Refusal) -> None:
    packed = lzw.compress(random.Random(1).randbytes(50_000))
    data, limit = (packed, 49_999) if reason is Refusal.TOO_LONG else (packed[:-2], 60_000)
    with pytest.raises(WireError) as caught:
        spans(lzw.decompressing(data, limit), lambda: 0)
    assert caught.value.reason is reason


def test_wrapper_round_trip_and_its_form() -> None:
    wrapped = compress.wrap(b"\x08hello hello hello")
    assert wrapped.startswith(b"\x09\x82\xa4Algo\x00\xa3Buf")
    assert compress.unwrap(wrapped, LIMIT) == b"\x08hello hello hello"


def test_an_empty_message_is_never_wrapped() -> None:
    with pytest.raises(ValueError, match="empty"):
        compress.wrap(b"")


BODY = lzw.compress(b"\x08x")


@pytest.mark.parametrize(
    "items",
    [
        {b"Buf": BODY, b"Algo": 0},
        {b"Buf": BODY},
        {b"Buf": BODY, b"Algo": None},
        {b"Other": [{}, 1], b"Algo": 0, b"Buf": BODY},
        [0, BODY],
    ],
)
@pytest.mark.parametrize("use_bin_type", [False, True])
def test_wrapper_accepts_what_go_accepts(items: object, use_bin_type: bool) -> None:
    data = b"\x09" + msgpack.packb(items, use_bin_type=use_bin_type)
    assert compress.unwrap(data + b"trailing", LIMIT) == b"\x08x"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"\x09", Refusal.BAD_BODY),
        (b"\x09\xc0", Refusal.BAD_BODY),
        (b"\x09\x80", Refusal.BAD_BODY),
        (b"\x09" + msgpack.packb({b"Buf": [1]}), Refusal.BAD_BODY),
        (b"\x09" + msgpack.packb({b"Buf": BODY, b"Algo": [1]}), Refusal.BAD_BODY),
        (b"\x09" + msgpack.packb({b"Buf": BODY})[:-1], Refusal.BAD_BODY),
        (b"\x09" + msgpack.packb({b"Buf": BODY, b"Algo": 1}), Refusal.COMPRESSION),
        (b"\x09" + msgpack.packb({b"Buf": b"", b"Algo": 0}), Refusal.COMPRESSION),
        (b"\x09" + msgpack.packb({b"Buf": lzw.compress(b"")}), Refusal.EMPTY),
    ],
)
def test_wrapper_refuses(data: bytes, wanted: Refusal) -> None:
    with pytest.raises(WireError) as caught:
        compress.unwrap(data, LIMIT)
    assert caught.value.reason is wanted


@pytest.mark.parametrize("form", ["map", "array"])
def test_a_long_wrapper_is_read_piece_by_piece(form: str) -> None:
    """Whatever a later memberlist adds is passed over, and that takes time too."""
    text = random.Random(2).randbytes(3 * PIECE)
    body = lzw.compress(text)
    unknown = {b"A": [None] * 3 * PIECE, b"Algo": 0, b"Buf": body, b"Z": b"z" * 2 * PIECE}
    items = unknown if form == "map" else [0, body]
    data = b"\x09" + msgpack.packb(items, use_bin_type=False)
    bites, message = spans(compress.unwrapping(data, 4 * PIECE), lambda: 0)
    assert message == text
    assert len(bites) >= len(body) // BITE + (len(data) - PIECE) // PIECE
