"""Views of MetalLB's own kinds: pools, advertisements, and what speakers tell of themselves. Pure.

As in `core`, private structs mirror the API's JSON and public ones are kept. Only MetalLB and we
read these specs, so an unknown field of one is most likely a typing error and gives a warning.
"""

from collections.abc import Mapping

import msgspec

from kube.document import Origin
from kube.objects.kind import Kind, Metadata
from kube.selector import LabelSelector

_VERSION = "metallb.io/v1beta1"
NODE_LABEL = "metallb.io/node"
ADVICE = "configReconcilerAdvice"
"""The type of the condition that says what is allowed, and most likely not as it was meant."""


class ServiceAllocation(msgspec.Struct, gc=False, frozen=True, rename="camel"):
    """Which services a pool is for; only the allocating controller acts on it."""

    priority: int = 0
    namespaces: tuple[str, ...] = ()
    namespace_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()


class PoolStatus(msgspec.Struct, gc=False, frozen=True):
    """How full a pool is, as its controller wrote it last."""

    assigned_ipv4: int = msgspec.field(default=0, name="assignedIPv4")
    assigned_ipv6: int = msgspec.field(default=0, name="assignedIPv6")
    available_ipv4: int = msgspec.field(default=0, name="availableIPv4")
    available_ipv6: int = msgspec.field(default=0, name="availableIPv6")


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
    status: PoolStatus | None = None
    """None where nobody has written it; speakers do not keep it."""


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


class BGPStatus(msgspec.Struct, gc=False, frozen=True):
    """A metallb.io/v1beta1 ServiceBGPStatus: its three labels, and what its status says.

    `status` is empty until it was written.
    """

    namespace: str
    name: str
    node: str = ""
    service: str = ""
    status: tuple[str, str] = ("", "")
    peers: tuple[str, ...] = ()
    """As they stand there."""


class ConfigurationState(msgspec.Struct, gc=False, frozen=True):
    """A metallb.io/v1beta1 ConfigurationState."""

    namespace: str
    name: str
    result: str = ""
    summary: str = ""
    advice: str = ""
    """The message of the condition `ADVICE`."""


View = IPAddressPool | L2Advertisement | L2Status | BGPStatus | ConfigurationState


class _PoolSpec(msgspec.Struct, gc=False, rename="camel"):
    addresses: tuple[str, ...]
    auto_assign: bool = True
    avoid_buggy_ips: bool = msgspec.field(default=False, name="avoidBuggyIPs")
    service_allocation: ServiceAllocation | None = None


class _Pool(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: _PoolSpec
    status: PoolStatus | None = None


class _L2AdvertisementSpec(msgspec.Struct, gc=False, rename="camel"):
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


class _L2Advertisement(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: _L2AdvertisementSpec = msgspec.field(default_factory=_L2AdvertisementSpec)


class _InterfaceName(msgspec.Struct, gc=False):
    name: str = ""


class _L2StatusStatus(msgspec.Struct, gc=False, rename="camel"):
    node: str = ""
    service_name: str = ""
    service_namespace: str = ""
    interfaces: tuple[_InterfaceName, ...] = ()


class _L2Status(msgspec.Struct, gc=False):
    metadata: Metadata
    status: _L2StatusStatus = msgspec.field(default_factory=_L2StatusStatus)


class _BGPStatusStatus(msgspec.Struct, gc=False, rename="camel"):
    node: str = ""
    service_name: str = ""
    service_namespace: str = ""
    peers: tuple[str, ...] = ()


class _BGPStatus(msgspec.Struct, gc=False):
    metadata: Metadata
    status: _BGPStatusStatus = msgspec.field(default_factory=_BGPStatusStatus)


class _Condition(msgspec.Struct, gc=False):
    type: str = ""
    message: str = ""


class _StateStatus(msgspec.Struct, gc=False, rename="camel"):
    result: str = ""
    error_summary: str = ""
    conditions: tuple[_Condition, ...] = ()


class _State(msgspec.Struct, gc=False):
    metadata: Metadata
    status: _StateStatus = msgspec.field(default_factory=_StateStatus)


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
        status=raw.status,
    )


def _advertisement(raw: _L2Advertisement, origin: Origin) -> L2Advertisement:
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


def _l2_status(raw: _L2Status, origin: Origin) -> L2Status:
    meta, status = raw.metadata, raw.status
    return L2Status(
        meta.namespace,
        meta.name,
        node=meta.labels.get(NODE_LABEL, ""),
        service=_service_of(meta.labels),
        version=meta.resource_version,
        status=(status.node, f"{status.service_namespace}/{status.service_name}"),
        interfaces=tuple(sorted(entry.name for entry in status.interfaces)),
    )


def _bgp_status(raw: _BGPStatus, origin: Origin) -> BGPStatus:
    meta, status = raw.metadata, raw.status
    return BGPStatus(
        meta.namespace,
        meta.name,
        node=meta.labels.get(NODE_LABEL, ""),
        service=_service_of(meta.labels),
        status=(status.node, f"{status.service_namespace}/{status.service_name}"),
        peers=status.peers,
    )


def _service_of(labels: Mapping[str, str]) -> str:
    """Return `namespace/name` of the service that a status object is of."""
    namespace, name = (
        labels.get(f"metallb.io/service-{part}", "") for part in ("namespace", "name")
    )
    return f"{namespace}/{name}"


def _state(raw: _State, origin: Origin) -> ConfigurationState:
    meta, status = raw.metadata, raw.status
    advice = next((each.message for each in status.conditions if each.type == ADVICE), "")
    return ConfigurationState(
        meta.namespace, meta.name, status.result, status.error_summary, advice
    )


KINDS: Mapping[str, Kind[View]] = {
    "IPAddressPool": Kind(_VERSION, _Pool, _pool, _PoolSpec),
    "L2Advertisement": Kind(_VERSION, _L2Advertisement, _advertisement, _L2AdvertisementSpec),
}
SERVED: Mapping[str, Kind[View]] = {
    "ServiceL2Status": Kind(_VERSION, _L2Status, _l2_status),
    "ServiceBGPStatus": Kind(_VERSION, _BGPStatus, _bgp_status),
    "ConfigurationState": Kind(_VERSION, _State, _state),
}
"""What an API server has beside what a folder of manifests may hold."""
