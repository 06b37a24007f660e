"""The MED falls at once and rises late."""

from dataclasses import replace

import pytest

from bgp.med_step import DAMPING, HOLD, MARGIN, RESTART, Med, MedStep
from kube.peering import Session

NOBODY = frozenset[str]()
A, B = frozenset({"a"}), frozenset({"b"})
SESSION = Session("tor", 64500, 64501, hold=90)
PLAIN, STEPPED, MIXED = Med.PLAIN, Med.STEPPED, Med.MIXED
Row = tuple[float, frozenset[str], bool, Med]


@pytest.fixture
def step() -> MedStep:
    made = MedStep()
    made.set_sessions([SESSION])
    return made


def play(step: MedStep, rows: list[Row]) -> None:
    """Tell of lives at each time, or nothing new, and compare the MED."""
    for now, gone, strangers, med in rows:
        while step.deadline() <= now:
            at = step.deadline()
            step.handle_timeout(at)
            assert step.deadline() > at
        step.handle_lives(gone, strangers, now)
        assert step.med is med, (now, gone, strangers)


def test_nothing_has_happened(step: MedStep) -> None:
    assert (step.med, step.deadline()) == (PLAIN, float("inf"))
    play(step, [(1, NOBODY, False, PLAIN)])
    assert step.deadline() == float("inf")


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(
            [
                (1, A, False, STEPPED),
                (5, NOBODY, False, STEPPED),
                (5 + DAMPING - 0.1, NOBODY, False, STEPPED),
                (5 + DAMPING, NOBODY, False, PLAIN),
            ],
            id="back: damped from its return",
        ),
        pytest.param(
            [
                (1, A, False, STEPPED),
                (5, NOBODY, False, STEPPED),
                (20, A, False, STEPPED),
                (25, NOBODY, False, STEPPED),
                (5 + DAMPING, NOBODY, False, STEPPED),
                (25 + DAMPING, NOBODY, False, PLAIN),
            ],
            id="flaps: one step in all",
        ),
        pytest.param(
            [
                (1, A, False, STEPPED),
                (91 + MARGIN - 0.1, A, False, STEPPED),
                (91 + MARGIN, A, False, PLAIN),
                (200, NOBODY, False, PLAIN),
            ],
            id="never back: until routers have dropped it; its return is no news then",
        ),
        pytest.param(
            [
                (1, A, False, STEPPED),
                (50, A | B, False, STEPPED),
                (91 + MARGIN, A | B, False, STEPPED),
                (140 + MARGIN, A | B, False, PLAIN),
            ],
            id="another one dies later",
        ),
        pytest.param(
            [
                (1, A, False, STEPPED),
                (50, B, False, STEPPED),
                (50 + DAMPING, B, False, STEPPED),
                (140 + MARGIN, B, False, PLAIN),
            ],
            id="one is back as another dies",
        ),
        pytest.param(
            [
                (1, A, False, STEPPED),
                (91 + MARGIN, A, False, PLAIN),
                (200, A | B, False, STEPPED),
                (210, A, False, STEPPED),
                (210 + DAMPING, A, False, PLAIN),
            ],
            id="who has been dropped is forgotten, others are not",
        ),
        pytest.param(
            [
                (1, NOBODY, True, MIXED),
                (2, A, True, MIXED),
                (500, A, True, MIXED),
            ],
            id="beside a stranger nothing steps",
        ),
        pytest.param(
            [
                (1, NOBODY, True, MIXED),
                (10, NOBODY, False, MIXED),
                (99 + MARGIN, NOBODY, False, MIXED),
                (100 + MARGIN, NOBODY, False, PLAIN),
            ],
            id="a stranger's routes may outlive it",
        ),
        pytest.param(
            [
                (1, NOBODY, True, MIXED),
                (10, NOBODY, False, MIXED),
                (60, A, False, MIXED),
                (100 + MARGIN, A, False, STEPPED),
                (150 + MARGIN, A, False, PLAIN),
            ],
            id="who died meanwhile still counts",
        ),
    ],
)
def test_the_med_falls_at_once_and_rises_late(step: MedStep, rows: list[Row]) -> None:
    play(step, rows)


@pytest.mark.parametrize(
    ("sessions", "outlasts"),
    [
        ([], HOLD),
        ([replace(SESSION, hold=None)], HOLD),
        ([SESSION, replace(SESSION, hold=3)], 90),
        ([replace(SESSION, graceful_restart=True)], 90 + RESTART),
        ([SESSION, replace(SESSION, hold=0)], float("inf")),
    ],
)
def test_routes_of_the_dead_last_as_long_as_the_longest_session(
    sessions: list[Session], outlasts: float
) -> None:
    step = MedStep()
    step.set_sessions(sessions)
    step.handle_lives(A, False, 1.0)
    assert step.deadline() == 1.0 + outlasts + MARGIN


def test_steps_are_counted_once_each(step: MedStep) -> None:
    for now, gone in ((1, A), (2, A | B), (3, A), (4, NOBODY), (4 + DAMPING, NOBODY), (50, B)):
        step.handle_lives(gone, False, now)
    assert step.steps == 2
