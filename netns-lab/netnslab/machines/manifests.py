"""The directory of manifests that the speakers read: what a cluster's API would hold."""

import secrets
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import yaml

from netnslab.machines.addresses import LINK

NAMESPACE = "metallb-system"
NAME_LABEL = "lab/name"


def _object(api: str, kind: str, name: str, namespace: str, **rest: Any) -> dict[str, Any]:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        **rest,
    }


def _service(name: str, ip: str) -> dict[str, Any]:
    ports = [{"name": "echo", "port": 9000, "protocol": "UDP"}]
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Cluster", "ports": ports}
    status = {"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}} if ip else {}
    return _object("v1", "Service", name, "default", spec=spec, **status)


def _endpoints(name: str, nodes: dict[str, str]) -> dict[str, Any]:
    ready = {"ready": True, "serving": True, "terminating": False}
    endpoints = [
        {"addresses": [ip], "conditions": ready, "nodeName": node} for node, ip in nodes.items()
    ]
    slice_ = _object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        f"{name}-lab",
        "default",
        addressType="IPv4",
        endpoints=endpoints,
        ports=[{"name": "echo", "port": 9000, "protocol": "UDP"}],
    )
    slice_["metadata"]["labels"] = {"kubernetes.io/service-name": name}
    return slice_


def _node(name: str, ip: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {NAME_LABEL: name}},
        "status": {"addresses": [{"type": "InternalIP", "address": ip}]},
    }


def write(
    directory: Path,
    ips: list[str],
    nodes: dict[str, str],
    *,
    objects: bool = False,
    statuses: bool = True,
) -> None:
    """Write pool, advertisement, and one Service with endpoints on every node for each IP.

    `nodes` maps node name to address. Without Node `objects` every gossip member counts as one;
    without `statuses` the Services have no addresses yet.
    """
    given = [ip if statuses else "" for ip in ips]
    services = [(f"service-{number}", ip) for number, ip in enumerate(given, 1)]
    advertise(directory, ips)
    if objects:
        _dump(directory / "nodes.yaml", [_node(name, ip) for name, ip in nodes.items()])
    _dump(directory / "services.yaml", [_service(*service) for service in services])
    _dump(directory / "endpoints.yaml", [_endpoints(name, nodes) for name, _ in services])


def advertise(directory: Path, ips: list[str], but: tuple[str, ...] = ()) -> None:
    """Write pool and advertisement; nodes in `but` are not selected."""
    pool = _object(
        "metallb.io/v1beta1",
        "IPAddressPool",
        "lab",
        NAMESPACE,
        spec={"addresses": [str(ip_network(ip)) for ip in ips]},
    )
    spec: dict[str, Any] = {"ipAddressPools": ["lab"], "interfaces": [LINK]}
    if but:
        unwanted = {"key": NAME_LABEL, "operator": "NotIn", "values": list(but)}
        spec["nodeSelectors"] = [{"matchExpressions": [unwanted]}]
    advertisement = _object("metallb.io/v1beta1", "L2Advertisement", "lab", NAMESPACE, spec=spec)
    _dump(directory / "metallb.yaml", [pool, advertisement])


def write_bgp(
    directory: Path, pool: list[str], nodes: dict[str, str], sessions: list[dict[str, Any]]
) -> None:
    """Write what has a speaker announce a pool by BGP, and nothing at layer 2; no service yet.

    `pool`: prefixes. `sessions` are the specs of a BGPPeer each; one that names a `bfdProfile`
    brings it along, as the BFDProfile's own spec.
    """
    directory.mkdir(parents=True, exist_ok=True)
    api = "metallb.io/v1beta1"
    made = _object(api, "IPAddressPool", "lab", NAMESPACE, spec={"addresses": pool})
    told = _object(api, "BGPAdvertisement", "lab", NAMESPACE, spec={"ipAddressPools": ["lab"]})
    peers = [_peer(number, spec) for number, spec in enumerate(sessions, 1)]
    profiles = [_profile(number, spec) for number, spec in enumerate(sessions, 1)]
    _dump(directory / "metallb.yaml", [made, told, *peers, *filter(None, profiles)])
    _dump(directory / "nodes.yaml", [_node(name, ip) for name, ip in nodes.items()])


def write_services(directory: Path, ips: list[str], nodes: dict[str, str]) -> None:
    """Write exactly these services, each with endpoints on every node."""
    names = [(f"service-{ip_address(ip).packed.hex()}", ip) for ip in ips]
    # First, or a service would for a moment be without endpoints.
    _dump(directory / "endpoints.yaml", [_endpoints(name, nodes) for name, _ in names])
    _dump(directory / "services.yaml", [_service(*service) for service in names])


def _peer(number: int, spec: dict[str, Any]) -> dict[str, Any]:
    named = {"bfdProfile": f"profile-{number}"} if "bfdProfile" in spec else {}
    return _object(
        "metallb.io/v1beta2", "BGPPeer", f"peer-{number}", NAMESPACE, spec={**spec, **named}
    )


def _profile(number: int, spec: dict[str, Any]) -> dict[str, Any] | None:
    if "bfdProfile" not in spec:
        return None
    name = f"profile-{number}"
    return _object("metallb.io/v1beta1", "BFDProfile", name, NAMESPACE, spec=spec["bfdProfile"])


def _dump(path: Path, documents: list[dict[str, Any]]) -> None:
    # Without this the shared parts would come out as YAML aliases, which no cluster writes.
    dumper = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda *_: True})
    # In one step, as an API server would: no speaker may read half of it.
    partial = path.with_suffix(".partial")
    partial.write_text(yaml.dump_all(documents, Dumper=dumper, sort_keys=False))
    partial.replace(path)


def write_secret(path: Path) -> None:
    """A fresh gossip key for this run alone."""
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
