"""What every protocol checks of a service before it is announced, and what is planned of it. Pure.

The checks and their order are those of MetalLB v0.16, so that a mixed cluster elects one owner.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kube.address import parse_ip
from kube.config import PoolConfig
from kube.objects.core import INGRESS, LOAD_BALANCER_IP, LOAD_BALANCER_IPS, Node, Service
from kube.problem import Path, Problem, quoted
from link.address import IPAddress
from plan.release import Options

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
    """No endpoint can serve, or no node may own it. By BGP: no advertisement is for this node."""
    CONFLICTING_ADVERTISEMENTS = "conflictingAdvertisements"
    """By BGP only, as all that follow up to `NO_ENDPOINTS`: they differ in local preference."""
    NODE_NETWORK_UNAVAILABLE = "nodeNetworkUnavailable"
    NODE_LABELED_EXCLUDE_BALANCERS = "nodeLabeledExcludeBalancers"
    NODE_CORDONED = "nodeCordoned"
    """Ours, by choice: see `Options.drain_on_cordon`."""
    NO_LOCAL_ENDPOINTS = "noLocalEndpoints"
    NO_ENDPOINTS = "noEndpoints"
    QUORUM = "quorum"
    """Ours, by choice: not most of the nodes that may own it are in reach (see `quorum`)."""


def shut_out(node: Node, options: Options) -> Withheld | None:
    """Return why a node may announce nothing as people want it so; None where it may."""
    if EXCLUDE_LABEL in node.labels and not options.ignore_exclude_lb:
        return Withheld.NODE_LABELED_EXCLUDE_BALANCERS
    if node.unschedulable and options.drain_on_cordon:
        return Withheld.NODE_CORDONED
    return None


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
    wanted: bool = False
    """Whether some node ought to announce it: it has endpoints, and an advertisement."""


def is_ours(service: Service, options: Options) -> bool:
    """Tell by its load balancer class if a service is ours."""
    return (service.load_balancer_class or None) == (options.lb_class or None)


@dataclass(frozen=True, slots=True)
class _Addresses:
    """The addresses of a service: their texts, and the field that holds them."""

    texts: tuple[str, ...]
    field: Path


@dataclass(frozen=True, slots=True)
class Admitted:
    """A service whose addresses are all of one pool."""

    ips: tuple[IPAddress, ...]
    pool: str


def check(
    service: Service, config: PoolConfig | None, options: Options, problems: list[Problem]
) -> Admitted | ServicePlan:
    """Go through the checks in the order in which MetalLB's `SetBalancer` makes them.

    The result is a plan where the service is withheld; what is wrong is added to `problems`.
    """
    if service.type != "LoadBalancer":
        return ServicePlan(service.key, withheld=Withheld.NOT_LOAD_BALANCER)
    if config is None:
        return ServicePlan(service.key, withheld=Withheld.NO_CONFIG)
    addresses = _addresses(service, options, problems)
    if not addresses.texts:
        return ServicePlan(service.key, withheld=Withheld.NO_IP_ALLOCATED)
    ips = _parse(service, addresses, problems)
    if ips is None:
        return ServicePlan(service.key, withheld=Withheld.INVALID_IP)
    pool = config.pool_for(ips)
    if pool is None:
        problems.append(_not_allowed(service, addresses, ips, config))
        return ServicePlan(service.key, ips, str(ips[0]), withheld=Withheld.IP_NOT_ALLOWED)
    return Admitted(ips, pool)


def _addresses(service: Service, options: Options, problems: list[Problem]) -> _Addresses:
    """Find where the addresses stand. A status always wins: it is what others act on."""
    if service.ingress or not options.addresses_from_annotations:
        return _Addresses(service.ingress, INGRESS)
    asked = next((key for key in LOAD_BALANCER_IPS if key in service.annotations), None)
    if asked is None:
        return _Addresses(
            (service.load_balancer_ip,) * bool(service.load_balancer_ip), LOAD_BALANCER_IP
        )
    path: Path = ("metadata", "annotations", asked)
    if service.load_balancer_ip:
        message = f"stands beside {asked}; MetalLB takes one of them, not both"
        problems.append(service.origin.error(LOAD_BALANCER_IP, message))
        return _Addresses((), path)
    texts = [text.strip() for text in service.annotations[asked].split(",")]
    return _Addresses(tuple(dict.fromkeys(texts)) if any(texts) else (), path)


def _parse(
    service: Service, addresses: _Addresses, problems: list[Problem]
) -> tuple[IPAddress, ...] | None:
    found: list[IPAddress] = []
    for text in addresses.texts:
        address = parse_ip(text)
        if address is None:
            message = f"{quoted(text)} is not an IP address"
            problems.append(service.origin.error(addresses.field, message))
            return None
        found.append(address)
    return tuple(found)


def _not_allowed(
    service: Service, addresses: _Addresses, ips: tuple[IPAddress, ...], config: PoolConfig
) -> Problem:
    outside = [str(ip) for ip in ips if config.pool_of(ip) is None]
    if outside:
        message = f"{', '.join(outside)[:200]} is in no IPAddressPool"
    else:
        message = f"{', '.join(map(str, ips))[:200]} are not all in one IPAddressPool"
    return service.origin.error(addresses.field, message)
