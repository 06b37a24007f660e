"""All objects in one value that the plan is made from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import msgspec

from kube.bgp_config import BgpConfig, BgpObjects, judge_bgp
from kube.config import PoolConfig, judge
from kube.document import Document, ManifestError
from kube.objects.bgp import BFDProfile, BGPAdvertisement, BGPPeer, Community
from kube.objects.config_map import NAME, BgpExtras
from kube.objects.core import ALLOCATED_FROM, EndpointSlice, Namespace, Node, Service
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.objects.reading import LAYER2, Kinds, View, view, warnings
from kube.objects.secret import PasswordSecret
from kube.problem import Problem, Severity, fault, quoted

Key = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the cluster looks like; all mappings are read-only.

    Of a cluster that is watched, `services` and `slices` are live: they show what is there now.
    """

    services: Mapping[str, Service] = field(default_factory=dict)
    """By `namespace/name`."""
    nodes: Mapping[str, Node] = field(default_factory=dict)
    slices: Mapping[str, tuple[EndpointSlice, ...]] = field(default_factory=dict)
    """By the `namespace/name` of the service they belong to."""
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    """Of manifests; of a cluster that is watched none, as no speaker may list them."""
    config: PoolConfig | None = None
    """None until there has been a valid one."""
    pools: tuple[IPAddressPool, ...] = ()
    """Of manifests, as they are now: those of `config`, unless that is an older one."""
    bgp: BgpConfig | None = None
    """What our node does by BGP; empty where nobody wants any. None: it is not read, or not known,
    as not all is read or there has not been a valid one: whatever is announced stays as it is."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came out of some documents: the views, and what could not be read."""

    views: Mapping[Key, View] = field(default_factory=dict)
    broken: frozenset[Key] = frozenset()
    ignored: frozenset[str] = frozenset()
    """Kinds that we do not read."""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomObjects:
    """MetalLB's objects of one namespace as they were read, before anything is made of them."""

    pools: tuple[IPAddressPool, ...] = ()
    advertisements: tuple[L2Advertisement, ...] = ()
    bgp: BgpObjects = field(default_factory=BgpObjects)


@dataclass(frozen=True, slots=True)
class BgpScope:
    """Whose BGP is wanted, and the last good configuration of it."""

    own_node: str
    last: BgpConfig | None = None


def read_documents(documents: Iterable[Document], kinds: Kinds = LAYER2) -> Reading:
    """Read each document by itself, so that a broken object costs only itself."""
    views: dict[Key, View] = {}
    broken: set[Key] = set()
    ignored: set[str] = set()
    problems: list[Problem] = []
    for document in documents:
        key = (document.kind, document.namespace, document.name)
        try:
            problems.extend(warnings(document, kinds))
            found = view(document, kinds)
        except ManifestError as error:
            problems.append(error.problem)
            broken.add(key)
            continue
        except Exception as error:
            problems.append(fault(document.origin.object, error, document.origin.file))
            broken.add(key)
            continue
        if found is None:
            ignored.add(document.kind)
            continue
        if key in views:
            problems.append(
                document.origin.warning((), "defined twice in this file; the last wins")
            )
        views[key] = found
    return Reading(views, frozenset(broken), frozenset(ignored - {""}), tuple(problems))


def assemble(
    readings: Iterable[Reading],
    namespace: str,
    last: PoolConfig | None = None,
    statuses: Reading | None = None,
    bgp: BgpScope | None = None,
) -> tuple[Snapshot, list[Problem]]:
    """Build the snapshot. An invalid configuration leaves `last` in force, and that of `bgp`.

    Only metallb.io objects and Secrets of `namespace`, or of no namespace, count. `statuses` is
    what was read of a controller's state file: where it names a service, its word counts, not the
    manifest's.
    """
    problems: list[Problem] = []
    ignored: set[str] = set()
    core, custom = _Core(), _Custom(namespace)
    for reading in readings:
        problems.extend(reading.problems)
        ignored |= reading.ignored
        for found in reading.views.values():
            if not custom.add(found, problems):
                core.add(found, problems)
    if ignored:
        kinds = (kind if kind.isprintable() else quoted(kind) for kind in sorted(ignored))
        text = f"kinds not read: {', '.join(kinds)}"
        problems.append(Problem(Severity.DEBUG, "", 0, "", "", text[:500]))
    if statuses is not None:
        problems.extend(statuses.problems)
        core.set_statuses(found for found in statuses.views.values() if isinstance(found, Service))
    config, findings = judge(custom.pools, custom.advertisements)
    problems += findings
    snapshot = core.snapshot(config or last, tuple(custom.pools))
    if bgp is None:
        return snapshot, problems
    made, findings = _bgp_in_force(custom.bgp(), custom.pools, snapshot, config is not None, bgp)
    return replace(snapshot, bgp=made), problems + findings


def _bgp_in_force(
    objects: BgpObjects,
    pools: Sequence[IPAddressPool],
    snapshot: Snapshot,
    pools_valid: bool,
    scope: BgpScope,
) -> tuple[BgpConfig | None, list[Problem]]:
    """Return what is in force for BGP: what is wanted now, or the last good one, None without any.

    Without valid pools nothing new is in force: they belong to the whole.
    """
    if not objects.wanted:
        return BgpConfig(), []
    made, problems = judge_bgp(objects, pools, snapshot.nodes, scope.own_node)
    return made if made is not None and pools_valid else scope.last, problems


def custom_objects(readings: Iterable[Reading], namespace: str) -> CustomObjects:
    """Return MetalLB's objects that `assemble` would make a configuration of."""
    custom, unsaid = _Custom(namespace), list[Problem]()
    for reading in readings:
        for found in reading.views.values():
            custom.add(found, unsaid)
    return CustomObjects(tuple(custom.pools), tuple(custom.advertisements), custom.bgp())


def with_status(service: Service, kept: Service | None) -> Service:
    """Return the service with the addresses that a state file keeps for it, and their pool."""
    if kept is None:
        return service
    annotations = {
        key: value for key, value in service.annotations.items() if key != ALLOCATED_FROM
    }
    if ALLOCATED_FROM in kept.annotations:
        annotations[ALLOCATED_FROM] = kept.annotations[ALLOCATED_FROM]
    return msgspec.structs.replace(service, ingress=kept.ingress, annotations=annotations)


def build(
    documents: Iterable[Document], namespace: str, last: PoolConfig | None = None
) -> tuple[Snapshot, list[Problem]]:
    """Build the snapshot straight from documents."""
    return assemble([read_documents(documents)], namespace, last)


class _Custom:
    """Collects MetalLB's objects of one namespace, and the Secrets beside them."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.pools: list[IPAddressPool] = []
        self.advertisements: list[L2Advertisement] = []
        self._routes: list[BGPAdvertisement] = []
        self._peers: list[BGPPeer] = []
        self._profiles: list[BFDProfile] = []
        self._communities: list[Community] = []
        self._passwords: dict[str, str | None] = {}
        self._extras: BgpExtras | None = None

    def add(self, found: View, problems: list[Problem]) -> bool:
        """Take the object if it is one of these; tell if it was."""
        if not isinstance(found, _CUSTOM):
            return False
        if found.namespace in ("", self._namespace):
            self._add(found)
        elif not isinstance(found, PasswordSecret | BgpExtras):
            # Other Secrets and ConfigMaps are others' affair.
            message = f"is not in namespace {self._namespace} and is ignored"
            problems.append(found.origin.warning(("metadata", "namespace"), message))
        return True

    def _add(self, found: View) -> None:
        match found:
            case IPAddressPool():
                self.pools.append(found)
            case L2Advertisement():
                self.advertisements.append(found)
            case BGPAdvertisement():
                self._routes.append(found)
            case BGPPeer():
                self._peers.append(found)
            case BFDProfile():
                self._profiles.append(found)
            case Community():
                self._communities.append(found)
            case PasswordSecret():
                self._passwords[found.name] = found.password
            case BgpExtras(name=name) if name == NAME:
                self._extras = found

    def bgp(self) -> BgpObjects:
        """Return all that is of BGP."""
        return BgpObjects(
            self._routes,
            self._peers,
            self._profiles,
            self._communities,
            self._passwords,
            self._extras,
        )


_CUSTOM = (
    IPAddressPool,
    L2Advertisement,
    BGPAdvertisement,
    BGPPeer,
    BFDProfile,
    Community,
    PasswordSecret,
    BgpExtras,
)


class _Core:
    """Collects the objects of Kubernetes itself."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}
        self._nodes: dict[str, Node] = {}
        self._slices: dict[str, EndpointSlice] = {}
        self._namespaces: dict[str, Namespace] = {}

    def add(self, found: View, problems: list[Problem]) -> None:
        """Take an object; of two with the same name the later one, as `kubectl apply` leaves it."""
        match found:
            case Service():
                if found.key in self._services:
                    message = "also defined in another file; the last wins"
                    problems.append(found.origin.warning((), message))
                self._services[found.key] = found
            case Node():
                self._nodes[found.name] = found
            case EndpointSlice():
                self._slices[f"{found.namespace}/{found.name}"] = found
            case Namespace():
                self._namespaces[found.name] = found

    def set_statuses(self, kept: Iterable[Service]) -> None:
        """Give the services what is kept for them; what is kept for others is nobody's."""
        for found in kept:
            if found.key in self._services:
                self._services[found.key] = with_status(self._services[found.key], found)

    def snapshot(self, config: PoolConfig | None, pools: tuple[IPAddressPool, ...]) -> Snapshot:
        """Freeze what was collected."""
        slices: dict[str, list[EndpointSlice]] = {}
        for found in self._slices.values():
            if found.service:
                slices.setdefault(f"{found.namespace}/{found.service}", []).append(found)
        return Snapshot(
            MappingProxyType(self._services),
            MappingProxyType(self._nodes),
            MappingProxyType({key: tuple(some) for key, some in slices.items()}),
            MappingProxyType(self._namespaces),
            config,
            pools,
        )
