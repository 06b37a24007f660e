"""Label and CRC headers."""

import pytest

from gossip.wire import crc, label
from gossip.wire.errors import Refusal, WireError

PAYLOADS = [b"\x00ping", b"\x0derr", b"\x0a\x00\x00\x00\x20sealed", b"\x01sealed datagram"]


def refusal_of(data: bytes, wanted: bytes) -> Refusal:
    with pytest.raises(WireError) as caught:
        label.strip(data, wanted)
    return caught.value.reason


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("tag", [b"", b"x", b"speakers", b"L" * 255])
def test_round_trip_and_overhead(tag: bytes, payload: bytes) -> None:
    data = label.add(tag, payload)
    assert len(data) - len(payload) == label.overhead(tag) == (2 + len(tag) if tag else 0)
    assert bytes(label.strip(data, tag)) == payload


def test_too_long_a_label_is_never_sent() -> None:
    with pytest.raises(ValueError, match="255"):
        label.add(b"L" * 256, b"x")


@pytest.mark.parametrize(
    ("data", "tag", "wanted"),
    [
        (b"", b"", Refusal.EMPTY),
        (b"", b"tag", Refusal.EMPTY),
        (b"\xf4", b"tag", Refusal.TRUNCATED),
        (b"\xf4\x03ta", b"tag", Refusal.TRUNCATED),
        (b"\xf4\x00", b"tag", Refusal.LABEL),
        (b"\xf4\x00x", b"", Refusal.LABEL),
        (b"\xf4\x03tagx", b"", Refusal.LABEL),
        (b"\xf4\x03tugx", b"tag", Refusal.LABEL),
        (b"\xf4\x04tagsx", b"tag", Refusal.LABEL),
        (b"\x00ping", b"tag", Refusal.LABEL),
    ],
)
def test_refused(data: bytes, tag: bytes, wanted: Refusal) -> None:
    assert refusal_of(data, tag) is wanted


def test_a_header_in_pieces_is_known_as_soon_as_it_can_be() -> None:
    assert [label.measure(b"\xf4\x03tagx"[:end], b"tag") for end in range(7)] == [None] * 5 + [5, 5]
    with pytest.raises(WireError):
        label.measure(b"\xf4\x03tu", b"tag")


def test_crc_is_five_bytes_in_front() -> None:
    data = crc.add(b"hello")
    assert len(data) == 10
    assert data == b"\x0c\x36\x10\xa6\x86hello"
    assert bytes(crc.strip(data)) == b"hello"


@pytest.mark.parametrize("at", range(1, 10))
def test_a_flipped_bit_is_found(at: int) -> None:
    data = bytearray(crc.add(b"hello"))
    data[at] ^= 1
    with pytest.raises(WireError) as caught:
        crc.strip(bytes(data))
    assert caught.value.reason is Refusal.BAD_CRC


@pytest.mark.parametrize("data", [b"\x0c", b"\x0c\x00\x00\x00"])
def test_a_short_crc_header_is_refused(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        crc.strip(data)
    assert caught.value.reason is Refusal.TRUNCATED
