"""Kernels that stop answering echo requests though their nodes live: what a letter proves."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import pairwise

import pytest

from echo_wire import ETH0, IPS, TIMING, B, C, Wire, silent_from
from ownership.liveness.kernels import DISARMED, LONGEST_DISARMED, SLOWEST
from ownership.liveness.targets import KernelState, TargetKey


def always(key: TargetKey, now: float) -> bool:
    """Every letter is answered."""
    return True


def filtering(at: float, until: float = 1e9) -> Wire:
    """B's firewall drops echo requests from `at` on; its speaker lives."""
    return Wire(silent_from(at, B, until=until), writes=always)


# ---- one letter


def test_who_has_been_in_doubt_for_half_the_time_is_asked_by_letter_before_it_is_missed() -> None:
    wire = Wire(silent_from(5.0, B))
    wire.run(6.0)
    [(missed, _)] = wire.missed
    times = [at for at, key in wire.asked if key == B]
    assert len(times) >= 3
    assert min(times) >= 5.0 + TIMING.patience / 2
    assert max(times) < missed
    assert {key for _, key in wire.asked} == {B}


def test_who_answers_echoes_is_asked_for_no_letter() -> None:
    wire = Wire(writes=always)
    wire.run(10.0)
    assert wire.asked == wire.filtered == []


def test_a_letter_is_a_sign_of_life() -> None:
    wire = Wire(silent_from(5.0, B))
    wire.run(6.0)
    assert wire.watch.missing() == {B}
    assert wire.watch.handle_answer("b", IPS[B], 6.0) == [B]
    assert wire.watch.missing() == frozenset()
    assert wire.watch.kernel("b", ETH0, 6.0) is KernelState.ANSWERS


def test_after_a_letter_earlier_silence_counts_no_more() -> None:
    """Else it would be missed again before it could answer the next request."""
    wire = Wire(silent_from(5.0, B, until=6.0))
    wire.run(6.0)
    wire.watch.handle_answer("b", IPS[B], 6.0)
    wire.watch.handle_timeout(wire.watch.deadline())
    assert wire.watch.missing() == frozenset()


@pytest.mark.parametrize(
    ("name", "ip"),
    [("b", IPv4Address("10.0.0.2")), ("b", IPS[C]), ("c", IPS[B]), ("nobody", IPS[B])],
    ids=["another link", "another's address", "another", "nobody we know"],
)
def test_a_letter_from_elsewhere_proves_nothing_of_this_link(name: str, ip: IPv4Address) -> None:
    wire = Wire(silent_from(5.0, B))
    wire.run(6.0)
    assert wire.watch.handle_answer(name, ip, 6.0) == []
    assert wire.watch.missing() == {B}


# ---- filtered


def test_one_that_answers_two_letters_and_no_echo_is_filtered_and_never_missed() -> None:
    wire = filtering(5.0)
    wire.run(5.0 + DISARMED)
    assert wire.missed == []
    [(found, who)] = wire.filtered
    assert who == B
    assert found - 5.0 <= 2 * TIMING.patience
    assert len(wire.asked) == 2


@pytest.mark.parametrize("times", [1, 20])
def test_one_that_answers_echoes_between_its_letters_is_not_filtered(times: int) -> None:
    """Somebody's network drops a quarter of a second now and then."""

    def answers(key: TargetKey, now: float) -> bool:
        bursts = (5.0 + 2.0 * turn for turn in range(times))
        return key != B or not any(at <= now < at + 0.25 for at in bursts)

    wire = Wire(answers, writes=always)
    wire.run(50.0)
    assert len(wire.asked) >= times
    assert wire.filtered == wire.missed == []


def test_a_letter_that_nobody_had_to_ask_for_is_none_of_the_two() -> None:
    wire = filtering(5.0)
    wire.run(5.0)
    wire.watch.handle_answer("b", IPS[B], 5.0)
    wire.run(6.0)
    assert len(wire.asked) == 2


def test_a_letter_out_of_doubt_says_nothing_of_a_filter() -> None:
    wire = Wire()
    wire.run(5.0)
    for turn in range(10):
        wire.watch.handle_answer("b", IPS[B], 5.0 + turn / 10)
        wire.run(5.0 + (turn + 1) / 10)
    assert wire.filtered == []
    wire.answers = silent_from(6.0, B)
    wire.run(7.0)
    assert [who for _, who in wire.missed] == [B]


def test_a_missed_one_that_writes_is_filtered_if_it_writes_once_more_without_an_echo() -> None:
    wire = Wire(silent_from(5.0, B))
    wire.run(6.0)
    wire.watch.handle_answer("b", IPS[B], 6.0)
    assert wire.filtered == []
    before = len(wire.asked)
    wire.writes = always
    wire.run(7.0)
    assert [who for _, who in wire.filtered] == [B]
    assert len(wire.asked) == before + 1
    assert wire.watch.missing() == frozenset()


def test_two_letters_that_come_together_are_one() -> None:
    wire = Wire(silent_from(5.0, B))
    wire.run(6.0)
    for _ in range(3):
        wire.watch.handle_answer("b", IPS[B], 6.0)
    wire.step(6.02)
    assert wire.filtered == []


def test_a_new_life_is_not_found_filtered_for_the_old_one() -> None:
    wire = Wire(silent_from(5.0, B))
    wire.run(6.0)
    wire.watch.handle_answer("b", IPS[B], 6.0)
    wire.watch.recheck("b")
    wire.run(6.0 + 0.6 * TIMING.patience + TIMING.interval)
    wire.watch.handle_answer("b", IPS[B], 6.3)
    wire.step(6.4)
    assert wire.filtered == []


# ---- how long


@dataclass
class Limited:
    """A kernel that answers once soon after it was found filtered, and once more when that time is
    over; no other request."""

    found: list[tuple[float, TargetKey]] = field(default_factory=list)
    given: int = 0

    def lasts(self) -> list[float]:
        return [min(DISARMED * 2**turn, LONGEST_DISARMED) for turn in range(len(self.found))]

    def answers(self, key: TargetKey, now: float) -> bool:
        if not self.found:
            return now < 5.0
        due = self.found[-1][0] + (self.lasts()[-1] if self.given % 2 else 0.0)
        answers = self.given < 2 * len(self.found) and now >= due
        self.given += answers
        return answers


def test_each_time_one_is_disarmed_for_twice_as_long_up_to_ten_minutes() -> None:
    """Answers before that is over arm nobody: a kernel that is limited gives some now and then."""
    kernel = Limited()
    wire = Wire(kernel.answers, nodes=(B,), writes=always)
    kernel.found = wire.filtered
    wire.run(3_500.0)
    assert wire.missed == []
    steps = [after[0] - before[0] for before, after in pairwise(wire.filtered)]
    assert len(steps) >= 8
    for step, lasts in zip(steps, kernel.lasts(), strict=False):
        assert lasts <= step <= lasts + SLOWEST + 3.0


def test_one_whose_filter_is_gone_is_missed_again_when_it_dies() -> None:
    wire = filtering(5.0, until=8.0)
    wire.run(100.0)
    assert [who for _, who in wire.filtered] == [B]
    wire.answers = silent_from(100.0, B)
    wire.writes = lambda key, now: False
    wire.run(101.0)
    assert [who for _, who in wire.missed] == [B]
