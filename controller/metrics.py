"""What /metrics shows of a controller: MetalLB's names where it has them, ours beside them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from controller.allocation.allocator import VERSIONS, Counters
from controller.allocation.assignments import DecisionFigures
from controller.allocation.pools import MOST

_POOL = ("pool",)


class Leased(Protocol):
    """How the lease stands; see `LeaseFigures`, which a controller of a folder does without."""

    @property
    def states(self) -> Mapping[str, bool]:
        """All states, and whether it is in this one."""

    @property
    def age(self) -> float:
        """Seconds since it was renewed."""

    @property
    def transitions(self) -> int:
        """How often it has changed hands."""

    @property
    def failures(self) -> Mapping[str, int]:
        """Requests in vain, by reason."""


@dataclass(frozen=True, slots=True)
class Unleased:
    """There is no lease: nobody else allocates, or this replica does not."""

    states: Mapping[str, bool] = field(default_factory=dict)
    age: float = 0.0
    transitions: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Figures:
    """Where the numbers come from; all callables are asked at each scrape."""

    leads: Callable[[], bool] = bool
    pools: Callable[[], Mapping[str, Counters]] = dict
    decided: DecisionFigures = field(default_factory=DecisionFigures)
    waiting: Callable[[], int] = int
    services: Callable[[], int] = int
    queued: Callable[[], int] = int
    unwritten: Callable[[], int] = int
    lease: Callable[[], Leased] = Unleased
    certificates: Callable[[], Mapping[str, float]] = dict
    """By use: when each ends, in seconds since 1970."""
    updates: Callable[[], int] = int
    update_errors: Callable[[], int] = int
    loaded: Callable[[], bool] = bool
    stale: Callable[[], bool] = bool
    api_behind: Callable[[], int] = int
    api_relists: Callable[[], Mapping[str, int]] = dict
    api_failed_reads: Callable[[], Mapping[str, int]] = dict
    api_failed_writes: Callable[[], int] = int
    api_conflicts: Callable[[], int] = int
    api_writes: Callable[[], int] = int
    api_dropped_events: Callable[[], int] = int
    http_refused: Callable[[], Mapping[str, int]] = dict
    log_lines_dropped: Callable[[], int] = int
    survived: Callable[[], int] = int


class ControllerCollector(Collector):
    """Turns `Figures` into metric families."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield every family; called for each scrape."""
        yield from self._pools()
        yield from self._decisions()
        yield from self._lease()
        yield from self._certificates()
        yield from self._api()
        yield from self._process()

    def _pools(self) -> Iterator[Metric]:
        """Say how full pools are: by the leader alone, which counts them."""
        pools = self._figures.pools() if self._figures.leads() else {}
        for word, help_text, of in (
            ("addresses_total", "Usable addresses", _total),
            ("addresses_in_use_total", "Addresses in use; a shared one counts once", _used),
        ):
            families = {
                version: GaugeMetricFamily(
                    f"metallb_allocator_{prefix}{word}", f"{help_text}{of_family}.", labels=_POOL
                )
                for version, prefix, of_family in (
                    (0, "", ""),
                    (4, "ipv4_", ", IPv4"),
                    (6, "ipv6_", ", IPv6"),
                )
            }
            for name, counters in pools.items():
                found = {version: of(counters, version) for version in VERSIONS}
                families[0].add_metric([name], min(sum(found.values()), MOST))
                for version in VERSIONS:
                    families[version].add_metric([name], found[version])
            yield from families.values()

    def _decisions(self) -> Iterator[Metric]:
        figures = self._figures
        # The guide's name for it; a counter's name ends in _total by itself.
        yield _counter(
            "metallb_allocator_allocation_failures",
            "Decisions that left a service without an address.",
            figures.decided.failures,
        )
        yield _counter(
            "clarion_allocator_decisions", "Services decided about.", figures.decided.decisions
        )
        yield _counter(
            "clarion_allocator_conflicts",
            "Statuses that had an address of another service.",
            figures.decided.conflicts,
        )
        yield _gauge(
            "clarion_allocator_waiting_services",
            "Services that have less than they want.",
            figures.waiting(),
        )
        for name, help_text, count in (
            ("services", "Services of type LoadBalancer that are ours.", figures.services()),
            ("queued_services", "Services still to be decided about.", figures.queued()),
            ("unwritten_services", "Decisions not seen to be written.", figures.unwritten()),
        ):
            yield _gauge(f"clarion_allocator_{name}", help_text, count)
        yield _gauge("clarion_controller_leader", "1 on the replica that leads.", figures.leads())

    def _lease(self) -> Iterator[Metric]:
        lease = self._figures.lease()
        state = GaugeMetricFamily(
            "clarion_controller_lease", "1 for what the lease is to this replica.", labels=["state"]
        )
        for each, holds in lease.states.items():
            state.add_metric([each], holds)
        yield state
        yield _gauge(
            "clarion_controller_lease_age_seconds",
            "Since the lease was last renewed, as this replica sees it.",
            lease.age,
        )
        yield _gauge(
            "clarion_controller_lease_transitions",
            "How often the lease has changed hands.",
            lease.transitions,
        )
        yield _labelled(
            "clarion_controller_lease_failures",
            "Requests for the lease in vain.",
            "failure",
            lease.failures,
        )

    def _certificates(self) -> Iterator[Metric]:
        ends = GaugeMetricFamily(
            "clarion_certificate_expiry_timestamp_seconds",
            "When a certificate that is served ends, in seconds since 1970.",
            labels=["use"],
        )
        for use, at in self._figures.certificates().items():
            ends.add_metric([use], at)
        yield ends

    def _api(self) -> Iterator[Metric]:
        figures = self._figures
        yield _counter("metallb_k8s_client_updates", "Object changes.", figures.updates())
        yield _counter(
            "metallb_k8s_client_update_errors", "Changes not used.", figures.update_errors()
        )
        yield _gauge(
            "metallb_k8s_client_config_loaded_bool",
            "1 once a valid configuration was there.",
            figures.loaded(),
        )
        yield _gauge(
            "metallb_k8s_client_config_stale_bool",
            "1 while an older configuration is in force.",
            figures.stale(),
        )
        yield _gauge(
            "clarion_api_resources_behind",
            "Kinds of objects that may be out of date.",
            figures.api_behind(),
        )
        yield _labelled(
            "clarion_api_relists", "Lists repeated, by kind.", "kind", figures.api_relists()
        )
        yield _labelled(
            "clarion_api_failed_reads",
            "Lists and watches that failed.",
            "reason",
            figures.api_failed_reads(),
        )
        for name, help_text, count in (
            ("writes", "Statuses of services written.", figures.api_writes()),
            (
                "failed_writes",
                "Writes that failed and were done again.",
                figures.api_failed_writes(),
            ),
            (
                "write_conflicts",
                "Writes refused, as the object had changed.",
                figures.api_conflicts(),
            ),
            ("events_dropped", "Events that were not published.", figures.api_dropped_events()),
        ):
            yield _counter(f"clarion_api_{name}", help_text, count)

    def _process(self) -> Iterator[Metric]:
        figures = self._figures
        yield _labelled(
            "clarion_http_refused", "HTTP connections refused.", "reason", figures.http_refused()
        )
        yield _counter(
            "clarion_log_lines_dropped", "Log lines dropped.", figures.log_lines_dropped()
        )
        yield _counter("clarion_survived", "Errors that did no harm.", figures.survived())


def make_registry(figures: Figures) -> CollectorRegistry:
    """Return a registry of everything, those of the process among it."""
    registry = CollectorRegistry()
    registry.register(ControllerCollector(figures))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def _total(counters: Counters, version: int) -> int:
    return counters.total[version]


def _used(counters: Counters, version: int) -> int:
    return counters.assigned[version]


def _gauge(name: str, help_text: str, value: float) -> Metric:
    # `GaugeMetricFamily` would take a name that ends in _total, which MetalLB's do.
    return GaugeMetricFamily(name, help_text, value=float(value))


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_text, value=value)


def _labelled(name: str, help_text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
