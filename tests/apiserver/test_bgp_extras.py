"""`bgpextras` of a real API server, to a whole speaker with its engine, and back to its status."""

from collections.abc import Iterator
from typing import Any

import pytest

import netns
from bgp_cluster import COMES_UP, MY_AS, NODE, BgpCluster, bgp_cluster
from cluster import NAMESPACE, service
from frr_container import missing_container
from speakers import wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(240),
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
ROLE = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles/clarion-speaker-bgp"
WHERE = f"ConfigMap {NAMESPACE}/bgpextras"
LIST = "ip prefix-list ours permit 10.9.0.0/16"


@pytest.fixture(scope="module")
def world(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BgpCluster]:
    if reason := netns.missing_right():
        pytest.skip(reason)
    with bgp_cluster(tmp_path_factory.mktemp("extras")) as made:
        made.cluster.server.apply_all(service("web", "10.77.9.1"))
        yield made


def extras(world: BgpCluster, text: str) -> None:
    about = {"name": "bgpextras", "namespace": NAMESPACE}
    world.cluster.server.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"extras": text}}
    )


def events(world: BgpCluster) -> list[dict[str, Any]]:
    found = world.cluster.events("InvalidConfiguration")
    named = [each for each in found if each["involvedObject"]["name"] == "bgpextras"]
    return [each for each in named if ": line " in each["message"]]


def valid(world: BgpCluster) -> None:
    wait_until(lambda: world.verdict() == ("Valid", ""), "it is valid", COMES_UP)


def test_a_config_map_that_may_not_be_read_is_named_and_nothing_is_typed(world: BgpCluster) -> None:
    server = world.cluster.server
    role = server.get(ROLE)
    rules = [each for each in role["rules"] if each["resources"] != ["configmaps"]]
    server.merge(ROLE, {"rules": rules})
    speaker = world.speak()
    try:
        wait_until(lambda: f"{WHERE}: cannot be read: 403" in world.verdict()[1], "why", COMES_UP)
        assert world.verdict()[0] == "Invalid"
        assert speaker.metric("clarion_bgp_wanted") == 0
        server.merge(ROLE, {"rules": role["rules"]})
        world.learns("10.77.9.1/32")
        valid(world)
    finally:
        world.cluster.stop()


def test_lines_come_and_go_and_bad_ones_are_in_the_status(world: BgpCluster) -> None:
    speaker = world.speak()
    try:
        extras(world, f"{LIST}\n")
        world.learns("10.77.9.1/32")
        wait_until(lambda: "prefix-list ours" in world.engine(), "typed", COMES_UP)
        valid(world)
        # What the engine refuses: nothing of what is new is in force.
        extras(world, f"{LIST}\nip prefix-list more permit 10.8.0.0/16\n!\noh dear me\n")
        wait_until(lambda: world.verdict()[0] == "Invalid", "it is refused", COMES_UP)
        said = f"error: {WHERE}: data.extras: line 4: bgpd does not know it"
        assert said in world.verdict()[1]
        wait_until(lambda: "prefix-list more" not in world.engine(), "it is taken back")
        assert "prefix-list ours" in world.engine()
        wait_until(lambda: len(events(world)) == 1, "an event")
        # What is refused before: nor is anything else that has changed.
        extras(world, f"{LIST}\nrouter bgp {MY_AS}\nneighbor x password sesame\nno router bgp\n")
        said = f"{WHERE}: data.extras: line 4: would take away the sessions of all peers"
        wait_until(lambda: said in world.verdict()[1], "it is refused", COMES_UP)
        assert "prefix-list ours" in world.engine()
        wait_until(lambda: len(events(world)) == 2, "an event")
        assert "sesame" not in speaker.log.read_text() + str(events(world)) + str(world.verdict())
        world.cluster.server.delete(f"{MAPS}/bgpextras")
        wait_until(lambda: "prefix-list" not in world.engine(), "gone", COMES_UP)
        valid(world)
        world.learns("10.77.9.1/32")
        node = world.cluster.hosts[NODE].ip
        assert world.router.neighbor(node).get("connectionsDropped") == 0
    finally:
        world.cluster.stop()
