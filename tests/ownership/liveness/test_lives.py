"""Who is gone: by the verdict first, then by gossip, with no gap between; no process alone."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_interface
from random import Random

import pytest

from gossip.wire.messages import State
from liveness_cluster import ETH0, TIMING, Cluster, held_dead, interface_of
from ownership.letters.letters import PeerLink
from ownership.letters.mark import Flags
from ownership.liveness.lives import Lives
from ownership.liveness.roster import Peer
from ownership.liveness.routed_witness import RoutedWitness
from ownership.liveness.verdicts import Subject

NODE = frozenset({"node-0"})


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster(4)
    made.run(5.0)
    return made


def lives_of(cluster: Cluster, name: str, *, fast: bool = True) -> Lives:
    node = cluster.nodes[name]
    routed = RoutedWitness(node.roster, node.core, name, TIMING, Random(1))
    return Lives(node.roster, node.core, routed, fast=fast)


def test_a_dead_machine_is_gone_for_all_by_the_verdict_and_stays_so_by_gossip(
    cluster: Cluster,
) -> None:
    seen = [lives_of(cluster, name) for name in ("node-1", "node-2", "node-3")]
    slow = lives_of(cluster, "node-1", fast=False)
    assert [each.gone() for each in seen] == [frozenset()] * 3
    cluster.cut("node-0")
    cluster.run(5.6)
    assert [each.gone() for each in seen] == [NODE] * 3
    assert slow.gone() == frozenset()
    held_dead(cluster, "node-1", "node-0")
    assert not cluster.gone("node-1")
    assert seen[0].gone() == slow.gone() == NODE


def test_a_machine_that_answers_again_is_gone_no_more(cluster: Cluster) -> None:
    lives = lives_of(cluster, "node-1")
    cluster.cut("node-0")
    cluster.run(5.6)
    cluster.nodes["node-0"].kernel = cluster.nodes["node-0"].running = True
    cluster.run(7.0)
    assert lives.gone() == frozenset()


def test_a_silent_process_is_not_gone(cluster: Cluster) -> None:
    lives = lives_of(cluster, "node-1")
    cluster.nodes["node-0"].process = cluster.nodes["node-0"].running = False
    cluster.run(8.0)
    assert cluster.gone("node-1")
    assert lives.gone() == frozenset()


def test_who_is_missed_on_one_of_two_links_is_not_gone(cluster: Cluster) -> None:
    node = cluster.nodes["node-1"]
    address = ip_interface("198.51.100.2/24")
    addresses = frozenset({address})
    second = replace(interface_of("node-1"), index=ETH0 + 1, name="eth1", addresses=addresses)
    node.core.set_interfaces({ETH0: interface_of("node-1"), ETH0 + 1: second})
    there = PeerLink("eth1", b"\x02\0\0\0\1\0", (IPv4Address("198.51.100.1"),))
    node.roster.set_links("node-0", (*node.roster.links("node-0"), there))
    node.core.retarget((), {}, cluster.now)
    lives = lives_of(cluster, "node-1")
    node.core.handle_gone(Subject("node-0", "eth1"), cluster.now)
    assert lives.gone() == frozenset()
    node.core.handle_gone(Subject("node-0", "eth1"), cluster.now)
    cluster.nodes["node-0"].kernel = cluster.nodes["node-0"].running = False
    for name in ("eth0", "eth1"):
        node.core.handle_gone(Subject("node-0", name), cluster.now + 5.0)
    node.core.handle_gone(Subject("node-1", "eth0"), cluster.now + 5.0)
    assert lives.gone() == NODE


def test_strangers_are_living_members_without_a_mark(cluster: Cluster) -> None:
    lives = lives_of(cluster, "node-1")
    assert lives.strangers() == frozenset()
    roster = cluster.nodes["node-1"].roster
    others = [
        Peer("metallb", None, Flags.NONE, State.ALIVE),
        Peer("metallb-dead", None, Flags.NONE, State.DEAD),
    ]
    roster.set_peers([*roster.peers(), *others], 5.0)
    assert lives.strangers() == {"metallb"}
    assert lives.gone() == frozenset()
