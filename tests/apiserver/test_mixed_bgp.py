"""A cluster in BGP mode of which one node runs MetalLB's own speaker, and the others ours."""

import time
from collections.abc import Iterator

import pytest

import metallb
import mixed_bgp
from cluster import NODES
from frr_container import missing_container
from gobuild import BuildError
from mixed_bgp import AGGREGATE, EXCLUDED, FOREIGN, OURS, WITHIN, MixedRing, prefix
from speakers import Speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(metallb.BUILD_TIMEOUT + 180),
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
SAME = {
    "as path": str(mixed_bgp.MY_AS),
    "origin": "IGP",
    "communities": "64500:7 no-export",
    "med": 0,
    "local preference": None,
}
"""What every node tells of a service, MetalLB's and ours."""


@pytest.fixture(scope="module")
def ring(apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MixedRing]:
    """Each test leaves it as it was: `web-1` goes to all nodes."""
    try:
        metallb.build()
    except BuildError as error:
        pytest.fail(str(error))
    with mixed_bgp.running(tmp_path_factory.mktemp("mixed")) as made:
        yield made


@pytest.fixture(autouse=True)
def whole(ring: MixedRing) -> None:
    ring.goes_to(prefix(1), *NODES)


def never_left(ring: MixedRing, since: float, *nodes: str) -> bool:
    """Tell whether the router went on sending what is for `web-1` to these nodes all the time."""
    states = ring.kernel.states(prefix(1), since)
    return all(ring.ips(*nodes) <= hops for _, hops in states)


def steps_no_med(running: Speaker) -> bool:
    """Tell whether the figures say that the MED is MetalLB's, and will not fall."""
    meds = running.metric("clarion_bgp_fast_failover"), running.metric("clarion_bgp_med")
    return meds == (0, 0)


def test_all_nodes_tell_the_router_the_same_and_share_the_traffic(ring: MixedRing) -> None:
    for what, communities in ((prefix(1), SAME["communities"]), (AGGREGATE, "")):
        ring.goes_to(what, *NODES)
        for node, path in ring.paths(what).items():
            wanted = {**SAME, "communities": communities}
            hops = [ring.cluster.hosts[node].ip]
            assert path == {**wanted, "next hops": hops}, node
    peers = {node: ["tor"] for node in NODES}
    wait_until(lambda: ring.statuses(1) == peers, "a status of each node", WITHIN)


def test_the_med_is_metallbs_and_it_is_said_why(ring: MixedRing) -> None:
    for node in OURS:
        running = ring.cluster.speakers[node]
        assert steps_no_med(running)
        said = running.wait_for("bgp_fast_failover", state="off")
        assert "no Clarions" in said["reason"]


def test_a_local_service_goes_where_its_endpoints_are_whoever_speaks_there(ring: MixedRing) -> None:
    began = time.monotonic()
    for nodes in ((OURS[0], FOREIGN), (OURS[1],), (FOREIGN,), (), NODES):
        ring.service(2, *nodes, local=True)
        ring.goes_to(prefix(2), *nodes)
    ring.withdraw(2)
    ring.goes_to(prefix(2))
    assert ring.kernel.states(prefix(1), began) == []
    assert ring.kernel.states(AGGREGATE, began) == []


def test_a_withdrawn_service_is_gone_from_all_and_the_others_stay(ring: MixedRing) -> None:
    ring.service(3, *NODES)
    ring.goes_to(prefix(3), *NODES)
    began = time.monotonic()
    ring.withdraw(3)
    ring.goes_to(prefix(3))
    assert ring.paths(prefix(3)) == {}
    wait_until(lambda: ring.statuses(3) == {}, "no status of it is left", WITHIN)
    assert ring.kernel.states(prefix(1), began) == []


@pytest.mark.parametrize("node", [FOREIGN, OURS[0]], ids=["MetalLB", "Clarion"])
def test_a_node_leaves_the_set_and_joins_it_again(ring: MixedRing, node: str) -> None:
    others = [other for other in NODES if other != node]
    began = time.monotonic()
    ring.label(node, EXCLUDED, "")
    ring.goes_to(prefix(1), *others)
    ring.goes_to(AGGREGATE, *others)
    ring.label(node, EXCLUDED, None)
    ring.goes_to(prefix(1), *NODES)
    ring.goes_to(AGGREGATE, *NODES)
    assert never_left(ring, began, *others)


def test_metallbs_node_gets_a_clarion_and_metallb_again(ring: MixedRing) -> None:
    began = time.monotonic()
    ring.stop_metallb(FOREIGN)
    ring.goes_to(prefix(1), *OURS)
    ring.start_ours(FOREIGN)
    # The others' MED stays where it is until a router has forgotten MetalLB for sure.
    wait_until(lambda: FOREIGN in ring.paths(prefix(1)), "its route", WITHIN)
    meds = {node: path["med"] for node, path in ring.paths(prefix(1)).items()}
    assert meds == {**dict.fromkeys(OURS, 0), FOREIGN: 100}
    assert all(steps_no_med(ring.cluster.speakers[node]) for node in OURS)
    ring.stop_ours(FOREIGN)
    wait_until(lambda: FOREIGN not in ring.paths(prefix(1)), "its route goes", WITHIN)
    ring.start_metallb(FOREIGN)
    ring.goes_to(prefix(1), *NODES)
    assert never_left(ring, began, *OURS)
    peers = {node: ["tor"] for node in NODES}
    wait_until(lambda: ring.statuses(1) == peers, "a status of each node", WITHIN)
