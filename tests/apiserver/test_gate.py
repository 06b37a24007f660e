"""The shipped webhook configuration, a real API server and real controllers: who lets what in."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import controllers
from apiserver import ApiServer
from controllers import (
    LEASE,
    MANIFESTS,
    NAMESPACE,
    POOLS,
    SERVICES,
    Controller,
    addresses,
    pool,
    replicas,
    service,
)
from ports import reserved_port

HOOKS = (
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/"
    "metallb-webhook-configuration"
)
KIND = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io"
CERTIFICATE = f"/api/v1/namespaces/{NAMESPACE}/secrets/metallb-webhook-cert"
PEERS = f"/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/bgppeers"
OVERLAP = (
    'admission webhook "ipaddresspoolvalidationwebhook.metallb.io" denied the request: '
    'CIDR "192.0.2.0/25" in pool "second" overlaps with already defined CIDR "192.0.2.0/24"'
)


@pytest.fixture(scope="module")
def ports(server: ApiServer) -> Iterator[tuple[int, ...]]:
    """Where three replicas will listen. The API server is told of the first: there is nobody who
    spreads calls for it, so a Service of another type stands for the machine itself."""
    controllers.set_up(server)
    found = tuple(reserved_port() for _ in range(3))
    server.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "metallb-webhook-service", "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
    )
    point_at(server, found[0])
    yield found
    server.delete(HOOKS)


def point_at(server: ApiServer, port: int) -> None:
    text = (MANIFESTS / "controller" / "webhooks.yaml").read_text()
    for document in yaml.safe_load_all(text):
        for hook in document["webhooks"]:
            hook["clientConfig"]["service"]["port"] = port
            hook["failurePolicy"] = "Fail"
        server.apply(document)
    service = {"service": {"port": port}}
    server.merge(KIND, {"spec": {"conversion": {"webhook": {"clientConfig": service}}}})


def until(found: Callable[[], Any], what: str, within: float = 60.0) -> Any:
    end = time.monotonic() + within
    while not (result := found()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return result


def asked(server: ApiServer, document: dict[str, Any], query: str = "") -> tuple[int, str]:
    code, reply = server.request("POST", POOLS + query, document)
    return code, reply.get("message", "")


def refused(server: ApiServer) -> bool:
    """Whether whoever is asked knows of the first pool: a replica learns of it by a watch, later
    than whoever wrote it. Nothing is kept of what is asked here."""
    return asked(server, pool("second", "192.0.2.0/25"), "?dryRun=All")[0] == 403


def one_that_leads(running: list[Controller]) -> Controller:
    """Any replica may have answered so far, whether anybody led or not."""
    found = until(lambda: next((one for one in running if one.leads), None), "nobody leads")
    assert isinstance(found, Controller)
    return found


def ready(server: ApiServer) -> bool:
    """Whether the API server believes the certificate, and an object gets in."""
    if not all("caBundle" in hook["clientConfig"] for hook in server.get(HOOKS)["webhooks"]):
        return False
    return asked(server, pool("first", "192.0.2.0/24"))[0] in (201, 409)


def test_what_two_objects_tell_is_refused_and_old_peers_are_converted(
    server: ApiServer, ports: tuple[int, ...], tmp_path: Path
) -> None:
    with replicas(server, tmp_path, webhooks=ports) as running:
        until(lambda: ready(server), "the API server takes our answers")
        until(lambda: refused(server), "the first pool is known")
        code, message = asked(server, pool("second", "192.0.2.0/25"))
        assert code == 403
        assert message.startswith(OVERLAP[:100])
        assert "overlaps" in message
        peer = {
            "apiVersion": "metallb.io/v1beta1",
            "kind": "BGPPeer",
            "metadata": {"name": "router", "namespace": NAMESPACE},
            "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"},
        }
        until(lambda: server.request("POST", PEERS, peer)[0] in (201, 409), "a peer is converted")
        assert server.get(f"{PEERS}/router")["spec"]["peerASN"] == 64513
        newer = server.get(f"{PEERS.replace('v1beta1', 'v1beta2')}/router")
        assert newer["spec"]["peerAddress"] == "192.0.2.254"
        # Each replica answers, whoever leads: also the one that the API server was not told of.
        for one, port in zip(running, ports, strict=True):
            point_at(server, port)
            until(lambda: refused(server), one.name)
        first = one_that_leads(running)
        first.signal(signal.SIGTERM)
        first.process.wait(timeout=5)
        others = [p for one, p in zip(running, ports, strict=True) if one is not first]
        for port in others:
            point_at(server, port)
            until(lambda: refused(server), "the others do")


def test_replicas_that_only_serve_webhooks_give_no_addresses_and_know_no_leader(
    server: ApiServer, ports: tuple[int, ...], tmp_path: Path
) -> None:
    code, _ = server.request("DELETE", LEASE)
    assert code in (200, 404)
    point_at(server, ports[0])
    server.request("DELETE", CERTIFICATE)
    flags = ("--webhook-mode", "onlywebhook")
    with replicas(server, tmp_path, 3, *flags, webhooks=ports) as running:
        until(lambda: ready(server), "they make a certificate between them")
        until(lambda: refused(server), "the first pool is known")
        create = service("waits")
        assert server.request("POST", SERVICES, create)[0] == 201
        code, _ = asked(server, pool("second", "192.0.2.0/25"))
        assert code == 403
        assert [one.leads for one in running] == [False] * 3
    assert addresses(server)["waits"] == []
    assert server.request("GET", LEASE)[0] == 404
    server.delete(f"{SERVICES}/waits")
