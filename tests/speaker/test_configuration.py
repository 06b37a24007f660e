"""Changes on their way to the election: what fails costs no other, is shown, and is not lost."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, cast

import pytest

from kube.config import judge
from kube.objects.core import Endpoint, EndpointSlice, Node, Service
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.problem import FAULT
from kube.snapshot import Snapshot
from ownership.announcing.announcer import Announcer
from ownership.announcing.clients import Clients
from ownership.contact import Contact
from ownership.election.quorum import Quorum, QuorumMode
from ownership.ownership import Ownership
from plan.layer2 import Rules
from plan.planner import Planner
from plan.release import Options
from speaker import configuration
from speaker.configuration import Configuration
from speaker.metrics.collector import Figures
from speaker.wire.layer2 import Layer2
from speaker.wire.links import prepare

WITHIN = 10.0
"""Seconds after which a test hangs."""


class FaultyError(Exception):
    """Not a type that anybody expects."""


class Log:
    def __init__(self) -> None:
        self.problems: list[str] = []

    def error(self, event: str, **fields: Any) -> None:
        self.problems.append(fields["problem"])

    warning = debug = error


@dataclass
class Rig:
    """The real parts around a configuration, without a link."""

    heard: list[dict[str, Any]] = field(default_factory=list)
    services: dict[str, Service] = field(default_factory=dict)
    slices: dict[str, tuple[EndpointSlice, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log, self.woken = Log(), asyncio.Event()
        clients = Clients()
        contact = Contact(0.0, alone=True)
        announcer = Announcer(contact, clients, 0, 0)
        self.layer2 = Layer2(
            announcer, clients, time.monotonic, lambda now: None, cast(Any, self.log)
        )
        nobody: Any = None
        self.ownership = Ownership("n1", contact, announcer, nobody, Quorum(QuorumMode.OFF))
        self.figures = Figures("n1", self.layer2.stats, {}, lambda ip, service: False, dict)
        planner = Planner(Options(own_node="n1"))
        self.configuration = Configuration(
            planner,
            self.ownership,
            self.woken.set,
            self.layer2,
            self.figures,
            lambda links: None,
            cast(Any, self.log),
        )
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: self.heard.append(context))
        pools = [IPAddressPool("m", "pool", ("10.0.0.0/24",))]
        self.config, _ = judge(pools, [L2Advertisement("m", "l2", (), (), (), (), ())])

    def add(self, name: str, ip: str) -> None:
        """A service appears, and the source tells it."""
        key = f"a/{name}"
        self.services[key] = Service("a", name, "LoadBalancer", ingress=(ip,))
        self.slices[key] = (EndpointSlice("a", name, name, (Endpoint("n1", True, True),)),)
        snapshot = Snapshot(self.services, {"n1": Node("n1")}, self.slices, {}, self.config)
        self.configuration.take(snapshot, (), frozenset({key}))

    async def until(self, found: Callable[[], bool]) -> None:
        """Wait; the loop turns, and a thread makes filters meanwhile."""
        while not found():  # noqa: ASYNC110 - asks about several parts, none of which signals
            await asyncio.sleep(0)

    def knows(self, name: str) -> bool:
        return f"a/{name}" in self.ownership.plans()

    def errors(self) -> int:
        return self.figures.problems["error"]


def run(scenario: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    async def course() -> None:
        rig = Rig()
        async with asyncio.timeout(WITHIN):
            rig.add("one", "10.0.0.1")
            await rig.configuration.planned.wait()
            await scenario(rig)
        rig.configuration.close()

    asyncio.run(course())


def failing(real: Callable[..., Any], times: int) -> Callable[..., Any]:
    """Have a function raise that often, and then work as it did."""
    left = times

    def call(*arguments: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise FaultyError("injected")
        return real(*arguments)

    return call


@pytest.mark.parametrize("where", ["prepare", "set_service_ips", "_report"])
def test_a_change_is_not_lost_by_an_error_in_taking_it_over(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "PLAN_RETRY", 0.0)

    async def scenario(rig: Rig) -> None:
        owner: Any = {"prepare": configuration, "_report": rig.configuration}.get(where, rig.layer2)
        monkeypatch.setattr(owner, where, failing(getattr(owner, where), 3))
        rig.add("two", "10.0.0.2")
        await rig.until(lambda: len(rig.heard) == 3)
        await rig.until(lambda: not rig.figures.config_stale)
        assert rig.knows("two")
        assert rig.layer2._answering.service_ips == {ip_address("10.0.0.1"), ip_address("10.0.0.2")}
        assert {context["part"] for context in rig.heard} == {"planning"}
        assert rig.errors() == 0

    run(scenario)


def test_what_is_not_in_force_shows_in_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(rig: Rig) -> None:
        monkeypatch.setattr(configuration, "prepare", failing(prepare, 1))
        rig.add("two", "10.0.0.2")
        await rig.until(lambda: bool(rig.heard))
        assert rig.figures.config_stale
        assert rig.errors() == 1
        (problem,) = rig.configuration._stuck
        assert problem.object == "Service a/two"
        assert problem.message.startswith(FAULT)
        # Another change does not hide it.
        rig.add("three", "10.0.0.3")
        assert rig.figures.config_stale
        assert not rig.knows("two")

    run(scenario)


def test_one_service_that_cannot_be_taken_over_costs_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(rig: Rig) -> None:
        real = rig.ownership.set_plan

        def set_plan(service: str, plan: Any, reason: str) -> None:
            if service == "a/bad":
                raise FaultyError("injected")
            real(service, plan, reason)

        monkeypatch.setattr(rig.ownership, "set_plan", set_plan)
        rig.add("bad", "10.0.0.2")
        rig.add("good", "10.0.0.3")
        await rig.until(lambda: rig.knows("good"))
        await rig.until(lambda: bool(rig.log.problems))
        assert "Service a/bad" in rig.log.problems[0]
        assert not rig.knows("bad")
        assert rig.woken.is_set()
        assert rig.ownership.unfinished

    run(scenario)


def test_one_service_that_cannot_be_planned_keeps_its_last_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(rig: Rig) -> None:
        before = rig.ownership.plans()["a/one"]
        real = Rules.plan

        def plan(self: Rules, service: Service, slices: Any) -> Any:
            if service.name == "one":
                raise FaultyError("injected")
            return real(self, service, slices)

        monkeypatch.setattr(Rules, "plan", plan)
        rig.add("one", "10.0.0.9")
        rig.add("two", "10.0.0.2")
        await rig.until(lambda: rig.knows("two"))
        await rig.until(lambda: bool(rig.log.problems))
        assert rig.ownership.plans()["a/one"] == before
        (problem,) = rig.log.problems
        assert "Service a/one" in problem
        assert "injected" in problem
        assert rig.errors() == 1
        assert rig.heard == []

    run(scenario)


def test_rules_that_cannot_be_made_leave_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(rig: Rig) -> None:
        def broken(*_: Any) -> Any:
            raise FaultyError("injected")

        monkeypatch.setattr("plan.planner.general", broken)
        rig.config, _ = judge(
            [IPAddressPool("m", "pool", ("10.0.1.0/24",))],
            [L2Advertisement("m", "l2", (), (), (), (), ())],
        )
        rig.add("two", "10.0.0.2")
        await rig.until(lambda: rig.knows("two"))
        await rig.until(lambda: bool(rig.log.problems))
        assert "configuration" in rig.log.problems[0]
        assert rig.knows("one")

    run(scenario)
