"""The firewall of docs/security.md, as it stands there, in front of real sockets."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from netns import Host, NetworkNamespace, missing_right
from netnslab.machines.topology import Topology

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=missing_right() or ""),
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft"),
]

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
GOSSIP, METRICS, OTHER = 7946, 7472, 7473
NODES, SCRAPER, STRANGER = ("node-1", "node-2"), "scraper", "stranger"
POD, POD_GATEWAY = "10.88.0.2", "10.88.0.1"
SENT = 0.5
"""Seconds after which a connection counts as dropped: on one machine an answer takes no time."""
# Most network plugins let pods out by the address of their node.
MASQUERADE = """table ip plugin {
 chain out { type nat hook postrouting priority 100; ip saddr 10.88.0.0/24 masquerade; }
}
"""


@dataclass
class Net:
    """Two nodes, a scraper and a stranger on one bridge, and a pod behind the first node."""

    hosts: dict[str, Host]
    pod: NetworkNamespace

    def addresses(self, name: str) -> tuple[str, str]:
        return self.hosts[name].ip, self.hosts[name].ip6


def rules(net: Net) -> str:
    """The page's block, with the addresses of this network in place of the examples."""
    (text,) = re.findall(r"```nft\n(.*?)```", PAGE.read_text(), re.DOTALL)
    nodes = [net.addresses(name) for name in NODES]
    values = {
        "NODES": [four for four, _ in nodes],
        "NODES6": [six for _, six in nodes],
        "SCRAPERS": [net.addresses(SCRAPER)[0]],
        "SCRAPERS6": [net.addresses(SCRAPER)[1]],
    }
    script = str(text)
    for name, addresses in values.items():
        given = f"define {name} = {{ {', '.join(addresses)} }}"
        script, count = re.subn(rf"^define {name} = .*$", given, script, flags=re.MULTILINE)
        assert count == 1
    return script


def load(where: NetworkNamespace, script: str) -> None:
    run = partial(subprocess.run, input=script, text=True, check=True, timeout=10)
    where.run(run, ["nft", "-f", "-"])


def _inner(netlink: Any, pod: NetworkNamespace) -> None:
    peer = {"ifname": "eth0", "net_ns_fd": pod.fd}
    netlink.link("add", ifname="pod0", kind="veth", peer=peer)
    (index,) = netlink.link_lookup(ifname="pod0")
    netlink.addr("add", index=index, address=POD_GATEWAY, prefixlen=24)
    netlink.link("set", index=index, state="up")


def _outer(netlink: Any) -> None:
    (index,) = netlink.link_lookup(ifname="eth0")
    netlink.addr("add", index=index, address=POD, prefixlen=24)
    netlink.link("set", index=index, state="up")
    netlink.route("add", dst="default", gateway=POD_GATEWAY)


def _with(function: Any, *given: Any) -> None:
    with IPRoute() as netlink:
        function(netlink, *given)


@pytest.fixture
def net() -> Iterator[Net]:
    topology = Topology([*NODES, SCRAPER, STRANGER], 6)
    pod = NetworkNamespace("pod")
    first = topology.nodes[NODES[0]].namespace
    first.run(_with, _inner, pod)
    pod.run(_with, _outer)
    first.sysctl("ipv4/ip_forward", 1)
    load(first, MASQUERADE)
    try:
        yield Net(topology.nodes, pod)
    finally:
        others = [host.namespace for host in topology.hosts()]
        for namespace in [*others, topology.switch, pod]:
            namespace.close()


def reached(
    kind: socket.SocketKind, source: NetworkNamespace, target: Host, ip: str, port: int
) -> bool:
    """Whether a connection, or a datagram, gets there."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    listening = target.namespace.run(socket.socket, family, kind)
    with listening, source.run(socket.socket, family, kind) as asking:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((ip, port))
        if kind == socket.SOCK_STREAM:
            listening.listen()
        listening.settimeout(SENT)
        asking.settimeout(SENT)
        with suppress(TimeoutError):
            asking.connect((ip, port))
            asking.send(b"x")
            if kind == socket.SOCK_STREAM:
                listening.accept()[0].close()
                return True
            return listening.recv(8) == b"x"
    return False


def ways(net: Net, source: NetworkNamespace, target: str, port: int) -> set[str]:
    """By which family and protocol the port of the target is reached."""
    kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
    return {
        f"{name}{version}"
        for name, kind in kinds.items()
        for version, ip in zip("46", net.addresses(target), strict=True)
        if (name == "tcp" or port == GOSSIP)
        and (source is not net.pod or version == "4")
        and reached(kind, source, net.hosts[target], ip, port)
    }


EVERY = {GOSSIP: {"tcp4", "tcp6", "udp4", "udp6"}, METRICS: {"tcp4", "tcp6"}}


def test_the_ports_are_for_nodes_and_scrapers_only(net: Net) -> None:
    first, second, scraper, stranger = (
        net.hosts[name].namespace for name in (*NODES, SCRAPER, STRANGER)
    )
    for port, every in EVERY.items():
        assert ways(net, stranger, NODES[1], port) == every, "nothing closes them by itself"
    for _ in range(2):
        # Whoever loads them twice has them once.
        load(second, rules(net))
    assert ways(net, first, NODES[1], GOSSIP) == EVERY[GOSSIP]
    assert ways(net, scraper, NODES[1], METRICS) == EVERY[METRICS]
    assert ways(net, second, NODES[1], METRICS) == EVERY[METRICS], "the kubelet's probes"
    assert ways(net, stranger, NODES[1], GOSSIP) == set()
    assert ways(net, stranger, NODES[1], METRICS) == set()
    assert ways(net, scraper, NODES[1], GOSSIP) == set()
    assert ways(net, stranger, NODES[1], OTHER) == {"tcp4", "tcp6"}
    # What it asks for itself is answered.
    assert ways(net, second, STRANGER, GOSSIP) == EVERY[GOSSIP]


def test_a_pod_gets_in_nowhere(net: Net) -> None:
    own, other = NODES
    everywhere = {(target, port) for target in NODES for port in EVERY}

    def open_to_the_pod() -> set[tuple[str, int]]:
        return {(to, port) for to, port in everywhere if ways(net, net.pod, to, port)}

    assert open_to_the_pod() == everywhere
    load(net.hosts[other].namespace, rules(net))
    assert open_to_the_pod() == everywhere, "it comes by the address of its node"
    load(net.hosts[own].namespace, rules(net))
    assert open_to_the_pod() == set()
    assert ways(net, net.pod, other, OTHER) == {"tcp4"}
