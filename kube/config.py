"""Pools and advertisements judged as a whole, as MetalLB does: one error refuses them all.

What MetalLB accepts without a word although it has no effect gives a warning here, never an error:
a speaker that refuses what its neighbours accept would elect another owner.
"""

from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from kube.address import IPAddress, Range, parse_range
from kube.document import Origin
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.problem import Path, Problem, Severity, fault, quoted
from kube.selector import LabelSelector


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """A valid configuration: which addresses each pool has, and which advertisements it has."""

    ranges: tuple[tuple[Range, str], ...] = ()
    """All pools' ranges, ascending, each with its pool's name; no two overlap."""
    advertisements: Mapping[str, tuple[L2Advertisement, ...]] = field(default_factory=dict)
    """By pool name; every pool has an entry."""

    def pool_of(self, address: IPAddress) -> str | None:
        """Name the pool that holds the address."""
        value = int(address)
        key = Range(address.version, value, 1 << 128)
        index = bisect_right(self.ranges, key, key=lambda entry: entry[0]) - 1
        if index < 0:
            return None
        span, pool = self.ranges[index]
        return pool if address in span else None

    def pool_for(self, addresses: Iterable[IPAddress]) -> str | None:
        """Name the one pool that holds all the addresses; None if there is none."""
        pools = {self.pool_of(address) for address in addresses}
        return pools.pop() if len(pools) == 1 else None


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of one pool's addresses, with the way back to it."""

    span: Range
    pool: IPAddressPool
    index: int

    def name(self) -> str:
        return f"{quoted(self.pool.addresses[self.index])} of pool {self.pool.name}"


def judge(
    pools: Sequence[IPAddressPool], advertisements: Sequence[L2Advertisement]
) -> tuple[PoolConfig | None, list[Problem]]:
    """Return the configuration, None if any problem is an error, and all problems."""
    try:
        return _judge(pools, advertisements)
    except Exception as error:
        return None, [fault("configuration", error)]


def _judge(
    pools: Sequence[IPAddressPool], advertisements: Sequence[L2Advertisement]
) -> tuple[PoolConfig | None, list[Problem]]:
    problems: list[Problem] = []
    entries: list[_Entry] = []
    for pool in pools:
        entries.extend(_entries(pool, problems))
        problems.extend(_judge_allocation(pool))
    problems.extend(same_names(pools))
    problems.extend(same_names(advertisements))
    entries.sort(key=lambda entry: entry.span)
    problems.extend(_overlaps(entries))
    for advertisement in advertisements:
        problems.extend(_judge_advertisement(advertisement, pools))
    if any(problem.severity is Severity.ERROR for problem in problems):
        return None, problems
    ranges = tuple((entry.span, entry.pool.name) for entry in entries)
    return PoolConfig(ranges, _by_pool(pools, advertisements)), problems


def _entries(pool: IPAddressPool, problems: list[Problem]) -> Iterator[_Entry]:
    if not pool.addresses:
        problems.append(pool.origin.error(("spec", "addresses"), "is empty"))
    for index, text in enumerate(pool.addresses):
        span = parse_range(text)
        path: Path = ("spec", "addresses", index)
        if isinstance(span, Range):
            yield _Entry(span, pool, index)
        elif span.startswith("mixes"):
            # MetalLB takes such a range for an empty one and goes on.
            problems.append(pool.origin.warning(path, f"{quoted(text)} {span}: it is empty"))
        else:
            problems.append(pool.origin.error(path, f"{quoted(text)} {span}"))


def _overlaps(entries: Sequence[_Entry]) -> Iterator[Problem]:
    """Compare each range, in ascending order, with the one before it that reaches farthest."""
    farthest: _Entry | None = None
    for entry in entries:
        if farthest is None or entry.span.version != farthest.span.version:
            farthest = entry
            continue
        if entry.span.first <= farthest.span.last:
            message = f"{quoted(entry.pool.addresses[entry.index])} overlaps {farthest.name()}"
            yield entry.pool.origin.error(("spec", "addresses", entry.index), message)
        if entry.span.last > farthest.span.last:
            farthest = entry


class Named(Protocol):
    """An object with a name that no other of its kind may have."""

    @property
    def name(self) -> str:
        """Of its metadata."""

    @property
    def origin(self) -> Origin:
        """Where it was read."""


def same_names(objects: Sequence[Named]) -> Iterator[Problem]:
    """Return an error for each object whose name another one has, as two files may bring."""
    for before, after in pairwise(sorted(objects, key=lambda entry: entry.name)):
        if before.name == after.name:
            where = f"{before.origin.file}:{before.origin.line(())}"
            message = f"{quoted(after.name)} is also defined in {where}"
            yield after.origin.error(("metadata", "name"), message)


def _judge_allocation(pool: IPAddressPool) -> Iterator[Problem]:
    allocation = pool.service_allocation
    if allocation is None:
        return
    path: Path = ("spec", "serviceAllocation")
    for index, message in _twice(allocation.namespaces):
        yield pool.origin.error((*path, "namespaces", index), message)
    for name, selectors in (
        ("namespaceSelectors", allocation.namespace_selectors),
        ("serviceSelectors", allocation.service_selectors),
    ):
        for where, message in _judge_selectors(selectors):
            yield pool.origin.error((*path, name, *where), message)


def _judge_advertisement(
    advertisement: L2Advertisement, pools: Sequence[IPAddressPool]
) -> Iterator[Problem]:
    origin = advertisement.origin
    for index, message in _twice(advertisement.pools):
        yield origin.error(("spec", "ipAddressPools", index), message)
    for field_name, selectors in (
        ("ipAddressPoolSelectors", advertisement.pool_selectors),
        ("nodeSelectors", advertisement.node_selectors),
        ("serviceSelectors", advertisement.service_selectors),
    ):
        for path, message in _judge_selectors(selectors):
            yield origin.error(("spec", field_name, *path), message)
    for index, preferred in enumerate(advertisement.preferred_nodes):
        where: Path = ("spec", "preferredNodeSelectors", index)
        for path, message in preferred.preference.complaints():
            yield origin.error((*where, "preference", *path), message)
        if not 1 <= preferred.weight <= 100:
            yield origin.error((*where, "weight"), f"{preferred.weight} is not within 1 to 100")
    yield from unknown_pools(origin, advertisement.pools, {pool.name for pool in pools})


def unknown_pools(origin: Origin, names: Sequence[str], known: Container[str]) -> Iterator[Problem]:
    """Return a warning for each name in an advertisement's list of pools that no pool has."""
    for index, name in enumerate(names):
        if name not in known:
            yield origin.warning(
                ("spec", "ipAddressPools", index), f"no IPAddressPool is named {quoted(name)}"
            )


def _judge_selectors(selectors: Sequence[LabelSelector]) -> Iterator[tuple[Path, str]]:
    """Return what is wrong in a list of selectors, with paths relative to the list."""
    seen: set[object] = set()
    for index, selector in enumerate(selectors):
        for path, message in selector.complaints():
            yield (index, *path), message
        if (same := selector.canonical()) in seen:
            yield (index,), "the same selector is listed twice"
        seen.add(same)


def _twice(names: Sequence[str]) -> Iterator[tuple[int, str]]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield index, f"{quoted(name)} is listed twice"
        seen.add(name)


def _by_pool(
    pools: Sequence[IPAddressPool], advertisements: Sequence[L2Advertisement]
) -> dict[str, tuple[L2Advertisement, ...]]:
    named = [(entry, frozenset(entry.pools)) for entry in advertisements]
    return {
        pool.name: tuple(entry for entry, names in named if _advertises(entry, names, pool))
        for pool in pools
    }


def _advertises(advertisement: L2Advertisement, names: frozenset[str], pool: IPAddressPool) -> bool:
    """Tell if the advertisement is for the pool: by name, by selector, or as it names none."""
    if not names and not advertisement.pool_selectors:
        return True
    return pool.name in names or any(
        selector.matches(pool.labels) for selector in advertisement.pool_selectors
    )
