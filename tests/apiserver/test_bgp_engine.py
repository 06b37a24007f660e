"""A whole speaker and its engine on a real API server: who hears of a dead one; a storm."""

import select
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pyroute2.netlink.rtnl import RTMGRP_IPV4_ROUTE
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

import netns
from bgp_cluster import COMES_UP, ITS_AS, MY_AS, NODE, BgpCluster, bgp_cluster
from cluster import NAMESPACE, STATES, service
from frr_container import missing_container
from kube.objects.metallb import ADVICE
from machine import slowness
from netns import Host
from netnslab.instruments.routed.routes import RouteLog, told_of
from speaker.bgp.outages import PATIENCE
from speaker.bgp.routing import NO_ENGINE
from speakers import Speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
READY, ABSENT = (f'clarion_bgp_engine{{state="{state}"}}' for state in ("ready", "absent"))
CHANGES, IN_SECONDS = 100, 10.0
SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture(scope="module")
def world(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BgpCluster]:
    if reason := netns.missing_right():
        pytest.skip(reason)
    with bgp_cluster(tmp_path_factory.mktemp("engine")) as made:
        made.cluster.server.apply_all(service("web", "10.77.9.1"))
        yield made


@pytest.fixture
def speaker(world: BgpCluster) -> Iterator[Speaker]:
    running = world.speak()
    try:
        running.wait_for("ready")
        world.learns("10.77.9.1/32")
        yield running
    finally:
        world.cluster.stop()


# ---- an engine that dies


def outages(world: BgpCluster) -> list[dict[str, Any]]:
    return world.cluster.events("bgpEngine")


def test_an_engine_that_is_dead_is_told_of(world: BgpCluster, speaker: Speaker) -> None:
    """In an Event of the pod once it has lasted; on the probe's page and in a figure at once."""
    wait_until(lambda: speaker.metric(READY) == 1, "an engine", COMES_UP)
    wait_until(lambda: speaker.get("/readyz") == (200, "ok\n"), "ready", COMES_UP)
    assert outages(world) == []
    died = time.monotonic()
    world.container.kill()
    wait_until(lambda: speaker.metric(ABSENT) == 1, "said to be absent", COMES_UP)
    assert speaker.metric(READY) == 0
    # It stays ready: layer 2 works.
    assert speaker.get("/readyz") == (200, f"ok; {NO_ENGINE}: absent\n")
    (event,) = wait_until(lambda: outages(world), "an event", PATIENCE + COMES_UP)
    # Not at once, as every start takes a moment.
    assert time.monotonic() - died >= PATIENCE
    assert event["message"] == f"{NO_ENGINE}: absent"
    involved = {"kind": "Pod", "namespace": NAMESPACE, "name": f"speaker-{NODE}"}
    assert involved.items() <= event["involvedObject"].items()
    assert (event["type"], event["count"], event["source"]["host"]) == ("Warning", 1, NODE)
    assert not _announced(world, speaker)
    world.container.start()
    world.learns("10.77.9.1/32")
    wait_until(lambda: speaker.get("/readyz") == (200, "ok\n"), "well again", COMES_UP)
    assert (speaker.metric(READY), speaker.metric(ABSENT)) == (1, 0)
    # The same again is counted up in the old one.
    world.container.kill()
    wait_until(lambda: outages(world)[0]["count"] == 2, "the second one", PATIENCE + COMES_UP)
    assert len(outages(world)) == 1
    world.container.start()
    world.learns("10.77.9.1/32")
    assert speaker.metric("clarion_api_failed_writes_total") == 0
    assert speaker.metric("clarion_api_events_dropped_total") == 0


def _announced(world: BgpCluster, speaker: Speaker) -> list[Any]:
    """Return the statuses that still name a peer: nobody hears of a service then."""
    items = world.cluster.server.get(
        f"/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/servicebgpstatuses"
    )["items"]
    return [each for each in items if each.get("status", {}).get("peers")]


# ---- a storm of changes


def test_a_hundred_changes_in_ten_seconds(world: BgpCluster, speaker: Speaker) -> None:
    """Fifty services get their addresses and lose them again, one change each tenth of a second."""
    ips = [f"10.77.10.{number + 1}" for number in range(CHANGES // 2)]
    for number, ip in enumerate(ips):
        world.cluster.server.apply_all(service(f"storm-{number}", ip))
        world.cluster.server.merge(f"{SERVICES}/storm-{number}/status", _status())
    world.learns("10.77.9.1/32")
    wait_until(lambda: not _routes(world, ips), "a start without them", COMES_UP)
    comparisons = speaker.metric("clarion_bgp_comparisons_total")
    with Routes(world.router.host, [f"{ip}/32" for ip in ips]) as routes:
        asked: list[tuple[str, bool, float, float]] = []
        began = time.monotonic()
        for number in range(CHANGES):
            time.sleep(max(0.0, began + number * IN_SECONDS / CHANGES - time.monotonic()))
            ip, there = ips[number % len(ips)], number < len(ips)
            path = f"{SERVICES}/storm-{number % len(ips)}/status"
            before = time.monotonic()
            world.cluster.server.merge(path, _status(*([ip] if there else [])))
            asked.append((f"{ip}/32", there, before, time.monotonic()))
        lasted = time.monotonic() - began
        wait_until(lambda: len(routes.log.changes) >= CHANGES, "all changes", COMES_UP)
        changes = {(prefix, bool(hops)): at for at, prefix, hops in routes.log.changes}
    assert len(changes) == len(routes.log.changes) == CHANGES
    ours = [changes[prefix, there] - before for prefix, there, before, _ in asked]
    server = [after - before for _, _, before, after in asked]
    since = [changes[prefix, there] - after for prefix, there, _, after in asked]
    print(f"{CHANGES} changes in {lasted:.1f} s, seconds from the request to the router's kernel:")
    parts = ("all", ours), ("the API server's answer", server), ("from there on", since)
    for what, some in parts:
        shown = [round(each, 3) for each in (statistics.median(some), sorted(some)[94], max(some))]
        print(f"{what}: median {shown[0]}, 95 of 100 within {shown[1]}, worst {shown[2]}")
    assert max(since) < 2.0 * slowness()
    # One line each: not once was everything compared, and no session noticed.
    assert speaker.metric("clarion_bgp_comparisons_total") == comparisons
    assert speaker.metric("clarion_bgp_refused_lines_total") == 0
    assert world.router.neighbor(world.cluster.hosts[NODE].ip)["connectionsEstablished"] >= 1


def _status(*ips: str) -> dict[str, Any]:
    return {"status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in ips] or None}}}


def _routes(world: BgpCluster, ips: list[str]) -> list[str]:
    return [ip for ip in ips if world.router.next_hops(f"{ip}/32")]


class Routes:
    """What a machine's kernel says of its routes, while it is listened to."""

    def __init__(self, host: Host, prefixes: list[str]) -> None:
        self.log = RouteLog(prefixes)
        self._socket = host.namespace.run(_open)
        self._marshal = MarshalRtnl()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> "Routes":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            if select.select([self._socket], [], [], 0.1)[0]:
                self._note(self._socket.recv(1 << 16), time.monotonic())

    def _note(self, data: bytes, at: float) -> None:
        for message in self._marshal.parse(data):
            if (told := told_of(message)) is not None:
                prefix, hops, further = told
                self.log.note(at, prefix, hops, further=further)


def _open() -> socket.socket:
    found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    found.bind((0, RTMGRP_IPV4_ROUTE))
    return found


# ---- what is most likely not as it was meant


def advice(world: BgpCluster) -> str:
    """Return the message of that condition in the node's ConfigurationState."""
    items = world.cluster.server.get(STATES)["items"]
    (found,) = [each for each in items if each["metadata"]["name"] == f"speaker-{NODE}"]
    conditions = found.get("status", {}).get("conditions", ())
    return "\n".join(each["message"] for each in conditions if each["type"] == ADVICE)


def test_what_people_should_know_is_in_the_status(world: BgpCluster, speaker: Speaker) -> None:
    wait_until(lambda: world.verdict() == ("Valid", ""), "it is valid", COMES_UP)
    assert advice(world) == ""
    inside = {"peerASN": MY_AS, "peerAddress": "192.0.2.9"}
    usual = {"myASN": MY_AS, "peerASN": ITS_AS}
    extra = usual | {"peerAddress": "192.0.2.8", "enableGracefulRestart": True}
    world.apply("BGPPeer", "restarting", extra)
    world.apply("BGPPeer", "inside", usual | inside)
    about = {"ipAddressPools": ["pool"], "localPref": 100, "aggregationLength": 24}
    world.apply("BGPAdvertisement", "bgp", about)
    policy = {"externalTrafficPolicy": "Local"}
    world.cluster.server.merge(f"{SERVICES}/web", {"spec": policy})
    expected = {
        f"warning: BGPPeer {NAMESPACE}/restarting: spec.enableGracefulRestart: without a bfd",
        f"warning: BGPPeer {NAMESPACE}/inside: spec.bfdProfile: without a bfdProfile, and without",
        f"warning: BGPPeer {NAMESPACE}/tor: spec.bfdProfile: without a bfdProfile, and without",
        "warning: Service default/web: with externalTrafficPolicy Local an aggregated prefix",
    }
    wait_until(lambda: all(each in advice(world) for each in expected), "advice", COMES_UP)
    assert len(advice(world).splitlines()) == len(expected)
    # It is allowed all the same.
    assert world.verdict() == ("Valid", "")
    for name in ("restarting", "inside"):
        world.cluster.server.delete(
            f"/apis/metallb.io/v1beta2/namespaces/{NAMESPACE}/bgppeers/{name}"
        )
    world.apply("BGPAdvertisement", "bgp", {"ipAddressPools": ["pool"]})
    wait_until(lambda: advice(world) == "", "no advice is left", COMES_UP)
