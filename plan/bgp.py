"""Which prefixes a service has this node announce by BGP, and to whom: the rules. Pure.

The rules and their order are those of MetalLB's `ShouldAnnounce` for BGP. There is no election:
each node decides for itself, and nobody has to agree with it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_network
from itertools import combinations

from kube.bgp_config import BgpConfig, RouteAdvertisement
from kube.config import PoolConfig
from kube.objects.core import Endpoint, EndpointSlice, Node, Service
from kube.problem import Problem
from kube.selector import any_matches
from link.address import IPAddress
from plan.offers import Community, IPNetwork, LargeCommunity
from plan.release import Options
from plan.service import ServicePlan, Withheld, check, shut_out

_LOCAL = "Local"


@dataclass(frozen=True, slots=True)
class Wish:
    """What one advertisement wants told of a prefix."""

    peers: frozenset[str] = frozenset()
    """Names of BGPPeers, known or not; empty: all."""
    communities: frozenset[Community] = frozenset()
    large: frozenset[LargeCommunity] = frozenset()
    local_pref: int = 0
    """0: none."""


@dataclass(frozen=True, slots=True)
class BgpPlan:
    """What this node announces of one service."""

    service: str
    """`namespace/name`."""
    ips: tuple[IPAddress, ...] = ()
    """In the order of the status."""
    withheld: Withheld | None = None
    """Set: this node announces nothing of it."""
    wishes: Mapping[IPNetwork, frozenset[Wish]] = field(default_factory=dict, hash=False)
    """Empty where it is withheld."""
    draining: bool = False
    """Only terminating endpoints are left here: routers are to prefer every other way."""


class BgpRules:
    """Applies the rules to one service at a time."""

    def __init__(
        self,
        config: PoolConfig | None,
        bgp: BgpConfig | None,
        nodes: Mapping[str, Node],
        options: Options,
    ) -> None:
        self._config, self._options = config, options
        self._advertisements = bgp.advertisements if bgp is not None else {}
        # A Node that is not known yet counts as available.
        self._own = nodes.get(options.own_node)

    def plan(
        self, service: Service, slices: Collection[EndpointSlice]
    ) -> tuple[BgpPlan, tuple[Problem, ...]]:
        """Plan one service by its endpoint slices; also tell what is wrong with it.

        What is wrong for every protocol the rules of layer 2 tell.
        """
        checked = check(service, self._config, self._options, [])
        if isinstance(checked, ServicePlan):
            return BgpPlan(service.key, checked.ips, checked.withheld), ()
        of_pool = self._advertisements.get(checked.pool, ())
        ads = [ad for ad in of_pool if any_matches(ad.service_selectors, service.labels)]
        local = service.external_traffic_policy == _LOCAL
        endpoints = _serving(slices)
        here = [entry for entry in endpoints if entry.node_name == self._options.own_node]
        reason = self._reason(checked.ips, of_pool, ads) or _unserved(local, here, endpoints)
        if reason is not None:
            found = BgpPlan(service.key, checked.ips, reason)
        else:
            draining = local and all(entry.only_drains for entry in here)
            found = BgpPlan(service.key, checked.ips, None, _wishes(checked.ips, ads), draining)
        return found, tuple(_remarks(service, found, local))

    def _reason(
        self,
        ips: Sequence[IPAddress],
        of_pool: Sequence[RouteAdvertisement],
        ads: Sequence[RouteAdvertisement],
    ) -> Withheld | None:
        """Return why the node may not announce it, wherever its endpoints are."""
        if not of_pool:
            return Withheld.NOT_OWNER
        if not ads:
            return Withheld.NO_MATCHING_ADVERTISEMENT
        # Mostly all have the same one, and then no pair needs a look.
        apart = len({ad.local_pref for ad in ads}) > 1
        if apart and any(_conflict(one, other, ips) for one, other in combinations(ads, 2)):
            return Withheld.CONFLICTING_ADVERTISEMENTS
        if self._own is None:
            return None
        if self._own.network_unavailable:
            return Withheld.NODE_NETWORK_UNAVAILABLE
        return shut_out(self._own, self._options)


def _serving(slices: Collection[EndpointSlice]) -> list[Endpoint]:
    return [
        entry
        for found in slices
        for entry in found.endpoints
        if entry.can_serve and entry.addressed
    ]


def _unserved(
    local: bool, here: Sequence[Endpoint], endpoints: Sequence[Endpoint]
) -> Withheld | None:
    if local and not here:
        return Withheld.NO_LOCAL_ENDPOINTS
    return None if endpoints else Withheld.NO_ENDPOINTS


def _conflict(one: RouteAdvertisement, other: RouteAdvertisement, ips: Sequence[IPAddress]) -> bool:
    """Tell if a peer would hear of one prefix with two preferences."""
    if one.local_pref == other.local_pref:
        return False
    if one.peers and other.peers and not one.peers & other.peers:
        return False
    return any(one.length(ip.version) == other.length(ip.version) for ip in ips)


def _wishes(
    ips: Iterable[IPAddress], ads: Sequence[RouteAdvertisement]
) -> Mapping[IPNetwork, frozenset[Wish]]:
    found: dict[IPNetwork, set[Wish]] = {}
    for ip in ips:
        for ad in ads:
            wish = Wish(ad.peers, ad.communities, ad.large, ad.local_pref)
            found.setdefault(_prefix(ip, ad.length(ip.version)), set()).add(wish)
    return {prefix: frozenset(some) for prefix, some in found.items()}


@lru_cache(maxsize=16_384)
def _prefix(ip: IPAddress, length: int) -> IPNetwork:
    """Remember prefixes: making one costs more than all other rules together."""
    return ip_network((ip, length), strict=False)


def _remarks(service: Service, found: BgpPlan, local: bool) -> Iterable[Problem]:
    """Return what the author of the service should know."""
    if found.withheld is Withheld.CONFLICTING_ADVERTISEMENTS:
        text = "BGPAdvertisements that match it differ in localPref: it is not announced by BGP"
        yield service.origin.error((), text)
    elif local and any(prefix.prefixlen < prefix.max_prefixlen for prefix in found.wishes):
        text = (
            "with externalTrafficPolicy Local an aggregated prefix draws traffic to nodes that "
            "have no endpoint of it"
        )
        yield service.origin.warning((), text)
