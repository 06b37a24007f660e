"""What /metrics shows. The collector reads the cores' own counters when it is scraped.

Nothing is counted twice and the hot path never touches a metric. It runs in the HTTP thread: every
mapping is copied by one call that holds the interpreter lock before it is walked.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from operator import attrgetter

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from gossip.stats import Stats, StreamStats
from link.address import IPAddress
from ownership.io import Announce, FailoverStats
from plan.service import ServicePlan
from speaker.metrics.families import counter, gauge, total
from speaker.metrics.owning import CAUSES, OTHER, owning, wanting
from speaker.metrics.traffic import traffic
from speaker.upkeep import Part
from speaker.wire.layer2 import Layer2Stats

_requests = attrgetter("requests")
_responses = attrgetter("responses")
_gratuitous = attrgetter("gratuitous")
_TAKEOVER_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_LAG_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@dataclass(slots=True)
class Figures:
    """What the daemon keeps current for the collector."""

    node: str
    layer2: Layer2Stats
    announced: Mapping[str, Announce]
    serves: Callable[[IPAddress, str], bool]
    """Whether an IP is answered for on behalf of a service; asked from the HTTP thread."""
    owners: Callable[[], Mapping[str, str | None]]
    routed: Callable[[], Mapping[str, tuple[IPAddress, ...]]] = dict
    """What this node announces by BGP, by service."""
    plans: Mapping[str, ServicePlan] = field(default_factory=dict)
    members: Callable[[], Mapping[str, int]] = dict
    refusals: Callable[[], Mapping[str, int]] = dict
    gossip: Callable[[], Stats] = Stats
    gossip_streams: Callable[[], StreamStats] = StreamStats
    key_unproved: Callable[[], int] = int
    gossip_encrypted: Callable[[], Mapping[str, bool]] = dict
    """By direction."""
    secrets_refused: Callable[[], Mapping[str, int]] = dict
    key_age: Callable[[], float | None] = lambda: None
    """Seconds; None where nothing is encrypted."""
    without_quorum: Callable[[], int] = int
    unowned: Callable[[], Collection[str]] = tuple
    """The services that ought to be announced, and that no living node may own."""
    unconfirmed: Callable[[], int] = int
    since: dict[str, float] = field(default_factory=dict)
    """By service that this node owns: seconds since 1970."""
    certificate: Callable[[], float | None] = lambda: None
    """When that of /metrics ends, in seconds since 1970; None: plain HTTP."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Those that are to be the same on all nodes."""
    moves: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    updates: int = 0
    update_errors: int = 0
    config_loaded: bool = False
    config_stale: bool = False
    contact: bool = False
    failover: Callable[[], FailoverStats] = FailoverStats
    api_behind: Callable[[], int] = int
    api_failed_writes: Callable[[], int] = int
    api_failed_reads: Callable[[], Mapping[str, int]] = dict
    """By reason."""
    api_dropped_events: Callable[[], int] = int
    api_relists: Callable[[], Mapping[str, int]] = dict
    """By kind of object."""
    netlink_resyncs: Callable[[], Mapping[str, int]] = dict
    """By table of the kernel."""
    log_lines_dropped: Callable[[], int] = int
    http_refused: Callable[[], Mapping[str, int]] = dict
    survived: Counter[Part] = field(default_factory=Counter)


class SpeakerCollector(Collector):
    """Turns `Figures` into metric families."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield every family; called for each scrape."""
        yield from self._layer2()
        yield from self._ownership()
        yield from self._gossip()
        yield from self._failover()
        yield from self._configuration()
        yield from self._process()

    def _layer2(self) -> Iterator[Metric]:
        stats = self._figures.layer2
        # MetalLB's names lack the `_total` that a counter must end in, so they are untyped here.
        ips = [(str(ip), found) for ip, found in stats.ips.copy().items()]
        for name, help_text, of in (
            ("requests_received", "ARP and NDP requests for announced IPs.", _requests),
            ("responses_sent", "Answers sent.", _responses),
            ("gratuitous_sent", "Unsolicited announcement frames sent.", _gratuitous),
        ):
            family = UnknownMetricFamily(f"metallb_layer2_{name}", help_text, labels=["ip"])
            for ip, found in ips:
                if count := of(found):
                    family.add_metric([ip], count)
            yield family
        drops = {str(reason): count for reason, count in stats.dropped.copy().items()}
        drops |= {f"gossip_{name}": count for name, count in self._figures.refusals().items()}
        yield from self._kernel()
        yield counter("clarion_dropped", "Frames and gossip refused, by reason.", "reason", drops)

    def _kernel(self) -> Iterator[Metric]:
        figures, stats = self._figures, self._figures.layer2
        filters = GaugeMetricFamily(
            "clarion_kernel_filter",
            "1 for the level at which the kernel filter knows the service IPs.",
            labels=["interface", "family", "level"],
        )
        for (interface, family), level in stats.links.filters.items():
            filters.add_metric([interface, family, level], 1)
        yield filters
        yield counter(
            "clarion_netlink_resyncs",
            "The table of the kernel was read anew this many times, because news of it were lost.",
            "table",
            figures.netlink_resyncs(),
        )
        refused = stats.links.groups_refused
        yield gauge("clarion_groups_refused", "Multicast groups that we could not join.", refused)
        yield gauge("clarion_clients", "Clients of service IPs known by name.", stats.clients)

    def _ownership(self) -> Iterator[Metric]:
        figures = self._figures
        announced = GaugeMetricFamily(
            "metallb_speaker_announced",
            "Services that this node announces.",
            labels=["service", "protocol", "node", "ip"],
        )
        leader = GaugeMetricFamily(
            "clarion_leader", "1 where this node is elected or announces.", labels=["ip"]
        )
        announces = list(figures.announced.values())
        for item in announces:
            for ip in item.ips:
                if not figures.serves(ip, item.service):
                    continue
                announced.add_metric([item.service, "layer2", figures.node, str(ip)], 1)
        for service, ips in figures.routed().items():
            for ip in ips:
                announced.add_metric([service, "bgp", figures.node, str(ip)], 1)
        plans = figures.plans
        mine = {str(ip) for item in announces for ip in item.ips}
        for service, owner in list(figures.owners().items()):
            if owner == figures.node and (plan := plans.get(service)) is not None:
                mine.update(map(str, plan.ips))
        for text in sorted(mine):
            leader.add_metric([text], 1)
        yield announced
        yield leader
        yield from owning(figures.node, announces, figures.since.copy())
        # Who has met nobody yet takes all others for dead.
        yield from wanting(plans, figures.unowned() if figures.contact else ())
        known = {ip for plan in list(plans.values()) for ip in plan.ips}
        yield gauge("clarion_service_ips", "Service IPs known to this node.", len(known))
        yield gauge(
            "clarion_without_quorum",
            "Services withheld as most of the nodes that may own them are out of reach.",
            figures.without_quorum(),
        )
        yield counter("clarion_moves", "Changes of owner seen.", "reason", figures.moves.copy())

    def _gossip(self) -> Iterator[Metric]:
        figures = self._figures
        members = GaugeMetricFamily("clarion_members", "Members by state.", labels=["state"])
        for state, count in figures.members().items():
            members.add_metric([state], count)
        yield members
        yield gauge(
            "clarion_gossip_health_score",
            "Lifeguard health of this node: 0 is well, 7 is worst.",
            figures.gossip().health,
        )
        yield gauge(
            "clarion_gossip_key_unproved_members",
            "Living members that have not proved that they read the new gossip key.",
            figures.key_unproved(),
        )
        age = GaugeMetricFamily(
            "clarion_gossip_key_age_seconds",
            "So long this speaker has sent with the gossip key of now.",
        )
        if (seconds := figures.key_age()) is not None:
            age.add_metric([], seconds)
        yield age
        encrypted = GaugeMetricFamily(
            "clarion_gossip_encrypted",
            "1 where no plain text is sent, or accepted.",
            labels=["direction"],
        )
        for direction, on in figures.gossip_encrypted().items():
            encrypted.add_metric([direction], int(on))
        yield encrypted
        yield counter(
            "clarion_gossip_secret_refused",
            "Changes of the secret's file that gave no new key.",
            "reason",
            figures.secrets_refused(),
        )
        yield gauge(
            "clarion_contact",
            "1 where this node may answer, 0 while it waits for word from a peer.",
            int(figures.contact),
        )
        yield from traffic(figures.gossip(), figures.gossip_streams())

    def _failover(self) -> Iterator[Metric]:
        stats = self._figures.failover()
        yield counter(
            "clarion_verdicts", "Fast verdicts on other nodes.", "outcome", stats.verdicts
        )
        for name, help_text, value in (
            ("missing_links", "Links of other nodes that this node hears nothing from.", "missing"),
            ("contested_ips", "IPs of this node that somebody else answers for.", "contested"),
            ("yielding_ips", "IPs answered until their new owner is heard.", "yielding"),
        ):
            yield gauge(f"clarion_{name}", help_text, getattr(stats, value))
        yield CounterMetricFamily(
            "clarion_echo_filtered",
            "Nodes found to answer no echo request any more though they live.",
            stats.filtered,
        )
        yield CounterMetricFamily(
            "clarion_conflicts",
            "Announcements by somebody else of IPs that this node owns.",
            stats.conflicts,
        )
        routed = GaugeMetricFamily(
            "clarion_routed_nodes",
            "Clarions in other subnets, by whether they are watched over routers.",
            labels=["state"],
        )
        for state, count in stats.routed.items():
            routed.add_metric([state], count)
        yield routed
        yield total(
            "clarion_foreign_answers",
            "Those of them by a MAC that no other speaker has.",
            stats.foreign,
        )
        yield total(
            "clarion_clients_unconfirmed",
            "Clients that never answered from where a service IP had moved to.",
            self._figures.unconfirmed(),
        )
        yield counter(
            "clarion_letters_refused",
            "Letters of other speakers that made no sense.",
            "reason",
            {str(reason): count for reason, count in stats.refused.items()},
        )

    def _configuration(self) -> Iterator[Metric]:
        figures = self._figures
        yield CounterMetricFamily(
            "metallb_k8s_client_updates", "Object updates handled.", figures.updates
        )
        yield CounterMetricFamily(
            "metallb_k8s_client_update_errors", "Object updates that failed.", figures.update_errors
        )
        yield gauge(
            "metallb_k8s_client_config_loaded_bool",
            "1 once a good configuration was read.",
            int(figures.config_loaded),
        )
        yield gauge(
            "metallb_k8s_client_config_stale_bool",
            "1 while the last good configuration is in force instead of a broken newer one.",
            int(figures.config_stale),
        )
        yield gauge(
            "clarion_api_resources_behind",
            "Kinds of object that may be out of date, as the API server does not answer.",
            figures.api_behind(),
        )
        yield CounterMetricFamily(
            "clarion_api_failed_writes",
            "Requests to publish something that failed; all but Events are repeated.",
            figures.api_failed_writes(),
        )
        yield counter(
            "clarion_api_failed_reads",
            "A list or a watch of the API server failed this many times; it is repeated.",
            "reason",
            figures.api_failed_reads(),
        )
        yield total(
            "clarion_api_events_dropped",
            "This many Kubernetes Events were not published, because too many waited "
            "or the API server did not take them.",
            figures.api_dropped_events(),
        )
        yield counter(
            "clarion_api_relists",
            "All objects of the kind were listed again this many times, "
            "because a watch could not go on where it had stopped.",
            "kind",
            figures.api_relists(),
        )
        problems = GaugeMetricFamily(
            "clarion_source_problems", "Problems in the sources now.", labels=["severity"]
        )
        for severity in ("error", "warning"):
            problems.add_metric([severity], figures.problems[severity])
        yield problems

    def _process(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "clarion_log_lines_dropped",
            "Log lines dropped, as nobody read them fast enough.",
            self._figures.log_lines_dropped(),
        )
        yield counter(
            "clarion_http_refused",
            "HTTP connections that got no page, by reason.",
            "reason",
            self._figures.http_refused(),
        )
        survived = self._figures.survived.copy()
        yield counter(
            "clarion_survived",
            "Errors of the speaker itself that it survived, by the part that failed.",
            "part",
            {part.value: survived[part] for part in Part},
        )
        ends = GaugeMetricFamily(
            "clarion_certificate_expiry_timestamp_seconds",
            "When a certificate that is served ends, in seconds since 1970.",
            labels=["use"],
        )
        if (at := self._figures.certificate()) is not None:
            ends.add_metric(["metrics"], at)
        yield ends
        settings = GaugeMetricFamily(
            "clarion_setting_info",
            "The value of a setting that is to be the same on all nodes.",
            labels=["setting", "value"],
        )
        for name, value in self._figures.settings.items():
            settings.add_metric([name, value], 1)
        yield settings
        build = GaugeMetricFamily("clarion_build_info", "The version.", labels=["version"])
        build.add_metric([version("clarion")], 1)
        yield build


@dataclass(frozen=True, slots=True)
class Instruments:
    """What the loop itself notes: histograms, moves by reason, and since when services are ours."""

    takeover: Histogram
    confirmed: Histogram
    lag: Histogram
    moves: Counter[str]
    since: dict[str, float]
    """By service that this node owns: when it took it up, in seconds since 1970."""


def make_registry(figures: Figures) -> tuple[CollectorRegistry, Instruments]:
    """Return a registry with everything in it, and what is left for the loop to observe."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SpeakerCollector(figures))
    ProcessCollector(registry=registry)
    takeover = Histogram(
        "clarion_takeover_seconds",
        "From the decision that this node owns an IP to its first announcement.",
        ["cause"],
        buckets=_TAKEOVER_BUCKETS,
        registry=registry,
    )
    for cause in (*CAUSES, OTHER):
        takeover.labels(cause)
    confirmed = Histogram(
        "clarion_takeover_confirmed_seconds",
        "From the question to a known client to its answer, which proves that it has moved.",
        buckets=_TAKEOVER_BUCKETS,
        registry=registry,
    )
    lag = Histogram(
        "clarion_loop_lag_seconds",
        "How late the event loop's heartbeat came.",
        buckets=_LAG_BUCKETS,
        registry=registry,
    )
    return registry, Instruments(takeover, confirmed, lag, figures.moves, figures.since)
