"""The judges judged: foreign peers among themselves do what was measured of them before."""

from collections.abc import Callable

import pytest

from foreign_peers import Options, Peer, all_alive
from machine import slowness

KEY = bytes(range(32))
# One failure among three at memberlist's LAN numbers: up to 1.4 s until somebody probes, 1 s for
# the probe, 4 s of suspicion, at most 200 ms until it has spread; the rest is a busy machine.
SOONEST, LATEST = 4.9, 8.0


@pytest.mark.root
@pytest.mark.parametrize("kind", ["go", "serf"])
def test_three_join_and_the_death_of_one_is_seen(kind: str, start: Callable[..., Peer]) -> None:
    peers = [start(kind, f"{kind}{n}", Options(keys=(KEY,))) for n in range(3)]
    for peer in peers:
        peer.wait_ready()
    assert peers[0].join([peers[1].ip]) == 1
    assert peers[2].join([peers[1].ip]) == 1
    all_alive(peers, 10.0)

    latest = LATEST * slowness()
    killed = peers[2].kill()
    for peer in peers[:2]:
        dead = peer.wait("dead", peers[2].name, latest, since=killed)
        assert SOONEST <= dead.at - killed <= latest
    suspected = [e.at for p in peers[:2] for e in p.journal.find("suspect", since=killed)]
    assert 0.9 <= min(suspected) - killed <= latest - 4.0
    assert peers[0].members()[peers[2].name] == "dead"


@pytest.mark.root
def test_a_frozen_go_peer_is_suspected_and_refutes(start: Callable[..., Peer]) -> None:
    one, other = start("go", "one"), start("go", "other")
    one.wait_ready()
    other.wait_ready()
    one.join([other.ip])
    all_alive([one, other], 3.0)

    frozen = other.freeze()
    one.wait("suspect", "other", 5.0, since=frozen)
    assert one.members()["other"] == "suspect"
    other.thaw()
    one.wait("recovered", "other", 3.0, since=frozen)
    other.wait("refuted", "other", 1.0, since=frozen)
    assert one.incarnations()["other"] > 1
    assert not one.journal.find("dead")


@pytest.mark.root
def test_a_go_peer_that_leaves_is_left_not_dead(start: Callable[..., Peer]) -> None:
    one, other = start("go", "stays"), start("go", "goes")
    one.wait_ready()
    other.wait_ready()
    one.join([other.ip])
    all_alive([one, other], 3.0)
    other.leave()
    one.wait("left", "goes", 1.0)
    assert not one.journal.find("dead")
