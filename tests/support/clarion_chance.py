"""Small clusters by chance: labels, selectors, policies and endpoints of every kind."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from clarion.sources.picture import Picture
from kube.files.manifest import read_json
from kube.objects.reading import WITH_BGP
from kube.snapshot import read_documents
from plan.release import Options, Release

NAMESPACE = "metallb-system"
_RACKS = ("a", "b", "c")


def picture(objects: Sequence[dict[str, Any]], options: Options | None = None) -> Picture:
    """Return the picture of some objects."""
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode()
    reading = read_documents(read_json(content, "chance"), WITH_BGP)
    assert not reading.broken
    return Picture.made("chance", NAMESPACE, options or Options(""), (reading,))


def world(random: Random) -> list[dict[str, Any]]:
    """Return the objects of a cluster."""
    nodes = [f"n{index}" for index in range(random.randint(1, 5))]
    return [
        *(_node(random, name) for name in nodes),
        *(_pool(index) for index in range(2)),
        *(custom("L2Advertisement", f"l{i}", _l2(random)) for i in range(random.randint(0, 3))),
        *(custom("BGPAdvertisement", f"b{i}", _bgp(random)) for i in range(random.randint(0, 3))),
        *(_peer(random, index) for index in range(random.randint(0, 2))),
        *(each for i in range(random.randint(1, 5)) for each in service(random, i, nodes)),
    ]


def options(random: Random) -> Options:
    """Return what speakers may have been told."""
    return Options(
        "",
        ignore_exclude_lb=random.random() < 0.2,
        drain_on_cordon=random.random() < 0.3,
        release=random.choice((Release.V0_16, Release.V0_15, Release.HEAD)),
    )


def _node(random: Random, name: str) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name}
    if random.random() < 0.9:
        labels["rack"] = random.choice(_RACKS)
    if random.random() < 0.15:
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    condition = {"type": "NetworkUnavailable", "status": str(random.random() < 0.15)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"unschedulable": random.random() < 0.2},
        "status": {"conditions": [condition]},
    }


def _pool(index: int) -> dict[str, Any]:
    made = custom("IPAddressPool", f"p{index}", {"addresses": [f"10.0.{index}.0/24"]})
    made["metadata"]["labels"] = {"tier": str(index)}
    return made


def custom(kind: str, name: str, spec: dict[str, Any], version: str = "v1beta1") -> dict[str, Any]:
    """Return an object of MetalLB's."""
    meta = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": meta, "spec": spec}


def _l2(random: Random) -> dict[str, Any]:
    spec = _common(random)
    if random.random() < 0.5:
        spec["interfaces"] = random.sample(["eth0", "eth1", "eth2"], random.randint(1, 2))
    if random.random() < 0.3:
        preferred = {"weight": random.randint(1, 100), "preference": _rack(random)}
        spec["preferredNodeSelectors"] = [preferred]
    return spec


def _bgp(random: Random) -> dict[str, Any]:
    spec = _common(random)
    if "serviceSelectors" not in spec and random.random() < 0.3:
        spec["aggregationLength"] = 24
    if random.random() < 0.3:
        spec["peers"] = [f"r{random.randint(0, 2)}"]
    if random.random() < 0.4:
        spec["localPref"] = random.choice((90, 100))
    if random.random() < 0.5:
        spec["communities"] = [f"64512:{random.randint(1, 3)}"]
    return spec


def _common(random: Random) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if random.random() < 0.5:
        spec["nodeSelectors"] = _racks(random)
    if random.random() < 0.3:
        spec["serviceSelectors"] = [{"matchLabels": {"app": random.choice("xy")}}]
    match random.randint(0, 3):
        case 0:
            spec["ipAddressPools"] = [f"p{random.randint(0, 1)}"]
        case 1:
            spec["ipAddressPoolSelectors"] = [{"matchLabels": {"tier": str(random.randint(0, 1))}}]
    return spec


def _racks(random: Random) -> list[dict[str, Any]]:
    found = [_rack(random) for _ in range(random.randint(1, 2))]
    return found if len(found) < 2 or found[0] != found[1] else found[:1]


def _rack(random: Random) -> dict[str, Any]:
    match random.randint(0, 3):
        case 0:
            return {"matchExpressions": [{"key": "rack", "operator": "Exists"}]}
        case 1:
            values = sorted(random.sample(_RACKS, 2))
            return {"matchExpressions": [{"key": "rack", "operator": "NotIn", "values": values}]}
        case _:
            return {"matchLabels": {"rack": random.choice(_RACKS)}}


def _peer(random: Random, index: int) -> dict[str, Any]:
    spec: dict[str, Any] = {"myASN": 64512, "peerASN": 64501, "peerAddress": f"10.9.0.{index + 1}"}
    if random.random() < 0.4:
        spec["nodeSelectors"] = _racks(random)
    return custom("BGPPeer", f"r{index}", spec, "v1beta2")


def service(random: Random, index: int, nodes: Sequence[str]) -> list[dict[str, Any]]:
    """Return a service and its slice."""
    name, ip = f"s{index}", f"10.0.{random.randint(0, 2)}.{random.randint(1, 3)}"
    local = random.random() < 0.4
    endpoints = [
        {
            "addresses": ["10.1.1.1"],
            "nodeName": node,
            "conditions": {"ready": random.random() < 0.8, "serving": random.random() < 0.5},
        }
        for node in nodes
        if random.random() < 0.6
    ]
    made = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "d", "labels": {"app": random.choice("xy")}},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.1",
            "externalTrafficPolicy": "Local" if local else "Cluster",
            "ports": [{"port": 80 + index}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": ip}] if random.random() < 0.9 else []}},
    }
    labels = {"kubernetes.io/service-name": name}
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-x", "namespace": "d", "labels": labels},
        "endpoints": endpoints,
    }
    return [made, slices]
