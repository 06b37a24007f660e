"""Who may hold a stream, and how many bytes of it: the core alone, in virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.slots import (
    KEPT_STREAMS,
    KNOWN_BYTES,
    MAX_STREAMS,
    STRANGER_BYTES,
    STRANGERS_BYTES,
    STREAMS_A_SOURCE,
    Cut,
    Slots,
)
from gossip.wire.packet import MAX_STREAM

KIB = 1024


def crowd(slots: Slots, count: int, *, known: bool, began: float = 0.0) -> list[int]:
    """So many idle connections, each from an address of its own, each later than the one before."""
    kind = "known" if known else "stranger"
    return [
        slots.handle_accepted(f"{kind}-{began}-{index}", known, began + index)
        for index in range(count)
    ]


def test_a_source_has_so_many_and_its_idlest_goes_for_the_next() -> None:
    slots = Slots()
    first, second, *others = [
        slots.handle_accepted("a", True, float(now)) for now in range(STREAMS_A_SOURCE)
    ]
    assert slots.handle_piece(first, 1, None, 100.0)
    newest = slots.handle_accepted("a", True, 101.0)
    assert slots.evictions() == [second]
    assert slots.evictions() == []
    assert all(number in slots for number in (first, *others, newest))
    assert slots.cuts == {Cut.SOURCE_CROWDED: 1}


def test_a_source_that_is_full_costs_no_other_one_anything() -> None:
    slots = Slots()
    others = crowd(slots, 10, known=False)
    for _ in range(1_000):
        slots.handle_accepted("mallory", False, 50.0)
    assert all(number in slots for number in others)
    assert len(slots) == 10 + STREAMS_A_SOURCE


def test_of_strangers_the_idlest_goes_and_not_the_newcomer() -> None:
    slots = Slots()
    first, second, *_ = crowd(slots, MAX_STREAMS - KEPT_STREAMS, known=False)
    assert slots.handle_piece(first, 1, None, 1_000.0)
    newcomer = slots.handle_accepted("joiner", False, 1_001.0)
    assert slots.evictions() == [second]
    assert newcomer in slots
    assert slots.cuts == {Cut.CROWDED: 1}


def test_strangers_leave_room_for_members() -> None:
    slots = Slots()
    members = crowd(slots, KEPT_STREAMS, known=True)
    crowd(slots, 2 * MAX_STREAMS, known=False, began=500.0)
    assert len(slots) == MAX_STREAMS
    assert all(number in slots for number in members)


def test_a_member_takes_the_place_of_a_stranger_and_then_of_the_idlest_member() -> None:
    slots = Slots()
    members = crowd(slots, MAX_STREAMS - 1, known=True)
    stranger = slots.handle_accepted("stranger", False, 9_000.0)
    slots.handle_accepted("one more", True, 9_001.0)
    slots.handle_accepted("and one", True, 9_002.0)
    assert slots.evictions() == [stranger, members[0]]
    assert len(slots) == MAX_STREAMS


def test_a_dial_of_ours_takes_nobodys_place() -> None:
    slots = Slots()
    others = crowd(slots, MAX_STREAMS, known=True)
    slots.handle_dialled("peer", 1_000.0)
    assert slots.evictions() == []
    assert all(number in slots for number in others)


@pytest.mark.parametrize(
    ("known", "length", "cut"),
    [
        (False, STRANGER_BYTES, None),
        (False, STRANGER_BYTES + 1, Cut.STRANGER_LONG),
        (True, KNOWN_BYTES, None),
        (True, KNOWN_BYTES + 1, Cut.BUDGET),
    ],
)
def test_an_announced_length_is_judged_before_it_is_here(
    known: bool, length: int, cut: Cut | None
) -> None:
    slots = Slots()
    number = slots.handle_accepted("a", known, 0.0)
    assert slots.handle_piece(number, 5, length, 0.0) is (cut is None)
    assert slots.cuts == ({cut: 1} if cut else {})
    assert (number in slots) is (cut is None)


def test_a_strangers_streams_are_counted_together() -> None:
    slots = Slots()
    for _ in range(4):
        number = slots.handle_accepted("a", False, 0.0)
        assert slots.handle_piece(number, STRANGER_BYTES // 4, None, 0.0)
    last = slots.handle_accepted("a", False, 0.0)
    assert not slots.handle_piece(last, 1, None, 0.0)
    assert slots.cuts == {Cut.STRANGER_LONG: 1}


def test_strangers_together_cannot_keep_a_joiner_out() -> None:
    slots = Slots()
    for number in crowd(slots, 50, known=False):
        slots.handle_piece(number, STRANGER_BYTES, None, 100.0)
    joiner = slots.handle_accepted("joiner", False, 200.0)
    assert slots.handle_piece(joiner, 170, 170, 200.0)
    assert slots.held() <= STRANGERS_BYTES
    assert slots.cuts[Cut.BUDGET] > 40


def test_the_member_that_holds_most_gives_way() -> None:
    slots = Slots()
    greedy = [slots.handle_accepted("greedy", True, 0.0) for _ in range(STREAMS_A_SOURCE)]
    for number in greedy:
        assert slots.handle_piece(number, KNOWN_BYTES // STREAMS_A_SOURCE, None, 1.0)
    honest = slots.handle_accepted("honest", True, 2.0)
    assert slots.handle_piece(honest, 600 * KIB, 600 * KIB, 2.0)
    assert set(slots.evictions()) < set(greedy)
    assert slots.held() <= KNOWN_BYTES


def test_one_that_holds_most_itself_is_cut() -> None:
    slots = Slots()
    small = slots.handle_accepted("small", True, 0.0)
    assert slots.handle_piece(small, KIB, None, 0.0)
    large = slots.handle_accepted("large", True, 0.0)
    assert not slots.handle_piece(large, KNOWN_BYTES, None, 0.0)
    assert slots.evictions() == [large]
    assert small in slots


def test_replies_that_we_asked_for_are_in_the_budget() -> None:
    slots = Slots()
    reply = slots.handle_dialled("peer", 0.0)
    assert slots.handle_piece(reply, KNOWN_BYTES, KNOWN_BYTES, 0.0)
    member = slots.handle_accepted("member", True, 0.0)
    assert slots.handle_piece(member, KIB, KIB, 0.0)
    assert slots.evictions() == [reply]


def test_what_has_ended_is_forgotten_and_counted_once() -> None:
    slots = Slots()
    number = slots.handle_accepted("a", False, 0.0)
    slots.handle_piece(number, KIB, None, 0.0)
    slots.handle_end(number, Cut.SLOW)
    slots.handle_end(number, Cut.FAILED)
    assert not slots.handle_piece(number, KIB, None, 0.0)
    assert (len(slots), slots.held(), slots.cuts) == (0, 0, {Cut.SLOW: 1})


def test_all_together_is_no_more_than_one_stream_may_have() -> None:
    assert KNOWN_BYTES + STRANGERS_BYTES <= MAX_STREAM


_STEPS = st.tuples(
    st.sampled_from(["accept", "dial", "piece", "end"]),
    st.integers(0, 200),
    st.integers(0, 2 * KNOWN_BYTES),
)


@given(st.lists(_STEPS, max_size=300))
def test_whatever_comes_no_limit_is_passed(steps: list[tuple[str, int, int]]) -> None:
    slots, numbers, now = Slots(), [0], 0.0
    for what, which, size in steps:
        now += 0.01
        source, known = f"s{which % 40}", which % 40 < 20
        if what == "accept":
            numbers.append(slots.handle_accepted(source, known, now))
        elif what == "dial":
            numbers.append(slots.handle_dialled(source, now))
        elif what == "piece":
            slots.handle_piece(numbers[which % len(numbers)], size, None, now)
        else:
            slots.handle_end(numbers[which % len(numbers)])
        assert slots.held() <= KNOWN_BYTES + STRANGERS_BYTES
        assert not any(number in slots for number in slots.evictions())
