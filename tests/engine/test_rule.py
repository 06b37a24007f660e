"""The rule by which daemons start and end together, told as it happens. No time passes."""

import pytest

from engine.daemons import Crew
from engine.rule import (
    ENDS_WITHIN,
    LONGEST_REST,
    OPENS_WITHIN,
    STEADY_AFTER,
    End,
    Order,
    Phase,
    Rule,
    Start,
)

BOTH = Crew((("mgmtd",), ("zebra",), ("bgpd", "bfdd")), True)
ALONE = Crew((("bgpd",),), False)


class Machine:
    """A rule and the daemons that obey it."""

    def __init__(self, crew: Crew) -> None:
        self.rule, self.now = Rule(crew), 0.0
        self.alive: set[str] = set()

    def orders(self) -> list[Order]:
        return self.rule.orders()

    def wanted(self, wanted: bool = True) -> list[Order]:
        self.rule.handle_wanted(wanted, self.now)
        return self.orders()

    def opened(self, *daemons: str) -> list[Order]:
        for name in daemons:
            self.rule.handle_open(name, self.now)
        return self.orders()

    def ended(self, *daemons: str) -> list[Order]:
        for name in daemons:
            self.rule.handle_exit(name, self.now)
        return self.orders()

    def told_to_end(self) -> list[Order]:
        self.rule.handle_end(self.now)
        return self.orders()

    def after(self, seconds: float) -> list[Order]:
        self.now += seconds
        self.rule.handle_timeout(self.now)
        return self.orders()

    def until_due(self) -> list[Order]:
        due = self.rule.deadline()
        assert due is not None
        return self.after(due - self.now)

    def running(self) -> "Machine":
        """Let all of them start."""
        self.wanted()
        while names := self.rule.awaited:
            self.opened(*names)
        assert self.rule.phase is Phase.RUNNING
        return self

    def all_end(self) -> list[Order]:
        """Let each that is told to end do so, and return what comes after the last."""
        self.ended("bgpd")
        return self.ended("zebra", "bfdd", "mgmtd")


@pytest.fixture
def machine() -> Machine:
    return Machine(BOTH)


def test_nothing_runs_that_nobody_wants(machine: Machine) -> None:
    assert machine.wanted(False) == machine.after(1000.0) == []
    assert (machine.rule.phase, machine.rule.deadline()) == (Phase.IDLE, None)


def test_each_stage_starts_when_the_one_before_listens(machine: Machine) -> None:
    assert machine.wanted() == [Start("mgmtd")]
    assert machine.rule.awaited == {"mgmtd"}
    assert machine.wanted() == []
    assert machine.opened("mgmtd") == [Start("zebra")]
    assert machine.opened("zebra") == [Start("bgpd"), Start("bfdd")]
    assert machine.opened("bfdd") == []
    assert machine.rule.awaited == {"bgpd"}
    assert machine.opened("bgpd") == []
    assert machine.rule.phase is Phase.RUNNING
    assert machine.rule.awaited == frozenset()


def test_a_socket_of_one_that_is_not_started_says_nothing(machine: Machine) -> None:
    machine.wanted()
    assert machine.opened("zebra") == []
    assert machine.opened("mgmtd") == [Start("zebra")]
    assert machine.rule.phase is Phase.STARTING


@pytest.mark.parametrize("victim", ["mgmtd", "zebra", "bfdd"])
def test_one_dead_daemon_ends_bgpd_then_all_then_all_start(machine: Machine, victim: str) -> None:
    machine.running()
    assert machine.ended(victim) == [End("bgpd")]
    others = [name for name in ("mgmtd", "zebra", "bfdd") if name != victim]
    assert machine.ended("bgpd") == [End(name) for name in others]
    assert machine.ended(others[0]) == []
    machine.ended(others[1])
    assert machine.until_due() == [Start("mgmtd")]
    assert machine.now == 0.0, "the first time it does not rest"


def test_where_bgpd_itself_dies_the_others_end_at_once(machine: Machine) -> None:
    machine.running()
    assert machine.ended("bgpd") == [End("mgmtd"), End("zebra"), End("bfdd")]


def test_bgpd_alone_is_a_crew_too() -> None:
    machine = Machine(ALONE).running()
    assert machine.ended("bgpd") == []
    assert machine.until_due() == [Start("bgpd")]


def test_who_does_not_end_is_killed_and_again(machine: Machine) -> None:
    machine.running()
    assert machine.wanted(False) == [End("bgpd")]
    assert machine.after(ENDS_WITHIN / 2) == []
    assert machine.until_due() == [End("bgpd", now=True)]
    assert machine.until_due() == [End("bgpd", now=True)]
    assert machine.ended("bgpd") == [End("mgmtd"), End("zebra"), End("bfdd")]
    machine.ended("mgmtd", "zebra")
    assert machine.until_due() == [End("bfdd", now=True)]


def test_who_has_no_socket_in_time_counts_as_dead(machine: Machine) -> None:
    machine.wanted()
    machine.opened("mgmtd")
    assert machine.after(OPENS_WITHIN / 2) == []
    assert machine.until_due() == [End("mgmtd"), End("zebra")]
    machine.ended("mgmtd", "zebra")
    assert machine.until_due() == [Start("mgmtd")]


def test_who_falls_again_and_again_rests_ever_longer(machine: Machine) -> None:
    machine.running()
    rests = []
    for _ in range(9):
        machine.ended("zebra")
        machine.all_end()
        began = machine.now
        machine.until_due()
        rests.append(machine.now - began)
        machine.opened("mgmtd")
    assert rests == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_REST, LONGEST_REST, LONGEST_REST]


def test_who_has_run_for_a_while_does_not_fall_again_and_again(machine: Machine) -> None:
    for _ in range(3):
        machine.running().after(STEADY_AFTER)
        machine.ended("zebra")
        machine.all_end()
        began = machine.now
        assert machine.until_due() == [Start("mgmtd")]
        assert machine.now == began
        machine.opened("mgmtd")
        machine.opened("zebra")
        machine.opened("bgpd", "bfdd")


def test_nobody_wants_it_while_it_rests(machine: Machine) -> None:
    machine.running()
    machine.ended("zebra")
    machine.all_end()
    assert machine.rule.phase is Phase.RESTING
    assert machine.wanted(False) == []
    assert (machine.rule.phase, machine.rule.deadline()) == (Phase.IDLE, None)


def test_wanted_again_while_it_ends(machine: Machine) -> None:
    """It ends first: two at a time would fight for the sockets."""
    machine.running()
    machine.wanted(False)
    assert machine.wanted() == []
    assert machine.all_end() == [Start("mgmtd")]


@pytest.mark.parametrize("daemons", [(), ("mgmtd",), ("mgmtd", "zebra")])
def test_nobody_wants_it_while_it_starts(machine: Machine, daemons: tuple[str, ...]) -> None:
    machine.wanted()
    for name in daemons:
        machine.opened(name)
    assert all(isinstance(order, End) for order in machine.wanted(False))
    machine.all_end()
    assert machine.rule.phase is Phase.IDLE


@pytest.mark.parametrize("moment", ["idle", "starting", "running", "stopping", "resting"])
def test_told_to_end_it_ends_all_whatever_it_does(machine: Machine, moment: str) -> None:
    if moment != "idle":
        machine.wanted()
    if moment in ("running", "stopping", "resting"):
        machine.running()
    if moment in ("stopping", "resting"):
        machine.ended("zebra")
    if moment == "resting":
        machine.all_end()
    assert machine.rule.phase == moment
    assert not any(isinstance(order, Start) for order in machine.told_to_end())
    machine.all_end()
    assert machine.rule.phase is Phase.ENDED
    assert machine.wanted() == machine.ended("bgpd") == machine.after(100.0) == []


def test_told_to_end_bgpd_is_first(machine: Machine) -> None:
    machine.running()
    assert machine.told_to_end() == [End("bgpd")]
    assert machine.told_to_end() == []
    assert machine.ended("bgpd") == [End("mgmtd"), End("zebra"), End("bfdd")]
