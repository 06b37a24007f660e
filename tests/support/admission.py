"""The recorded cases of the webhooks, and what asks the webhooks as an API server does."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from controller.admission.review import answer
from controller.admission.world import AdmissionWorld
from kube.address import parse_ip
from kube.objects.core import Node
from kube.objects.reading import decode

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "controller" / "admission.json").read_text()
)
PATHS = {
    "IPAddressPool": "/validate-metallb-io-v1beta1-ipaddresspool",
    "L2Advertisement": "/validate-metallb-io-v1beta1-l2advertisement",
    "BGPAdvertisement": "/validate-metallb-io-v1beta1-bgpadvertisement",
    "Community": "/validate-metallb-io-v1beta1-community",
    "BFDProfile": "/validate-metallb-io-v1beta1-bfdprofile",
    "BGPPeer": "/validate-metallb-io-v1beta2-bgppeer",
}
FIELDS = {
    "IPAddressPool": "pools",
    "BGPAdvertisement": "advertisements",
    "BGPPeer": "peers",
    "Community": "communities",
}
EMPTY = AdmissionWorld(
    nodes={"iris1": Node("iris1", {"rack": "a"}), "iris2": Node("iris2", {"rack": "b"})}
)


def review(operation: str, new: Any = None, old: Any = None) -> bytes:
    """The body that an API server sends for this request."""
    request = {"uid": "u-1", "operation": operation, "object": new, "oldObject": old}
    return json.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    ).encode()


def ask(
    world: AdmissionWorld, new: Any = None, operation: str = "CREATE", old: Any = None
) -> dict[str, Any]:
    """Ask about an object; return the response."""
    path = PATHS[(new or old)["kind"]]
    reply = json.loads(answer(path, review(operation, new, old), world))
    assert reply["apiVersion"] == "admission.k8s.io/v1"
    assert reply["kind"] == "AdmissionReview"
    response: dict[str, Any] = reply["response"]
    assert response["uid"] == "u-1"
    assert response["allowed"] is ("status" not in response)
    return response


def refusal(response: Mapping[str, Any]) -> str:
    """The message of a response, empty where the object is let in."""
    return str(response.get("status", {}).get("message", ""))


def world_with(world: AdmissionWorld, objects: Iterable[Mapping[str, Any]]) -> AdmissionWorld:
    """The world after these objects were written: custom resources, nodes and services."""
    for found in objects:
        kind, name = found["kind"], found["metadata"]["name"]
        view: Any = decode(kind, msgspec.json.encode(found))[0]
        if kind in FIELDS:
            changed: dict[str, Any] = {FIELDS[kind]: {**getattr(world, FIELDS[kind]), name: view}}
            world = replace(world, **changed)
        elif kind == "Node":
            world = replace(world, nodes={**world.nodes, name: view})
        elif kind == "Service":
            ips = tuple(ip for text in view.ingress if (ip := parse_ip(text)))
            world = replace(world, addresses={**world.addresses, view.key: ips})
    return world


def custom(kind: str, name: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    """A custom resource in MetalLB's namespace."""
    version = "v1beta2" if kind == "BGPPeer" else "v1beta1"
    meta = {"name": name, "namespace": "metallb-system", **metadata}
    return {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": meta, "spec": spec}


def pool(name: str, *addresses: str, **more: Any) -> dict[str, Any]:
    """An IPAddressPool."""
    return custom("IPAddressPool", name, {"addresses": list(addresses), **more})


def peer(name: str, **more: Any) -> dict[str, Any]:
    """A BGPPeer that is right, but for what is given."""
    spec = {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", **more}
    return custom("BGPPeer", name, spec)
