"""From the cluster's state to what each service needs: its addresses, and who may own them.

The rules and their order are those of MetalLB v0.16, so that a mixed cluster elects one owner. One
of them surprises where the objects come from files: a service needs an endpoint that can serve, so
the directory must hold an EndpointSlice for it, or nobody announces it. A warning says so.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kube.address import parse_ip
from kube.config import Config
from kube.objects.core import (
    INGRESS,
    LOAD_BALANCER_IP,
    LOAD_BALANCER_IPS,
    EndpointSlice,
    Node,
    Service,
)
from kube.objects.metallb import L2Advertisement
from kube.problem import Path, Problem, Severity, quoted, worst_first
from kube.selector import any_matches
from kube.snapshot import Snapshot
from link.address import IPAddress

ALLOW_SHARED_IP = ("metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip")
EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"


class Withheld(StrEnum):
    """Why a service is not announced here, in MetalLB's words."""

    SERVICE_DELETED = "serviceDeleted"
    NOT_LOAD_BALANCER = "notLoadBalancer"
    NO_CONFIG = "configNotLoaded"
    """Ours: MetalLB leaves a service alone, without a word, until it has a configuration."""
    NO_IP_ALLOCATED = "noIPAllocated"
    INVALID_IP = "invalidIP"
    IP_NOT_ALLOWED = "ipNotAllowed"
    IP_CHANGED = "loadBalancerIPChanged"
    NO_MATCHING_ADVERTISEMENT = "noMatchingAdvertisement"
    SHARED_IP_WITH_SELECTOR = "sharedIPWithServiceSelector"
    """Releases after v0.16 do not let services share an IP that a selector could part."""
    NOT_OWNER = "notOwner"
    """No endpoint can serve, or no node may own it."""
    QUORUM = "quorum"
    """Ours, by choice: not most of the nodes that may own it are in reach (see `quorum`)."""


class Release(StrEnum):
    """MetalLB's releases that decide differently; speakers of one ring must decide alike."""

    V0_14_5 = "v0.14.5"
    """And its patches up to v0.14.8: without gossip nobody announces anything. No service selectors
    either. Those before judge endpoints by rules that we do not know."""
    V0_14_9 = "v0.14.9"
    """The last patch: cordoned nodes own nothing besides (only there; it was taken back)."""
    V0_15 = "v0.15"
    """No service selectors."""
    V0_16 = "v0.16"
    HEAD = "head"
    """Preferred nodes; no shared IPs beside service selectors."""

    @property
    def selects_services(self) -> bool:
        """Whether advertisements have service selectors."""
        return self in (Release.V0_16, Release.HEAD)

    @property
    def needs_gossip(self) -> bool:
        """Whether nobody owns anything where there is no gossip."""
        return self in (Release.V0_14_5, Release.V0_14_9)


RELEASES: Mapping[str, Release] = {
    **{f"v0.14.{patch}": Release.V0_14_5 for patch in range(5, 9)},
    "v0.14": Release.V0_14_9,
    **{release.value: release for release in Release if release is not Release.V0_14_5},
}
"""By the names that an operator may give; a minor release means its last patch."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the speaker was told at its start."""

    own_node: str
    lb_class: str | None = None
    """Only services of this class; None or empty: only services without a class."""
    ignore_exclude_lb: bool = False
    release: Release = Release.V0_16
    gossips: bool = True
    addresses_from_annotations: bool = False
    """Where no controller writes a status (`--source`): take the addresses a service asks for."""
    quorum: bool = False
    """Whether it takes a majority of the Nodes to announce."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What there is to know of one service before any vote is counted."""

    service: str
    """`namespace/name`."""
    ips: tuple[IPAddress, ...] = ()
    """In the order of the status."""
    hash_ip: str = ""
    """Text of the first address, the one that the election hashes."""
    candidates: frozenset[str] | None = frozenset()
    """Nodes that may own it while they are alive; None: every member."""
    interfaces: frozenset[str] | None = None
    """Where our own node announces it; None: on all."""
    scores: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Points of preferred nodes: more come first, the hash decides among equals."""
    withheld: Withheld | None = None
    """Set: this node does not announce it, whatever the election says."""
    voters: frozenset[str] | None = frozenset()
    """Nodes that the advertisements admit, wherever its endpoints are; None: no Node is known."""


def plan(snapshot: Snapshot, options: Options) -> tuple[dict[str, ServicePlan], list[Problem]]:
    """Plan every service that is ours, all at once; `planner` keeps the same up to date."""
    rules = Rules(snapshot.config, snapshot.nodes, options)
    problems: list[Problem] = []
    plans: dict[str, ServicePlan] = {}
    for service in snapshot.services.values():
        if is_ours(service, options):
            slices = snapshot.slices.get(service.key, ())
            plans[service.key], found = rules.plan(service, slices)
            problems += found
    return plans, worst_first((*problems, *general(snapshot, options)))


def is_ours(service: Service, options: Options) -> bool:
    """Tell by its load balancer class if a service is ours."""
    return (service.load_balancer_class or None) == (options.lb_class or None)


@dataclass(frozen=True, slots=True)
class _Addresses:
    """The addresses of a service: their texts, and the field that holds them."""

    texts: tuple[str, ...]
    field: Path


class Rules:
    """Applies the rules to one service at a time and remembers what services have in common."""

    def __init__(self, config: Config | None, nodes: Mapping[str, Node], options: Options) -> None:
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
        """Go through the checks in the order in which MetalLB's `SetBalancer` makes them."""
        if service.type != "LoadBalancer":
            return ServicePlan(service.key, withheld=Withheld.NOT_LOAD_BALANCER)
        config = self._config
        if config is None:
            return ServicePlan(service.key, withheld=Withheld.NO_CONFIG)
        addresses = self._addresses(service)
        if not addresses.texts:
            return ServicePlan(service.key, withheld=Withheld.NO_IP_ALLOCATED)
        ips = self._parse(service, addresses)
        if ips is None:
            return ServicePlan(service.key, withheld=Withheld.INVALID_IP)
        pool = config.pool_for(ips)
        if pool is None:
            self._problems.append(_not_allowed(service, addresses, ips, config))
            return ServicePlan(service.key, ips, str(ips[0]), withheld=Withheld.IP_NOT_ALLOWED)
        return self._announcement(service, ips, config.advertisements[pool], slices)

    def _addresses(self, service: Service) -> _Addresses:
        """Find where the addresses stand. A status always wins: it is what others act on."""
        if service.ingress or not self._options.addresses_from_annotations:
            return _Addresses(service.ingress, INGRESS)
        asked = next((key for key in LOAD_BALANCER_IPS if key in service.annotations), None)
        if asked is None:
            return _Addresses(
                (service.load_balancer_ip,) * bool(service.load_balancer_ip), LOAD_BALANCER_IP
            )
        path: Path = ("metadata", "annotations", asked)
        if service.load_balancer_ip:
            message = f"stands beside {asked}; MetalLB takes one of them, not both"
            self._problems.append(service.origin.error(LOAD_BALANCER_IP, message))
            return _Addresses((), path)
        texts = [text.strip() for text in service.annotations[asked].split(",")]
        return _Addresses(tuple(dict.fromkeys(texts)) if any(texts) else (), path)

    def _parse(self, service: Service, addresses: _Addresses) -> tuple[IPAddress, ...] | None:
        found: list[IPAddress] = []
        for text in addresses.texts:
            address = parse_ip(text)
            if address is None:
                message = f"{quoted(text)} is not an IP address"
                self._problems.append(service.origin.error(addresses.field, message))
                return None
            found.append(address)
        return tuple(found)

    def _announcement(
        self,
        service: Service,
        ips: tuple[IPAddress, ...],
        of_pool: tuple[L2Advertisement, ...],
        slices: Collection[EndpointSlice],
    ) -> ServicePlan:
        """Apply the rules of `ShouldAnnounce` for layer 2, up to the vote itself."""
        serving = _serving(slices)
        ads = self._for_service(service, of_pool)
        own = self._own_advertisements(ads)
        candidates = voters = self._electorate(ads)
        if service.external_traffic_policy == "Local":
            local = frozenset(node for node in serving if node)
            candidates = local if candidates is None else candidates & local
        withheld = None
        if not serving:
            withheld = Withheld.NOT_OWNER
            if not slices and self._options.addresses_from_annotations:
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
            _interfaces(own),
            self._preferences(ads),
            withheld,
            voters,
        )

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
            if self._available(node)
            and any(any_matches(ad.node_selectors, node.labels) for ad in ads)
        )

    def _available(self, node: Node) -> bool:
        """Tell if the node may own anything. As in MetalLB, readiness has no say, nor has a cordon
        in any release but v0.14.9."""
        if node.network_unavailable:
            return False
        if node.unschedulable and self._options.release is Release.V0_14_9:
            return False
        return self._options.ignore_exclude_lb or EXCLUDE_LABEL not in node.labels


_NO_SCORES: Mapping[str, int] = {}


def _serving(slices: Collection[EndpointSlice]) -> set[str | None]:
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


def _interfaces(ads: list[L2Advertisement]) -> frozenset[str] | None:
    """Unite the interfaces of the advertisements; one that names none means all."""
    if any(not ad.interfaces for ad in ads):
        return None
    return frozenset(name for ad in ads for name in ad.interfaces)


def _not_allowed(
    service: Service, addresses: _Addresses, ips: tuple[IPAddress, ...], config: Config
) -> Problem:
    outside = [str(ip) for ip in ips if config.pool_of(ip) is None]
    if outside:
        message = f"{', '.join(outside)[:200]} is in no IPAddressPool"
    else:
        message = f"{', '.join(map(str, ips))[:200]} are not all in one IPAddressPool"
    return service.origin.error(addresses.field, message)


def general(snapshot: Snapshot, options: Options) -> Iterator[Problem]:
    """Tell what is wrong with the objects that services have in common."""
    if options.quorum and not snapshot.nodes:
        message = "--quorum=majority: no Node object is known, so nobody has a majority"
        yield Problem(Severity.ERROR, "", 0, "", "", message)
    yield from _without_effect(snapshot.config, options)


def _without_effect(config: Config | None, options: Options) -> Iterator[Problem]:
    """Warn of fields that the release set does not know: it treats them as absent."""
    if options.release is Release.HEAD or config is None:
        return
    advertisements = {ad.name: ad for found in config.advertisements.values() for ad in found}
    for ad in advertisements.values():
        message = f"has no effect in release {options.release}"
        if ad.preferred_nodes:
            yield ad.origin.warning(("spec", "preferredNodeSelectors"), message)
        if ad.service_selectors and not options.release.selects_services:
            yield ad.origin.warning(("spec", "serviceSelectors"), message)
