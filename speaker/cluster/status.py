"""What a service's ServiceL2Status objects must become. Pure; `publisher` does it.

MetalLB's rule (v0.16): the owner keeps one object of its own and deletes all others of the service,
other nodes' too; who is not the owner deletes its own. Names are MetalLB's to choose freely; one
made of node and service lets a creation whose answer was lost be repeated without harm. What is
being deleted counts as gone, and its name is not used: an API server may be slow, and whoever waits
for three answers in a row tells an old story meanwhile.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Any

from kube.objects.core import Pod
from kube.objects.metallb import NODE_LABEL, L2Status
from link.address import IPAddress
from ownership.io import Announce

API_VERSION = "metallb.io/v1beta1"
LEFT_OVER = 2.5
"""Seconds after which the owner deletes another node's object: who lives has done so by itself. A
deletion that arrives after that node owns the service again would cost it an object just made."""


@dataclass(frozen=True, slots=True)
class Create:
    """Create the object `name`; its status is written after that."""

    name: str


@dataclass(frozen=True, slots=True)
class Write:
    """Write the status of the object `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object `name`, if it is still to be deleted `after` so many seconds."""

    name: str
    after: float = 0.0


Action = Create | Write | Delete


def where(
    item: Announce | None, serves: Callable[[IPAddress, str], bool], names: frozenset[str]
) -> tuple[str, ...] | None:
    """Tell where a service is announced, sorted: () on all interfaces, None nowhere.

    Not what was decided but what is true: `serves(ip, service)` tells whether an IP is answered for
    by now, as a takeover asks the old owner first; `names` are the interfaces that there are.
    """
    if item is None or not any(serves(ip, item.service) for ip in item.ips):
        return None
    return () if item.interfaces is None else tuple(sorted(item.interfaces & names))


def reconcile(
    node: str,
    service: str,
    interfaces: tuple[str, ...] | None,
    objects: Iterable[L2Status],
    doomed: Collection[str] = (),
) -> list[Action]:
    """Return what to do, in order, for the service `namespace/name`.

    `interfaces` is where this node announces it, sorted; empty: on all, None: not at all. `doomed`
    are the names of objects that are being deleted.
    """
    found = sorted((item for item in objects if item.name not in doomed), key=_name)
    own = [item for item in found if item.node == node]
    if interfaces is None:
        return [Delete(item.name) for item in own]
    # An object that says something else for good (node and service are immutable) is of no use.
    usable = [item for item in own if item.status in ((node, service), ("", "/"))]
    best = object_name(node, service)
    kept = next((item for item in usable if item.name == best), next(iter(usable), None))
    actions: list[Action] = [
        Delete(item.name, 0.0 if item.node == node else LEFT_OVER)
        for item in found
        if item is not kept
    ]
    if kept is None:
        name = _free_name(node, service, {*doomed, *(item.name for item in own)})
        return [*actions, Create(name), Write(name)]
    if (kept.status, kept.interfaces) != ((node, service), interfaces):
        actions.append(Write(kept.name))
    return actions


def object_name(node: str, service: str, number: int = 0) -> str:
    """Return a name of our object for a service; the first, 0, unless it is being deleted."""
    again = f"#{number}" if number else ""
    return f"l2-{sha256(f'{node}#{service}{again}'.encode()).hexdigest()[:16]}"


def _free_name(node: str, service: str, taken: Collection[str]) -> str:
    names = (object_name(node, service, number) for number in count())
    return next(name for name in names if name not in taken)


def _name(item: L2Status) -> str:
    return item.name


def owner_references(pod: Pod | None) -> list[dict[str, Any]]:
    """Return what has an object go with our own pod; nothing where that is not known."""
    if pod is None:
        return []
    return [{"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}]


def new_object(
    name: str,
    node: str,
    service: str,
    owners: list[dict[str, Any]],
    kind: str = "ServiceL2Status",
) -> dict[str, Any]:
    """Return the object to create, without a status."""
    namespace, _, bare = service.partition("/")
    labels = {
        NODE_LABEL: node,
        "metallb.io/service-name": bare,
        "metallb.io/service-namespace": namespace,
    }
    metadata = {"name": name, "labels": labels, "ownerReferences": owners}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}


def status_of(node: str, service: str, interfaces: tuple[str, ...]) -> dict[str, Any]:
    """Return the merge patch of the status; null leaves the field out."""
    namespace, _, bare = service.partition("/")
    names = [{"name": name} for name in interfaces]
    status = {
        "node": node,
        "serviceName": bare,
        "serviceNamespace": namespace,
        "interfaces": names or None,
    }
    return {"status": status}
