"""The cluster's state from a Kubernetes API server.

Every object is decoded, pruned and indexed as it arrives, and a snapshot shows the index itself: a
change costs the same, whatever the size of the cluster. An API server that is gone changes nothing:
the last state stays.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
from structlog.typing import FilteringBoundLogger as Log

from kube.api.bgp_state import BgpState, OwnStatuses
from kube.api.client import ApiClient
from kube.api.reflector import Failure, Key, Reflector, Resource
from kube.api.watch import Watcher
from kube.config import PoolConfig, judge
from kube.objects.core import NO_DEMAND, SERVICE_NAME_LABEL, EndpointSlice, Node, Pod, Service
from kube.objects.metallb import ConfigurationState, IPAddressPool, L2Advertisement, L2Status
from kube.objects.reading import View
from kube.problem import Problem, Severity, worst_first
from kube.snapshot import Snapshot

SETTLE = 0.005
"""Seconds for which changes are gathered before a snapshot is made of them."""

OnChange = Callable[[Snapshot, tuple[Problem, ...], frozenset[str] | None], None]
"""The state, what is wrong with it, and the services that changed since the last call (None: all).
"""
OnPods = Callable[[list[Pod]], None]
OnStatus = Callable[[set[str]], None]

METALLB = "/apis/metallb.io/v1beta1"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects are ours: of which namespace, node, pod labels and load balancer class."""

    node: str
    namespace: str
    labels: str = ""
    pod: str = ""
    lb_class: str | None = None
    bgp: bool = False
    """Whether BGP is wanted; if not, none of its kinds is asked for, nor any Secret."""


class KubernetesSource:
    """Tells `on_change` the state of the cluster once all of it is known, and when it changes.

    `on_pods` gets the speaker pods, when they change and when our own node does; `on_status` the
    services whose ServiceL2Status objects changed.
    """

    def __init__(
        self,
        client: ApiClient,
        scope: Scope,
        clock: Callable[[], float],
        on_change: OnChange,
        log: Log,
    ) -> None:
        self.on_pods: OnPods = _ignore
        self.on_status: OnStatus = _ignore
        self.on_state: Callable[[], None] = lambda: None
        self._scope = scope
        self._on_change = on_change
        self._config: PoolConfig | None = None
        self._findings: list[Problem] = []
        self._pools_valid = False
        """Whether the pools are those of `_config`."""
        self._touched: set[str] = set()
        self._services: dict[str, Service] = {}
        self._nodes: Mapping[str, Node] = {}
        self._slices: dict[str, dict[Key, EndpointSlice]] = {}
        self._slice_owner: dict[Key, str] = {}
        self._served: dict[str, tuple[EndpointSlice, ...]] = {}
        self._statuses: dict[str, dict[Key, L2Status]] = {}
        self._status_owner: dict[Key, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rng = random.Random()  # noqa: S311 - back-off only
        self._client, self._clock, self._log = client, clock, log
        self._make_reflectors()
        self._bgp: BgpState | None = None
        self._bgp_moved = False
        """Whether what BGP depends on changed since it was judged."""
        self.bgp_statuses: OwnStatuses | None = None
        """None where BGP is not wanted."""
        if scope.bgp:
            where = client, scope.node, scope.namespace, clock
            self._bgp = BgpState(*where, self._handle_bgp, log)
            self.bgp_statuses = OwnStatuses(*where, log)

    def _make_reflectors(self) -> None:
        scope, rng = self._scope, self._rng
        own = f"{METALLB}/namespaces/{scope.namespace}"

        def reflector(kind: str, path: str, *query: tuple[str, str], **keep: Any) -> Reflector:
            return Reflector(Resource(kind, path, query), rng, **keep)

        self.services = reflector("Service", "/api/v1/services", keep=self._prune_service)
        self.slices = reflector(
            "EndpointSlice",
            "/apis/discovery.k8s.io/v1/endpointslices",
            ("labelSelector", SERVICE_NAME_LABEL),
        )
        self.nodes = reflector("Node", "/api/v1/nodes")
        self.pools = reflector("IPAddressPool", f"{own}/ipaddresspools", keep=without_status)
        self.advertisements = reflector("L2Advertisement", f"{own}/l2advertisements")
        self.statuses = reflector("ServiceL2Status", f"{own}/servicel2statuses")
        self.state = reflector(
            "ConfigurationState",
            f"{own}/configurationstates",
            ("fieldSelector", f"metadata.name=speaker-{scope.node}"),
        )
        self.pods = reflector(
            "Pod",
            f"/api/v1/namespaces/{scope.namespace}/pods",
            ("labelSelector", scope.labels),
        )
        self._needed = (
            self.services,
            self.slices,
            self.nodes,
            self.pools,
            self.advertisements,
        )

    async def run(self) -> None:
        """Watch until cancelled. Raises only what is a bug."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._own():
                watcher = Watcher(self._client, reflector, self._clock, self._take, self._log)
                group.create_task(watcher.run())
            if self._bgp is not None:
                group.create_task(self._bgp.run())
            if self.bgp_statuses is not None:
                group.create_task(self.bgp_statuses.run())

    def reload(self) -> None:
        """Nothing to do on SIGHUP: the watches are always current."""

    @property
    def waiting_for(self) -> str | None:
        """Why there is no snapshot yet: the first resource that was never listed."""
        for reflector in (*self._needed, self.pods) if self._scope.labels else self._needed:
            if not reflector.synced:
                return f"{reflector.resource.path}: {reflector.trouble or 'not listed yet'}"
        return None

    @property
    def behind(self) -> int:
        """How many resources may be out of date, because the API server does not answer."""
        return sum(found.trouble is not None for found in self._watched())

    def relists(self) -> Mapping[str, int]:
        """Count by kind how often everything was listed again, as a watch could not go on."""
        counts: Counter[str] = Counter()
        for found in self._watched():
            counts[found.resource.kind] += found.relists
        return counts

    def failed_reads(self) -> Mapping[str, int]:
        """Count by reason how often a list or a watch failed, of all kinds together."""
        found = [reflector.failures for reflector in self._watched()]
        return {why.name.lower(): sum(counts[why] for counts in found) for why in Failure}

    def _watched(self) -> tuple[Reflector, ...]:
        """Return everything."""
        told = (self.bgp_statuses.reflector,) if self.bgp_statuses is not None else ()
        return (*self._own(), *(self._bgp.reflectors if self._bgp is not None else ()), *told)

    def _own(self) -> tuple[Reflector, ...]:
        """All but BGP's; without labels there is no telling which pods are speakers."""
        pods = (self.pods,) if self._scope.labels else ()
        return (*self._needed, self.statuses, self.state, *pods)

    def own_pod(self) -> Pod | None:
        """Find the pod that we run in: by its name where we know it, else by our node."""
        pods = list(_all(self.pods, Pod))
        named = [pod for pod in pods if pod.name == self._scope.pod]
        here = [pod for pod in pods if pod.node == self._scope.node]
        # Of two on our node, the one that is going is most likely the one before us.
        return min(named or here, key=lambda pod: pod.ending, default=None)

    def statuses_of(self, service: str) -> Iterable[L2Status]:
        """Return the ServiceL2Status objects of a service."""
        return self._statuses.get(service, {}).values()

    def services_with_status(self) -> Iterable[str]:
        """Name the services that have ServiceL2Status objects."""
        return self._statuses.keys()

    def own_state(self) -> ConfigurationState | None:
        """Return our node's ConfigurationState, if it exists."""
        found = next(iter(self.state.objects.values()), None)
        return found if isinstance(found, ConfigurationState) else None

    # ---- what comes in

    def _take(self, reflector: Reflector, changed: set[Key]) -> None:
        if reflector is self.statuses:
            self._index_statuses(changed)
            return
        if reflector is self.state:
            self.on_state()
            return
        if reflector is self.pods:
            self._tell_pods()
        elif reflector is self.services:
            self._index_services(changed)
        elif reflector is self.slices:
            self._index_slices(changed)
        elif reflector in (self.pools, self.advertisements):
            self._findings = []
            self._judge()
            self._bgp_moved = True
        elif reflector is self.nodes:
            self._bgp_moved = True
            self._nodes = {found.name: found for found in _all(self.nodes, Node)}
            if ("", self._scope.node) in changed:
                self._tell_pods()
        self._tell_soon()

    def _handle_bgp(self) -> None:
        self._bgp_moved = True
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._timer is None and self.waiting_for is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLE, self._tell)

    def _tell_pods(self) -> None:
        if self.pods.synced:
            self.on_pods(list(_all(self.pods, Pod)))

    def _index_services(self, changed: set[Key]) -> None:
        for key in changed:
            name = "/".join(key)
            found = self.services.objects.get(key)
            if isinstance(found, Service):
                self._services[name] = found
            else:
                self._services.pop(name, None)
            self._touched.add(name)

    def _index_slices(self, changed: set[Key]) -> None:
        for key in changed:
            found = self.slices.objects.get(key)
            service = (
                f"{found.namespace}/{found.service}" if isinstance(found, EndpointSlice) else ""
            )
            before = self._slice_owner.pop(key, "")
            if before:
                self._slices[before].pop(key, None)
            if isinstance(found, EndpointSlice):
                self._slice_owner[key] = service
                self._slices.setdefault(service, {})[key] = found
            for name in {before, service} - {""}:
                self._touched.add(name)
                if members := self._slices.get(name):
                    self._served[name] = tuple(members.values())
                else:
                    self._slices.pop(name, None)
                    self._served.pop(name, None)

    def _index_statuses(self, changed: set[Key]) -> None:
        services: set[str] = set()
        for key in changed:
            found = self.statuses.objects.get(key)
            before = self._status_owner.pop(key, "")
            if before:
                services.add(before)
                self._statuses[before].pop(key, None)
                if not self._statuses[before]:
                    del self._statuses[before]
            if isinstance(found, L2Status):
                services.add(found.service)
                self._status_owner[key] = found.service
                self._statuses.setdefault(found.service, {})[key] = found
        self.on_status(services)

    def _judge(self) -> None:
        """Judge pools and advertisements as a whole; an error leaves the last good ones."""
        if not (self.pools.synced and self.advertisements.synced):
            return
        config, self._findings = judge(
            list(_all(self.pools, IPAddressPool)), list(_all(self.advertisements, L2Advertisement))
        )
        unread = any(
            problem.severity is Severity.ERROR
            for reflector in (self.pools, self.advertisements)
            for found in reflector.problems.values()
            for problem in found
        )
        self._pools_valid = config is not None and not unread
        if self._pools_valid:
            self._config = config

    def _judge_bgp(self) -> None:
        if self._bgp is not None and self._bgp_moved:
            self._bgp_moved = False
            pools = tuple(_all(self.pools, IPAddressPool)) if self._pools_valid else None
            self._bgp.judge(pools, self._nodes)

    def _tell(self) -> None:
        self._timer = None
        self._judge_bgp()
        problems = [
            problem
            for reflector in self._needed
            for found in reflector.problems.values()
            for problem in found
        ]
        problems += self._bgp.problems() if self._bgp is not None else ()
        # No namespaces: a speaker needs none, and may not list them.
        snapshot = Snapshot(
            MappingProxyType(self._services),
            self._nodes,
            MappingProxyType(self._served),
            config=self._config,
            bgp=self._bgp.config if self._bgp is not None else None,
        )
        touched, self._touched = frozenset(self._touched), set()
        self._on_change(snapshot, tuple(worst_first((*problems, *self._findings))), touched)

    def _prune_service(self, view: View) -> View | None:
        """Drop what is not ours; of one that is no load balancer keep only that it is not."""
        if not isinstance(view, Service):
            return None
        if (view.load_balancer_class or None) != (self._scope.lb_class or None):
            return None
        if view.type != "LoadBalancer":
            return Service(view.namespace, view.name, view.type)
        return msgspec.structs.replace(view, demand=NO_DEMAND)


_View = TypeVar("_View")


def without_status(view: View) -> View | None:
    """Drop what changes with every address that is given: it would count as a change of pools."""
    return msgspec.structs.replace(view, status=None) if isinstance(view, IPAddressPool) else view


def _all(reflector: Reflector, kind: type[_View]) -> Iterator[_View]:
    return (found for found in reflector.objects.values() if isinstance(found, kind))


def _ignore(changed: Any) -> None:
    """Take no notice."""
