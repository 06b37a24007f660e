"""Compounds: what upstream's own tests check, and the edges of the length table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.wire import body, compound
from gossip.wire.errors import Refusal, WireError
from gossip.wire.messages import Ping


def split(data: bytes) -> tuple[list[bytes], int]:
    parts, truncated = compound.unpack(data)
    return list(map(bytes, parts)), truncated


def test_three_messages_cost_two_bytes_and_two_each() -> None:
    ping = body.encode(Ping("", 42))
    packed = compound.pack([ping, ping, ping])
    assert len(packed) == 2 + 3 * 2 + 3 * len(ping)
    assert split(packed) == ([ping, ping, ping], 0)


def test_cut_in_the_third_part_gives_two_and_one_lost() -> None:
    ping = body.encode(Ping("", 42))
    assert split(compound.pack([ping, ping, ping])[:-1]) == ([ping, ping], 1)


@pytest.mark.parametrize("data", [b"", b"\x07", b"\x07\x80", b"\x07\x02\x00\x01\x00"])
def test_short_length_table_is_refused(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        compound.unpack(data)
    assert caught.value.reason is Refusal.TRUNCATED


def test_no_parts_is_legal_and_trailing_bytes_are_ignored() -> None:
    assert split(b"\x07\x00after") == ([], 0)


@pytest.mark.parametrize("parts", [[b"a"] * 256, [b""], [b"a" * 65_536]])
def test_never_packed(parts: list[bytes]) -> None:
    with pytest.raises(ValueError, match="part"):
        compound.pack(parts)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=255))
def test_parts_come_back(parts: list[bytes]) -> None:
    assert split(compound.pack(parts)) == (parts, 0)
