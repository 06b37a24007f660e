"""From the cluster's objects, listed or dumped, to what the judges ask for. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from clarion.doctor.agreement import ClockFacts
from clarion.doctor.cluster_objects import ObjectFacts, Taint
from clarion.doctor.proxy import CONFIG_KEY, ProxyFacts, read_proxy
from kube.address import parse_ip
from kube.document import Document
from kube.objects import bgp, core
from kube.objects.bgp import BGPAdvertisement, BGPPeer
from kube.objects.core import Node, Pod, Service
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.objects.reading import LAYER2, Kinds
from kube.snapshot import read_documents
from link.address import IPAddress

KINDS: Kinds = MappingProxyType({**LAYER2, **bgp.KINDS, **core.SERVED})
PROXY_MAP = ("kube-system", "kube-proxy")
HEARTBEATS = "kube-node-lease"
"""The namespace in which each kubelet renews the Lease of its node."""
_HALF_A_SECOND = 0.5
"""The server cuts its own times to seconds."""


@dataclass(frozen=True, slots=True)
class SpeakerPlace:
    """Where a node's speaker is."""

    node: str
    ip: str


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the objects say."""

    objects: ObjectFacts
    ips: frozenset[IPAddress] = frozenset()
    """Of all services of type LoadBalancer."""
    speakers: tuple[SpeakerPlace, ...] = ()
    proxy: ProxyFacts | None = None
    clocks: ClockFacts = field(default_factory=ClockFacts)
    taints: Mapping[str, tuple[Taint, ...]] = field(default_factory=dict)
    """Of nodes that have any."""
    kinds: frozenset[str] = frozenset()
    """Of which anything was there."""
    problems: tuple[str, ...] = ()
    """Objects that could not be read."""


def cluster_facts(
    documents: Iterable[Document], namespace: str, labels: Mapping[str, str]
) -> ClusterFacts:
    """Return what the documents say; `labels` are those of the speakers' pods in `namespace`."""
    every = list(documents)
    reading = read_documents([each for each in every if each.kind in KINDS], KINDS)
    views = list(reading.views.values())
    own = [v for v in views if getattr(v, "namespace", "") in ("", namespace)]
    its = {(each.namespace, each.name) for each in every if _is_speaker(each, labels)}
    return ClusterFacts(
        ObjectFacts(
            {v.name: v for v in views if isinstance(v, Node)},
            tuple(v for v in own if isinstance(v, IPAddressPool)),
            tuple(v for v in own if isinstance(v, L2Advertisement)),
            tuple(v for v in own if isinstance(v, BGPAdvertisement)),
            tuple(v for v in own if isinstance(v, BGPPeer)),
        ),
        frozenset(ip for v in views if isinstance(v, Service) for ip in _ips(v)),
        tuple(_places([v for v in own if isinstance(v, Pod)], its)),
        next(filter(None, map(_proxy, every)), None),
        ClockFacts(nodes=dict(_skews(every))),
        {each.name: found for each in every if each.kind == "Node" and (found := _taints(each))},
        frozenset(each.kind for each in every),
        tuple(str(problem) for problem in reading.problems if problem.severity == "error"),
    )


def _ips(service: Service) -> Iterator[IPAddress]:
    if service.type == "LoadBalancer":
        yield from (ip for text in service.ingress if (ip := parse_ip(text)) is not None)


def _places(pods: Iterable[Pod], speakers: set[tuple[str, str]]) -> Iterator[SpeakerPlace]:
    for pod in pods:
        runs = (pod.namespace, pod.name) in speakers and pod.node and not pod.ending
        if runs and (ip := parse_ip(pod.ip)) is not None:
            yield SpeakerPlace(pod.node, str(ip))


def _is_speaker(found: Document, labels: Mapping[str, str]) -> bool:
    its = _mapping(_mapping(found.data, "metadata"), "labels")
    return found.kind == "Pod" and all(its.get(key) == value for key, value in labels.items())


def _taints(found: Document) -> tuple[Taint, ...]:
    """Return those that keep pods off."""
    return tuple(
        Taint(*(str(each.get(name) or "") for name in ("key", "value", "effect")))
        for each in _dicts(_mapping(found.data, "spec").get("taints"))
        if each.get("effect") in ("NoSchedule", "NoExecute")
    )


def _proxy(found: Document) -> ProxyFacts | None:
    if found.kind != "ConfigMap" or (found.namespace, found.name) != PROXY_MAP:
        return None
    text = _mapping(found.data, "data").get(CONFIG_KEY)
    return read_proxy(text) if isinstance(text, str) else None


def _skews(documents: Iterable[Document]) -> Iterator[tuple[str, float]]:
    """Yield each node, and how far its clock was ahead of the server's at its last heartbeat.

    A Lease bears both: the kubelet wrote the time of renewal by its clock, and the server noted
    among the managed fields when it was written, by its own.
    """
    for found in documents:
        if found.kind != "Lease" or found.namespace != HEARTBEATS:
            continue
        renewed = _seconds(_mapping(found.data, "spec").get("renewTime"))
        managed = _mapping(found.data, "metadata").get("managedFields")
        noted = [_seconds(each.get("time")) for each in _dicts(managed)]
        times = [at for at in noted if at is not None]
        if renewed is not None and times:
            yield found.name, renewed - max(times) - _HALF_A_SECOND


def _seconds(text: Any) -> float | None:
    """Return an RFC 3339 time in seconds since 1970."""
    try:
        at = datetime.fromisoformat(text)
        return at.timestamp() if at.tzinfo is not None else None
    except (TypeError, ValueError, OverflowError):
        return None


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _dicts(found: Any) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
