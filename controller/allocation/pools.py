"""Pools as the allocator sees them: in which order, for which services, and how large. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kube.address import IPAddress, Range, parse_range
from kube.config import PoolConfig
from kube.objects.core import Service
from kube.objects.metallb import IPAddressPool
from kube.selector import any_matches

MOST = (1 << 63) - 1
"""The status of a pool counts in 64 bits with a sign; there is no more to say of larger ones."""
_BYTE = 256


class Barrier(StrEnum):
    """Why a pool gives a service no address."""

    MANUAL = "autoAssign is off"
    NAMESPACE = "it is not for the namespace"
    LABELS = "it is not for services with these labels"
    FAMILY = "it has no {} addresses"
    EXHAUSTED = "none of its {} addresses is free"


@dataclass(frozen=True, slots=True)
class Pool:
    """One IPAddressPool with its ranges, in the order in which they were written."""

    spec: IPAddressPool
    ranges: tuple[Range, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name

    @property
    def rank(self) -> tuple[bool, float, str]:
        """What decides between pools: those for certain services first, by priority, then by name.

        MetalLB leaves the order of equal ones to chance.
        """
        allocation = self.spec.service_allocation
        if allocation is None:
            return True, 0.0, self.name
        return False, allocation.priority or float("inf"), self.name

    def of(self, version: int) -> list[Range]:
        """Return its ranges of IP version 4 or 6."""
        return [span for span in self.ranges if span.version == version]

    def size(self, version: int) -> int:
        """Return how many addresses of the version it can give out."""
        return sum(self._usable_in(span) for span in self.of(version))

    def allows(self, value: int, version: int) -> bool:
        """Tell whether the pool gives this address of its own out."""
        return not (self.spec.avoid_buggy_ips and version == 4 and _is_buggy(value))

    def barrier(self, service: Service, labels: Mapping[str, str]) -> Barrier | None:
        """Return what keeps the pool from a service whose namespace has these labels."""
        allocation = self.spec.service_allocation
        if allocation is None:
            return None
        names, selectors = allocation.namespaces, allocation.namespace_selectors
        chosen = service.namespace in names or (selectors and any_matches(selectors, labels))
        if (names or selectors) and not chosen:
            return Barrier.NAMESPACE
        if not any_matches(allocation.service_selectors, service.labels):
            return Barrier.LABELS
        return None

    def _usable_in(self, span: Range) -> int:
        count = span.last - span.first + 1
        if not self.spec.avoid_buggy_ips or span.version == 6:
            return count
        # Of each block of 256 the first and the last are left out, as far as the range has them.
        zeros = span.last // _BYTE - (span.first - 1) // _BYTE
        ends = (span.last + 1) // _BYTE - span.first // _BYTE
        return count - zeros - ends


class Pools:
    """All pools of a valid configuration, in the order in which they are looked at."""

    def __init__(self, pools: Iterable[IPAddressPool], config: PoolConfig) -> None:
        """`config` is what `kube.config.judge` made of them."""
        made = (Pool(spec, _ranges(spec)) for spec in pools)
        self.in_order = tuple(sorted(made, key=lambda pool: pool.rank))
        self.by_name = {pool.name: pool for pool in self.in_order}
        self._config = config

    def __bool__(self) -> bool:
        return bool(self.in_order)

    def pool_of(self, ip: IPAddress) -> Pool | None:
        """Return the pool that an address belongs to and that gives it out."""
        name = self._config.pool_of(ip)
        pool = self.by_name.get(name) if name is not None else None
        return pool if pool is not None and pool.allows(int(ip), ip.version) else None

    def pool_for(self, ips: Iterable[IPAddress]) -> Pool | None:
        """Return the one pool that all of these belong to."""
        found = {pool.name if (pool := self.pool_of(ip)) else None for ip in ips}
        name = found.pop() if len(found) == 1 else None
        return None if name is None else self.by_name[name]


def _ranges(spec: IPAddressPool) -> tuple[Range, ...]:
    # What is no range was reported when the configuration was judged, and is empty to MetalLB too.
    found = map(parse_range, spec.addresses)
    return tuple(span for span in found if isinstance(span, Range))


def _is_buggy(value: int) -> bool:
    return value % _BYTE in (0, _BYTE - 1)
