"""From snapshots of the source to the plans that are elected: in bites, and the filters first."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from structlog.typing import FilteringBoundLogger as Log

from kube.problem import Problem, Severity, fault
from kube.snapshot import Snapshot
from ownership.election.quorum import QuorumMode
from ownership.io import Announce
from ownership.ownership import Ownership
from plan.planner import Planner, ips_of
from plan.release import Options
from plan.service import ServicePlan, Withheld
from process import interpreter
from process.later import JOBS_A_TURN
from speaker.metrics.collector import Figures
from speaker.settings import Settings
from speaker.upkeep import Part, survive
from speaker.wire.layer2 import Layer2
from speaker.wire.links import prepare

PLANS_A_TURN = 100
"""How many plans one turn takes over: half a millisecond."""
PLAN_RETRY = 1.0
"""Seconds until a change that could not be taken over is tried again."""

OnNeeded = Callable[[frozenset[str] | None], None]


class AnotherPlan(Protocol):
    """Another protocol's plan, made of the same snapshots."""

    def take(self, snapshot: Snapshot, changed: frozenset[str] | None) -> None:
        """Take the state of now; `changed` names services that are touched, None may be all."""

    def problems(self) -> list[Problem]:
        """Return what is wrong for that protocol alone."""

    @property
    def stale(self) -> bool:
        """Whether something of the configuration is not in force, for that protocol alone."""


class Configuration:
    """Takes snapshots; `planned` is set when the first one is planned."""

    def __init__(
        self,
        planner: Planner,
        ownership: Ownership,
        wake: Callable[[], None],
        layer2: Layer2,
        figures: Figures,
        on_needed: OnNeeded,
        log: Log,
    ) -> None:
        """`on_needed` is told on which links the services are announced; None: on all."""
        self.snapshot: Snapshot | None = None
        self.planned = asyncio.Event()
        self.beside: AnotherPlan | None = None
        """What gets the snapshots, too."""
        self._planner = planner
        self._ownership = ownership
        self._wake = wake
        self._layer2 = layer2
        self._figures = figures
        self._on_needed = on_needed
        self._log = log
        self._planning: asyncio.Task[None] | None = None
        self._different: dict[str, ServicePlan | None] = {}
        """Plans that are not taken over yet."""
        self._stuck: tuple[Problem, ...] = ()
        """Why they are not."""
        self._source_problems: tuple[Problem, ...] = ()
        self._problems: frozenset[Problem] = frozenset()
        self._to_review = False
        """Whether others have problems that are not reported yet."""

    def take(
        self, snapshot: Snapshot, problems: tuple[Problem, ...], changed: frozenset[str] | None
    ) -> None:
        """Take the state of now; `changed` names services that are touched, None may be all."""
        self.snapshot, self._source_problems = snapshot, problems
        self._planner.take(snapshot, changed)
        if self.beside is not None:
            self.beside.take(snapshot, changed)
        broken = any(problem.severity is Severity.ERROR for problem in problems)
        self._figures.updates += 1
        self._figures.update_errors += broken
        self._figures.config_loaded = snapshot.config is not None
        self._figures.config_stale = broken or bool(self._stuck) or self._part_is_stale()
        self._plan_soon()

    def _plan_soon(self) -> None:
        if self._planning is None or self._planning.done():
            self._planning = asyncio.create_task(self._plan())

    def review(self) -> None:
        """Report problems: those of the other protocol have changed."""
        self._to_review = True
        self._plan_soon()

    def note_loss(self, service: str) -> None:
        """This node announces a service no more. Where no pool holds its IPs, that it did is all
        that kept its plan."""
        if service in self._planner.kept and self.snapshot is not None:
            self._planner.take(self.snapshot, (service,))
            self._plan_soon()

    def nodes(self) -> frozenset[str]:
        """Return the names of all nodes that the source knows."""
        return frozenset(self.snapshot.nodes if self.snapshot else ())

    def close(self) -> None:
        """Plan no more."""
        if self._planning is not None:
            self._planning.cancel()

    async def _plan(self) -> None:
        """Plan what waits, and again until nothing waits: what fails is not lost but tried again.

        It is not fatal. All that is announced stays as it is meanwhile, while a speaker that ended
        would meet the same change in its next life, as would those of all other nodes. It shows: as
        a problem of the source, in the metrics of the configuration, and once a minute in the log.
        """
        while True:
            try:
                await self._plan_once()
            except Exception as error:
                survive(Part.PLANNING, error)
                self._stuck = self._faults(error)
                self._show()
                await asyncio.sleep(PLAN_RETRY)
                continue
            if not (self._planner.pending or self._to_review):
                return

    async def _plan_once(self) -> None:
        """Plan in bites; then teach the filters the IPs, and then have it elected."""
        self._to_review = False
        while self._planner.pending:
            self._different |= self._planner.advance()
            await asyncio.sleep(0)
        await self._filter(self._different)
        failed = await self._take_plans()
        self._stuck = () if failed is None else self._faults(failed)
        await self._report()
        if not self.planned.is_set():
            interpreter.freeze()
            self.planned.set()
        self._wake()
        if failed is not None:
            raise failed

    def _faults(self, error: Exception) -> tuple[Problem, ...]:
        """Say which services have news that are not in force."""
        waiting = sorted(self._different)
        named = f"Service {waiting[0]}" if len(waiting) == 1 else f"{len(waiting)} services"
        return (fault(named, error),)

    async def _filter(self, different: Mapping[str, ServicePlan | None]) -> None:
        """Let questions for new IPs pass: what the filter keeps out gets no answer."""
        plans = self._ownership.plans()
        if all(ips_of(plans.get(key)) == ips_of(item) for key, item in different.items()):
            return
        ips = self._planner.ips()
        await asyncio.to_thread(prepare, ips)
        self._layer2.set_service_ips(ips)

    async def _take_plans(self) -> Exception | None:
        """Take over all but those that raise an error, which is returned: they wait on."""
        failed: Exception | None = None
        self._ownership.note("configuration")
        for number, (service, item) in enumerate(list(self._different.items()), 1):
            if number % PLANS_A_TURN == 0:
                await asyncio.sleep(0)
            try:
                self._ownership.set_plan(service, item, "configuration")
            except Exception as error:
                failed = error
            else:
                del self._different[service]
        planned = (None, Withheld.QUORUM)
        plans = self._ownership.plans().values()
        choices = (item.interfaces for item in plans if item.withheld in planned)
        self._on_needed(links_needed(choices))
        return failed

    async def _report(self) -> None:
        """Log each problem once, as long as it lasts."""
        levels = {Severity.ERROR: self._log.error, Severity.WARNING: self._log.warning}
        problems = self._all_problems()
        new = [problem for problem in problems if problem not in self._problems]
        for number, problem in enumerate(new, 1):
            if number % JOBS_A_TURN == 0:
                await asyncio.sleep(0)
            log = levels.get(problem.severity, self._log.debug)
            log("source", problem=str(problem))
        self._problems = frozenset(problems)
        self._show()

    def _all_problems(self) -> list[Problem]:
        others = self.beside.problems() if self.beside is not None else ()
        return [*self._source_problems, *self._stuck, *self._planner.problems(), *others]

    def _part_is_stale(self) -> bool:
        return bool(self._planner.kept) or (self.beside is not None and self.beside.stale)

    def _show(self) -> None:
        """Bring the metrics of the configuration up to date."""
        figures, stale = self._figures, (*self._source_problems, *self._stuck)
        broken = any(problem.severity is Severity.ERROR for problem in stale)
        figures.config_stale = broken or self._part_is_stale()
        figures.problems.clear()
        figures.problems.update(problem.severity.value for problem in self._all_problems())


def make_planner(settings: Settings, announced: Callable[[], Mapping[str, Announce]]) -> Planner:
    """Make a planner of what the settings say; `announced` is what this node has taken up."""
    return Planner(options_of(settings), announced)


def options_of(settings: Settings) -> Options:
    """Return what plans have to know of the settings."""
    return Options(
        own_node=settings.node_name,
        lb_class=settings.lb_class,
        ignore_exclude_lb=settings.ignore_exclude_lb,
        release=settings.release,
        gossips=settings.gossips,
        addresses_from_annotations=settings.source is not None and settings.state is None,
        of_folder=settings.source is not None,
        quorum=settings.quorum is not QuorumMode.OFF,
        drain_on_cordon=settings.drain_on_cordon,
    )


def links_needed(choices: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    """Unite the interfaces that services are announced on; None: all links."""
    needed: set[str] = set()
    for choice in choices:
        if choice is None:
            return None
        needed |= choice
    return frozenset(needed) if needed else None
