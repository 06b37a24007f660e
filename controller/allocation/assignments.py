"""All services and their addresses: one core, as `Ownership` is for the speaker. Pure.

Services, pools and namespaces come in; what is to be written comes out, level by level: `wanted`
says what a status has to become as long as it is not so. Only a leader decides. A new one first
takes over what is in the statuses, and only then gives to who has nothing.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from controller.allocation.allocator import Allocator, Counters
from controller.allocation.decision import Decision, adopt, decide
from controller.allocation.io import EventReason, ServiceEvent, StatusWrite
from controller.allocation.pools import Pools
from controller.allocation.requests import ALLOCATED_FROM
from kube.objects.core import Service

Enough = Callable[[], bool]
"""Whether this bite of work is long enough."""
_NO_LABELS: Mapping[str, str] = {}


@dataclass(slots=True)
class _Pending:
    """A write that was not seen to be done. `observed` is the ingress that it is to replace."""

    write: StatusWrite
    observed: tuple[str, ...]


@dataclass(slots=True)
class _Known:
    """A service, and when it came: of two that wait the older one is served first."""

    view: Service
    number: int
    told: frozenset[ServiceEvent] = frozenset()
    """What its last decision said: it is not said again."""


@dataclass(slots=True)
class DecisionFigures:
    """What is counted."""

    conflicts: int = 0
    """Services whose status had an address that was another's: two wrote, or somebody by hand."""
    failures: int = 0
    """Decisions that left a service without an address."""
    decisions: int = 0


@dataclass(slots=True)
class Assignments:
    """Decides for all services of one load balancer class (None: those without one)."""

    lb_class: str | None = None
    figures: DecisionFigures = field(default_factory=DecisionFigures)
    leads: bool = False
    _allocator: Allocator = field(default_factory=Allocator)
    _services: dict[str, _Known] = field(default_factory=dict)
    _namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _pools: Pools | None = None
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _dirty: set[str] = field(default_factory=set)
    _queue: list[tuple[int, str, int, str]] = field(default_factory=list)
    """A heap of them: holders first, then the oldest."""
    _adopting: list[tuple[int, str, int, str]] | None = None
    """A heap of those whose statuses were not taken over yet; None: it is not begun."""
    _waiting: dict[str, None] = field(default_factory=dict)
    """Those that have less than they want."""
    _events: list[ServiceEvent] = field(default_factory=list)
    _due: dict[str, None] = field(default_factory=dict)
    _number: int = 0

    @property
    def pools(self) -> Pools | None:
        """The pools of the last valid configuration."""
        return self._pools

    # ---- what comes in

    def lead(self) -> None:
        """Decide from now on, beginning with what the statuses say."""
        self.leads = True
        self._allocator = Allocator()
        if self._pools is not None:
            self._allocator.set_pools(self._pools)
        self._pending.clear()
        self._waiting.clear()
        self._adopting = None
        self._look_at_all()

    def follow(self) -> None:
        """Decide nothing any more: another leads."""
        self.leads = False
        for table in (self._pending, self._due, self._waiting, self._dirty, self._queue):
            table.clear()

    def set_pools(self, pools: Pools) -> None:
        """Take the pools of a valid configuration; an invalid one leaves the last in force."""
        self._pools = pools
        if self.leads:
            self._allocator.set_pools(pools)
            self._look_at_all()

    def set_namespaces(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        """Take the labels of all namespaces: pools may be for some of them."""
        before, self._namespaces = self._namespaces, labels
        for key, known in self._services.items():
            name = known.view.namespace
            if before.get(name, _NO_LABELS) != labels.get(name, _NO_LABELS):
                self._look_at(key)

    def handle_service(self, key: str, view: Service | None) -> None:
        """A service `namespace/name` has changed, or is gone."""
        known = self._services.get(key)
        if view is None:
            self._forget(key)
            return
        if known is None and (view.load_balancer_class or None) != (self.lb_class or None):
            return
        if known is not None and _is_older(view.demand.version, known.view.demand.version):
            # The answer to our own write came before what a watch tells of the time before it.
            return
        if known is None:
            self._number += 1
            self._services[key] = _Known(view, self._number)
        else:
            known.view = view
        self._look_at(key)

    def handle_written(self, key: str, view: Service) -> None:
        """A write was done; `view` is the object as the server keeps it now."""
        pending = self._pending.pop(key, None)
        if pending is not None:
            self._events += pending.write.events
        known = self._services.get(key)
        if known is not None:
            # A watch may have told before: then that view is kept elsewhere, too.
            self.handle_service(key, known.view if known.view == view else view)

    # ---- what follows

    def settle(self, enough: Enough) -> None:
        """Decide about all services that a change may have touched, or as much as one bite takes:
        then it is `busy` still."""
        if self._pools is None or not self._adopt(enough):
            return
        while self._queue:
            _, _, _, key = heapq.heappop(self._queue)
            if key in self._dirty:
                self._dirty.discard(key)
                self._decide(key)
            if not self._queue and self._allocator.freed:
                self._allocator.freed = False
                for waiting in self._waiting:
                    self._look_at(waiting)
            if enough():
                return

    @property
    def busy(self) -> bool:
        """Whether there are services that were not decided about."""
        return bool(self._queue) and self._pools is not None

    def due(self) -> list[str]:
        """Drain the services whose status is to be written."""
        due, self._due = list(self._due), {}
        return due

    def wanted(self, key: str) -> StatusWrite | None:
        """Return what is to be written of a service; None where all is as it should be."""
        pending = self._pending.get(key)
        return None if pending is None else pending.write

    def events(self) -> list[ServiceEvent]:
        """Drain what happened."""
        events, self._events = self._events, []
        return events

    def pools_to_count(self) -> set[str]:
        """Drain the names of the pools whose counters may have changed."""
        pools, self._allocator.recounted = self._allocator.recounted, set()
        return pools

    def counters(self) -> dict[str, Counters]:
        """Return by pool how full it is."""
        return self._allocator.counters()

    def counters_of(self, pool: str) -> Counters | None:
        """Return how full a pool is; None where there is no such pool."""
        return self._allocator.counters_of(pool)

    def waiting(self) -> int:
        """Return how many services have less than they want."""
        return len(self._waiting)

    @property
    def queued(self) -> int:
        """How many services are still to be decided about."""
        return len(self._dirty) + len(self._queue)

    @property
    def unwritten(self) -> int:
        """How many decisions were not seen to be written yet."""
        return len(self._pending)

    def services(self) -> Mapping[str, Service]:
        """Return the services by key, as they were last seen."""
        return {key: known.view for key, known in self._services.items()}

    # ---- inside

    def _adopt(self, enough: Enough) -> bool:
        """Have all hold what their statuses say before anybody is given anything. Return whether
        that is done."""
        if self._adopting is None:
            keys = [key for key, known in self._services.items() if any(known.view.ingress)]
            self._adopting = sorted(map(self._rank, keys))
        while self._adopting:
            if enough():
                return False
            *_, key = heapq.heappop(self._adopting)
            if (known := self._services.get(key)) is not None:
                labels = self._namespaces.get(known.view.namespace, _NO_LABELS)
                adopt(known.view, labels, self._allocator)
        return True

    def _look_at_all(self) -> None:
        for key in self._services:
            self._look_at(key)

    def _look_at(self, key: str) -> None:
        if not self.leads or key in self._dirty:
            return
        self._dirty.add(key)
        heapq.heappush(self._queue, self._rank(key))

    def _rank(self, key: str) -> tuple[int, str, int, str]:
        known = self._services[key]
        view = self._effective(key, known.view)
        # Who says where its address comes from got it from a controller, not by hand.
        rank = 2 if not any(view.ingress) else int(ALLOCATED_FROM not in view.annotations)
        return rank, view.demand.created, known.number, key

    def _effective(self, key: str, view: Service) -> Service:
        """Show the status as if what is on its way had arrived, unless somebody else wrote it."""
        pending = self._pending.get(key)
        if pending is None or view.ingress != pending.observed:
            return view
        return msgspec.structs.replace(view, ingress=_texts(pending.write))

    def _decide(self, key: str) -> None:
        known = self._services.get(key)
        if known is None:
            return
        self.figures.decisions += 1
        view = self._effective(key, known.view)
        labels = self._namespaces.get(view.namespace, _NO_LABELS)
        decision = decide(view, labels, self._allocator)
        self._count(view, decision)
        if decision.waits:
            self._waiting[key] = None
        else:
            self._waiting.pop(key, None)
        news = tuple(event for event in decision.events if event not in known.told)
        known.told = frozenset(decision.events)
        self._want(key, known.view, decision, news)
        if view.type != "LoadBalancer" and key not in self._pending:
            self._drop_foreign(key, view)

    def _want(
        self, key: str, view: Service, decision: Decision, news: tuple[ServiceEvent, ...]
    ) -> None:
        before = self._pending.pop(key, None)
        write = StatusWrite(key, decision.ips, decision.pool, view.demand.version)
        if _is_done(view, write):
            # The answer to a write may have been lost: then a watch tells that it was done.
            same = before is not None and before.write.ips == write.ips
            self._events += (*before.write.events, *news) if before and same else news
            return
        kept = before.write.events if before and before.write.ips == write.ips else ()
        write = StatusWrite(key, write.ips, write.pool, write.version, (*kept, *news))
        self._pending[key] = _Pending(write, view.ingress)
        self._due[key] = None

    def _count(self, view: Service, decision: Decision) -> None:
        for event in decision.events:
            if event.reason is EventReason.FAILED:
                self.figures.failures += 1
            elif event.reason is EventReason.CLEARED and "in use" in event.message:
                self.figures.conflicts += 1

    def _drop_foreign(self, key: str, view: Service) -> None:
        """It was ours as long as it had our class, which goes with its type."""
        if (view.load_balancer_class or None) != (self.lb_class or None):
            self._forget(key)

    def _forget(self, key: str) -> None:
        self._services.pop(key, None)
        self._allocator.release(key)
        for table in (self._pending, self._due, self._waiting):
            table.pop(key, None)
        if self._allocator.freed and not self._queue:
            self._allocator.freed = False
            for waiting in self._waiting:
                self._look_at(waiting)


def _texts(write: StatusWrite) -> tuple[str, ...]:
    return tuple(str(ip) for ip in write.ips)


def _is_done(view: Service, write: StatusWrite) -> bool:
    """Tell whether the service has what is to be written."""
    if view.annotations.get(ALLOCATED_FROM, "") != write.pool:
        return False
    return view.type != "LoadBalancer" or view.ingress == _texts(write)


def _is_older(version: str, than: str) -> bool:
    """Compare resourceVersions, which are numbers that grow; texts of another kind never are."""
    if not (version.isdecimal() and than.isdecimal()):
        return False
    # The longer number is the larger one, and Python refuses to read a very long one.
    first, second = version.lstrip("0"), than.lstrip("0")
    return (len(first), first) < (len(second), second)
