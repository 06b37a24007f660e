"""Those around the controller: who makes services, and who sees them get their addresses."""

import http
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import msgspec

import controllers
from apiserver import ADMIN, ApiServer

REGISTRY = "/registry/services/specs/default"
FIRST_CLUSTER_IP = IPv4Address("10.96.16.0")
HANDS = 4
"""Requests at a time."""


class Crowd:
    """Makes services over connections that stay open."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._local = threading.local()
        self._made: list[http.client.HTTPSConnection] = []
        self._hands = ThreadPoolExecutor(HANDS)

    def create(self, names: Sequence[str]) -> None:
        """Make them all, as fast as the server takes them."""
        list(self._hands.map(self._create, names))

    def store(self, count: int) -> None:
        """Have so many pending services there at once: copies of one that the server made."""
        self.create(["s00000"])
        path = f"{controllers.SERVICES}/s00000"
        made = self._server.get(path)
        del made["metadata"]["resourceVersion"]
        self._server.delete(path)
        copies = (_copy(made, number) for number in range(count))
        self._server.store({f"{REGISTRY}/{copy['metadata']['name']}": copy for copy in copies})

    def create_steadily(
        self, names: Sequence[str], rate: float
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Make so many a second; return when each request was sent, and when it was answered."""
        began, sent, answered = time.monotonic(), dict[str, float](), dict[str, float]()

        def create(name: str) -> None:
            sent[name] = time.monotonic()
            self._create(name)
            answered[name] = time.monotonic()

        for number, name in enumerate(names):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            self._hands.submit(create, name)
        self._hands.shutdown()
        self._hands = ThreadPoolExecutor(HANDS)
        return sent, answered

    def close(self) -> None:
        """Close the connections."""
        self._hands.shutdown()
        for connection in self._made:
            connection.close()

    def _create(self, name: str) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._server)
            self._made.append(connection)
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
        # A range of node ports ends at 2,768.
        document = controllers.service(name, allocateLoadBalancerNodePorts=False)
        document["spec"]["selector"] = {"app": name}
        body = json.dumps(document)
        connection.request("POST", controllers.SERVICES, body, headers)
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != http.HTTPStatus.CREATED:
            raise RuntimeError(text)


def _copy(made: dict[str, Any], number: int) -> dict[str, Any]:
    name, ip = f"s{number:05}", str(FIRST_CLUSTER_IP + number)
    uid = str(UUID(int=UUID(made["metadata"]["uid"]).int ^ number))
    spec = {**made["spec"], "clusterIP": ip, "clusterIPs": [ip], "selector": {"app": name}}
    return {**made, "metadata": {**made["metadata"], "name": name, "uid": uid}, "spec": spec}


class _Metadata(msgspec.Struct):
    name: str = ""


class _Balancer(msgspec.Struct):
    ingress: list[msgspec.Raw] = []


class _Status(msgspec.Struct, rename="camel"):
    load_balancer: _Balancer = msgspec.field(default_factory=_Balancer)


class _Service(msgspec.Struct):
    metadata: _Metadata
    status: _Status = msgspec.field(default_factory=_Status)


class _Change(msgspec.Struct):
    object: _Service


class Arrivals:
    """Watches services; `at` tells when each was first seen to have an address."""

    def __init__(self, server: ApiServer) -> None:
        self.at: dict[str, float] = {}
        self._server = server
        self._connection = connect(server)
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Arrivals":
        page = self._server.get(f"{controllers.SERVICES}?limit=1")
        path = f"{controllers.SERVICES}?watch=1&resourceVersion="
        headers = {"Authorization": f"Bearer {ADMIN}"}
        version = page["metadata"]["resourceVersion"]
        self._connection.request("GET", path + version, headers=headers)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if (sock := self._connection.sock) is not None:
            sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def wait_for(self, count: int, within: float) -> None:
        """Wait until so many have one. Raises RuntimeError after `within` seconds."""
        with self._more:
            if not self._more.wait_for(lambda: len(self.at) >= count, within):
                raise RuntimeError(f"{len(self.at)} of {count} have an address")

    def _run(self) -> None:
        for line in self._lines():
            change = msgspec.json.decode(line, type=_Change).object
            name = change.metadata.name
            if change.status.load_balancer.ingress and name not in self.at:
                with self._more:
                    self.at[name] = time.monotonic()
                    self._more.notify_all()

    def _lines(self) -> Iterator[bytes]:
        try:
            yield from self._connection.getresponse()
        except (OSError, ValueError, http.client.HTTPException):
            # We hung up.
            return


def connect(server: ApiServer) -> http.client.HTTPSConnection:
    """Return a connection to the server, with TLS; not one that tries again."""
    context = ssl.create_default_context(cafile=str(server.directory / "ca.crt"))
    return http.client.HTTPSConnection(server.ip, server.port, context=context, timeout=300)
