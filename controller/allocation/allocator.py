"""Which address is whose, and which is given out next. Pure.

What a service holds stays in the table when pools change: whether it may keep it is looked at when
the service is (`decision`). Nothing here waits, writes or tells.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from controller.allocation.addresses import FreeAddresses
from controller.allocation.pools import MOST, Barrier, Pool, Pools
from controller.allocation.requests import IPFamilies, quoted, quoted_list
from controller.allocation.sharing import Claim, SharingKey, Use
from kube.address import IPAddress
from kube.objects.core import Service

VERSIONS = (4, 6)


class AllocationError(Exception):
    """Why a service cannot have what it asks for, in MetalLB's words."""


class ExhaustedError(AllocationError):
    """No pool that was looked at has an address for it."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a service holds: one address, or one of each version, of one pool."""

    ips: tuple[IPAddress, ...]
    pool: str


@dataclass(frozen=True, slots=True)
class Counters:
    """How full a pool is, by IP version."""

    assigned: Mapping[int, int]
    available: Mapping[int, int]
    total: Mapping[int, int]


@dataclass(slots=True)
class _Stock:
    """What is known of one pool besides its spec."""

    pool: Pool
    free: dict[int, FreeAddresses] = field(default_factory=dict)
    used: dict[int, int] = field(default_factory=lambda: dict.fromkeys(VERSIONS, 0))
    shared: dict[tuple[int, SharingKey], dict[IPAddress, None]] = field(default_factory=dict)
    """Addresses in use with a key that others may have too, by version and key."""


class Allocator:
    """The table of all addresses in use."""

    def __init__(self) -> None:
        self._pools: Pools | None = None
        self._stocks: dict[str, _Stock] = {}
        self._uses: dict[IPAddress, Use] = {}
        self._holdings: dict[str, Holding] = {}
        self.freed = False
        """Whether since it was last set to false an address or a key has changed hands, so that
        another service may get what it did not."""
        self.recounted: set[str] = set()
        """Pools whose counters may have changed since it was last emptied."""

    @property
    def pools(self) -> Pools | None:
        """The pools of now; None where there has been no valid configuration."""
        return self._pools

    def set_pools(self, pools: Pools) -> None:
        """Take new pools. Every service is to be looked at after that."""
        self._pools = pools
        self._stocks = {pool.name: self._stock(pool) for pool in pools.in_order}
        self.recounted.update(self._stocks)
        for ip, use in self._uses.items():
            self._book(ip, use, 1)

    def holding(self, service: str) -> Holding | None:
        """Return what the service holds."""
        return self._holdings.get(service)

    def users(self, ip: IPAddress) -> list[str]:
        """Name the services that use an address."""
        use = self._uses.get(ip)
        return [] if use is None else sorted(use.ports)

    def counters(self) -> dict[str, Counters]:
        """Return by pool how full it is."""
        return {name: _count(stock) for name, stock in self._stocks.items()}

    def counters_of(self, pool: str) -> Counters | None:
        """Return how full a pool is; None where there is no such pool."""
        stock = self._stocks.get(pool)
        return None if stock is None else _count(stock)

    # ---- taking and giving

    def assign(
        self, service: Service, labels: Mapping[str, str], ips: Sequence[IPAddress], claim: Claim
    ) -> Holding:
        """Have the service hold these addresses and no others. Raises `AllocationError`.

        `labels` are those of its namespace. Where it fails, the service holds what it held.
        """
        pool = self._pools.pool_for(ips) if self._pools is not None else None
        if pool is None:
            raise AllocationError(f"{quoted_list(ips)} is not allowed in config")
        self._check_pool(pool, service, labels)
        for ip in ips:
            use = self._uses.get(ip)
            if use is not None and (refusal := use.refusal(ip, claim)) is not None:
                raise AllocationError(refusal)
        return self._hold(claim, Holding(tuple(ips), pool.name))

    def allocate_from(
        self,
        name: str,
        service: Service,
        labels: Mapping[str, str],
        family: IPFamilies,
        claim: Claim,
    ) -> Holding:
        """Give the service addresses of the family from the pool. Raises `AllocationError`."""
        pool = None if self._pools is None else self._pools.by_name.get(name)
        if pool is None:
            raise AllocationError(f"unknown pool {quoted(name)}")
        self._check_pool(pool, service, labels)
        for choice in _choices(service, family):
            if (ips := self._find(pool, choice, claim)) is not None:
                return self._hold(claim, Holding(ips, name))
        raise ExhaustedError(f"no available IPs in pool {quoted(name)}")

    def allocate(
        self, service: Service, labels: Mapping[str, str], family: IPFamilies, claim: Claim
    ) -> Holding:
        """Give the service addresses from the first pool that has them.

        Raises `AllocationError`.
        """
        pools = [] if self._pools is None else self._pools.in_order
        admitted = [
            pool
            for pool in pools
            if pool.spec.auto_assign and pool.barrier(service, labels) is None
        ]
        # Those for certain services come first, whatever of the family they have.
        for pinned in (True, False):
            group = [p for p in admitted if (p.spec.service_allocation is not None) is pinned]
            for choice in _choices(service, family):
                for pool in group:
                    if (ips := self._find(pool, choice, claim)) is not None:
                        return self._hold(claim, Holding(ips, pool.name))
        raise ExhaustedError("no available IPs")

    def add(self, service: Service, claim: Claim) -> IPAddress:
        """Give a service that holds one address one of the other version from the same pool.

        Raises `AllocationError`.
        """
        holding = self._holdings[service.key]
        (first,) = holding.ips
        missing = IPFamilies.IPV6 if first.version == 4 else IPFamilies.IPV4
        pool = self._pools.by_name.get(holding.pool) if self._pools is not None else None
        found = self._find(pool, missing, claim) if pool is not None else None
        if found is None:
            shown = (first, "<nil>") if first.version == 4 else ("<nil>", first)
            raise AllocationError(f"{quoted_list(shown)} is not allowed in config")
        ips = tuple(sorted((first, *found), key=lambda ip: ip.version))
        self._hold(claim, Holding(ips, holding.pool))
        return found[0]

    def release(self, service: str) -> None:
        """Have the service hold nothing."""
        holding = self._holdings.pop(service, None)
        if holding is not None:
            self._give_back(service, holding.ips)

    def barriers(
        self, service: Service, labels: Mapping[str, str], family: IPFamilies, named: str = ""
    ) -> list[tuple[str, str]]:
        """Return for each pool what keeps the service out of it; for `named` alone, if it is."""
        pools = () if self._pools is None else self._pools.in_order
        return [
            (
                pool.name,
                Barrier.MANUAL
                if not (named or pool.spec.auto_assign)
                else self._barrier(pool, service, labels, family),
            )
            for pool in pools
            if named in ("", pool.name)
        ]

    # ---- inside

    def _barrier(
        self, pool: Pool, service: Service, labels: Mapping[str, str], family: IPFamilies
    ) -> str:
        barrier = pool.barrier(service, labels)
        if barrier is not None:
            return barrier
        for version in family.versions:
            if not pool.size(version):
                return Barrier.FAMILY.format(f"IPv{version}")
        lacking = next((v for v in family.versions if self._full(pool, v)), family.versions[0])
        return Barrier.EXHAUSTED.format(f"IPv{lacking}")

    def _full(self, pool: Pool, version: int) -> bool:
        return self._stocks[pool.name].free[version].lowest() is None

    def _check_pool(self, pool: Pool, service: Service, labels: Mapping[str, str]) -> None:
        if pool.barrier(service, labels) is not None:
            raise AllocationError(f"pool {pool.name} not compatible for ip assignment")

    def _stock(self, pool: Pool) -> _Stock:
        made = _Stock(pool)
        for version in VERSIONS:
            made.free[version] = FreeAddresses(pool.of(version), self._usable(pool, version))
        return made

    def _usable(self, pool: Pool, version: int) -> Callable[[int], bool]:
        make = IPv4Address if version == 4 else IPv6Address
        return lambda value: make(value) not in self._uses and pool.allows(value, version)

    def _find(self, pool: Pool, versions: IPFamilies, claim: Claim) -> tuple[IPAddress, ...] | None:
        """Return the first addresses of the pool that the claim can have, one a version."""
        found = [self._first(self._stocks[pool.name], v, claim) for v in versions.versions]
        ips = tuple(ip for ip in found if ip is not None)
        return ips if len(ips) == len(found) else None

    def _first(self, stock: _Stock, version: int, claim: Claim) -> IPAddress | None:
        free = stock.free[version]
        value = free.lowest()
        make = IPv4Address if version == 4 else IPv6Address
        best = None if value is None else (free.place(value), make(value))
        for ip in stock.shared.get((version, claim.key), ()) if claim.key.text else ():
            candidate = (free.place(int(ip)), ip)
            if (best is None or candidate < best) and self._uses[ip].admits(claim):
                best = candidate
        return None if best is None else best[1]

    def _hold(self, claim: Claim, holding: Holding) -> Holding:
        before = self._holdings.get(claim.service)
        if before is not None and before.ips != holding.ips:
            self._give_back(claim.service, [ip for ip in before.ips if ip not in holding.ips])
        self._holdings[claim.service] = holding
        for ip in holding.ips:
            self._use(ip, claim)
        return holding

    def _use(self, ip: IPAddress, claim: Claim) -> None:
        use = self._uses.get(ip)
        if use is None:
            use = self._uses[ip] = Use(claim.key, {claim.service: claim.ports})
            self._book(ip, use, 1)
            return
        if use.key != claim.key:
            # It is the only user: who waited for just this key, or for this one's end, may share.
            self._book(ip, use, -1)
            use.key = claim.key
            self._book(ip, use, 1)
            self.freed = True
        known = use.ports.get(claim.service)
        self.freed = self.freed or (known is not None and not known <= claim.ports)
        use.ports[claim.service] = claim.ports

    def _give_back(self, service: str, ips: Iterable[IPAddress]) -> None:
        for ip in ips:
            use = self._uses[ip]
            del use.ports[service]
            self.freed = True
            if not use.ports:
                self._book(ip, use, -1)
                del self._uses[ip]
                self._free(ip)

    def _book(self, ip: IPAddress, use: Use, count: int) -> None:
        """Count the address in its pool, and list it under its key."""
        stock = self._stock_of(ip)
        if stock is None:
            return
        stock.used[ip.version] += count
        self.recounted.add(stock.pool.name)
        if use.key.text:
            listed = stock.shared.setdefault((ip.version, use.key), {})
            if count > 0:
                listed[ip] = None
            else:
                listed.pop(ip, None)
                if not listed:
                    del stock.shared[ip.version, use.key]

    def _free(self, ip: IPAddress) -> None:
        stock = self._stock_of(ip)
        if stock is not None:
            stock.free[ip.version].free(int(ip))

    def _stock_of(self, ip: IPAddress) -> _Stock | None:
        pool = None if self._pools is None else self._pools.pool_of(ip)
        return None if pool is None else self._stocks[pool.name]


def _choices(service: Service, family: IPFamilies) -> tuple[IPFamilies, ...]:
    """Return which families will do, the best first."""
    if family is not IPFamilies.DUAL or service.demand.ip_family_policy != "PreferDualStack":
        return (family,)
    first_is_6 = service.demand.ip_families[:1] == ("IPv6",)
    single = (
        (IPFamilies.IPV6, IPFamilies.IPV4) if first_is_6 else (IPFamilies.IPV4, IPFamilies.IPV6)
    )
    return (IPFamilies.DUAL, *single)


def _count(stock: _Stock) -> Counters:
    total = {version: stock.pool.size(version) for version in VERSIONS}
    used = dict(stock.used)
    available = {v: min(total[v] - used[v], MOST) for v in VERSIONS}
    return Counters(used, available, {v: min(total[v], MOST) for v in VERSIONS})
