"""Whom gossip holds dead and who was heard is called, but not again and again."""

from itertools import pairwise

import pytest

from gossip.io import Address
from ownership.liveness.calls import ANEW, FIRST, LONGEST, MOST, Calls

B, C = Address("192.0.2.2", 7946), Address("192.0.2.3", 7946)


def heard_all_the_time(calls: Calls, start: float, end: float) -> list[float]:
    """Hear b ten times a second; return when it was called."""
    times = []
    for tick in range(round((end - start) * 10)):
        now = start + tick / 10
        calls.handle_sign_of_life("b", B, now)
        times += [now for address in calls.drain() if address == B]
    return times


def test_who_is_heard_is_called_at_once() -> None:
    calls = Calls()
    assert not calls.waiting
    calls.handle_sign_of_life("b", B, 1.0)
    calls.handle_sign_of_life("c", C, 1.0)
    assert calls.waiting
    assert calls.drain() == [B, C]
    assert not calls.waiting
    assert calls.drain() == []


def test_one_whose_address_is_not_known_cannot_be_called() -> None:
    calls = Calls()
    calls.handle_sign_of_life("b", None, 1.0)
    assert calls.drain() == []


def test_a_machine_without_its_speaker_is_called_ever_less() -> None:
    """Its kernel answers on and on."""
    times = heard_all_the_time(Calls(), 0.0, 40.0)
    steps = [later - before for before, later in pairwise(times)]
    # Ten times a second it is heard, so that a step may be longer by so much.
    expected = [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, 16 * FIRST] + [LONGEST] * 6
    assert steps[: len(expected)] == pytest.approx(expected, abs=0.11)


def test_one_that_is_heard_again_after_a_silence_is_called_anew() -> None:
    calls = Calls()
    heard_all_the_time(calls, 0.0, 10.0)
    calls.handle_sign_of_life("b", B, 10.0 + ANEW / 2)
    assert not calls.waiting
    calls.handle_sign_of_life("b", B, 10.0 + 2 * ANEW)
    assert calls.drain() == [B]
    assert heard_all_the_time(calls, 10.1 + 2 * ANEW, 11.0 + 2 * ANEW)


def test_one_that_lived_meanwhile_is_called_at_once_when_it_is_dead_again() -> None:
    calls = Calls()
    heard_all_the_time(calls, 0.0, 10.0)
    calls.forget("b")
    calls.forget("nobody")
    calls.handle_sign_of_life("b", B, 10.1)
    assert calls.drain() == [B]


def test_each_is_called_in_its_own_time() -> None:
    calls = Calls()
    heard_all_the_time(calls, 0.0, 10.0)
    calls.handle_sign_of_life("c", C, 10.0)
    assert calls.drain() == [C]


def test_no_more_than_so_many_are_remembered_the_oldest_go_first() -> None:
    calls = Calls()
    for number in range(MOST + 1):
        calls.handle_sign_of_life(f"n{number}", B, 1.0)
    calls.drain()
    calls.handle_sign_of_life("n1", B, 1.1)
    assert not calls.waiting
    calls.handle_sign_of_life("n0", B, 1.1)
    assert calls.waiting
