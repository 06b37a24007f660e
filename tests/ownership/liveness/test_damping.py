"""Damping: a node that is judged gone again and again bars itself, for longer each time."""

import pytest

from ownership.liveness.damping import FIRST, LONGEST, SAME, WINDOW, Damping


def struck(*times: float) -> Damping:
    damping = Damping()
    for now in times:
        damping.handle_back("b", 1, now)
    return damping


def lasts(damping: Damping, now: float) -> float:
    """Return for how long from `now` on it is barred."""
    return damping.deadline() - now if damping.barred(now) else 0.0


def test_one_judgement_bars_nobody() -> None:
    damping = struck(100.0)
    assert not damping.barred(100.0)
    assert damping.deadline() == float("inf")


@pytest.mark.parametrize(
    ("apart", "barred"),
    [(SAME / 2, False), (SAME, True), (WINDOW, True), (WINDOW + 1.0, False)],
    ids=["told twice", "soon", "within the window", "after it"],
)
def test_two_judgements_bar_a_node_if_they_are_two_and_within_a_minute(
    apart: float, barred: bool
) -> None:
    now = 100.0 + apart
    assert lasts(struck(100.0, now), now) == (FIRST if barred else 0.0)


def test_it_ends_when_it_was_to() -> None:
    damping = struck(100.0, 103.0)
    assert damping.barred(103.0)
    assert damping.deadline() == 103.0 + FIRST
    assert damping.barred(103.0 + FIRST - 0.01)
    assert not damping.barred(103.0 + FIRST)
    assert damping.deadline() == float("inf")


def test_the_time_begins_anew_while_it_goes_on() -> None:
    """It does not get longer: a flap of some minutes would bar the node for the rest of the day."""
    damping = struck(*(100.0 + 3.0 * turn for turn in range(40)))
    assert lasts(damping, 217.0) == FIRST


def test_each_time_that_it_happens_soon_after_the_last_bar_it_is_for_twice_as_long() -> None:
    damping, now, found = struck(100.0), 103.0, []
    for _ in range(8):
        damping.handle_back("b", 1, now)
        found.append(lasts(damping, now))
        now += found[-1] + WINDOW - 1.0
    assert found == [10.0, 20.0, 40.0, 80.0, 160.0, LONGEST, LONGEST, LONGEST]


def test_after_a_quiet_time_it_begins_as_the_first_time() -> None:
    damping = struck(100.0, 103.0, 120.0)
    assert lasts(damping, 120.0) == 2 * FIRST
    later = 120.0 + 2 * FIRST + WINDOW + 1.0
    damping.handle_back("b", 1, later)
    assert not damping.barred(later)
    damping.handle_back("b", 1, later + 5.0)
    assert lasts(damping, later + 5.0) == FIRST


def test_what_several_witnesses_tell_of_one_judgement_is_one() -> None:
    damping = struck(100.0, 100.1, 100.3)
    assert not damping.barred(100.3)
    damping.handle_back("b", 1, 130.0)
    damping.handle_back("b", 1, 130.2)
    assert lasts(damping, 130.2) == pytest.approx(FIRST - 0.2)


def test_one_of_several_others_bars_nobody() -> None:
    """Whoever has the key could else bar a node for good."""
    damping = Damping()
    for now in (100.0, 103.0, 106.0, 109.0):
        damping.handle_back("b", 2, now)
        assert not damping.barred(now)
    for now in (112.0, 115.0):
        damping.handle_back("b", 2, now)
        damping.handle_back("c", 2, now + 0.3)
    assert damping.barred(115.3)


def test_two_that_speak_of_different_times_are_two_single_ones() -> None:
    damping = Damping()
    for now in (100.0, 110.0, 120.0):
        damping.handle_back("b", 2, now)
        damping.handle_back("c", 2, now + SAME + 0.1)
    assert not damping.barred(122.0)
