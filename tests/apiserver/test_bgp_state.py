"""BGP's objects of the real kube-apiserver, with rights that name the one Secret that is read."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import structlog
import yaml

from apiserver import ApiServer
from cluster import MANIFESTS
from kube.api.bgp_state import BgpState
from kube.api.client import ApiClient

NS = "metallb-system"
BGP = ["bgppeers", "bgpadvertisements", "bfdprofiles", "communities"]
RULES = [
    {"apiGroups": ["metallb.io"], "resources": BGP, "verbs": ["list", "watch"]},
    {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["bgpextras"],
        "verbs": ["list", "watch"],
    },
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": ["one", "two"],
        "verbs": ["list", "watch"],
    },
]


def _object(kind: str, api: str, name: str, **more: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": NS}
    return {"apiVersion": api, "kind": kind, "metadata": meta, **more}


def _peer(secret: str) -> dict[str, Any]:
    spec = {"myASN": 64512, "peerASN": 64501, "peerAddress": "192.0.2.1"}
    return _object(
        "BGPPeer", "metallb.io/v1beta2", "router", spec={**spec, "passwordSecret": {"name": secret}}
    )


def _secret(name: str, password: str) -> dict[str, Any]:
    return _object(
        "Secret",
        "v1",
        name,
        type="kubernetes.io/basic-auth",
        stringData={"username": "", "password": password},
    )


@pytest.fixture
def kubeconfig(server: ApiServer) -> str:
    for crd in ("bgpadvertisements", "bfdprofiles", "communities", "bgppeers"):
        found = yaml.safe_load((MANIFESTS / "crds" / f"{crd}.yaml").read_text())
        # Nobody answers for the conversion here, and nothing is stored in the old version.
        found["spec"].pop("conversion", None)
        server.apply(found)
    server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
    server.apply(_object("ServiceAccount", "v1", "router"))
    rbac = "rbac.authorization.k8s.io"
    server.apply(_object("Role", f"{rbac}/v1", "router", rules=RULES))
    subject = {"kind": "ServiceAccount", "name": "router", "namespace": NS}
    role = {"apiGroup": rbac, "kind": "Role", "name": "router"}
    binding = _object("RoleBinding", f"{rbac}/v1", "router", roleRef=role, subjects=[subject])
    server.apply(binding)
    return str(server.kubeconfig("router", server.account_token(NS, "router")))


async def _until(found: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 30.0
    while not found():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


def test_passwords_follow_their_secrets(server: ApiServer, kubeconfig: str) -> None:
    async def scenario() -> None:
        client = ApiClient(kubeconfig)
        await client.open()
        state = BgpState(
            client, "n1", NS, time.monotonic, lambda: state.judge([], {}), structlog.get_logger()
        )
        task = asyncio.create_task(state.run())

        def passwords() -> list[str]:
            return [found.password for found in state.config.sessions] if state.config else []

        try:
            for document, expected in (
                (_secret("one", "geheim"), ["geheim"]),
                (_secret("one", "anders"), ["anders"]),
                (_secret("two", "drittes"), ["anders"]),
                (_peer("two"), ["drittes"]),
            ):
                await asyncio.to_thread(server.apply, document)
                await _until(lambda known=expected: passwords() == known, str(document["metadata"]))  # type: ignore[misc]
            await asyncio.to_thread(server.apply, _peer("three"))
            await _until(lambda: "403" in " ".join(map(str, _told(state))), "what is forbidden")
            assert passwords() == ["drittes"]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.close()

    server.apply(_peer("one"))
    asyncio.run(scenario())


def _told(state: BgpState) -> list[Any]:
    state.judge([], {})
    return list(state.problems())
