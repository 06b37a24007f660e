"""Kubernetes Events: what they say, and which of them repeat. Pure; `publisher` sends them."""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from kube.problem import Problem

COMPONENT = "metallb-speaker"
MAX_MESSAGE = 1000
MAX_REMEMBERED = 4096
REPEAT = 3600.0
"""Seconds for which an equal event is counted up in the old one; the server keeps them for 1 h."""


_CONFIGURATION = {
    "IPAddressPool": "metallb.io/v1beta1",
    "L2Advertisement": "metallb.io/v1beta1",
    "BGPAdvertisement": "metallb.io/v1beta1",
    "BGPPeer": "metallb.io/v1beta2",
    "BFDProfile": "metallb.io/v1beta1",
    "Community": "metallb.io/v1beta1",
    "Secret": "v1",
    "ConfigMap": "v1",
}
"""The version of each kind that a configuration is made of; of Secrets those with a password,
of ConfigMaps the one with lines for the engine."""


@dataclass(frozen=True, slots=True)
class Involved:
    """The object an event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""

    @property
    def events_namespace(self) -> str:
        """Where its events are: those of an object without a namespace are in `default`."""
        return self.namespace or "default"


@dataclass(frozen=True, slots=True)
class Event:
    """One event; two that are equal are the same one again."""

    subject: Involved
    type: str
    """Normal or Warning."""
    reason: str
    message: str


def node_assigned(subject: Involved, node: str, protocol: str = "layer2") -> Event:
    """Say that this node announces the service; the text is MetalLB's, which tools compare.

    `protocol` is `layer2` or `bgp`.
    """
    message = f'announcing from node "{node}" with protocol "{protocol}"'
    return Event(subject, "Normal", "nodeAssigned", message)


def announce_failed(subject: Involved, node: str, ip: str, interfaces: list[str]) -> Event:
    """Say that the owner has none of the interfaces that the advertisements name."""
    names = ", ".join(interfaces)
    message = (
        f'not announcing "{ip}" from node "{node}" with protocol "layer2": '
        f"the node has none of the interfaces {names}"
    )
    return Event(subject, "Warning", "announceFailed", message[:MAX_MESSAGE])


def foreign_answer(subject: Involved, node: str, ip: str, other: str) -> Event:
    """Say which kernel answers for an IP that `node` is to announce, and what keeps it from it."""
    message = (
        f"the kernel of node {other} answers ARP for {ip}, which its speaker does not announce: "
        f"on {other} set net.ipv4.conf.all.arp_ignore=1 and arp_announce=2 "
        "(kube-proxy in IPVS mode: strictARP)"
    )
    return Event(subject, "Warning", "foreignAnswer", message[:MAX_MESSAGE])


def engine_trouble(subject: Involved, trouble: str) -> Event:
    """Say why BGP, which is wanted, does not work on a node; `subject` is its speaker's Pod."""
    return Event(subject, "Warning", "bgpEngine", trouble[:MAX_MESSAGE])


def node_subject(name: str) -> Involved:
    """Return a Node as the subject of events, named as the kubelet does."""
    return Involved("v1", "Node", "", name, name)


def invalid_configuration(subject: Involved, message: str) -> Event:
    """Say what is wrong with an object of the configuration."""
    return Event(subject, "Warning", "InvalidConfiguration", message[:MAX_MESSAGE])


def configuration_object(problem: Problem) -> Involved | None:
    """Name the configuration object that a problem is about: `Kind namespace/name`."""
    kind, _, where = problem.object.partition(" ")
    namespace, slash, name = where.partition("/")
    version = _CONFIGURATION.get(kind)
    if version is None or not slash:
        return None
    return Involved(version, kind, namespace, name)


class EventRecorder:
    """Gives events their names and counts."""

    def __init__(self, node: str, component: str = COMPONENT) -> None:
        """`node` names whoever reports: a node, or a pod."""
        self._node, self._component = node, component
        self._known: OrderedDict[Event, tuple[str, int, float]] = OrderedDict()

    def record(self, event: Event, now: float, wall: str) -> tuple[str, dict[str, Any], bool]:
        """Return the object's name, its body, and whether it is new.

        `now` in seconds of a steady clock; `wall` is the time of day, RFC 3339. The body of one
        that is not new is a merge patch.
        """
        name, count, began = self._known.pop(event, ("", 0, now))
        if name and now - began < REPEAT:
            self._known[event] = name, count + 1, began
            return name, {"count": count + 1, "lastTimestamp": wall}, False
        name = self._name(event, wall)
        self._known[event] = name, 1, now
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return name, self._body(event, name, wall), True

    def forget(self, event: Event) -> None:
        """The object is gone; the next one is new."""
        self._known.pop(event, None)

    def _name(self, event: Event, wall: str) -> str:
        # Every speaker finds the same fault in the configuration: one event is enough for all.
        about = "" if event.reason == "InvalidConfiguration" else f"{self._node}#{wall}"
        digest = sha256(f"{event.reason}#{event.message}#{about}".encode()).hexdigest()
        return f"{event.subject.name[:200]}.{digest[:16]}"

    def _body(self, event: Event, name: str, wall: str) -> dict[str, Any]:
        subject = event.subject
        involved = {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "name": subject.name,
        }
        if subject.namespace:
            involved["namespace"] = subject.namespace
        if subject.uid:
            involved["uid"] = subject.uid
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": subject.events_namespace},
            "involvedObject": involved,
            "type": event.type,
            "reason": event.reason,
            "message": event.message,
            "source": {"component": self._component, "host": self._node},
            "reportingComponent": self._component,
            "reportingInstance": self._node,
            "firstTimestamp": wall,
            "lastTimestamp": wall,
            "count": 1,
        }
