"""MetalLB's rules on advertisements, alone, with pools and beside each other, in its words. Pure.

Paths are those of the object that is judged.
"""

from collections.abc import Iterable, Iterator, Sequence

from kube.objects.bgp import BGPAdvertisement
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.problem import Finding
from kube.rules import communities, go_text, selectors, spans
from kube.selector import LabelSelector


def lists(advertisement: BGPAdvertisement, some: Sequence[str]) -> Iterator[Finding]:
    """Refuse what is twice in a list; of the communities those that `some` are."""
    for name, texts, what in (
        ("ipAddressPools", advertisement.pools, "ipAddressPools"),
        ("communities", some, "community"),
        ("peers", advertisement.peers, "peers"),
    ):
        for path, text in selectors.twice(texts, what):
            yield ("spec", name, *path), text
    yield from selectors_twice(advertisement)


def selectors_twice(advertisement: L2Advertisement | BGPAdvertisement) -> Iterator[Finding]:
    """Refuse selectors that stand twice in their list."""
    for field, some in (
        ("ipAddressPoolSelectors", advertisement.pool_selectors),
        ("nodeSelectors", advertisement.node_selectors),
        ("serviceSelectors", advertisement.service_selectors),
    ):
        for path, text in selectors.selectors_twice(some, field):
            yield ("spec", field, *path), text


def unreadable(advertisement: L2Advertisement | BGPAdvertisement) -> Iterator[Finding]:
    """Refuse selectors that Kubernetes cannot read."""
    name = advertisement.name
    for index, why, text in _faults(advertisement.node_selectors):
        message = f"{why}\ninvalid label selector {text}\nfailed to parse node selector for {name}"
        yield ("spec", "nodeSelectors", index), message
    for index, why, text in _faults(advertisement.service_selectors):
        failed = f"failed to parse service selector for {name}"
        message = f"invalid service selector {text}: {why}\n{failed}"
        yield ("spec", "serviceSelectors", index), message
    for index, why, text in _faults(advertisement.pool_selectors):
        yield ("spec", "ipAddressPoolSelectors", index), f"{why}\ninvalid label selector {text}"


def _faults(some: Sequence[LabelSelector]) -> Iterator[tuple[int, str, str]]:
    for index, selector in enumerate(some):
        if (why := selectors.unreadable(selector)) is not None:
            yield index, why, go_text.selector(selector)


def lengths(advertisement: BGPAdvertisement) -> Iterator[Finding]:
    """Judge the lengths to which addresses are aggregated."""
    both = (
        ("IPv4", "aggregationLength", advertisement.aggregation_length, 32),
        ("IPv6", "aggregationLengthV6", advertisement.aggregation_length_v6, 128),
    )
    for _, field, length, most in both:
        if advertisement.service_selectors and length != most:
            text = (
                f"serviceSelectors and {field} are mutually exclusive, both cannot be set in "
                f"{advertisement.name}"
            )
            yield ("spec", field), text
    for family, field, length, most in both:
        if length > most:
            number = go_text.quote_number(length)
            yield ("spec", field), f"invalid aggregation length {number} for {family}"


def bad_community(text: str) -> str | None:
    """Say why a text that is no alias is no community, or return None."""
    why = communities.fault(text)
    return why and f"{why}\ninvalid community {go_text.quote(text)} in BGP advertisement"


def chosen(advertisement: BGPAdvertisement, pools: Iterable[IPAddressPool]) -> list[IPAddressPool]:
    """Return the pools that the advertisement is for: named, selected, or all."""
    if not advertisement.pools and not advertisement.pool_selectors:
        return list(pools)
    names = frozenset(advertisement.pools)
    return [
        pool
        for pool in pools
        if pool.name in names
        or any(selector.matches(pool.labels) for selector in advertisement.pool_selectors)
    ]


def too_short(advertisement: BGPAdvertisement, pool: IPAddressPool) -> Iterator[Finding]:
    """Refuse an aggregate that would be wider than each network of an entry of the pool."""
    by_version = {4: advertisement.aggregation_length, 6: advertisement.aggregation_length_v6}
    for entry, span in zip(pool.addresses, map(spans.read, pool.addresses), strict=True):
        if isinstance(span, str) or by_version[span.version] >= (32 if span.version == 4 else 128):
            continue
        shortest = min(network.prefixlen for network in spans.networks(span))
        if by_version[span.version] < shortest:
            field = "aggregationLength" if span.version == 4 else "aggregationLengthV6"
            text = (
                f"invalid aggregation length {by_version[span.version]}: prefix {shortest} in "
                "this pool is more specific than the aggregation length for addresses "
                f"{entry[: go_text.MAX_TEXT]}"
            )
            yield ("spec", field), text


def may_conflict(one: BGPAdvertisement, other: BGPAdvertisement) -> bool:
    """Tell if the two give a peer different preferences, where their routes are the same."""
    apart = one.peers and other.peers and not set(one.peers) & set(other.peers)
    return one.local_pref != other.local_pref and not apart


def lengths_differ(one: BGPAdvertisement, other: BGPAdvertisement, pool: IPAddressPool) -> bool:
    """Tell if the routes of the pool differ in length, in every family that it has."""
    differ = {
        4: one.aggregation_length != other.aggregation_length,
        6: one.aggregation_length_v6 != other.aggregation_length_v6,
    }
    return all(differ[version] for version in spans.versions(pool))


def conflict(one: BGPAdvertisement, other: BGPAdvertisement) -> Finding:
    """Name the conflict of two preferences."""
    text = (
        f"invalid local preference {one.local_pref}: local preferernce "
        f"{other.local_pref} was already set for the same type of BGP update. Check "
        "existing BGP advertisements with common pools and aggregation lengths"
    )
    return ("spec", "localPref"), text
