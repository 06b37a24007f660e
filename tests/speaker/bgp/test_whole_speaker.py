"""Whole speakers that speak BGP: a folder of manifests, the engine's container, a real router."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from clarion.live.explained import LiveBgp, LiveRoute
from clarion.live.speaker import LiveSpeaker
from frr_container import FrrContainer, frr_container, missing_container
from machine import slowness
from netns import Host, segment
from routers import Router, router
from speakers import Speaker, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
NODE, ROUTER = "node-1", "tor"
MY_AS, ITS_AS = 64500, 64501
POOL = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: [10.77.9.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: bgp, namespace: metallb-system}
spec: {ipAddressPools: [pool], communities: ["64500:7"]}
"""
PEER = """\
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {{name: tor, namespace: metallb-system}}
spec: {{myASN: 64500, peerASN: 64501, peerAddress: {address}, holdTime: 3s, {more}}}
"""
NODE_OBJECT = """\
apiVersion: v1
kind: Node
metadata: {{name: node-1, labels: {labels}}}
spec: {{unschedulable: {cordoned}}}
"""
EXCLUDED = "{node.kubernetes.io/exclude-from-external-load-balancers: ''}"
DRAINING = "64500:7 graceful-shutdown"
"""As the router writes it."""
ANNOUNCED = (
    'metallb_speaker_announced{{ip="10.77.9.{number}",node="node-1",protocol="bgp",'
    'service="default/web-{number}"}}'
)
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: web-{number}, namespace: default}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: 10.77.9.{number}}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-{number}-x
  namespace: default
  labels: {{kubernetes.io/service-name: web-{number}}}
addressType: IPv4
endpoints: [{{addresses: [10.1.1.1], conditions: {{ready: true}}, nodeName: node-1}}]
"""


@dataclass
class Stage:
    """One node, one router; the speaker is started by each test."""

    node: Host
    router: Router
    container: FrrContainer
    folder: Path
    log: Path

    def write(self, name: str, text: str) -> None:
        """Put a manifest there in one go, as a mounted folder changes."""
        part = self.folder / f".{name}"
        part.write_text(text)
        part.rename(self.folder / f"{name}.yaml")

    def peer(self, more: str = "") -> None:
        self.write("peer", PEER.format(address=self.router.host.ip, more=more))

    def service(self, number: int) -> None:
        self.write(f"web-{number}", SERVICE.format(number=number))

    def node_object(self, labels: str = "{}", *, cordoned: bool = False) -> None:
        self.write("node", NODE_OBJECT.format(labels=labels, cordoned=str(cordoned).lower()))

    def communities(self, number: int) -> str | None:
        """Return those that the router has heard with the route, None where there is no route."""
        route = self.router.route(f"10.77.9.{number}/32")
        return None if route is None else str(route["paths"][0]["community"]["string"])

    @contextmanager
    def speaking(self, *more: str) -> Iterator[Speaker]:
        flags = ("--bgp-engine", str(self.container.folder), *more)
        with speaker(self.node, self.folder, *flags, log=self.log) as running:
            yield running

    def learns(self, number: int) -> None:
        """Wait until the router's kernel sends what is for the service to the node."""
        prefix, ours = f"10.77.9.{number}/32", frozenset((self.node.ip,))
        wait_until(lambda: self.router.next_hops(prefix) == ours, f"a route to {prefix}")

    def forgets(self, number: int) -> None:
        prefix = f"10.77.9.{number}/32"
        wait_until(lambda: not self.router.next_hops(prefix), f"no route to {prefix}")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with segment([NODE, ROUTER]) as hosts:
        node, tor = hosts[NODE], hosts[ROUTER]
        peers = [(node.ip, "remote-as", str(MY_AS)), (node.ip, "timers", "connect", "1")]
        with router(tor, ITS_AS, peers) as made, frr_container(namespace=node.namespace) as beside:
            found = Stage(node, made, beside, folder, tmp_path / "speaker.log")
            found.write("pool", POOL)
            found.peer()
            found.service(1)
            yield found


def ready(running: Speaker) -> int:
    """Count how often an engine got ready."""
    return sum(line["state"] == "ready" for line in running.events("bgp_engine"))


def test_a_service_comes_and_goes_at_the_router(stage: Stage) -> None:
    with stage.speaking() as running:
        stage.learns(1)
        route = stage.router.route("10.77.9.1/32")
        assert route is not None
        (path,) = route["paths"]
        assert path["community"]["string"] == "64500:7"
        assert path["origin"] == "IGP"
        announced = ANNOUNCED.format(number=1)
        assert running.metric(announced) == 1
        stage.service(2)
        stage.learns(2)
        (stage.folder / "web-1.yaml").unlink()
        stage.forgets(1)
        assert running.metric(announced) is None
        assert (
            running.metric(
                'metallb_bgp_session_up{peer="' + stage.router.host.ip + '",vrf="default"}'
            )
            == 1
        )
        assert running.metric("clarion_bgp_refused_lines_total") == 0
        assert running.metric("clarion_survived_total") in (None, 0)


def explained(host: Host) -> tuple[LiveBgp, LiveRoute] | None:
    """Ask the speaker why; return what holds for all routes, and the only route; None: too soon."""
    rows = host.namespace.run(LiveSpeaker(NODE).explain, "default/web-1")
    bgp = next((row for row in rows if isinstance(row, LiveBgp)), None)
    route = next((row for row in rows if isinstance(row, LiveRoute)), None)
    return None if bgp is None or route is None else (bgp, route)


def told(host: Host, sent: bool) -> tuple[LiveBgp, LiveRoute]:
    """Wait until it says whether the peer was sent the route."""

    def found() -> tuple[LiveBgp, LiveRoute] | None:
        rows = explained(host)
        return rows if rows is not None and rows[1].sent == sent else None

    rows: tuple[LiveBgp, LiveRoute] = wait_until(found, f"the peer was sent the route: {sent}")
    return rows


def test_it_tells_what_the_router_is_offered_and_what_it_was_really_sent(stage: Stage) -> None:
    with stage.speaking():
        stage.learns(1)
        bgp, route = told(stage.node, sent=True)
        assert (bgp.engine, bgp.withheld) == ("ready", None)
        assert (route.prefix, route.peer) == ("10.77.9.1/32", "tor")
        assert (route.session, route.communities) == ("established", ["64500:7"])
        stage.router.host.namespace.run(stop_link)
        _, route = told(stage.node, sent=False)
        assert (route.offered, route.session) == (True, "down")
        log = stage.node.namespace.run(LiveSpeaker(NODE).log)
        kinds = [record.kind for record in log]
        assert "routes" in kinds
        states = [
            record.details["state"]
            for record in log
            if record.kind == "bgp" and record.details["event"] == "bgp_session"
        ]
        assert states == ["up", "down"]


def stop_link() -> None:
    with IPRoute() as netlink:
        (index,) = netlink.link_lookup(ifname="eth0")
        netlink.link("set", index=index, state="down")


def test_a_speaker_that_is_killed_changes_nothing_at_the_router(stage: Stage) -> None:
    with stage.speaking() as running:
        stage.learns(1)
        before = stage.router.neighbor(stage.node.ip)
        running.process.kill()
        running.process.wait()
    with stage.speaking() as running:
        stage.service(3)
        stage.learns(3)
    after = stage.router.neighbor(stage.node.ip)
    assert after["connectionsEstablished"] == before["connectionsEstablished"] == 1
    stage.learns(1)


def test_an_engine_that_is_killed_is_told_everything_again(stage: Stage) -> None:
    with stage.speaking() as running:
        stage.learns(1)
        for pid in stage.container.pids().values():
            os.kill(pid, signal.SIGKILL)
        stage.forgets(1)
        stage.learns(1)
        wait_until(lambda: ready(running) >= 2, "the second engine is told of")


def test_a_planned_stop_takes_the_routes_back_first(stage: Stage) -> None:
    with stage.speaking() as running:
        stage.learns(1)
        status, seconds = running.stop()
        assert (status, seconds < 5.0 * slowness()) == (0, True)
    assert stage.router.next_hops("10.77.9.1/32") == frozenset()
    assert stage.router.established(stage.node.ip)
    assert (stage.container.folder / "drained").exists()


def test_a_second_signal_closes_the_sessions_at_once(stage: Stage) -> None:
    with stage.speaking() as running:
        stage.learns(1)
        # Of another number, as the kernel makes one of two that are alike.
        running.process.send_signal(signal.SIGTERM)
        running.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        wait_until(lambda: not stage.router.established(stage.node.ip), "a closed session")
        print(f"closed after {(time.monotonic() - began) * 1_000:.0f} ms")
        assert running.process.wait(10) == 0
    reason = stage.router.neighbor(stage.node.ip)["lastNotificationReason"]
    assert reason == "Cease/Administrative Shutdown"
    stage.forgets(1)
    assert (stage.container.folder / "drained").exists()
    with stage.speaking():
        stage.learns(1)


@pytest.mark.parametrize(
    ("labels", "cordoned", "reason"),
    [(EXCLUDED, False, "nodeLabeledExcludeBalancers"), ("{}", True, "nodeCordoned")],
    ids=["label", "cordon"],
)
def test_a_node_that_is_shut_out_drains_before_its_routes_go(
    stage: Stage, labels: str, cordoned: bool, reason: str
) -> None:
    stage.node_object()
    with stage.speaking("--drain-on-cordon") as running:
        seen = set[str | None]()
        # It lasts a quarter of a second: who looks too late looks again.
        for _ in range(5):
            wait_until(lambda: stage.communities(1) == "64500:7", "a route as any other")
            stage.node_object(labels, cordoned=cordoned)
            while None not in seen:
                seen.add(stage.communities(1))
            stage.node_object()
            if DRAINING in seen:
                break
            seen.clear()
        assert DRAINING in seen
        withdrawn = running.wait_for("withdraw", protocol="bgp")
        assert withdrawn["reason"] == reason
        names = [line["event"] for line in running.events()]
        assert names.index("bgp_drain") < names.index("withdraw")
        assert running.metric("clarion_bgp_refused_lines_total") == 0


def test_a_cordon_counts_by_choice_alone(stage: Stage) -> None:
    stage.node_object(cordoned=True)
    with stage.speaking():
        stage.learns(1)
