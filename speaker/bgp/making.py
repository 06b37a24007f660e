"""Makes BGP's side of the speaker; where no engine is named, one that does nothing."""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger as Log

from kube.problem import Problem
from kube.snapshot import Snapshot
from link.address import IPAddress
from ownership.liveness.lives import Lives
from plan.release import Options
from speaker.settings import Settings

if TYPE_CHECKING:
    from speaker.cluster.cluster import Cluster


class RoutingDoors(Protocol):
    """What the daemon asks of it."""

    @property
    def trouble(self) -> str | None:
        """Why BGP does not work, for people; None where it does or is not wanted."""

    def take(self, snapshot: Snapshot, changed: frozenset[str] | None) -> None:
        """Take the state of now; `changed` names services that are touched, None may be all."""

    def problems(self) -> list[Problem]:
        """Return what is wrong for BGP alone."""

    @property
    def stale(self) -> bool:
        """Whether something of the configuration is not in force, for BGP alone."""

    on_problems: Callable[[], None]
    """Is called when `problems` are other ones, and not by what was taken."""

    def announced(self) -> Mapping[str, tuple[IPAddress, ...]]:
        """Return the IPs that this node announces, by service. From any thread."""

    def explain(self, service: str) -> list[dict[str, Any]]:
        """Return what this node announces of a service, and what each peer was really sent."""

    def look(self) -> None:
        """See who is gone now: whenever the speaker has done something."""

    async def leave(self) -> None:
        """Take back what is announced, without loss."""

    async def bid_farewell(self) -> None:
        """Close all sessions now."""

    async def close(self) -> None:
        """End, and leave the engine as it is."""


class WithoutBgp:
    """Announces nothing."""

    trouble = None
    stale = False

    def __init__(self) -> None:
        self.on_problems: Callable[[], None] = lambda: None

    def take(self, snapshot: Snapshot, changed: frozenset[str] | None) -> None:
        """Leave it."""

    def problems(self) -> list[Problem]:
        """Return none."""
        return []

    def announced(self) -> Mapping[str, tuple[IPAddress, ...]]:
        """Return none."""
        return {}

    def explain(self, service: str) -> list[dict[str, Any]]:
        """Return nothing."""
        return []

    def look(self) -> None:
        """See nobody."""

    async def leave(self) -> None:
        """Take nothing back."""

    async def bid_farewell(self) -> None:
        """Close nothing."""

    async def close(self) -> None:
        """End nothing."""


def make_routing(
    settings: Settings,
    options: Options,
    cluster: "Cluster | None",
    lives: Lives,
    registry: CollectorRegistry,
    clock: Callable[[], float],
    log: Log,
) -> RoutingDoors:
    """Return BGP's side; `cluster` is None with a folder, `lives` tells who is gone."""
    if settings.bgp_engine is None:
        return WithoutBgp()
    # Imported late: without BGP nothing of it takes memory.
    from speaker.bgp.fast_failover import Unable
    from speaker.bgp.metrics import BgpCollector
    from speaker.bgp.routing import Deaf, Routing, RoutingSettings

    never = Unable.SWITCHED_OFF if settings.gossips else Unable.NO_GOSSIP
    steps = settings.bgp_fast_failover and settings.gossips
    made = RoutingSettings(
        settings.bgp_engine,
        options,
        router_id(settings.host),
        lives if steps else None,
        never,
        settings.namespace,
    )
    routing = Routing(made, cluster or Deaf(), clock, log)
    registry.register(BgpCollector(routing))
    return routing


def router_id(host: str) -> IPv4Address | None:
    """Return the node's own IPv4 address; the engine would choose the highest of all, a service's
    perhaps, and close all sessions when that is another one."""
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return found if isinstance(found, IPv4Address) and not found.is_unspecified else None
