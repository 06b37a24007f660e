"""Every way in which a row can fail, and that a good one does not."""

from dataclasses import replace
from typing import Any

import pytest

from netnslab.verdict import LIMITS, Bystanders, Row, judge, judge_bystanders

GOOD = Row(
    run=1,
    victim="node-1",
    ip="10.77.1.1",
    sent=9000,
    lost=0,
    outage_ms=0.0,
    takeover_ms=100.0,
    silent_ms=100.0,
    dual_answer_ms=0.0,
    owner_before="node-1",
    owner_after="node-2",
    moves=1,
    expected="node-2",
    client_after="node-2",
    prober_gap_ms=0.0,
    exit_ms=300.0,
    exit_code=0,
)


@pytest.mark.parametrize("scenario", LIMITS)
def test_a_good_row_passes_everywhere(scenario: str) -> None:
    assert judge(GOOD, LIMITS[scenario]) == []


@pytest.mark.parametrize(
    ("scenario", "change"),
    [
        ("power-off", {"outage_ms": 8000.1}),
        ("power-off", {"silent_ms": 8000.1}),
        ("power-off", {"dual_answer_ms": 50.0}),
        ("kill", {"lost": 1}),
        ("kill", {"silent_ms": 8000.1}),
        ("kill", {"dual_answer_ms": 50.0}),
        ("stop", {"silent_ms": 500.1}),
        ("stop", {"dual_answer_ms": 250.0}),
        ("stop", {"exit_ms": 2000.1}),
        ("stop", {"exit_ms": None}),
        ("stop", {"exit_code": -9}),
        ("freeze", {"silent_ms": 8000.1}),
        ("freeze", {"dual_answer_ms": 250.0}),
        ("rejoin", {"silent_ms": 500.1}),
        ("rejoin", {"dual_answer_ms": 250.0}),
        ("kill", {"owner_after": None}),
        ("kill", {"owner_after": "node-3"}),
        ("kill", {"client_after": "node-1"}),
        ("kill", {"client_after": None}),
        ("kill", {"takeover_ms": None}),
    ],
)
def test_one_value_beyond_its_limit_fails_the_row(scenario: str, change: dict[str, Any]) -> None:
    failures = judge(replace(GOOD, **change), LIMITS[scenario])
    assert len(failures) == 1
    assert failures[0].startswith("run 1 10.77.1.1: ")


@pytest.mark.parametrize(("lost", "moves", "silent"), [(1, 0, 0.0), (0, 1, 0.0), (0, 0, 50.1)])
def test_bystanders_may_suffer_nothing(lost: int, moves: int, silent: float) -> None:
    calm = Bystanders().plus(0, 0, 0.0)
    assert judge_bystanders(calm) == []
    assert len(judge_bystanders(calm.plus(lost, moves, silent))) == 1
