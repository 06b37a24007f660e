"""What one service is to have, in the order of MetalLB's own steps. Pure.

First what it has is looked at, as its status says it: a status outlives every controller. Only who
has nothing, or may not keep what it has, gets something new.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from controller.allocation.allocator import AllocationError, Allocator, ExhaustedError, Holding
from controller.allocation.io import EventReason, ServiceEvent
from controller.allocation.requests import (
    AddressRequest,
    IPFamilies,
    RequestError,
    cluster_family,
    deprecated,
    family_of,
    quoted,
    quoted_list,
    requested,
    sharing_key,
    shown,
)
from controller.allocation.sharing import Claim, claim
from kube.address import IPAddress, parse_ip
from kube.objects.core import Service

MOST_TOLD = 900
"""Characters of the list of pools: an event holds 1,024."""


@dataclass(slots=True)
class Decision:
    """What the service holds from now on, and what is said of it."""

    ips: tuple[IPAddress, ...] = ()
    """In the order in which the status has them."""
    pool: str = ""
    events: list[ServiceEvent] = field(default_factory=list)
    waits: bool = False
    """Whether it has less than it wants: it is looked at again as soon as anything is freed."""


def decide(service: Service, labels: Mapping[str, str], allocator: Allocator) -> Decision:
    """Decide about a service whose namespace has these labels, and have the allocator follow."""
    decision = Decision()
    _Deciding(service, labels, allocator, decision).run()
    return decision


def adopt(service: Service, labels: Mapping[str, str], allocator: Allocator) -> None:
    """Have a service hold what its status says, if it may; without a word, and nothing else."""
    _Deciding(service, labels, allocator, Decision()).adopt()


@dataclass(slots=True)
class _Deciding:
    service: Service
    labels: Mapping[str, str]
    allocator: Allocator
    decision: Decision

    def run(self) -> None:
        service = self.service
        for key in deprecated(service):
            self._tell(EventReason.DEPRECATED, f"Service uses deprecated annotation {key}")
        if service.type != "LoadBalancer" or not self.allocator.pools:
            self._clear()
            self.decision.waits = service.type == "LoadBalancer"
            return
        family = self._family()
        if family is None:
            self._clear()
            return
        self._keep(family)
        if self.allocator.holding(service.key) is None and not self._heeds_a_bad_request():
            self._allocate(family)
        self._take_over()

    def adopt(self) -> None:
        current = self._current()
        if self.service.type == "LoadBalancer" and current:
            with suppress(AllocationError):
                self.allocator.assign(self.service, self.labels, current, self._claim)

    # ---- what it has

    def _family(self) -> IPFamilies | None:
        service = self.service
        try:
            family = cluster_family(service)
        except RequestError as error:
            self._tell(EventReason.NO_CLUSTER_IPS, f"Failed to tell the IP family: {error}")
            return None
        required = service.demand.ip_family_policy == "RequireDualStack"
        if required and family is not IPFamilies.DUAL:
            count = len(service.demand.cluster_ips)
            self._tell(
                EventReason.TOO_FEW_CLUSTER_IPS, f"{count} cluster IP, RequireDualStack needs 2"
            )
            return None
        return family

    def _keep(self, family: IPFamilies) -> None:
        """Have it hold what its status says, as far as it may."""
        current = self._current()
        if not current or not self._fits(current, family):
            self.allocator.release(self.service.key)
            return
        try:
            self.allocator.assign(self.service, self.labels, current, self._claim)
        except AllocationError as error:
            self.allocator.release(self.service.key)
            self._tell(
                EventReason.CLEARED,
                f"current IP for {quoted(self.service.key)} not allowed by config, "
                f"will attempt for new IP assignment: {error}",
            )
            return
        self._compare(family)

    def _current(self) -> tuple[IPAddress, ...]:
        texts = [text for text in self.service.ingress if text]
        found = [parse_ip(text) for text in texts]
        ips = tuple(ip for ip in found if ip is not None)
        return ips if len(ips) == len(found) else ()

    def _fits(self, current: tuple[IPAddress, ...], family: IPFamilies) -> bool:
        try:
            return family_of(current) is family or (family is IPFamilies.DUAL and self._prefers)
        except RequestError:
            return False

    def _compare(self, family: IPFamilies) -> None:
        """Hold what it has against what it asks for."""
        try:
            request = requested(self.service)
        except RequestError as error:
            message = f"invalid requested loadbalancer IPs: {error}"
            self._tell(EventReason.BAD_REQUEST, message)
            return
        holding = self._holding()
        moved = bool(request.ips) and set(request.ips) != set(holding.ips)
        if moved or (request.pool and request.pool != holding.pool):
            self.allocator.release(self.service.key)
        elif (
            self._prefers
            and family is IPFamilies.DUAL
            and len(holding.ips) == 1
            and not request.ips
        ):
            # In a cluster of one family there is nothing to add; MetalLB adds and removes for ever.
            self._add()

    def _add(self) -> None:
        try:
            ip = self.allocator.add(self.service, self._claim)
            self._tell(EventReason.ALLOCATED, f"Assigned additional IP {quoted(ip)}")
        except AllocationError as error:
            self.decision.waits = True
            message = f"cannot assign additional IP in PreferDualStack: {error}"
            self._tell(EventReason.NOT_ADDED, message)

    # ---- what it gets

    def _heeds_a_bad_request(self) -> bool:
        return any(event.reason is EventReason.BAD_REQUEST for event in self.decision.events)

    def _allocate(self, family: IPFamilies) -> None:
        request = AddressRequest()
        try:
            request = requested(self.service)
            holding = self._grant(request, family)
        except (AllocationError, RequestError) as error:
            self.decision.waits = True
            message = f"Failed to allocate IP for {quoted(self.service.key)}: {error}"
            self._tell(EventReason.FAILED, message)
            if isinstance(error, ExhaustedError):
                self._tell(EventReason.PENDING, self._explanation(family, request.pool))
            return
        # The event has the order of the request, the status that of the text.
        ips = request.ips or holding.ips
        self._tell(EventReason.ALLOCATED, f"Assigned IP {quoted_list(ips)}")

    def _grant(self, request: AddressRequest, family: IPFamilies) -> Holding:
        claim, service, labels = self._claim, self.service, self.labels
        if not request.ips:
            if request.pool:
                return self.allocator.allocate_from(request.pool, service, labels, family, claim)
            return self.allocator.allocate(service, labels, family, claim)
        if family_of(request.ips) is not family:
            raise AllocationError(
                f"requested loadBalancer IP(s) {quoted_list(request.ips)} does not match the "
                "ipFamily of the service"
            )
        pools = self.allocator.pools
        pool = pools.pool_for(request.ips) if pools else None
        if request.pool and pool is not None and pool.name != request.pool:
            raise AllocationError(
                f"requested loadBalancer IP(s) {quoted_list(request.ips)} is not compatible with "
                f"requested address pool {shown(request.pool)}"
            )
        ips = sorted(request.ips, key=str)
        return self.allocator.assign(service, labels, ips, claim)

    def _explanation(self, family: IPFamilies, named: str) -> str:
        found = self.allocator.barriers(self.service, self.labels, family, named)
        parts = [f"{name}: {why}" for name, why in found]
        text = "; ".join(parts)
        if len(text) <= MOST_TOLD:
            return text
        cut = text[:MOST_TOLD].rpartition("; ")[0]
        return f"{cut}; and {len(parts) - cut.count('; ') - 1} more pools"

    # ---- inside

    @property
    def _claim(self) -> Claim:
        return claim(self.service, sharing_key(self.service))

    @property
    def _prefers(self) -> bool:
        return self.service.demand.ip_family_policy == "PreferDualStack"

    def _holding(self) -> Holding:
        holding = self.allocator.holding(self.service.key)
        assert holding is not None  # noqa: S101 - it was assigned just before
        return holding

    def _clear(self) -> None:
        self.allocator.release(self.service.key)

    def _take_over(self) -> None:
        holding = self.allocator.holding(self.service.key)
        if holding is not None:
            self.decision.ips, self.decision.pool = holding.ips, holding.pool

    def _tell(self, reason: EventReason, message: str) -> None:
        self.decision.events.append(ServiceEvent(self.service.key, reason, message))
