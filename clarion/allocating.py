"""What a controller would do about a service, by its own cores: which pool, or why none. Pure."""

from collections.abc import Mapping

from clarion.answers import AllocationRow, PoolRow, plain
from clarion.sources.picture import Picture
from controller.allocation.allocator import Allocator
from controller.allocation.decision import adopt, decide
from controller.allocation.io import EventReason, ServiceEvent
from controller.allocation.pools import Pools
from controller.allocation.requests import (
    ADDRESS_POOL,
    RequestError,
    annotation,
    cluster_family,
    requested,
)
from controller.files.entries import completed, namespaces
from kube.objects.core import ALLOCATED_FROM, Service
from plan.service import is_ours


class Allocation:
    """The addresses of a picture, as a controller that starts now finds them."""

    def __init__(self, picture: Picture) -> None:
        snapshot = picture.snapshot
        self._allocator = Allocator()
        labels = {name: found.labels for name, found in snapshot.namespaces.items()}
        self._namespaces = namespaces(labels, snapshot.services.values())
        if snapshot.config is not None and snapshot.config.advertisements.keys() == {
            pool.name for pool in snapshot.pools
        }:
            # Else an older configuration is in force, whose pools nobody has.
            self._allocator.set_pools(Pools(snapshot.pools, snapshot.config))
        spans = snapshot.config.ranges if snapshot.config is not None else ()
        self._default = min((span.version for span, _ in spans), default=4)
        ours = [s for s in snapshot.services.values() if is_ours(s, picture.options)]
        for service in sorted(ours, key=_rank):
            if any(service.ingress):
                adopt(service, self._labels(service), self._allocator)

    def of(self, service: Service) -> AllocationRow:
        """Return what a controller would give the service, and what it would say.

        What it gives is held from then on: of several services the one that is asked for first
        is served first.
        """
        # A manifest says less than what an API server makes of it.
        service = completed(service, self._default)
        if not self._allocator.pools:
            text = "there is no valid configuration of pools, or no pool"
            return AllocationRow((), "", (text,), ())
        decision = decide(service, self._labels(service), self._allocator)
        # The pools are a list of their own.
        said = (event for event in decision.events if event.reason is not EventReason.PENDING)
        events = tuple(plain(event.message) for event in said)
        pools = () if decision.ips else tuple(self._barriers(service, decision.events))
        return AllocationRow(tuple(map(str, decision.ips)), decision.pool, events, pools)

    def _labels(self, service: Service) -> Mapping[str, str]:
        return self._namespaces.get(service.namespace, {})

    def _barriers(self, service: Service, events: list[ServiceEvent]) -> list[PoolRow]:
        """Return each pool and what kept the service out of it."""
        labels = self._labels(service)
        try:
            family, named = cluster_family(service), requested(service).pool
        except RequestError:
            return []
        if any(event.reason is EventReason.PENDING for event in events):
            found = dict(self._allocator.barriers(service, labels, family, named))
        else:
            found = {}
        pools = self._allocator.pools
        assert pools is not None  # noqa: S101 - the caller has looked
        rows = []
        for pool in pools.in_order:
            barrier = pool.barrier(service, labels)
            if named and named != pool.name:
                why = f"the service asks for pool {plain(named)}"
            else:
                why = found.get(pool.name) or (barrier and barrier.value) or NOT_ASKED
            rows.append(PoolRow(pool.name, why))
        return rows


def pool_wish(service: Service) -> tuple[str, str]:
    """Return the annotation by which a service asks for a pool, and the pool; or empty texts."""
    return annotation(service, ADDRESS_POOL)


NOT_ASKED = "it has not what the service asks for"


def _rank(service: Service) -> tuple[bool, str, str]:
    """Order as a controller does: who says where its address comes from got it from one."""
    return ALLOCATED_FROM not in service.annotations, service.demand.created, service.key
