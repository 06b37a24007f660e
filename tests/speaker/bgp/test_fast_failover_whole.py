"""Two nodes and a router with ECMP: one node dies, and no session tells the router so."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from frr_container import FrrContainer, frr_container, missing_container
from netns import Host
from netnslab.machines.topology import Topology
from one_bgp_service import ITS_AS, MY_AS, OBJECTS, PREFIX
from routers import Router, router
from speakers import Speaker, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
NODES, ROUTER = ("node-1", "node-2"), "tor"
WITHIN = 10.0
"""Seconds: gossip alone may take as long, the hold time nine times that."""


@dataclass
class NodeAtRouter:
    """A node with all that runs on it."""

    host: Host
    container: FrrContainer
    speaker: Speaker


@dataclass
class Ring:
    """What the tests have."""

    topology: Topology
    router: Router
    nodes: dict[str, NodeAtRouter]

    def power_off(self, name: str) -> None:
        """Cut the node's port, and end all that runs there: nothing of it leaves the machine."""
        self.topology.unplug([self.nodes[name].host])
        self.nodes[name].speaker.process.kill()
        self.nodes[name].container.kill()

    def wait_for(self, *names: str, within: float = 60.0) -> None:
        """Wait until the router's kernel sends to exactly these nodes."""
        wanted = frozenset(self.nodes[name].host.ip for name in names)
        what = f"next hops {sorted(wanted)}"
        wait_until(lambda: self.router.next_hops(PREFIX) == wanted, what, within)


@contextmanager
def ring(tmp_path: Path, mode: str) -> Iterator[Ring]:
    topology = Topology([*NODES, ROUTER])
    with ExitStack() as stack:
        for namespace in [host.namespace for host in topology.hosts()] + [topology.switch]:
            stack.callback(namespace.close)
        tor = topology.nodes[ROUTER]
        peers = []
        for name in NODES:
            ip = topology.nodes[name].ip
            peers += [(ip, "remote-as", str(MY_AS)), (ip, "timers", "30", "90")]
            peers += [(ip, "timers", "connect", "1")]
        made = stack.enter_context(router(tor, ITS_AS, peers))
        folder = tmp_path / "manifests"
        folder.mkdir()
        (folder / "all.yaml").write_text(OBJECTS.format(address=tor.ip))
        found = Ring(topology, made, {})
        for name in NODES:
            host = topology.nodes[name]
            # The client is their gateway: its answers prove that their own links work.
            beside = stack.enter_context(frr_container(namespace=host.namespace))
            seeds = ",".join(topology.nodes[other].ip for other in NODES if other != name)
            flags = ["--bgp-engine", str(beside.folder), "--bgp-fast-failover", mode]
            flags += ["--ml-bindaddr", host.ip, "--ml-labels", "app=x", "--join", seeds]
            log = tmp_path / f"{name}.log"
            running = stack.enter_context(speaker(host, folder, *flags, log=log))
            found.nodes[name] = NodeAtRouter(host, beside, running)
        found.wait_for(*NODES)
        for name in NODES:
            found.nodes[name].speaker.wait_for("contact", state="made")
        yield found


def test_a_dead_node_drops_out_without_bfd_and_long_before_its_session_ends(
    tmp_path: Path,
) -> None:
    with ring(tmp_path, "auto") as found:
        left = found.nodes["node-1"].speaker
        left.wait_for("bgp_fast_failover", state="on")
        assert left.metric("clarion_bgp_fast_failover") == 1
        assert left.metric("clarion_bgp_med") == 100
        began = time.monotonic()
        found.power_off("node-2")
        found.wait_for("node-1", within=WITHIN)
        took = time.monotonic() - began
        print(f"out of the router's kernel after {took:.2f} s")
        assert left.metric("clarion_bgp_med") == 99
        assert left.metric("clarion_bgp_med_steps_total") == 1
        # The session of the dead one lasts: nothing but the MED has told the router.
        assert found.router.established(found.nodes["node-2"].host.ip)
        assert left.events("verdict"), "it was gossip that told, not the witnesses"


def test_switched_off_nothing_moves(tmp_path: Path) -> None:
    with ring(tmp_path, "off") as found:
        left = found.nodes["node-1"].speaker
        assert left.metric("clarion_bgp_fast_failover") == 0
        assert left.metric("clarion_bgp_med") == 0
        found.power_off("node-2")
        left.wait_for("member", timeout=30.0, node="node-2", state="dead")
        assert len(found.router.next_hops(PREFIX)) == 2
