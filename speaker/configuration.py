"""From snapshots of the source to the plans that are elected: in bites, and the filters first."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from kube.problem import Problem, Severity
from kube.snapshot import Snapshot
from speaker import interpreter
from speaker.changes import Changes
from speaker.desired import ServicePlan
from speaker.election import Election
from speaker.later import JOBS_A_TURN
from speaker.layer2 import Layer2, prepare
from speaker.metrics import Figures
from speaker.planner import Planner
from speaker.witness import links_needed

PLANS_A_TURN = 100
"""How many plans one turn takes over: half a millisecond."""

OnNeeded = Callable[[frozenset[str] | None], None]


class Configuration:
    """Takes snapshots; `planned` is set when the first one is planned."""

    def __init__(
        self,
        planner: Planner,
        changes: Changes,
        layer2: Layer2,
        election: Election,
        figures: Figures,
        on_needed: OnNeeded,
        log: Any,
    ) -> None:
        """`on_needed` is told on which links the services are announced; None: on all."""
        self.snapshot: Snapshot | None = None
        self.plans: dict[str, ServicePlan] = {}
        self.planned = asyncio.Event()
        self._planner = planner
        self._changes = changes
        self._layer2 = layer2
        self._election = election
        self._figures = figures
        self._on_needed = on_needed
        self._log = log
        self._planning: asyncio.Task[None] | None = None
        self._source_problems: tuple[Problem, ...] = ()
        self._problems: frozenset[Problem] = frozenset()

    def take(
        self, snapshot: Snapshot, problems: tuple[Problem, ...], changed: frozenset[str] | None
    ) -> None:
        """Take the state of now; `changed` names services that are touched, None may be all."""
        self.snapshot, self._source_problems = snapshot, problems
        self._planner.take(snapshot, changed)
        self._note(problems)
        if self._planning is None or self._planning.done():
            self._planning = asyncio.create_task(self._plan())

    def close(self) -> None:
        """Plan no more."""
        if self._planning is not None:
            self._planning.cancel()

    async def _plan(self) -> None:
        """Plan what waits, in bites; then teach the filters the IPs, and then have it elected."""
        while True:
            different: dict[str, ServicePlan | None] = {}
            while self._planner.pending:
                different |= self._planner.advance()
                await asyncio.sleep(0)
            await self._filter(different)
            await self._take_plans(different)
            await self._report([*self._source_problems, *self._planner.problems()])
            if not self.planned.is_set():
                interpreter.started()
                self.planned.set()
            self._changes.wake()
            if not self._planner.pending:
                return

    async def _filter(self, different: Mapping[str, ServicePlan | None]) -> None:
        """Let questions for new IPs pass: what the filter keeps out gets no answer."""
        if all(_same_ips(self.plans.get(key), item) for key, item in different.items()):
            return
        ips = self._planner.ips()
        await asyncio.to_thread(prepare, ips)
        self._layer2.set_service_ips(ips)

    async def _take_plans(self, different: Mapping[str, ServicePlan | None]) -> None:
        self._changes.cause = "configuration"
        for number, (service, item) in enumerate(different.items(), 1):
            if number % PLANS_A_TURN == 0:
                await asyncio.sleep(0)
            self._changes.dirty.setdefault(service, "configuration")
            self._election.set_plan(service, item)
            if item is None:
                self.plans.pop(service, None)
            else:
                self.plans[service] = item
        choices = (item.interfaces for item in self.plans.values() if item.withheld is None)
        self._on_needed(links_needed(choices))

    def _note(self, problems: tuple[Problem, ...]) -> None:
        figures = self._figures
        broken = any(problem.severity is Severity.ERROR for problem in problems)
        figures.updates += 1
        figures.update_errors += broken
        figures.config_loaded = self.snapshot is not None and self.snapshot.config is not None
        figures.config_stale = broken

    async def _report(self, problems: list[Problem]) -> None:
        """Log each problem once, as long as it lasts."""
        levels = {Severity.ERROR: self._log.error, Severity.WARNING: self._log.warning}
        new = [problem for problem in problems if problem not in self._problems]
        for number, problem in enumerate(new, 1):
            if number % JOBS_A_TURN == 0:
                await asyncio.sleep(0)
            log = levels.get(problem.severity, self._log.debug)
            log("source", problem=str(problem))
        self._problems = frozenset(problems)
        self._figures.problems.clear()
        self._figures.problems.update(problem.severity.value for problem in problems)


def _same_ips(before: ServicePlan | None, after: ServicePlan | None) -> bool:
    return (before.ips if before else ()) == (after.ips if after else ())
