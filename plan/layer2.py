"""Who may own a service that is announced by ARP and NDP: `ShouldAnnounce` up to the vote. Pure.

The rules and their order are those of MetalLB v0.16, so that a mixed cluster elects one owner. One
of them surprises where the objects come from files: a service needs an endpoint that can serve, so
the directory must hold an EndpointSlice for it, or nobody announces it. A warning says so.
"""

from collections.abc import Collection, Mapping, Sequence

from kube.config import PoolConfig
from kube.objects.core import (
    EndpointSlice,
    Node,
    Service,
)
from kube.objects.metallb import L2Advertisement
from kube.problem import Problem
from kube.selector import any_matches
from link.address import IPAddress
from plan.release import Options, Release
from plan.service import ServicePlan, Withheld, check, shut_out

ALLOW_SHARED_IP = ("metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip")


class Rules:
    """Applies the rules to one service at a time and remembers what services have in common."""

    def __init__(
        self,
        config: PoolConfig | None,
        nodes: Mapping[str, Node],
        options: Options,
        everywhere: bool = False,
    ) -> None:
        """`everywhere`: plan as for a node that all advertisements select, whichever it is.

        Then only what keeps every node from a service withholds it, as who looks at the whole
        cluster wants it.
        """
        self._everywhere = everywhere
        self._problems: list[Problem] = []
        self._config, self._nodes = config, nodes
        self._options = options
        self._electorates: dict[tuple[int, ...], frozenset[str] | None] = {}
        self._scores: dict[tuple[int, ...], Mapping[str, int]] = {}

    def plan(
        self, service: Service, slices: Collection[EndpointSlice]
    ) -> tuple[ServicePlan, tuple[Problem, ...]]:
        """Plan one service by its endpoint slices; also tell what is wrong with it."""
        self._problems.clear()
        found = self._plan(service, slices)
        return found, tuple(self._problems)

    def _plan(self, service: Service, slices: Collection[EndpointSlice]) -> ServicePlan:
        checked = check(service, self._config, self._options, self._problems)
        if isinstance(checked, ServicePlan):
            return checked
        assert self._config is not None  # noqa: S101 - without one nothing is admitted
        of_pool = self._config.advertisements[checked.pool]
        return self._announcement(service, checked.ips, of_pool, slices)

    def _announcement(
        self,
        service: Service,
        ips: tuple[IPAddress, ...],
        of_pool: tuple[L2Advertisement, ...],
        slices: Collection[EndpointSlice],
    ) -> ServicePlan:
        """Apply the rules of `ShouldAnnounce` for layer 2, up to the vote itself."""
        serving = serving_nodes(slices)
        ads = self._for_service(service, of_pool)
        own = self._own_advertisements(ads)
        candidates = voters = self._electorate(ads)
        if service.external_traffic_policy == "Local":
            local = frozenset(node for node in serving if node)
            candidates = local if candidates is None else candidates & local
        withheld = None
        if not serving:
            withheld = Withheld.NOT_OWNER
            if not slices and self._options.of_folder:
                message = "no EndpointSlice belongs to it, so nobody announces it"
                self._problems.append(service.origin.warning((), message))
        elif self._shares_beside_selector(service, ads):
            withheld = Withheld.SHARED_IP_WITH_SELECTOR
        elif not own:
            selects = self._options.release.selects_services
            withheld = Withheld.NO_MATCHING_ADVERTISEMENT if selects else Withheld.NOT_OWNER
        elif candidates is not None and not candidates:
            withheld = Withheld.NOT_OWNER
        return ServicePlan(
            service.key,
            ips,
            str(ips[0]),
            candidates,
            interfaces_of(own),
            self._preferences(ads),
            withheld,
            voters,
            wanted=bool(serving and ads),
        )

    def advertisements(self, service: Service) -> tuple[L2Advertisement, ...]:
        """Return those that would announce the service; none where it is withheld before them."""
        checked = check(service, self._config, self._options, [])
        if isinstance(checked, ServicePlan) or self._config is None:
            return ()
        return self._for_service(service, self._config.advertisements[checked.pool])

    def _for_service(
        self, service: Service, of_pool: tuple[L2Advertisement, ...]
    ) -> tuple[L2Advertisement, ...]:
        if not self._options.release.selects_services:
            return of_pool
        return tuple(ad for ad in of_pool if any_matches(ad.service_selectors, service.labels))

    def _shares_beside_selector(self, service: Service, ads: tuple[L2Advertisement, ...]) -> bool:
        return (
            self._options.release is Release.HEAD
            and any(key in service.annotations for key in ALLOW_SHARED_IP)
            and any(ad.service_selectors for ad in ads)
        )

    def _preferences(self, ads: tuple[L2Advertisement, ...]) -> Mapping[str, int]:
        """Add up the points of each node over the advertisements; only in releases that count."""
        if self._options.release is not Release.HEAD:
            return _NO_SCORES
        key = tuple(id(ad) for ad in ads)
        if key not in self._scores:
            points = {
                node.name: sum(_points(ad, node) for ad in ads) for node in self._nodes.values()
            }
            self._scores[key] = {node: score for node, score in points.items() if score}
        return self._scores[key]

    def _own_advertisements(self, ads: tuple[L2Advertisement, ...]) -> list[L2Advertisement]:
        if self._everywhere:
            return list(ads)
        own = self._nodes.get(self._options.own_node)
        if self._nodes and own is None:
            return []
        labels = own.labels if own is not None else {}
        return [ad for ad in ads if any_matches(ad.node_selectors, labels)]

    def _electorate(self, ads: tuple[L2Advertisement, ...]) -> frozenset[str] | None:
        """Return the nodes that the advertisements admit; services with the same share one set."""
        key = tuple(id(ad) for ad in ads)
        if key not in self._electorates:
            self._electorates[key] = self._admitted(ads)
        return self._electorates[key]

    def _admitted(self, ads: tuple[L2Advertisement, ...]) -> frozenset[str] | None:
        if self._options.release.needs_gossip and not self._options.gossips:
            return frozenset()
        if not self._nodes:
            # Nobody knows of labels: each member counts as a node without any.
            unlabelled = any(any_matches(ad.node_selectors, {}) for ad in ads)
            return None if unlabelled else frozenset()
        return frozenset(
            node.name
            for node in self._nodes.values()
            if self.barrier(node) is None
            and any(any_matches(ad.node_selectors, node.labels) for ad in ads)
        )

    def barrier(self, node: Node) -> Withheld | None:
        """Return why the node may own nothing; None where it may. As in MetalLB, readiness has no
        say, nor has a cordon in any release but v0.14.9, unless it is to count by choice."""
        if node.network_unavailable:
            return Withheld.NODE_NETWORK_UNAVAILABLE
        if node.unschedulable and self._options.release is Release.V0_14_9:
            return Withheld.NODE_CORDONED
        return shut_out(node, self._options)


_NO_SCORES: Mapping[str, int] = {}


def serving_nodes(slices: Collection[EndpointSlice]) -> set[str | None]:
    """Return the nodes of the endpoints that can serve; None stands for one without a node."""
    return {
        endpoint.node_name for found in slices for endpoint in found.endpoints if endpoint.can_serve
    }


def _points(ad: L2Advertisement, node: Node) -> int:
    """Return the weights that one advertisement adds to a node that it admits."""
    if not any_matches(ad.node_selectors, node.labels):
        return 0
    preferred = ad.preferred_nodes
    return sum(entry.weight for entry in preferred if entry.preference.matches(node.labels))


def interfaces_of(ads: Sequence[L2Advertisement]) -> frozenset[str] | None:
    """Unite the interfaces of the advertisements; one that names none means all."""
    if any(not ad.interfaces for ad in ads):
        return None
    return frozenset(name for ad in ads for name in ad.interfaces)
