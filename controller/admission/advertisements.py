"""MetalLB's rules on L2Advertisements and BGPAdvertisements among all others. Pure."""

from collections.abc import Iterable, Iterator

from controller.admission.world import AdmissionWorld, BGPType
from kube.config import judge, unknown_pools
from kube.objects.bgp import BGPAdvertisement
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.problem import Finding, Problem, Severity
from kube.rules import advertisements as rules
from kube.rules import communities, go_text, selectors, spans


def layer2_refusals(advertisement: L2Advertisement, world: AdmissionWorld) -> Iterator[str]:
    """Return MetalLB's objections; no other object matters to them."""
    yield from _texts(selectors.twice(advertisement.pools, "ipAddressPools"))
    yield from _texts(rules.selectors_twice(advertisement))
    yield from _texts(rules.unreadable(advertisement))
    for problem in judge([], [advertisement])[1]:
        if problem.severity is Severity.ERROR:
            yield f"{problem.field}: {problem.message}"


def bgp_refusals(advertisement: BGPAdvertisement, world: AdmissionWorld) -> Iterator[str]:
    """Return MetalLB's objections to the advertisement beside the pools and the others."""
    explicit = _explicit(advertisement)
    if world.bgp is BGPType.NATIVE:
        yield from _beyond_native(advertisement, world)
    yield from _texts(rules.lists(advertisement, explicit))
    yield from _texts(rules.lengths(advertisement))
    yield from filter(None, map(rules.bad_community, explicit))
    yield from _texts(rules.unreadable(advertisement))
    yield from _with_pools(advertisement, world)


def warnings(advertisement: L2Advertisement | BGPAdvertisement, world: AdmissionWorld) -> list[str]:
    """Say which pools the advertisement names that are not there."""
    found: Iterator[Problem] = unknown_pools(advertisement.origin, advertisement.pools, world.pools)
    return [f"{problem.field}: {problem.message}" for problem in found]


def _texts(findings: Iterable[Finding]) -> Iterator[str]:
    """Return the words alone: whoever is refused has one object in hand."""
    return (text for _, text in findings)


def _explicit(advertisement: BGPAdvertisement) -> list[str]:
    """Return the communities that are no alias: an alias may come after who uses it."""
    return [text for text in advertisement.communities if ":" in text]


def _chosen(advertisement: BGPAdvertisement, world: AdmissionWorld) -> list[IPAddressPool]:
    return rules.chosen(advertisement, world.pools.values())


def _beyond_native(advertisement: BGPAdvertisement, world: AdmissionWorld) -> Iterator[str]:
    for pool in _chosen(advertisement, world):
        for span in spans.spans(pool):
            if span.version == 6:
                name, network = go_text.quote(pool.name), next(spans.networks(span))
                yield f"pool {name} has ipv6 CIDR {network}, native bgp mode does not support ipv6"
    for text in _explicit(advertisement):
        if communities.is_large(text):
            yield (
                "native BGP mode only supports legacy communities, BGP advertisement "
                f"{go_text.quote(advertisement.name)} has non legacy community "
                f"{go_text.quote(text)}"
            )


def _with_pools(advertisement: BGPAdvertisement, world: AdmissionWorld) -> Iterator[str]:
    chosen = _chosen(advertisement, world)
    for pool in chosen:
        yield from _texts(rules.too_short(advertisement, pool))
    if advertisement.service_selectors:
        # Which services it is for is known only when one is announced.
        return
    mine = {pool.name for pool in chosen}
    nodes = world.nodes_of(advertisement.node_selectors)
    for other in world.advertisements.values():
        if other.name == advertisement.name or other.service_selectors:
            continue
        if not rules.may_conflict(advertisement, other):
            continue
        shared = [pool for pool in _chosen(other, world) if pool.name in mine]
        if any(not rules.lengths_differ(advertisement, other, pool) for pool in shared) and (
            nodes & world.nodes_of(other.node_selectors)
        ):
            yield rules.conflict(advertisement, other)[1]
