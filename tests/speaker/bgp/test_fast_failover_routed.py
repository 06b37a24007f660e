"""Three nodes in two subnets, and a router with ECMP between them: what becomes of its routes when
the node that stands alone dies, and when only the way to it is lost. No BFD, hold time 90 s."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from frr_container import FrrContainer, frr_container, missing_container
from one_bgp_service import ITS_AS, MY_AS, OBJECTS, PREFIX
from routers import Router, router
from speakers import Speaker, speaker, wait_until
from two_subnets import TwoSubnets, two_subnets

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
NODES = {"node-1": 1, "node-2": 1, "node-3": 2}
ALONE = "node-3"
WITHIN = 1.0
"""Seconds from the cut to the router's kernel."""
OUTAGE = 3.0
"""Seconds for which the router is away: ten times what a verdict takes, and gossip declares nobody
dead for so long."""
FILTERED = 8.0


@dataclass
class Routed:
    """What the tests have."""

    network: TwoSubnets
    router: Router
    speakers: dict[str, Speaker]
    containers: dict[str, FrrContainer]

    def power_off(self, name: str) -> None:
        """Cut the node's port, and end all that runs there: nothing of it leaves the machine."""
        self.network.unplug(name)
        self.speakers[name].process.kill()
        self.containers[name].kill()

    def next_hops(self) -> frozenset[str]:
        """Name the nodes that the router's kernel sends to."""
        names = {host.ip: name for name, host in self.network.nodes.items()}
        return frozenset(names[ip] for ip in self.router.next_hops(PREFIX))

    def wait_for(self, *names: str, within: float = 60.0) -> None:
        wanted = frozenset(names)
        wait_until(lambda: self.next_hops() == wanted, f"next hops {sorted(wanted)}", within)

    def meds(self) -> set[float | None]:
        return {each.metric("clarion_bgp_med") for each in self.speakers.values()}

    def steps(self) -> set[float | None]:
        return {each.metric("clarion_bgp_med_steps_total") for each in self.speakers.values()}

    def verdicts(self) -> float:
        """Count those of all speakers that are left."""
        outcomes = ("reached", "heard")
        found = [
            each.metric(f'clarion_verdicts_total{{outcome="{outcome}"}}')
            for each in self.speakers.values()
            for outcome in outcomes
        ]
        return sum(each or 0.0 for each in found)

    def answering(self) -> dict[str, float | None]:
        """Count the nodes of the other subnet that each would miss."""
        series = 'clarion_routed_nodes{state="answers"}'
        return {name: each.metric(series) for name, each in self.speakers.items()}


@contextmanager
def routed(tmp_path: Path) -> Iterator[Routed]:
    with ExitStack() as stack:
        network = stack.enter_context(two_subnets(NODES))
        peers = []
        for host in network.nodes.values():
            peers += [(host.ip, "remote-as", str(MY_AS)), (host.ip, "timers", "30", "90")]
            peers += [(host.ip, "timers", "connect", "1")]
        between = stack.enter_context(router(network.router_host(), ITS_AS, peers))
        found = Routed(network, between, {}, {})
        for name, host in network.nodes.items():
            folder = tmp_path / name
            folder.mkdir()
            (folder / "all.yaml").write_text(OBJECTS.format(address=network.gateway(name)))
            beside = stack.enter_context(frr_container(namespace=host.namespace))
            seeds = ",".join(each.ip for other, each in network.nodes.items() if other != name)
            flags = ["--bgp-engine", str(beside.folder), "--bgp-fast-failover", "auto"]
            flags += ["--ml-bindaddr", host.ip, "--ml-labels", "app=x", "--join", seeds]
            log = tmp_path / f"{name}.log"
            found.containers[name] = beside
            found.speakers[name] = stack.enter_context(speaker(host, folder, *flags, log=log))
        found.wait_for(*NODES)
        wanted = {"node-1": 1.0, "node-2": 1.0, "node-3": 2.0}
        wait_until(lambda: found.answering() == wanted, "all have proved themselves", 60.0)
        assert found.verdicts() == 0
        yield found


def hold(found: Routed, seconds: float, holds: Callable[[], bool]) -> None:
    """See for so long that it does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert holds()
        time.sleep(0.05)


def test_a_node_in_another_subnet_drops_out_within_a_second(tmp_path: Path) -> None:
    with routed(tmp_path) as found:
        began = time.monotonic()
        found.power_off(ALONE)
        found.wait_for("node-1", "node-2", within=10.0)
        took = time.monotonic() - began
        print(f"out of the router's kernel after {took:.2f} s")
        dead = found.speakers.pop(ALONE)
        assert found.meds() == {99.0}
        assert found.verdicts() > 0, "it was gossip that told, not the witnesses"
        assert not found.speakers["node-1"].events("verdict"), "no link of ours is judged by it"
        # The session of the dead one lasts: nothing but the MED has told the router.
        assert found.router.established(dead.host.ip)
        assert took <= WITHIN


def test_where_the_router_is_away_nobody_is_judged(tmp_path: Path) -> None:
    with routed(tmp_path) as found:
        found.network.silence_router()
        time.sleep(OUTAGE)
        found.network.hear_router()
        wait_until(lambda: set(found.answering().values()) == {1.0, 2.0}, "all answer again", 20.0)
        assert found.verdicts() == 0
        assert (found.meds(), found.steps()) == ({100.0}, {0.0})
        assert found.next_hops() == frozenset(NODES)


def test_where_echo_is_filtered_between_the_subnets_nothing_moves(tmp_path: Path) -> None:
    with routed(tmp_path) as found:
        found.network.filter_echo()
        hold(found, FILTERED, lambda: found.next_hops() == frozenset(NODES))
        assert found.verdicts() == 0
        assert (found.meds(), found.steps()) == ({100.0}, {0.0})
        found.speakers["node-1"].wait_for("echo_filtered", node=ALONE)
