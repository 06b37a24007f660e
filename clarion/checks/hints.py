"""What is valid and most likely not as it was meant: our own warnings. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bgp.med_step import prefers
from clarion.allocating import Allocation, pool_wish
from clarion.checks.judging import judged_nodes
from clarion.sources.picture import Picture
from kube.document import Origin
from kube.objects.bgp import BGPAdvertisement
from kube.objects.core import Service
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.problem import Path, Problem, quoted
from kube.rules.advertisements import chosen
from kube.selector import LabelSelector
from plan.service import is_ours

Labels = Mapping[str, str]
MOST_POOLS = 5
"""Of which a warning says what kept a service out."""
_NEGATIVE = frozenset(("NotIn", "DoesNotExist"))


def hints(picture: Picture, fast_failover: bool) -> Iterator[Problem]:
    """Return all warnings. `fast_failover`: whether speakers step the MED of dead nodes' routes."""
    yield from _selectors(picture)
    yield from _pools(picture)
    yield from _slow_peers(picture, fast_failover)
    yield from _halves(picture)
    yield from _services(picture)


# ---- selectors that select nothing, or everything


@dataclass(frozen=True, slots=True)
class _List:
    """A list of selectors, where it stands, and what it is to select from."""

    origin: Origin
    path: Path
    selectors: Sequence[LabelSelector]
    what: str
    among: Sequence[Labels]


def _selectors(picture: Picture) -> Iterator[Problem]:
    for found in _lists(picture):
        if not found.among:
            # What is selected is made elsewhere: nobody can tell.
            continue
        for index, selector in enumerate(found.selectors):
            if not any(map(selector.matches, found.among)):
                text = f"{selector.text()} selects none of the {len(found.among)} {found.what}"
                yield found.origin.warning((*found.path, index), text)
    for found in _lists(picture):
        yield from _any_of(found)


def _any_of(found: _List) -> Iterator[Problem]:
    """Warn of a selector that only keeps out, beside others: one that matches is enough."""
    if len(found.selectors) < 2:
        return
    for index, selector in enumerate(found.selectors):
        expressions = selector.match_expressions
        only_keeps_out = not selector.match_labels and all(
            entry.operator in _NEGATIVE for entry in expressions
        )
        if only_keeps_out:
            text = (
                f"one selector of a list is enough, so all {found.what} with {selector.text()} are "
                "selected, whatever the others say: what must hold together goes into one selector"
            )
            yield found.origin.warning((*found.path, index), text)


def _lists(picture: Picture) -> Iterator[_List]:
    custom, snapshot = picture.custom, picture.snapshot
    nodes = [node.labels for node in snapshot.nodes.values()]
    pools = [pool.labels for pool in custom.pools]
    services = [s.labels for s in snapshot.services.values() if s.type == "LoadBalancer"]
    ads: list[L2Advertisement | BGPAdvertisement] = [*custom.advertisements]
    ads += custom.bgp.advertisements
    for ad in ads:
        where = ad.origin
        yield _List(where, ("spec", "nodeSelectors"), ad.node_selectors, "nodes", nodes)
        yield _List(where, ("spec", "ipAddressPoolSelectors"), ad.pool_selectors, "pools", pools)
        yield _List(where, ("spec", "serviceSelectors"), ad.service_selectors, "services", services)
    for peer in custom.bgp.peers:
        yield _List(
            peer.origin, ("spec", "nodeSelectors"), peer.spec.node_selectors, "nodes", nodes
        )
    for pool in custom.pools:
        allocation = pool.service_allocation
        if allocation is not None:
            path: Path = ("spec", "serviceAllocation", "serviceSelectors")
            yield _List(pool.origin, path, allocation.service_selectors, "services", services)


# ---- pools and advertisements


def _pools(picture: Picture) -> Iterator[Problem]:
    """Warn of pools that nobody announces."""
    config, custom = picture.snapshot.config, picture.custom
    told = {pool.name for ad in custom.bgp.advertisements for pool in chosen(ad, custom.pools)}
    if config is None:
        return
    for pool in custom.pools:
        if not config.advertisements.get(pool.name) and pool.name not in told:
            text = (
                "no L2Advertisement and no BGPAdvertisement is for this pool: nobody announces it"
            )
            yield pool.origin.warning((), text)


def _halves(picture: Picture) -> Iterator[Problem]:
    """Warn of BGP of which one half is missing."""
    bgp = picture.custom.bgp
    if bgp.advertisements and not bgp.peers:
        for ad in bgp.advertisements:
            yield ad.origin.warning((), "there is no BGPPeer: no router hears of it")
    if bgp.peers and not bgp.advertisements:
        for peer in bgp.peers:
            yield peer.origin.warning((), "there is no BGPAdvertisement: it hears of no address")


# ---- routers that learn late of a dead node


def _slow_peers(picture: Picture, fast_failover: bool) -> Iterator[Problem]:
    """Warn of peers without BFD that no MED tells of a dead node either."""
    bgp = picture.custom.bgp
    if not bgp.wanted:
        return
    configs = [judged.config for judged in judged_nodes(picture) if judged.config is not None]
    preferred = any(map(prefers, configs))
    if fast_failover and not preferred:
        return
    why = "a localPref counts before the MED" if preferred else "the MED step is off"
    for peer in bgp.peers:
        if not peer.spec.bfd_profile and not peer.spec.enable_graceful_restart:
            text = (
                f"no bfdProfile, and {why}: the router keeps the routes of a dead node for the "
                "hold time, 90 s by default"
            )
            yield peer.origin.warning(("spec",), text)


# ---- services


def _services(picture: Picture) -> Iterator[Problem]:
    pools = {pool.name: pool for pool in picture.custom.pools}
    allocation = Allocation(picture)
    for service in picture.snapshot.services.values():
        if service.type == "LoadBalancer" and is_ours(service, picture.options) and pools:
            yield from _of_service(service, picture, pools, allocation)


def _of_service(
    service: Service,
    picture: Picture,
    pools: Mapping[str, IPAddressPool],
    allocation: Allocation,
) -> Iterator[Problem]:
    key, name = pool_wish(service)
    if name and name not in pools:
        where: Path = ("metadata", "annotations", key)
        yield service.origin.warning(where, f"no IPAddressPool is named {quoted(name)}")
        return
    config, given = picture.snapshot.config, allocation.of(service)
    pool = given.pool or name
    if not given.ips and config is not None and not _unknown_namespaces(picture):
        pools_said = "".join(f"; {row.pool}: {row.detail}" for row in given.pools[:MOST_POOLS])
        yield service.origin.warning((), given.events[-1] + pools_said)
    # Of one that has an address `plan` says it.
    if not any(service.ingress) and service.external_traffic_policy == "Local":
        for ad in picture.custom.bgp.advertisements:
            if _aggregates(ad) and pool in (found.name for found in chosen(ad, pools.values())):
                text = (
                    f"Local, and BGPAdvertisement {ad.name} aggregates pool {pool}: routers send "
                    "traffic to nodes that have no endpoint of it"
                )
                yield service.origin.warning(("spec", "externalTrafficPolicy"), text)


def _aggregates(ad: BGPAdvertisement) -> bool:
    return ad.aggregation_length < 32 or ad.aggregation_length_v6 < 128


def _unknown_namespaces(picture: Picture) -> bool:
    """Tell whether pools are for namespaces whose labels are not among the manifests."""
    found = (pool.service_allocation for pool in picture.custom.pools)
    wanted = any(each is not None and each.namespace_selectors for each in found)
    return wanted and not picture.snapshot.namespaces
