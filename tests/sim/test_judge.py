"""What clients see of a service IP, and what of it is too much."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ownership.election.election import order
from sim.failover import over_the_median
from sim.failover_scenarios import BEGIN, SCENARIOS, Cast
from sim.judge import Judge
from sim.record import Record, RunOutcome
from sim.scenario_table import AFTER, FailoverScenario
from sim.world.faults import Fault, FaultKind
from sim.world.observer import Seen
from sim.world.world import Setup, World

ONE, TWO = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
SCENARIO = FailoverScenario(
    what="", nodes=3, victims=1, silent=1.0, moves=2, dual=4, row=2, frames=5.0
)


def always(_mac: bytes) -> bool:
    return True


# ---- what is seen


def test_a_warm_client_goes_by_announcements_alone() -> None:
    seen = Seen()
    for mac in (ONE, ONE, TWO):
        seen.handle_announcement(mac)
    seen.answers.add(ONE)
    seen.judge(1.0, always)
    assert (seen.warm, seen.told, seen.frames) == (TWO, 1, 3)
    assert seen.judged == {ONE}


def test_an_outage_is_the_longest_time_in_which_its_machine_takes_nothing() -> None:
    seen = Seen()
    seen.handle_announcement(ONE)
    for now, works in ((1.0, True), (1.5, False), (2.0, False), (2.5, True), (3.0, False)):
        seen.judge(now, lambda mac, works=works: works and mac == ONE)  # type: ignore[misc]
    assert seen.outage == pytest.approx(1.0)


# ---- what is judged


Run = Callable[..., tuple[World, Judge]]


@pytest.fixture
def calm() -> Run:
    """Run a cluster in which nothing happens, judged as if the fault had."""

    def run(fault: Fault, scenario: FailoverScenario = SCENARIO) -> tuple[World, Judge]:
        setup = Setup(nodes=3, seed=1, services=3, failover_after=0.35, ask_interval=0.05)
        world = World(setup)
        orders = {ip: order(world.machines, str(ip)) for ip in world.service_ips}
        owners = tuple(sorted({ranking[0] for ranking in orders.values()}))
        judge = Judge(scenario, world, Cast(tuple(world.machines), owners, orders), [fault])
        world.start([])
        world.run(BEGIN)
        judge.begin()
        world.run(BEGIN + AFTER)
        return world, judge

    return run


ALL = Fault(BEGIN, FaultKind.POWER_OFF, ("n1", "n2", "n3"))
NOBODY = Fault(BEGIN, FaultKind.POWER_OFF, ("another",))
SERVING = Fault(BEGIN, FaultKind.KILL, ("n1", "n2", "n3"))


@pytest.mark.parametrize("fault", [ALL, NOBODY, SERVING], ids=["all", "nobody", "serving"])
def test_a_calm_run_breaks_nothing(calm: Run, fault: Fault) -> None:
    _, judge = calm(fault)
    assert judge.broken() == ()


@pytest.mark.parametrize(
    ("fault", "field", "most"),
    [
        (ALL, "silent", 1.0),
        (ALL, "outage", 1.0),
        (ALL, "moves", 2),
        (ALL, "told", 2),
        (ALL, "dual", 4),
        (ALL, "dual_run", 2),
        (NOBODY, "silent", 0.1),
        (NOBODY, "outage", 0.1),
        (NOBODY, "moves", 0),
        (NOBODY, "told", 0),
        (NOBODY, "dual", 0),
        (NOBODY, "dual_run", 0),
        (SERVING, "moves", 2),
        (SERVING, "told", 0),
    ],
)
def test_more_than_clients_may_notice_is_broken(
    calm: Run, fault: Fault, field: str, most: float
) -> None:
    world, judge = calm(fault)
    seen = world.observer.seen[world.service_ips[0]]
    setattr(seen, field, most)
    assert judge.broken() == ()
    setattr(seen, field, most + 1)
    (broken,) = judge.broken()
    assert broken.startswith(f"{world.service_ips[0]}: ")


def test_bystanders_may_have_two_answers_while_a_cut_heals(calm: Run) -> None:
    world, judge = calm(NOBODY, replace(SCENARIO, heals=True))
    seen = world.observer.seen[world.service_ips[0]]
    seen.dual = 4
    assert judge.broken() == ()
    seen.dual = 5
    assert len(judge.broken()) == 1


def test_bystanders_may_be_silent_for_as_long_as_the_scenario_says(calm: Run) -> None:
    world, judge = calm(NOBODY, replace(SCENARIO, bystanders=0.2))
    seen = world.observer.seen[world.service_ips[0]]
    seen.silent = 0.2
    assert judge.broken() == ()
    seen.silent = 0.25
    assert len(judge.broken()) == 1


def test_silence_is_judged_by_the_median_of_all_seeds_too() -> None:
    record = Record("power-off", "code")
    for seed, silent in enumerate((0.4, 0.5, 1.0)):
        record.add(RunOutcome("power-off", seed, silent, 0, 0, ()))
    assert list(over_the_median(record)) == []
    record.add(RunOutcome("power-off", 3, 0.55, 0, 0, ()))
    record.add(RunOutcome("power-off", 4, 0.55, 0, 0, ()))
    assert len(list(over_the_median(record))) == 1


def test_too_many_announcements_a_second_are_broken(calm: Run) -> None:
    world, judge = calm(ALL)
    seen = world.observer.seen[world.service_ips[0]]
    seen.frames += int(SCENARIO.frames * AFTER) + 1
    (broken,) = judge.broken()
    assert "announcements a second" in broken


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (frozenset(), "answered by 0 nodes in the end"),
        (frozenset({ONE, TWO}), "answered by 2 nodes in the end"),
        (frozenset({b"\x02\0\0\0\0\x09"}), "in the end"),
    ],
)
def test_in_the_end_the_owner_by_the_hash_answers_alone(
    calm: Run, answers: frozenset[bytes], text: str
) -> None:
    world, judge = calm(ALL)
    world.observer.seen[world.service_ips[0]].judged = answers
    (broken,) = judge.broken()
    assert text in broken


def test_a_heal_is_judged_by_the_median_of_all_seeds() -> None:
    record = Record("partition-2-2", "code")
    for seed, dual in enumerate((0, 6, 40)):
        record.add(RunOutcome("partition-2-2", seed, 0.0, 0, dual, ()))
    assert list(over_the_median(record)) == []
    record.add(RunOutcome("partition-2-2", 3, 0.0, 0, 7, ()))
    record.add(RunOutcome("partition-2-2", 4, 0.0, 0, 7, ()))
    assert len(list(over_the_median(record))) == 1
    other = replace(record, scenario="kill-120")
    assert SCENARIOS["kill-120"].median_dual is None
    assert list(over_the_median(other)) == []
