"""Views of the core kinds: v1 and discovery.k8s.io/v1. Pure.

The private structs mirror the API's JSON and check its types; the public ones are what is kept. No
struct can be part of a cycle, so the garbage collector need not look at thousands of them (`gc`).
Fields that are not listed are not ours to judge.
"""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from kube.document import Origin
from kube.objects.kind import Kind, Metadata
from kube.problem import Path

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
LOAD_BALANCER_IPS = ("metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs")
"""Annotations that ask for addresses, the one that wins first."""
ALLOCATED_FROM = "metallb.io/ip-allocated-from-pool"
"""The annotation in which a controller says which pool the addresses are from."""
INGRESS: Path = ("status", "loadBalancer", "ingress")
LOAD_BALANCER_IP: Path = ("spec", "loadBalancerIP")


class Port(msgspec.Struct, gc=False, frozen=True):
    """One port of a service: `TCP`, `UDP` or `SCTP`, and the number that clients use."""

    protocol: str = "TCP"
    port: int = 0


class Demand(msgspec.Struct, gc=False, frozen=True):
    """What matters of a service to who gives it addresses, and to nobody else.

    `version` is its resourceVersion: a write that was decided on this state names it.
    """

    cluster_ips: tuple[str, ...] = ()
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str = ""
    """`SingleStack`, `PreferDualStack`, `RequireDualStack`; empty where nobody filled it in."""
    ports: tuple[Port, ...] = ()
    selector: dict[str, str] = {}
    version: str = ""
    created: str = ""
    """RFC 3339, so that texts compare as times."""


NO_DEMAND = Demand()


class Service(msgspec.Struct, gc=False, frozen=True):
    """A v1 Service. `ingress` is the IP text of each entry, empty for a hostname."""

    namespace: str
    name: str
    type: str = "ClusterIP"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    load_balancer_class: str | None = None
    load_balancer_ip: str = ""
    external_traffic_policy: str = "Cluster"
    ingress: tuple[str, ...] = ()
    uid: str = ""
    origin: Origin = Origin()
    demand: Demand = NO_DEMAND

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


class Endpoint(msgspec.Struct, gc=False, frozen=True):
    """One endpoint of a slice; a condition that is not set is None."""

    node_name: str | None = None
    ready: bool | None = None
    serving: bool | None = None
    addressed: bool = True
    """Whether it has an address at all; the layer-2 rules do not ask."""

    @property
    def can_serve(self) -> bool:
        """Ready unless it says otherwise, or still serving while it terminates."""
        return self.ready is not False or self.serving is True

    @property
    def only_drains(self) -> bool:
        """Serving, while it terminates: soon it will not."""
        return self.ready is False and self.serving is True


class EndpointSlice(msgspec.Struct, gc=False, frozen=True):
    """A discovery.k8s.io/v1 EndpointSlice of the service named by its label (empty: of none)."""

    namespace: str
    name: str
    service: str
    endpoints: tuple[Endpoint, ...] = ()


class Node(msgspec.Struct, gc=False, frozen=True):
    """A v1 Node; `network_unavailable` only if that condition is True; cordoned: unschedulable."""

    name: str
    labels: dict[str, str] = {}
    network_unavailable: bool = False
    unschedulable: bool = False


class Namespace(msgspec.Struct, gc=False, frozen=True):
    """A v1 Namespace."""

    name: str
    labels: dict[str, str] = {}


class Pod(msgspec.Struct, gc=False, frozen=True):
    """A v1 Pod; `node` and `ip` are empty until it is scheduled and running."""

    namespace: str
    name: str
    uid: str = ""
    node: str = ""
    ip: str = ""
    ending: bool = False
    """Whether it was deleted: its containers are told to stop, or will be."""


View = Service | EndpointSlice | Node | Namespace | Pod


class _ServiceSpec(msgspec.Struct, gc=False, rename="camel"):
    type: str = "ClusterIP"
    load_balancer_class: str | None = None
    load_balancer_ip: str = msgspec.field(default="", name="loadBalancerIP")
    external_traffic_policy: str = "Cluster"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str = ""
    ports: tuple[Port, ...] = ()
    selector: dict[str, str] = {}


class _Ingress(msgspec.Struct, gc=False):
    ip: str = ""


class _LoadBalancer(msgspec.Struct, gc=False):
    ingress: tuple[_Ingress, ...] = ()


class _ServiceStatus(msgspec.Struct, gc=False, rename="camel"):
    load_balancer: _LoadBalancer = msgspec.field(default_factory=_LoadBalancer)


class _Service(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: _ServiceSpec = msgspec.field(default_factory=_ServiceSpec)
    status: _ServiceStatus = msgspec.field(default_factory=_ServiceStatus)


class _Conditions(msgspec.Struct, gc=False):
    ready: bool | None = None
    serving: bool | None = None


class _Endpoint(msgspec.Struct, gc=False, rename="camel"):
    node_name: str | None = None
    conditions: _Conditions = msgspec.field(default_factory=_Conditions)
    addresses: tuple[str, ...] = ()


class _EndpointSlice(msgspec.Struct, gc=False):
    metadata: Metadata
    endpoints: tuple[_Endpoint, ...] = ()


class _Condition(msgspec.Struct, gc=False):
    type: str = ""
    status: str = ""


class _NodeStatus(msgspec.Struct, gc=False):
    conditions: tuple[_Condition, ...] = ()


class _NodeSpec(msgspec.Struct, gc=False):
    unschedulable: bool = False


class _Node(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: _NodeSpec = msgspec.field(default_factory=_NodeSpec)
    status: _NodeStatus = msgspec.field(default_factory=_NodeStatus)


class _Namespace(msgspec.Struct, gc=False):
    metadata: Metadata


class _PodSpec(msgspec.Struct, gc=False, rename="camel"):
    node_name: str = ""


class _PodStatus(msgspec.Struct, gc=False):
    pod_ip: str = msgspec.field(default="", name="podIP")


class _PodMetadata(Metadata, gc=False, rename="camel"):
    deletion_timestamp: str | None = None


class _Pod(msgspec.Struct, gc=False):
    metadata: _PodMetadata
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


def _service(raw: _Service, origin: Origin) -> Service:
    annotated = {
        key: value
        for key, value in raw.metadata.annotations.items()
        if key.startswith(("metallb.io/", "metallb.universe.tf/"))
    }
    lines = (INGRESS, LOAD_BALANCER_IP, *(("metadata", "annotations", key) for key in annotated))
    return Service(
        raw.metadata.namespace or "default",
        raw.metadata.name,
        type=raw.spec.type,
        labels=raw.metadata.labels,
        annotations=annotated,
        load_balancer_class=raw.spec.load_balancer_class,
        load_balancer_ip=raw.spec.load_balancer_ip,
        external_traffic_policy=raw.spec.external_traffic_policy,
        ingress=tuple(entry.ip for entry in raw.status.load_balancer.ingress),
        uid=raw.metadata.uid,
        origin=origin.only(*lines),
        demand=_demand(raw),
    )


def _demand(raw: _Service) -> Demand:
    spec = raw.spec
    return Demand(
        spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ()),
        spec.ip_families,
        spec.ip_family_policy,
        spec.ports,
        spec.selector,
        raw.metadata.resource_version,
        raw.metadata.creation_timestamp or "",
    )


@lru_cache(maxsize=4096)
def _endpoint(
    node: str | None, ready: bool | None, serving: bool | None, addressed: bool
) -> Endpoint:
    """Share equal endpoints: a cluster has few of them, and thousands of mentions."""
    return Endpoint(node, ready, serving, addressed)


def _slice(raw: _EndpointSlice, origin: Origin) -> EndpointSlice:
    endpoints = tuple(
        _endpoint(
            entry.node_name,
            entry.conditions.ready,
            entry.conditions.serving,
            bool(entry.addresses),
        )
        for entry in raw.endpoints
    )
    service = raw.metadata.labels.get(SERVICE_NAME_LABEL, "")
    return EndpointSlice(raw.metadata.namespace or "default", raw.metadata.name, service, endpoints)


def _node(raw: _Node, origin: Origin) -> Node:
    unavailable = any(
        condition.type == "NetworkUnavailable" and condition.status == "True"
        for condition in raw.status.conditions
    )
    return Node(raw.metadata.name, raw.metadata.labels, unavailable, raw.spec.unschedulable)


def _namespace(raw: _Namespace, origin: Origin) -> Namespace:
    return Namespace(raw.metadata.name, raw.metadata.labels)


def _pod(raw: _Pod, origin: Origin) -> Pod:
    meta = raw.metadata
    ending = meta.deletion_timestamp is not None
    return Pod(meta.namespace, meta.name, meta.uid, raw.spec.node_name, raw.status.pod_ip, ending)


KINDS: Mapping[str, Kind[View]] = {
    "Service": Kind("v1", _Service, _service),
    "EndpointSlice": Kind("discovery.k8s.io/v1", _EndpointSlice, _slice),
    "Node": Kind("v1", _Node, _node),
    "Namespace": Kind("v1", _Namespace, _namespace),
}
SERVED: Mapping[str, Kind[View]] = {"Pod": Kind("v1", _Pod, _pod)}
"""What an API server has beside what a folder of manifests may hold."""
