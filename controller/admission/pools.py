"""MetalLB's rules on an IPAddressPool among the others, in its words. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from controller.admission.world import AdmissionWorld
from kube.address import IPAddress, Range, parse_ip
from kube.config import judge
from kube.objects.metallb import IPAddressPool
from kube.problem import Severity
from kube.rules import go_text, selectors
from kube.rules.spans import Network, networks, read, spans

MOST_NAMED = 3
"""Services named in one warning; a server cuts warnings at 256 characters."""
_LONGEST_NAME = 60
_MAPPED = 0xFFFF << 32


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a pool's addresses; `order` is its place in `spec.addresses`."""

    span: Range
    order: int


def refusals(pool: IPAddressPool, world: AdmissionWorld) -> Iterator[str]:
    """Return MetalLB's objections, the one that it finds first before the others."""
    for text in _alone(pool):
        yield f"parsing address pool {pool.name}: {text}"
    yield from _overlap(pool, world)
    # Whatever the speakers would refuse must not get in, if it is worded above or not.
    for problem in judge([pool], [])[1]:
        if problem.severity is Severity.ERROR:
            yield f"{problem.field}: {problem.message}"


def _alone(pool: IPAddressPool) -> Iterator[str]:
    if not pool.addresses:
        yield "pool has no prefixes defined"
    for text in pool.addresses:
        if (fault := _fault(text)) is not None:
            yield f"invalid CIDR {go_text.quote(text)} in pool {go_text.quote(pool.name)}: {fault}"
    yield from _allocation(pool)


def _fault(text: str) -> str | None:
    if "-" not in text:
        return f"invalid CIDR {go_text.quote(text)}" if isinstance(read(text), str) else None
    start, _, end = text.partition("-")
    first, last = parse_ip(start.strip()), parse_ip(end.strip())
    what = f"invalid IP range {go_text.quote(text)}"
    if first is None:
        return f"{what}: invalid start IP {go_text.quote(start)}"
    if last is None:
        return f"{what}: invalid end IP {go_text.quote(end)}"
    if _wide(first) > _wide(last):
        return f'{what}: start IP "{first}" is after the end IP "{last}"'
    return None


def _wide(address: IPAddress) -> int:
    """Return the address in the 16 bytes that Go compares."""
    return int(address) + (_MAPPED if address.version == 4 else 0)


def _allocation(pool: IPAddressPool) -> Iterator[str]:
    allocation = pool.service_allocation
    if allocation is None:
        return
    if len(set(allocation.namespaces)) < len(allocation.namespaces):
        yield "duplicate definition in namespaces field"
    lists = (
        ("namespace", "namespaceSelectors", allocation.namespace_selectors),
        ("service", "serviceSelectors", allocation.service_selectors),
    )
    for _, field, some in lists:
        for _, text in selectors.selectors_twice(some, field):
            yield text
    for what, _, some in lists:
        for selector in some:
            if (why := selectors.unreadable(selector)) is not None:
                text = go_text.selector(selector)
                yield f"{why}\ninvalid {what} label selector {text} in ip pool {pool.name}"


def _overlap(pool: IPAddressPool, world: AdmissionWorld) -> Iterator[str]:
    """Refuse the first of the pool's entries that meets an earlier one, or another pool's."""
    mine = [
        _Entry(span, order)
        for order, text in enumerate(pool.addresses)
        if isinstance(span := read(text), Range)
    ]
    theirs = (
        _Entry(span, -1)
        for name, other in world.pools.items()
        if name != pool.name
        for span in spans(other)
    )
    found = min(_meetings([*mine, *theirs]), key=lambda pair: pair[0].order, default=None)
    if found is not None:
        entry, other = found
        first = _first_within(entry.span, other.span)
        second = _first_within(other.span, entry.span)
        name = go_text.quote(pool.name)
        yield f'CIDR "{first}" in pool {name} overlaps with already defined CIDR "{second}"'


def _meetings(entries: list[_Entry]) -> Iterator[tuple[_Entry, _Entry]]:
    """Return pairs that overlap, one of them the pool's own: first the later, then the earlier.

    In ascending order each is compared with the farthest of either side: one sweep finds an
    overlap if there is any.
    """
    entries.sort(key=lambda entry: entry.span)
    farthest: dict[bool, _Entry] = {}
    for entry in entries:
        own = entry.order >= 0
        for side, before in farthest.items():
            if (own or side) and _meet(before.span, entry.span):
                yield (before, entry) if before.order > entry.order else (entry, before)
        there = farthest.get(own)
        if there is None or (there.span.version, there.span.last) < (
            entry.span.version,
            entry.span.last,
        ):
            farthest[own] = entry


def _meet(before: Range, after: Range) -> bool:
    return before.version == after.version and after.first <= before.last


def _first_within(span: Range, other: Range) -> Network:
    """Return the first network of a range that has addresses of the other."""
    first, last = max(span.first, other.first), min(span.last, other.last)
    return next(
        network
        for network in networks(span)
        if int(network.broadcast_address) >= first and int(network.network_address) <= last
    )


# ---- warnings


def warnings(
    pool: IPAddressPool | None, before: IPAddressPool | None, world: AdmissionWorld
) -> list[str]:
    """Say what a change does that its author may not want; None: not there before, or after."""
    found = [] if pool is None else judge([pool], [])[1]
    texts = [f"{entry.field}: {entry.message}" for entry in found]
    if before is not None and (lost := losers(pool, before, world)):
        texts.append(_lost_text(lost))
    return texts


def losers(pool: IPAddressPool | None, before: IPAddressPool, world: AdmissionWorld) -> list[str]:
    """Name the services with an address that was in the pool, and is in no pool after."""
    old = _Spans(spans(before))
    others = (entry for name, entry in world.pools.items() if name != before.name)
    kept = [*others] if pool is None else [*others, pool]
    new = _Spans(span for entry in kept for span in spans(entry))
    if all(new.covers(span) for span in old.spans):
        return []
    return sorted(
        key
        for key, addresses in world.addresses.items()
        if any(address in old and address not in new for address in addresses)
    )


class _Spans:
    """Ranges in which addresses are looked up; some thousand services are, for one change."""

    def __init__(self, found: Iterable[Range]) -> None:
        self.spans = sorted(found)
        self._firsts: dict[int, list[int]] = {4: [], 6: []}
        self._lasts: dict[int, list[int]] = {4: [], 6: []}
        for span in self.spans:
            self._firsts[span.version].append(span.first)
            self._lasts[span.version].append(span.last)

    def __contains__(self, address: IPAddress) -> bool:
        value = int(address)
        return self._holds(address.version, value, value)

    def covers(self, span: Range) -> bool:
        """Tell if one of the ranges holds all of this one."""
        return self._holds(span.version, span.first, span.last)

    def _holds(self, version: int, first: int, last: int) -> bool:
        index = bisect_right(self._firsts[version], first) - 1
        return index >= 0 and self._lasts[version][index] >= last


def _lost_text(names: Sequence[str]) -> str:
    shown = ", ".join(
        name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        for name in names[:MOST_NAMED]
    )
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"these services lose their addresses: {shown}{more}"
