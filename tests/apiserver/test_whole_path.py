"""From `create Service` to the first ARP answer: three controllers and three speakers on one API
server, each with its own network namespace.
"""

import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

import pytest

import cluster as clusters
import controllers
import netns
from arp.packet import ArpPacket, Operation, decode, encode
from cluster import NODES, Cluster
from controllers import SERVICES, Controller
from history import Connection, History
from link import frame
from link.frame import EthernetFrame, EtherType
from link.mac import BROADCAST, ZERO

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

COUNT = 20
ASK_AGAIN = 0.002
"""Seconds between two questions for one address."""
PATIENCE = 20.0
MANY_TIMES = 100
"""By how much the whole path may be longer than what the API server alone takes to tell a watch of
a service: a ratio, as both are as slow as the machine is."""


class Times(NamedTuple):
    """Seconds since the service was asked for."""

    told: float
    """A watch told of it."""
    given: float
    """It had its address."""
    answered: float
    """Somebody answered for that."""


@pytest.fixture(scope="module")
def cluster(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Three speakers and three controllers that are ready."""
    if reason := netns.missing_right():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("path")
    with clusters.running(folder) as made, controlled(made, folder):
        for node in NODES:
            made.start(node)
        for speaker in made.speakers.values():
            speaker.wait_for("ready")
        yield made


@contextmanager
def controlled(cluster: Cluster, folder: Path) -> Iterator[list[Controller]]:
    """A controller on each node."""
    controllers.set_up(cluster.server)
    config = controllers.shipped_config(cluster.server)
    running: list[Controller] = []
    try:
        for node in NODES:
            name, host = f"controller-{node}", cluster.hosts[node]
            # Beside a speaker, which has the usual port.
            running.append(controllers.start(config, name, folder, host=host))
        yield running
    finally:
        for one in running:
            one.end()


class Asker:
    """Asks for addresses from a host without a cache."""

    def __init__(self, host: netns.Host) -> None:
        self._own_ip = IPv4Address(host.ip)
        self._raw = host.namespace.run(self._open)

    def close(self) -> None:
        self._raw.close()

    def until_answered(self, ip: str) -> None:
        """Ask until somebody answers."""
        own, end = self._raw.getsockname()[4], time.monotonic() + PATIENCE
        request = ArpPacket(Operation.REQUEST, own, self._own_ip, ZERO, IPv4Address(ip))
        asked = frame.encode(EthernetFrame(BROADCAST, own, EtherType.ARP, encode(request)))
        while time.monotonic() < end:
            self._raw.send(asked)
            if self._is_answered(ip, own):
                return
        raise AssertionError(f"nobody answers for {ip}")

    def _is_answered(self, ip: str, own: bytes) -> bool:
        until = time.monotonic() + ASK_AGAIN
        while (left := until - time.monotonic()) > 0:
            self._raw.settimeout(left)
            try:
                found = self._raw.recv(2048)
            except TimeoutError:
                return False
            # To us: what is told to everybody is no answer.
            reply = decode(found[14:])
            if found[:6] == own and (reply.operation, str(reply.sender_ip)) == (
                Operation.REPLY,
                ip,
            ):
                return True
        return False

    @staticmethod
    def _open() -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EtherType.ARP))
        raw.bind(("eth0", EtherType.ARP))
        return raw


def timed(connection: Connection, history: History, asker: Asker, name: str) -> Times:
    """Create a service and its endpoints, and wait until it is answered for."""
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    connection.must("POST", slices, endpoints(name))
    began = time.monotonic()
    connection.must("POST", SERVICES, controllers.service(name))
    history.until(lambda: name in history.addresses(), "a watch tells of it")
    told = time.monotonic() - began
    history.until(lambda: history.served() == len(history.addresses()), f"{name} is served")
    given = time.monotonic() - began
    asker.until_answered(history.addresses()[name][0])
    return Times(told, given, time.monotonic() - began)


def endpoints(name: str) -> dict[str, object]:
    metadata = {"name": f"{name}-x", "labels": {"kubernetes.io/service-name": name}}
    ready = {"ready": True}
    listed = [
        {"addresses": [f"10.1.0.{number}"], "conditions": ready, "nodeName": node}
        for number, node in enumerate(NODES, 1)
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "endpoints": listed,
    }


def test_from_a_service_to_its_first_answer(cluster: Cluster) -> None:
    asker = Asker(cluster.hosts["asker"])
    try:
        with History(cluster.server) as history, Connection(cluster.server) as connection:
            history.until(lambda: history.holder(controllers.NAMESPACE), "one leads")
            # The first one waits for the leader to have begun.
            timed(connection, history, asker, "first")
            found = [timed(connection, history, asker, f"s{n}") for n in range(COUNT)]
            assert (history.doubles, history.moved) == ([], [])
            assert len(set(map(tuple, history.addresses().values()))) == COUNT + 1
    finally:
        asker.close()
    middle = {}
    for number, word in enumerate(Times._fields):
        column = sorted(times[number] for times in found)
        middle[word] = statistics.median(column)
        print(f"{word}: p50 {middle[word] * 1e3:.1f} ms, worst {column[-1] * 1e3:.1f} ms")
    assert middle["answered"] <= MANY_TIMES * middle["told"]
