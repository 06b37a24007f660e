"""Every way in which a row can fail, and that a good one does not."""

from dataclasses import replace
from typing import Any

import pytest

from netnslab.course.limits import FAILOVER, MEMBERLIST, Limits
from netnslab.course.scenarios import SCENARIOS
from netnslab.results.verdict import Bystanders, Row, judge, judge_bystanders, judge_faults

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
    second_after="node-2",
    asked=180,
    late=2,
    answer_ms=0.5,
    busiest=6,
    newcomer="node-2",
    claimants=1,
    tcp_connects=90,
    handover_ms=100.0,
    exit_ms=300.0,
    exit_code=0,
    heal_dual_ms=0.0,
    heal_silent_ms=0.0,
)


def test_both_tables_know_every_scenario() -> None:
    assert set(FAILOVER) == set(MEMBERLIST) == set(SCENARIOS)


@pytest.mark.parametrize("limits", [*FAILOVER.values(), *MEMBERLIST.values()])
def test_a_good_row_passes_wherever_somebody_may_move(limits: Limits) -> None:
    calm = limits.claimants == 0
    row = replace(GOOD, moves=0, claimants=0) if calm else GOOD
    assert judge(row, limits) + judge_faults([row], limits) == []


@pytest.mark.parametrize(
    ("scenario", "change"),
    [
        ("power-off", {"dual_answer_ms": 50.0}),
        ("kill", {"lost": 1}),
        ("kill", {"tcp_failed": 1}),
        ("kill", {"noise": 1}),
        ("kill", {"dual_answer_ms": 50.0}),
        ("restart", {"tcp_reset": 1}),
        ("restart", {"dual_answer_ms": 150.0}),
        ("kill-120", {"noise": 1}),
        ("kill-120", {"moves": 3}),
        ("heir-stopped", {"noise": 1}),
        ("heir-stopped", {"tcp_reset": 1}),
        ("silent-8", {"heal_dual_ms": 150.0, "dual_answer_ms": 150.0}),
        ("silent-8", {"dual_answer_ms": 50.0}),
        ("silent-8", {"heal_dual_ms": None}),
        ("silent-60", {"heal_silent_ms": 250.0}),
        ("partition-2-2", {"heal_dual_ms": 2050.0, "dual_answer_ms": 2050.0}),
        ("partition-2-2", {"heal_dual_ms": 1900.0, "dual_answer_ms": 1950.0}),
        ("attacked", {"answer_p99_ms": 10.1}),
        ("attacked", {"moves": 2}),
        ("attacked", {"dual_answer_ms": 50.0}),
        ("stop", {"lost": 1}),
        ("stop", {"tcp_failed": 1}),
        ("stop", {"dual_answer_ms": 150.0}),
        ("stop", {"handover_ms": 1000.1}),
        ("stop", {"handover_ms": None}),
        ("stop", {"exit_ms": 2000.1}),
        ("stop", {"exit_ms": None}),
        ("stop", {"exit_code": -9}),
        ("stop-twice", {"exit_ms": 300.1}),
        ("freeze", {"dual_answer_ms": 150.0}),
        ("freeze", {"client_after": "node-1"}),
        ("thaw", {"early": True}),
        ("rolling", {"lost": 1}),
        ("blink-500", {"claimants": 2}),
        ("blink-500", {"moves": 3}),
        ("kill", {"owner_after": None}),
        ("kill", {"owner_after": "node-3"}),
        ("power-off", {"client_after": "node-1"}),
        ("power-off", {"client_after": None}),
        ("kill", {"takeover_ms": None}),
        ("power-off", {"second_after": "node-1"}),
        ("power-off", {"second_after": None}),
        ("power-off", {"answer_ms": 90.0}),
        ("kill", {"late": 90}),
        # Few questions, few late ones: a share alone would not do.
        ("stop", {"asked": 25, "late": 8}),
        ("blink-500", {"busiest": 20}),
    ],
)
def test_one_value_beyond_its_limit_fails_the_row(scenario: str, change: dict[str, Any]) -> None:
    failures = judge(replace(GOOD, **change), FAILOVER[scenario])
    assert len(failures) == 1
    assert failures[0].startswith("run 1 10.77.1.1: ")


@pytest.mark.parametrize("change", [{"moves": 1}, {"claimants": 1}, {"dual_answer_ms": 50.0}])
@pytest.mark.parametrize("scenario", ["blink-100", "loss", "quota", "gossip-cut", "freeze-1s"])
def test_calm_means_that_nobody_else_speaks(scenario: str, change: dict[str, Any]) -> None:
    calm = replace(GOOD, moves=0, claimants=0)
    assert judge(calm, FAILOVER[scenario]) == []
    assert len(judge(replace(calm, **change), FAILOVER[scenario])) == 1


@pytest.mark.parametrize(
    "change", [{"moves": 1}, {"claimants": 1}, {"lost": 1}, {"tcp_failed": 1}, {"tcp_reset": 1}]
)
@pytest.mark.parametrize("scenario", ["gossip-cut-120", "one-way", "echo-filtered-one"])
def test_what_nothing_may_touch_loses_nothing(scenario: str, change: dict[str, Any]) -> None:
    calm = replace(GOOD, moves=0, claimants=0)
    assert judge(calm, FAILOVER[scenario]) == []
    assert len(judge(replace(calm, **change), FAILOVER[scenario])) == 1


@pytest.mark.parametrize(
    ("heals", "failing"),
    [
        ([250.0, 300.0, 1950.0], False),
        ([250.0, 350.0, 350.0], True),
        # Of two heals a median says nothing.
        ([350.0, 350.0], False),
    ],
)
def test_groups_that_meet_again_know_it_soon_as_a_rule(heals: list[float], failing: bool) -> None:
    rows = [replace(GOOD, run=run, heal_dual_ms=dual) for run, dual in enumerate(heals)]
    failures = judge_faults(rows, FAILOVER["partition-2-2"])
    assert [failure.split()[1] for failure in failures] == ["median"] * failing


def test_the_client_may_go_on_by_way_of_a_node_whose_speaker_is_dead() -> None:
    assert judge(replace(GOOD, client_after="node-1"), FAILOVER["kill"]) == []


def faults(*outages: float) -> list[Row]:
    """One fault for each, of two IPs, the second of which was hardly hit."""
    return [
        replace(GOOD, run=run, ip=ip, outage_ms=outage / divisor)
        for run, outage in enumerate(outages)
        for ip, divisor in (("10.77.1.1", 1), ("10.77.1.2", 10))
    ]


@pytest.mark.parametrize(
    ("outages", "failing"),
    [
        ([500.0] * 3, []),
        ([400.0, 500.0, 1000.0], []),
        ([400.0, 501.0, 600.0], ["median"]),
        ([400.0, 400.0, 1001.0], ["p99"]),
        ([2000.0], ["median", "p99"]),
        # Of a hundred faults one may be the hundredth.
        ([400.0] * 99 + [9000.0], []),
        ([400.0] * 98 + [9000.0] * 2, ["p99"]),
    ],
)
def test_the_worst_ip_of_each_fault_counts(outages: list[float], failing: list[str]) -> None:
    failures = judge_faults(faults(*outages), FAILOVER["power-off"])
    assert [failure.split()[1] for failure in failures] == failing


def test_silence_obeys_the_same_bounds() -> None:
    rows = [replace(GOOD, silent_ms=1500.0)]
    assert len(judge_faults(rows, FAILOVER["power-off"])) == 2
    assert judge_faults(rows, FAILOVER["kill"]) == []
    assert judge_faults(rows, MEMBERLIST["power-off"]) == []


@pytest.mark.parametrize("scenario", ["loss", "quota", "power-off"])
def test_a_few_late_answers_fail_nobody(scenario: str) -> None:
    row = replace(GOOD, asked=25, late=3, answer_ms=5.0, moves=0, claimants=0)
    assert judge(row, FAILOVER[scenario]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"lost": 1},
        {"moves": 1},
        {"silent_ms": 50.1},
        {"claimants": 1},
        {"tcp_reset": 1},
        {"client_after": "node-1"},
        {"second_after": "node-1"},
        {"answer_ms": 90.0},
        {"late": 90},
        {"busiest": 20},
    ],
)
def test_bystanders_may_suffer_nothing(change: dict[str, Any]) -> None:
    limits = FAILOVER["power-off"]
    row = replace(GOOD, moves=0, claimants=0, silent_ms=0.0)
    calm = Bystanders().plus(row)
    assert judge_bystanders(calm, limits) == []
    assert len(judge_bystanders(calm.plus(replace(row, **change)), limits)) == 1


def test_an_ip_that_the_second_client_never_asked_for_misleads_nobody() -> None:
    row = replace(GOOD, moves=0, claimants=0, silent_ms=0.0, second_after=None)
    assert judge_bystanders(Bystanders().plus(row), FAILOVER["power-off"]) == []


def test_bystanders_of_an_attack_may_be_silent_for_a_moment_only() -> None:
    limits = FAILOVER["attacked"]
    row = replace(GOOD, moves=0, claimants=0, owner_before="node-2", lost=0, silent_ms=200.0)
    assert judge_bystanders(Bystanders().plus(row), limits) == []
    assert len(judge_bystanders(Bystanders().plus(replace(row, silent_ms=200.1)), limits)) == 1
