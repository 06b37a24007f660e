"""Frozen views of only what the speaker reads of each kind of object, and how they are read.

The private structs mirror the API's JSON and check its types; the public ones are what is kept. No
struct can be part of a cycle, so the garbage collector need not look at thousands of them (`gc`).
Fields of the core kinds that are not listed are not ours to judge. In metallb.io specs, which only
MetalLB and we read, an unknown field is most likely a typing error and gives a warning.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar, get_args

import msgspec

from kube.document import Document, ManifestError, Origin, document
from kube.problem import Path, Problem, quoted
from kube.selector import LabelSelector

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
NODE_LABEL = "metallb.io/node"
LOAD_BALANCER_IPS = ("metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs")
"""Annotations that ask for addresses, the one that wins first."""
INGRESS: Path = ("status", "loadBalancer", "ingress")
LOAD_BALANCER_IP: Path = ("spec", "loadBalancerIP")
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for hostile bytes: text that is not UTF-8 is none of its own errors."""


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

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


class Endpoint(msgspec.Struct, gc=False, frozen=True):
    """One endpoint of a slice; a condition that is not set is None."""

    node_name: str | None = None
    ready: bool | None = None
    serving: bool | None = None

    @property
    def can_serve(self) -> bool:
        """Ready unless it says otherwise, or still serving while it terminates."""
        return self.ready is not False or self.serving is True


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


class ServiceAllocation(msgspec.Struct, gc=False, frozen=True, rename="camel"):
    """Which services a pool is for; only the allocating controller acts on it."""

    priority: int = 0
    namespaces: tuple[str, ...] = ()
    namespace_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()


class IPAddressPool(msgspec.Struct, gc=False, frozen=True):
    """A metallb.io/v1beta1 IPAddressPool, its addresses not yet judged."""

    namespace: str
    name: str
    addresses: tuple[str, ...]
    labels: dict[str, str] = {}
    auto_assign: bool = True
    avoid_buggy_ips: bool = False
    service_allocation: ServiceAllocation | None = None
    origin: Origin = Origin()


class PreferredNodes(msgspec.Struct, gc=False, frozen=True):
    """A weight (1 to 100) for nodes that match; MetalLB releases after v0.16 count it."""

    weight: int
    preference: LabelSelector


class L2Advertisement(msgspec.Struct, gc=False, frozen=True):
    """A metallb.io/v1beta1 L2Advertisement; an empty list restricts nothing."""

    namespace: str
    name: str
    pools: tuple[str, ...] = ()
    pool_selectors: tuple[LabelSelector, ...] = ()
    node_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()
    interfaces: tuple[str, ...] = ()
    preferred_nodes: tuple[PreferredNodes, ...] = ()
    origin: Origin = Origin()


class Pod(msgspec.Struct, gc=False, frozen=True):
    """A v1 Pod; `node` and `ip` are empty until it is scheduled and running."""

    namespace: str
    name: str
    uid: str = ""
    node: str = ""
    ip: str = ""


class L2Status(msgspec.Struct, gc=False, frozen=True):
    """A metallb.io/v1beta1 ServiceL2Status: its three labels, and what its status says.

    `version` is its resourceVersion, `status` empty until it was written.
    """

    namespace: str
    name: str
    node: str = ""
    service: str = ""
    version: str = ""
    status: tuple[str, str] = ("", "")
    interfaces: tuple[str, ...] = ()
    """Sorted; empty: all."""


class ConfigurationState(msgspec.Struct, gc=False, frozen=True):
    """A metallb.io/v1beta1 ConfigurationState."""

    namespace: str
    name: str
    result: str = ""
    summary: str = ""


View = (
    Service
    | EndpointSlice
    | Node
    | Namespace
    | IPAddressPool
    | L2Advertisement
    | Pod
    | L2Status
    | ConfigurationState
)


class _Metadata(msgspec.Struct, gc=False, rename="camel"):
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _ServiceSpec(msgspec.Struct, gc=False, rename="camel"):
    type: str = "ClusterIP"
    load_balancer_class: str | None = None
    load_balancer_ip: str = msgspec.field(default="", name="loadBalancerIP")
    external_traffic_policy: str = "Cluster"


class _Ingress(msgspec.Struct, gc=False):
    ip: str = ""


class _LoadBalancer(msgspec.Struct, gc=False):
    ingress: tuple[_Ingress, ...] = ()


class _ServiceStatus(msgspec.Struct, gc=False, rename="camel"):
    load_balancer: _LoadBalancer = msgspec.field(default_factory=_LoadBalancer)


class _Service(msgspec.Struct, gc=False):
    metadata: _Metadata
    spec: _ServiceSpec = msgspec.field(default_factory=_ServiceSpec)
    status: _ServiceStatus = msgspec.field(default_factory=_ServiceStatus)


class _Conditions(msgspec.Struct, gc=False):
    ready: bool | None = None
    serving: bool | None = None


class _Endpoint(msgspec.Struct, gc=False, rename="camel"):
    node_name: str | None = None
    conditions: _Conditions = msgspec.field(default_factory=_Conditions)


class _EndpointSlice(msgspec.Struct, gc=False):
    metadata: _Metadata
    endpoints: tuple[_Endpoint, ...] = ()


class _Condition(msgspec.Struct, gc=False):
    type: str = ""
    status: str = ""


class _NodeStatus(msgspec.Struct, gc=False):
    conditions: tuple[_Condition, ...] = ()


class _NodeSpec(msgspec.Struct, gc=False):
    unschedulable: bool = False


class _Node(msgspec.Struct, gc=False):
    metadata: _Metadata
    spec: _NodeSpec = msgspec.field(default_factory=_NodeSpec)
    status: _NodeStatus = msgspec.field(default_factory=_NodeStatus)


class _Namespace(msgspec.Struct, gc=False):
    metadata: _Metadata


class _PoolSpec(msgspec.Struct, gc=False, rename="camel"):
    addresses: tuple[str, ...]
    auto_assign: bool = True
    avoid_buggy_ips: bool = msgspec.field(default=False, name="avoidBuggyIPs")
    service_allocation: ServiceAllocation | None = None


class _Pool(msgspec.Struct, gc=False):
    metadata: _Metadata
    spec: _PoolSpec


class _AdvertisementSpec(msgspec.Struct, gc=False, rename="camel"):
    pools: tuple[str, ...] = msgspec.field(default=(), name="ipAddressPools")
    pool_selectors: tuple[LabelSelector, ...] = msgspec.field(
        default=(), name="ipAddressPoolSelectors"
    )
    node_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()
    interfaces: tuple[str, ...] = ()
    preferred_nodes: tuple[PreferredNodes, ...] = msgspec.field(
        default=(), name="preferredNodeSelectors"
    )


class _Advertisement(msgspec.Struct, gc=False):
    metadata: _Metadata
    spec: _AdvertisementSpec = msgspec.field(default_factory=_AdvertisementSpec)


class _PodSpec(msgspec.Struct, gc=False, rename="camel"):
    node_name: str = ""


class _PodStatus(msgspec.Struct, gc=False):
    pod_ip: str = msgspec.field(default="", name="podIP")


class _Pod(msgspec.Struct, gc=False):
    metadata: _Metadata
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


class _InterfaceName(msgspec.Struct, gc=False):
    name: str = ""


class _L2StatusStatus(msgspec.Struct, gc=False, rename="camel"):
    node: str = ""
    service_name: str = ""
    service_namespace: str = ""
    interfaces: tuple[_InterfaceName, ...] = ()


class _L2Status(msgspec.Struct, gc=False):
    metadata: _Metadata
    status: _L2StatusStatus = msgspec.field(default_factory=_L2StatusStatus)


class _StateStatus(msgspec.Struct, gc=False, rename="camel"):
    result: str = ""
    error_summary: str = ""


class _State(msgspec.Struct, gc=False):
    metadata: _Metadata
    status: _StateStatus = msgspec.field(default_factory=_StateStatus)


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
    )


@lru_cache(maxsize=4096)
def _endpoint(node: str | None, ready: bool | None, serving: bool | None) -> Endpoint:
    """Share equal endpoints: a cluster has few of them, and thousands of mentions."""
    return Endpoint(node, ready, serving)


def _slice(raw: _EndpointSlice, origin: Origin) -> EndpointSlice:
    endpoints = tuple(
        _endpoint(entry.node_name, entry.conditions.ready, entry.conditions.serving)
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


def _pool(raw: _Pool, origin: Origin) -> IPAddressPool:
    return IPAddressPool(
        raw.metadata.namespace,
        raw.metadata.name,
        raw.spec.addresses,
        labels=raw.metadata.labels,
        auto_assign=raw.spec.auto_assign,
        avoid_buggy_ips=raw.spec.avoid_buggy_ips,
        service_allocation=raw.spec.service_allocation,
        origin=origin,
    )


def _advertisement(raw: _Advertisement, origin: Origin) -> L2Advertisement:
    return L2Advertisement(
        raw.metadata.namespace,
        raw.metadata.name,
        pools=raw.spec.pools,
        pool_selectors=raw.spec.pool_selectors,
        node_selectors=raw.spec.node_selectors,
        service_selectors=raw.spec.service_selectors,
        interfaces=raw.spec.interfaces,
        preferred_nodes=raw.spec.preferred_nodes,
        origin=origin,
    )


def _pod(raw: _Pod, origin: Origin) -> Pod:
    meta = raw.metadata
    return Pod(meta.namespace, meta.name, meta.uid, raw.spec.node_name, raw.status.pod_ip)


def _l2_status(raw: _L2Status, origin: Origin) -> L2Status:
    meta, status = raw.metadata, raw.status
    namespace, name = (
        meta.labels.get(f"metallb.io/service-{part}", "") for part in ("namespace", "name")
    )
    return L2Status(
        meta.namespace,
        meta.name,
        node=meta.labels.get(NODE_LABEL, ""),
        service=f"{namespace}/{name}",
        version=meta.resource_version,
        status=(status.node, f"{status.service_namespace}/{status.service_name}"),
        interfaces=tuple(sorted(entry.name for entry in status.interfaces)),
    )


def _state(raw: _State, origin: Origin) -> ConfigurationState:
    status = raw.status
    return ConfigurationState(
        raw.metadata.namespace, raw.metadata.name, status.result, status.error_summary
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    api_version: str
    shape: type[Any]
    build: Callable[[Any, Origin], View]
    strict: type[msgspec.Struct] | None = None
    """The spec's struct, where unknown fields of it are reported."""


_KINDS: Mapping[str, _Kind] = {
    "Service": _Kind("v1", _Service, _service),
    "EndpointSlice": _Kind("discovery.k8s.io/v1", _EndpointSlice, _slice),
    "Node": _Kind("v1", _Node, _node),
    "Namespace": _Kind("v1", _Namespace, _namespace),
    "IPAddressPool": _Kind("metallb.io/v1beta1", _Pool, _pool, _PoolSpec),
    "L2Advertisement": _Kind(
        "metallb.io/v1beta1", _Advertisement, _advertisement, _AdvertisementSpec
    ),
}
_SERVED: Mapping[str, _Kind] = {
    **_KINDS,
    "Pod": _Kind("v1", _Pod, _pod),
    "ServiceL2Status": _Kind("metallb.io/v1beta1", _L2Status, _l2_status),
    "ConfigurationState": _Kind("metallb.io/v1beta1", _State, _state),
}
"""What an API server has beside what a folder of manifests may hold."""
_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")


def view(document: Document) -> View | None:
    """Read one document, None if its kind is not ours. Raises `ManifestError` naming the field."""
    kind = _KINDS.get(document.kind)
    if kind is None or kind.api_version != document.api_version:
        return None
    return kind.build(_convert(document, kind.shape), document.origin)


def decode(name: str, raw: bytes | msgspec.Raw) -> tuple[View, list[Problem]]:
    """Read one object of the kind `name` from the API server's JSON, with warnings.

    The fast way never builds what the view leaves out. Objects whose spec is ours to judge, and
    those with a null or a wrong type in them, go the way that a manifest goes. Raises
    `ManifestError`.
    """
    kind = _SERVED[name]
    if kind.strict is None:
        try:
            found = msgspec.json.decode(raw, type=kind.shape)
            return kind.build(found, _origin(name, found.metadata)), []
        except NOT_JSON:
            pass
    try:
        data = _without_nulls(msgspec.json.decode(raw))
    except NOT_JSON as error:
        raise ManifestError(Origin(object=name).error((), str(error))) from None
    # Items of a list do not repeat what they are.
    data = (
        {"kind": name, "apiVersion": kind.api_version, **data} if isinstance(data, dict) else data
    )
    read = document(data, Origin())
    return kind.build(_convert(read, kind.shape), read.origin), warnings(read)


def _origin(kind: str, meta: _Metadata) -> Origin:
    where = f"{meta.namespace}/" if meta.namespace else ""
    title = f"{kind} {where}{meta.name}"
    # As of a manifest: no name may break the line of a log.
    return Origin("", title[:300] if title.isprintable() else "", _NO_LINES)


_NO_LINES: Mapping[Path, int] = MappingProxyType({})


def _without_nulls(data: Any) -> Any:
    """Leave out fields whose value is null, which Kubernetes takes for absent."""
    if isinstance(data, dict):
        return {key: _without_nulls(value) for key, value in data.items() if value is not None}
    return [_without_nulls(value) for value in data] if isinstance(data, list) else data


def warnings(document: Document) -> list[Problem]:
    """Report what Kubernetes or MetalLB would ignore in silence in this document."""
    if not document.kind or not document.api_version:
        return [document.origin.warning((), "no Kubernetes object: apiVersion or kind is missing")]
    kind = _KINDS.get(document.kind)
    if kind is None:
        return []
    if kind.api_version != document.api_version:
        if _group(kind.api_version) != _group(document.api_version):
            return []
        text = f"{quoted(document.api_version)} is not read, only {kind.api_version}"
        return [document.origin.warning(("apiVersion",), text)]
    if kind.strict is None:
        return []
    unknown: list[tuple[Path, str]] = [
        ((name,), name) for name in document.data if name not in _TOP_LEVEL
    ]
    unknown.extend(_unknown(document.data.get("spec"), kind.strict, ("spec",)))
    return [
        document.origin.warning(path, f"unknown field {quoted(name)} is ignored")
        for path, name in unknown
    ]


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _unknown(data: Any, shape: type[msgspec.Struct], path: Path) -> Iterator[tuple[Path, str]]:
    """Walk data that has the shape of a struct and give the fields that it does not have."""
    if not isinstance(data, dict):
        return
    fields = {entry.encode_name: entry.type for entry in msgspec.structs.fields(shape)}
    for name, value in data.items():
        if name not in fields:
            yield (*path, name), name
        elif (inner := _struct_in(fields[name])) is not None:
            items = value if isinstance(value, list) else [value]
            for index, item in enumerate(items):
                here = (*path, name, index) if isinstance(value, list) else (*path, name)
                yield from _unknown(item, inner, here)


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """Find the struct in a field's type: `S`, `S | None` or `tuple[S, ...]`."""
    for choice in (annotation, *get_args(annotation)):
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct):
            return choice
    return None


_Raw = TypeVar("_Raw")
_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?(?P<where>\$[^`]*)`)?$", re.DOTALL)
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]")


def _convert(document: Document, shape: type[_Raw]) -> _Raw:
    """Check types and read; turn the first mismatch into a problem that names its field."""
    try:
        raw = msgspec.convert(document.data, shape)
    except msgspec.ValidationError as error:
        matched = _WHERE.match(str(error))
        where, what = (matched["where"] or "", matched["what"]) if matched else ("", str(error))
        path = tuple(int(index) if index else name for name, index in _STEP.findall(where))
        raise ManifestError(document.origin.error(path, what)) from None
    for name, text in (("name", document.name), ("namespace", document.namespace or "default")):
        if not _DNS_NAME.fullmatch(text):
            message = f"{quoted(text)} is not a DNS name" if text else "is missing"
            raise ManifestError(document.origin.error(("metadata", name), message))
    return raw
