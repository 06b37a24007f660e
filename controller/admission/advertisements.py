"""MetalLB's rules on L2Advertisements and BGPAdvertisements, in its words. Pure."""

from collections.abc import Iterator, Sequence

from controller.admission import communities, go_text, pools, selectors
from controller.admission.world import BGPType, World
from kube.config import judge, unknown_pools
from kube.objects.bgp import BGPAdvertisement
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.problem import Problem, Severity
from kube.selector import LabelSelector


def layer2_refusals(advertisement: L2Advertisement, world: World) -> Iterator[str]:
    """Return MetalLB's objections; no other object matters to them."""
    yield from selectors.twice(advertisement.pools, "ipAddressPools")
    yield from _selectors_twice(advertisement)
    yield from _unreadable(advertisement)
    for problem in judge([], [advertisement])[1]:
        if problem.severity is Severity.ERROR:
            yield f"{problem.field}: {problem.message}"


def bgp_refusals(advertisement: BGPAdvertisement, world: World) -> Iterator[str]:
    """Return MetalLB's objections to the advertisement beside the pools and the others."""
    if world.bgp is BGPType.NATIVE:
        yield from _beyond_native(advertisement, world)
    yield from selectors.twice(advertisement.pools, "ipAddressPools")
    yield from selectors.twice(_explicit(advertisement), "community")
    yield from selectors.twice(advertisement.peers, "peers")
    yield from _selectors_twice(advertisement)
    yield from _lengths(advertisement)
    for text in _explicit(advertisement):
        if (why := communities.fault(text)) is not None:
            yield f"{why}\ninvalid community {go_text.quote(text)} in BGP advertisement"
    yield from _unreadable(advertisement)
    yield from _with_pools(advertisement, world)


def warnings(advertisement: L2Advertisement | BGPAdvertisement, world: World) -> list[str]:
    """Say which pools the advertisement names that are not there."""
    found: Iterator[Problem] = unknown_pools(advertisement.origin, advertisement.pools, world.pools)
    return [f"{problem.field}: {problem.message}" for problem in found]


def _explicit(advertisement: BGPAdvertisement) -> list[str]:
    """Return the communities that are no alias: an alias may come after who uses it."""
    return [text for text in advertisement.communities if ":" in text]


def _selectors_twice(advertisement: L2Advertisement | BGPAdvertisement) -> Iterator[str]:
    for field, some in (
        ("ipAddressPoolSelectors", advertisement.pool_selectors),
        ("nodeSelectors", advertisement.node_selectors),
        ("serviceSelectors", advertisement.service_selectors),
    ):
        yield from selectors.selectors_twice(some, field)


def _unreadable(advertisement: L2Advertisement | BGPAdvertisement) -> Iterator[str]:
    name = advertisement.name
    for why, text in _faults(advertisement.node_selectors):
        yield f"{why}\ninvalid label selector {text}\nfailed to parse node selector for {name}"
    for why, text in _faults(advertisement.service_selectors):
        yield f"invalid service selector {text}: {why}\nfailed to parse service selector for {name}"
    for why, text in _faults(advertisement.pool_selectors):
        yield f"{why}\ninvalid label selector {text}"


def _faults(some: Sequence[LabelSelector]) -> Iterator[tuple[str, str]]:
    for selector in some:
        if (why := selectors.unreadable(selector)) is not None:
            yield why, go_text.selector(selector)


def _beyond_native(advertisement: BGPAdvertisement, world: World) -> Iterator[str]:
    for pool in _chosen(advertisement, world):
        for span in pools.spans(pool):
            if span.version == 6:
                name, network = go_text.quote(pool.name), next(pools.networks(span))
                yield f"pool {name} has ipv6 CIDR {network}, native bgp mode does not support ipv6"
    for text in _explicit(advertisement):
        if communities.is_large(text):
            yield (
                "native BGP mode only supports legacy communities, BGP advertisement "
                f"{go_text.quote(advertisement.name)} has non legacy community "
                f"{go_text.quote(text)}"
            )


def _lengths(advertisement: BGPAdvertisement) -> Iterator[str]:
    lengths = (
        ("IPv4", "aggregationLength", advertisement.aggregation_length, 32),
        ("IPv6", "aggregationLengthV6", advertisement.aggregation_length_v6, 128),
    )
    for _, field, length, most in lengths:
        if advertisement.service_selectors and length != most:
            yield (
                f"serviceSelectors and {field} are mutually exclusive, both cannot be set in "
                f"{advertisement.name}"
            )
    for family, _, length, most in lengths:
        if length > most:
            yield f"invalid aggregation length {go_text.quote_number(length)} for {family}"


def _chosen(advertisement: BGPAdvertisement, world: World) -> list[IPAddressPool]:
    """Return the pools that the advertisement is for: named, selected, or all."""
    if not advertisement.pools and not advertisement.pool_selectors:
        return list(world.pools.values())
    names = frozenset(advertisement.pools)
    return [
        pool
        for pool in world.pools.values()
        if pool.name in names
        or any(selector.matches(pool.labels) for selector in advertisement.pool_selectors)
    ]


def _with_pools(advertisement: BGPAdvertisement, world: World) -> Iterator[str]:
    chosen = _chosen(advertisement, world)
    for pool in chosen:
        yield from _too_short(advertisement, pool)
    if advertisement.service_selectors:
        # Which services it is for is known only when one is announced.
        return
    mine = {pool.name for pool in chosen}
    nodes = world.nodes_of(advertisement.node_selectors)
    for other in world.advertisements.values():
        if other.name == advertisement.name or other.service_selectors:
            continue
        if other.local_pref == advertisement.local_pref or _other_peers(advertisement, other):
            continue
        shared = [pool for pool in _chosen(other, world) if pool.name in mine]
        if any(not _lengths_differ(advertisement, other, pool) for pool in shared) and (
            nodes & world.nodes_of(other.node_selectors)
        ):
            yield (
                f"invalid local preference {advertisement.local_pref}: local preferernce "
                f"{other.local_pref} was already set for the same type of BGP update. Check "
                "existing BGP advertisements with common pools and aggregation lengths"
            )


def _too_short(advertisement: BGPAdvertisement, pool: IPAddressPool) -> Iterator[str]:
    lengths = {4: advertisement.aggregation_length, 6: advertisement.aggregation_length_v6}
    for text, span in zip(pool.addresses, map(pools.read, pool.addresses), strict=True):
        if isinstance(span, str) or lengths[span.version] >= (32 if span.version == 4 else 128):
            continue
        shortest = min(network.prefixlen for network in pools.networks(span))
        if lengths[span.version] < shortest:
            yield (
                f"invalid aggregation length {lengths[span.version]}: prefix {shortest} in this "
                "pool is more specific than the aggregation length for addresses "
                f"{text[: go_text.MAX_TEXT]}"
            )


def _other_peers(one: BGPAdvertisement, other: BGPAdvertisement) -> bool:
    return bool(one.peers and other.peers) and not set(one.peers) & set(other.peers)


def _lengths_differ(one: BGPAdvertisement, other: BGPAdvertisement, pool: IPAddressPool) -> bool:
    """Tell if the routes of the pool differ in length, in every family that it has."""
    versions = {span.version for span in pools.spans(pool)}
    differ = {
        4: one.aggregation_length != other.aggregation_length,
        6: one.aggregation_length_v6 != other.aggregation_length_v6,
    }
    return all(differ[version] for version in versions)
