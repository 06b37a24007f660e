"""Three foreign agents and two of ours, encrypted: one cluster to all of them.

Signals, in the order of this file: joining, a quiet minute, a frozen process, a key rotation, and
the deaths of a foreign agent and of ours. AES-128 is joined and killed only.
"""

import time
from collections.abc import Callable

import pytest

from foreign_peers import SERF_DELEGATE, Options, Peer
from machine import slowness
from mixed import FOREIGN, OURS, Cluster, tell_foreign

AES_256, AES_128, NEXT_KEY = bytes(range(32)), bytes(range(16)), bytes(range(100, 132))
QUIET = 60.0
FROZEN = 3.0
NO_MORE_THAN = 1.1
"""Times what the foreign peers beside ours send: in a second by UDP, and in an exchange by TCP."""
CPU = 0.01
"""Of one core, for each agent."""

# One failure among five at LAN numbers. Soonest: a probe at once, 1 s until it has failed, 4 s of
# suspicion. At latest: a peer is probed by somebody within 1.4 s, by each within 7 ticks and the
# 1 s of the probe, and the suspicion ends at once with the second confirmation, if that comes later
# than 4 s after the first: 1.4 + 1 + (7 + 1), and one hop of gossip.
SOONEST, LATEST = 4.9, 10.6

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]
full = pytest.mark.parametrize("cluster", ["go-256", "serf-256"], indirect=True)
both_key_sizes = pytest.mark.parametrize(
    "cluster", ["go-256", "serf-256", "go-128", "serf-128"], indirect=True
)


@pytest.fixture(scope="module")
def clusters(
    start_to_share: Callable[..., Peer], missing: dict[str, str | None]
) -> dict[str, Cluster]:
    """All clusters at once, so that their quiet minutes pass together."""
    made: dict[str, Cluster] = {}
    for kind in ("go", "serf"):
        for bits, key in ((256, AES_256), (128, AES_128)):
            if missing[kind]:
                continue
            options = Options(keys=(key,), delegate=SERF_DELEGATE if kind == "serf" else "0,0,0")
            foreign = [start_to_share(kind, f"{kind}{n}", options) for n in range(FOREIGN)]
            ours = [start_to_share("clarion", f"ours{n}", options) for n in range(OURS)]
            made[f"{kind}-{bits}"] = Cluster(kind, options, foreign, ours)
    return made


@pytest.fixture
def cluster(
    clusters: dict[str, Cluster], missing: dict[str, str | None], request: pytest.FixtureRequest
) -> Cluster:
    """The cluster of the test's parameter, joined."""
    kind = request.param.partition("-")[0]
    if reason := missing[kind]:
        pytest.skip(f"no {kind} peer: {reason}")
    cluster = clusters[request.param]
    if not cluster.tried:
        cluster.join()
    assert cluster.converged, "the cluster never came together"
    return cluster


@both_key_sizes
def test_five_join_from_either_side_and_all_see_all(cluster: Cluster) -> None:
    assert cluster.converged - cluster.joined < 3.0 * slowness()
    assert not cluster.accusations()


@full
def test_a_quiet_minute_brings_no_suspicion_of_anybody(cluster: Cluster) -> None:
    while (left := cluster.converged + QUIET - time.monotonic()) > 0:
        time.sleep(left)
    assert not cluster.accusations()
    for peer in cluster.ours:
        stats = peer.stats()
        assert not stats["refusals"]
        assert stats["probes"] > 50
        assert stats["probes_failed"] == 0
        assert stats["health"] == 0
    assert cluster.cpu_since_joined(cluster.ours) <= CPU * slowness()
    ours, theirs = (cluster.sent_since_joined(peers) for peers in (cluster.ours, cluster.foreign))
    share = NO_MORE_THAN * OURS / FOREIGN
    assert 0 < ours.datagrams.packets <= share * theirs.datagrams.packets
    assert 0 < ours.datagrams.size <= share * theirs.datagrams.size
    # One write an exchange, and one exchange may have begun before.
    assert 0 < ours.asking.packets <= ours.asked + OURS
    assert ours.answering.packets <= ours.answered + OURS
    assert 0 < ours.asking.written <= NO_MORE_THAN * theirs.asking.written
    # Who answers is chance: in one minute of two hundred no peer of ours is asked.
    assert ours.answering.written <= NO_MORE_THAN * theirs.answering.written


@full
def test_a_frozen_agent_of_ours_is_suspected_and_refutes(cluster: Cluster) -> None:
    victim, witness = cluster.ours
    before = witness.incarnations()[victim.name]
    frozen = victim.freeze()
    for peer in [*cluster.foreign, witness]:
        if peer.kind != "serf":  # serf logs only the failures of its own probes
            peer.wait("suspect", victim.name, 5.0, since=frozen)
    time.sleep(max(0.0, frozen + FROZEN - time.monotonic()))
    thawed = victim.thaw()
    witness.wait("recovered", victim.name, 2.0, since=frozen)
    time.sleep(2.0)
    for peer in cluster.peers:
        assert peer.members() == {p.name: "alive" for p in cluster.peers}
        assert not peer.journal.find("dead", since=frozen)
    assert witness.incarnations()[victim.name] > before
    # It stood still, not the others.
    assert not victim.journal.find("suspect", since=thawed)


@full
def test_a_key_rotates_and_nothing_is_lost(cluster: Cluster) -> None:
    began = time.monotonic()
    (old,) = cluster.options.keys
    for verb, key in (("install", NEXT_KEY), ("use", NEXT_KEY), ("remove", old)):
        tell_foreign(cluster.foreign, verb, key)
        assert sum(peer.key(verb, key) for peer in cluster.ours) == OURS
        time.sleep(1.0)
    for peer in cluster.ours:
        assert not peer.stats()["refusals"]
    for peer in cluster.foreign:
        assert not peer.errors("ecrypt")
    assert not cluster.accusations(since=began)


@both_key_sizes
@pytest.mark.parametrize("side", ["foreign", "ours"])
def test_a_killed_agent_is_dead_to_all_in_memberlists_time(cluster: Cluster, side: str) -> None:
    cluster.calm()
    victim = (cluster.foreign if side == "foreign" else cluster.ours)[-1]
    latest = LATEST * slowness()
    killed = victim.kill()
    for peer in cluster.peers:
        dead = peer.wait("dead", victim.name, latest + 1.0, since=killed)
        assert SOONEST <= dead.at - killed <= latest, peer.name
        assert peer.members()[victim.name] == "dead"
    others = [e for p in cluster.peers for e in p.journal.find("dead") if e.name != victim.name]
    assert side == "ours" or not others
