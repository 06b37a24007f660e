"""1,000 services, 1,000 slices of 10 endpoints and 200 nodes, within the pod's 128 MiB.

Every figure of the issue, with 1,000 updates in `make test`; on a quiet machine, with 10,000 and
the loop's time strictly: `CLARION_SCALE=full python -m pytest -s tests/apiserver/test_scale.py`.
"""

import http.client
import json
import math
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import cluster as clusters
import limits
import machine
import netns
import stall_probe
from apiserver import ADMIN, object_path
from cluster import Cluster, service
from kube.api.reflector import PAGE
from speakers import Speaker, wait_until

FULL = os.environ.get("CLARION_SCALE") == "full"
pytestmark = [pytest.mark.root, pytest.mark.timeout(900 if FULL else 400)]

SERVICES = 1_000
UPDATES = 10_000 if FULL else 1_000
CLIENTS = 4
LIMIT = 128 * 1024 * 1024
MOST_ANONYMOUS = 104.0
MOST_RESIDENT = 126.0
GROWTH = 4.0
"""MiB that the updates may add: what the allocator keeps."""
STALL = 0.005 if FULL else 0.008
"""Seconds of its own CPU that one turn of the loop may take, longer on slow processors. Not of the
clock: the API server has the same ones here. A machine that does other work, as it may in
`make test`, has cold caches, and the same work takes longer."""
CROWDED = 2 * STALL
"""The same while thousands of updates keep all processors busy."""
STRAYS, STRAY = 2, 0.025
"""How many turns of a phase may take longer, and how long. The kernel does its own work in whoever
runs, such as freeing the memory of an API server that was killed, and counts it as theirs: now and
then 5 ms of system time stand in a turn that made no system call."""
CHANGES = 100
LATENCY = 0.1
"""Seconds from a change's answer to its announcement, at the 99th percentile."""


class Stall(NamedTuple):
    """What held the loop in one phase."""

    worst: stall_probe.Turn
    """The turn that took most CPU."""
    usual: stall_probe.Turn
    """The same without the strays."""
    held: stall_probe.Turn
    """The turn that stood still for longest, also as it waited for other threads."""

    def good(self, limit: float, slow: float) -> bool:
        """Whether the turns were short enough for processors that are so slow."""
        return self.usual.cpu <= limit * slow and self.worst.cpu <= STRAY * slow


class Api:
    """Keep-alive connections to the server, for thousands of requests."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._made: list[http.client.HTTPSConnection] = []

    def all(self, requests: Sequence[tuple[str, str, Any, str]]) -> None:
        """Do requests (method, path, body, content type), several at a time."""
        for status, text in self._pool.map(lambda request: self.one(*request), requests):
            assert status < 300, text

    def one(self, method: str, path: str, body: Any, kind: str) -> tuple[int, bytes]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": kind}
        connection.request(method, path, json.dumps(body), headers)
        reply = connection.getresponse()
        return reply.status, reply.read()

    def forget(self) -> None:
        """Close the connections; the server was restarted."""
        self._local = threading.local()
        for connection in self._made:
            connection.close()
        self._made.clear()

    def close(self) -> None:
        self._pool.shutdown()
        self.forget()

    def _connect(self) -> http.client.HTTPSConnection:
        server = self._cluster.server
        context = ssl.create_default_context(cafile=str(server.directory / "ca.crt"))
        made = http.client.HTTPSConnection(server.ip, server.port, context=context, timeout=30)
        assert server.host is not None
        server.host.namespace.run(made.connect)
        self._made.append(made)
        return made


def address(number: int) -> str:
    return str(IPv4Address("10.77.8.0") + number)


def _create(document: dict[str, Any]) -> Iterator[tuple[str, str, Any, str]]:
    path = object_path(document)
    yield "POST", path.rpartition("/")[0], document, "application/json"


def _status(document: dict[str, Any]) -> tuple[str, str, Any, str]:
    path = f"{object_path(document)}/status"
    return "PATCH", path, {"status": document["status"]}, "application/merge-patch+json"


@pytest.fixture(scope="module")
def big(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cluster, Api]]:
    """A cluster of the size that the issue of memory is about, without speakers."""
    if reason := netns.missing_right():
        pytest.skip(reason)
    with clusters.running(tmp_path_factory.mktemp("big")) as cluster:
        api = Api(cluster)
        documents = [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": f"node{n}", "labels": {"rack": str(n % 10)}},
            }
            for n in range(197)
        ]
        for n in range(SERVICES):
            text = service(f"web{n:04}", address(n), endpoints=10)
            documents.extend(yaml.load_all(text, Loader=yaml.CSafeLoader))
        api.all([request for document in documents for request in _create(document)])
        api.all([_status(document) for document in documents if document["kind"] == "Service"])
        yield cluster, api
        api.close()


def test_memory_latency_and_stalls(big: tuple[Cluster, Api], tmp_path: Path) -> None:
    cluster, api = big
    probe = tmp_path / "turns"
    probe.touch()
    try:
        limit = limits.memory_limit(LIMIT)
        group = limit.__enter__()
    except OSError as error:
        pytest.skip(f"no right to make a memory cgroup: {error.strerror}")
    try:
        speaker = cluster.start("iris1", *group.join, probe=probe)
        speaker.wait_for("ready", timeout=60)
        wait_until(lambda: speaker.metric("clarion_service_ips") == SERVICES, "all are known", 30)
        # Writing the objects is part of the load; it must not be under way when changes are timed.
        wait_until(lambda: _published(cluster) == SERVICES, "an object for each service", 90)
        loaded = _steady(speaker)
        stalls = {"load": _longest(probe)}
        # The best of three tries: others use the machine too.
        tries = (_nearly_slowest(_delays(cluster, api, attempt)) for attempt in range(3))
        slow = machine.slowness()
        slowest = next((found for found in tries if found < LATENCY * slow), None)
        stalls["changes"] = _longest(probe)
        _relist(cluster, speaker)
        api.forget()
        relisted = _steady(speaker)
        stalls["relist"] = _longest(probe)
        _update(api)
        wait_until(lambda: _announced(speaker) == SERVICES, "everything is announced again", 60)
        after = _steady(speaker)
        stalls["updates"] = _longest(probe)
        memory = {"loaded": loaded, "relisted": relisted, f"{UPDATES} updates": after}
        _print(memory, slowest, stalls)
        assert group.kills() == 0
        for resident, anonymous in memory.values():
            assert anonymous <= MOST_ANONYMOUS
            assert resident <= MOST_RESIDENT
        assert after[1] - relisted[1] <= GROWTH
        assert slowest is not None, f"three times not within {LATENCY * slow} s"
        crowded = stalls.pop("updates")
        assert crowded.good(CROWDED, slow), crowded
        assert [name for name, stall in stalls.items() if not stall.good(STALL, slow)] == [], stalls
    finally:
        cluster.stop()
        limit.__exit__(None, None, None)


def _print(
    memory: dict[str, tuple[float, float]],
    slowest: float | None,
    stalls: dict[str, Stall],
) -> None:
    for name, (resident, anonymous) in memory.items():
        print(f"{name}: {anonymous:.1f} MiB anonymous, {resident:.1f} resident")
    print(f"change to wire, p99: {(slowest or math.inf) * 1000:.1f} ms")
    for name, stall in stalls.items():
        print(f"longest turn but {STRAYS}, {name}: {stall.usual.cpu * 1000:.1f} ms of CPU")
        for what, turn in (("worked", stall.worst), ("was held", stall.held)):
            print(
                f"  the one that {what} longest: {turn.cpu * 1000:.1f} ms of CPU,"
                f" {turn.held * 1000:.1f} held, {turn.wall * 1000:.1f} by the clock: {turn.ran}"
            )


def _longest(probe: Path) -> Stall:
    """What held the loop longest since the last call."""
    found = [*stall_probe.turns(probe), *[stall_probe.Turn(0.0, 0.0, 0.0)] * (STRAYS + 1)]
    probe.write_text("")
    found.sort(key=attrgetter("cpu"), reverse=True)
    return Stall(found[0], found[STRAYS], max(found, key=attrgetter("held")))


def _relist(cluster: Cluster, speaker: Speaker) -> None:
    """Restart the server, its history forgotten: what changed since a kind's last event is gone."""
    cluster.server.compact()
    cluster.server.kill()
    wait_until(lambda: speaker.metric("clarion_api_resources_behind"), "trouble noticed", 30)
    cluster.server.start()
    wait_until(lambda: speaker.metric("clarion_api_resources_behind") == 0, "trouble over", 30)
    pages = sum(
        value
        for series, value in cluster.server.metric("apiserver_request_total").items()
        if 'resource="endpointslices"' in series and 'verb="LIST"' in series
    )
    # The server lists for itself, too: once.
    assert pages > SERVICES / PAGE, pages


def _steady(speaker: Speaker) -> tuple[float, float]:
    """Wait until the announcements are all sent; return resident and anonymous MiB."""
    time.sleep(6)
    return limits.resident(speaker.process.pid)


def _published(cluster: Cluster) -> int:
    time.sleep(1)
    items = cluster.server.get(clusters.STATUSES)["items"]
    return sum("status" in item for item in items)


def _announced(speaker: Speaker) -> int:
    return speaker.get("/metrics")[1].count("\nmetallb_speaker_announced{")


def _nearly_slowest(delays: list[float]) -> float:
    return sorted(delays)[int(len(delays) * 0.99) - 1]


def _delays(cluster: Cluster, api: Api, attempt: int) -> list[float]:
    """Give services new addresses, one by one; time each until its announcement is on the wire."""
    seen: dict[str, float] = {}
    stop = threading.Event()
    tap = cluster.hosts["asker"].namespace.run(_tap)
    listener = threading.Thread(target=_listen, args=(tap, seen, stop))
    listener.start()
    delays = []
    try:
        for n in range(CHANGES):
            ip = str(IPv4Address(f"10.77.{12 + attempt}.0") + n)
            patch = {"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}
            path = f"/api/v1/namespaces/default/services/web{n:04}/status"
            status, text = api.one("PATCH", path, patch, "application/merge-patch+json")
            answered = time.monotonic()
            assert status == 200, text
            wait_until(partial(seen.__contains__, ip), f"the announcement of {ip}", 20)
            delays.append(seen[ip] - answered)
    finally:
        stop.set()
        listener.join()
        tap.close()
    return delays


def _tap() -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    made.settimeout(0.2)
    return made


def _listen(tap: socket.socket, seen: dict[str, float], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            frame = tap.recv(2048)
        except TimeoutError:
            continue
        (sender,) = struct.unpack_from("!I", frame, 28)
        seen.setdefault(str(IPv4Address(sender)), time.monotonic())


def _turn(n: int) -> int:
    """The first 500 services twice, then the others twice, and so on."""
    return n // 1_000 * 500 % SERVICES + n % 500


def _update(api: Api) -> None:
    """Take every service's endpoints away and give them back."""
    requests = []
    for n in range(UPDATES):
        path = f"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web{_turn(n):04}-x"
        ready = {"ready": n // 500 % 2 == 1}
        endpoints = [
            {"addresses": [f"10.1.2.{e + 1}"], "conditions": ready, "nodeName": f"iris{e % 3 + 1}"}
            for e in range(10)
        ]
        body = {"endpoints": endpoints}
        requests.append(("PATCH", path, body, "application/merge-patch+json"))
    api.all(requests)
