"""What the state file keeps: Services with a status and no spec, one a line. Pure.

A person can read it, a line can be named, and whoever reads manifests reads it too.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from controller.allocation.io import StatusWrite
from controller.allocation.requests import (
    ALLOCATED_FROM,
    AddressRequest,
    RequestError,
    family_of,
    requested,
)
from kube.address import IPAddress, parse_ip
from kube.objects.core import Service

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that an API server puts on every namespace."""
_NO_ADDRESS = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - nobody binds to it
_VERSIONS = {"IPv4": 4, "IPv6": 6}
_HEAD, _TAIL = '{"apiVersion":"v1","kind":"List","items":[\n', "\n]}\n"


def text_of(entries: Mapping[str, Service]) -> bytes:
    """Return the content of the state file, sorted by service, one on each line."""
    lines = (json.dumps(_item(entries[key]), separators=(",", ":")) for key in sorted(entries))
    return (_HEAD + ",\n".join(lines) + _TAIL).encode()


def _item(kept: Service) -> dict[str, Any]:
    metadata = {
        "namespace": kept.namespace,
        "name": kept.name,
        "annotations": dict(kept.annotations),
    }
    ingress = [{"ip": ip} for ip in kept.ingress]
    status = {"loadBalancer": {"ingress": ingress}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "status": status}


def entry(manifest: Service, write: StatusWrite) -> Service | None:
    """Return what is to be kept of a write; None where the manifest says the same without it."""
    pool = {ALLOCATED_FROM: write.pool} if write.pool else {}
    silent = not manifest.ingress and ALLOCATED_FROM not in manifest.annotations
    if not write.ips and not pool and silent:
        return None
    ingress = tuple(str(ip) for ip in write.ips)
    return Service(manifest.namespace, manifest.name, ingress=ingress, annotations=pool)


def stand_in(kept: Service, lb_class: str | None) -> Service:
    """Return a service for one that is kept and whose manifest cannot be read: it has its
    addresses, and wants nothing more."""
    return msgspec.structs.replace(kept, type="LoadBalancer", load_balancer_class=lb_class)


def completed(service: Service, default: int) -> Service:
    """Fill in what an API server would: of which families it is, said by its cluster IPs.

    Where nobody has given it any, its families are those that it names, those of the addresses that
    it asks for, those of the addresses that it has, and at last `default`, 4 or 6. Versions of a
    manifest are those of another time and place, and say nothing.
    """
    demand = msgspec.structs.replace(service.demand, version="")
    if not demand.cluster_ips:
        versions = _versions(service, default)
        cluster_ips = tuple(_NO_ADDRESS[version] for version in versions)
        demand = msgspec.structs.replace(demand, cluster_ips=cluster_ips)
    return msgspec.structs.replace(service, demand=demand)


def _versions(service: Service, default: int) -> tuple[int, ...]:
    demand = service.demand
    named = tuple(_VERSIONS[name] for name in demand.ip_families if name in _VERSIONS)
    if demand.ip_family_policy in ("PreferDualStack", "RequireDualStack"):
        return (4, 6)
    if named:
        return named
    has = (parse_ip(text) for text in service.ingress)
    for ips in (_asked(service), tuple(ip for ip in has if ip is not None)):
        try:
            return family_of(ips).versions
        except (RequestError, ValueError):
            # None, or not one of each: the next one may tell.
            continue
    return (default,)


def _asked(service: Service) -> tuple[IPAddress, ...]:
    try:
        return requested(service).ips
    except RequestError:
        return AddressRequest().ips


def namespaces(
    labels: Mapping[str, Mapping[str, str]], services: Iterable[Service]
) -> dict[str, Mapping[str, str]]:
    """Return the labels of all namespaces: those with an object, and those that have services."""
    names = {*labels, *(service.namespace for service in services)}
    return {name: {NAMESPACE_NAME: name, **labels.get(name, {})} for name in names}
