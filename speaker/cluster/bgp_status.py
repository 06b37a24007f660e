"""What a service's ServiceBGPStatus objects of our node must become. Pure; `bgp_publisher` does it.

Every node that announces a service by BGP has one object for it, and deletes only its own: there is
no owner who would clear up behind others. As for ServiceL2Status, the name is made of node and
service, and an object that MetalLB's speaker left under a name of its own is as good.
"""

from collections.abc import Collection, Iterable
from hashlib import sha256
from itertools import count
from typing import Any

from kube.objects.metallb import BGPStatus
from speaker.cluster.status import Action, Create, Delete, Write

KIND = "ServiceBGPStatus"


def reconcile_routes(
    node: str,
    service: str,
    peers: tuple[str, ...],
    objects: Iterable[BGPStatus],
    taken: Collection[str] = (),
) -> list[Action]:
    """Return what to do, in order, for the service `namespace/name`.

    `peers` are the BGPPeers to which this node announces it, sorted; none: it does not. `taken` are
    names under which somebody else's objects are found, which our watch does not show.
    """
    own = sorted((found for found in objects if found.node == node), key=_name)
    if not peers:
        return [Delete(found.name) for found in own]
    # An object that says something else for good (node and service are immutable) is of no use.
    usable = [found for found in own if found.status in ((node, service), ("", "/"))]
    best = route_object_name(node, service)
    kept = next((found for found in usable if found.name == best), next(iter(usable), None))
    surplus: list[Action] = [Delete(found.name) for found in own if found is not kept]
    if kept is None:
        name = _free_name(node, service, {*taken, *(found.name for found in own)})
        return [Create(name), Write(name), *surplus]
    if (kept.status, kept.peers) != ((node, service), peers):
        return [Write(kept.name), *surplus]
    return surplus


def route_object_name(node: str, service: str, number: int = 0) -> str:
    """Return a name of our object for a service; the first, 0, unless it is taken."""
    again = f"#{number}" if number else ""
    return f"bgp-{sha256(f'{node}#{service}{again}'.encode()).hexdigest()[:16]}"


def _free_name(node: str, service: str, taken: Collection[str]) -> str:
    names = (route_object_name(node, service, number) for number in count())
    return next(name for name in names if name not in taken)


def _name(found: BGPStatus) -> str:
    return found.name


def routes_of(node: str, service: str, peers: tuple[str, ...]) -> dict[str, Any]:
    """Return the merge patch of the status."""
    namespace, _, bare = service.partition("/")
    status = {
        "node": node,
        "serviceName": bare,
        "serviceNamespace": namespace,
        "peers": list(peers),
    }
    return {"status": status}
