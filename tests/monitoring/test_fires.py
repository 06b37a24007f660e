"""Alerts raised by the faults themselves: real speakers and controllers, and a real Prometheus.

Times run `prometheus.FACTOR` times faster than in a cluster. That an alert fires here tells that
the figure it looks at follows the fault; when it fires is for `alerts.yaml` to say. That it was
quiet before is asked only of what a slow machine does not raise by itself.
"""

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from apiserver import certificates
from folder_controllers import folder_controller
from netns import Host, missing_right
from netnslab.instruments import arp
from netnslab.instruments.instrument import packet_socket
from netnslab.machines import rules
from netnslab.machines.addresses import LINK
from netnslab.machines.topology import Topology
from prometheus import Prometheus, Target, prometheus
from speakers import MANIFEST, Speaker, ask, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="the package prometheus is missing"
    ),
]
VIP = "10.77.9.1"
HERE = "spec: {ipAddressPools: [pool]}"
NOWHERE = "spec: {ipAddressPools: [pool], nodeSelectors: [{matchLabels: {rack: none}}]}"
PEER = """\
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 64501, peerAddress: 10.77.0.250, bfdProfile: fast}
"""
NODE = "---\napiVersion: v1\nkind: Node\nmetadata: {{name: node-{}}}\n"
WAITING = """\
apiVersion: v1
kind: Service
metadata: {{name: {}, namespace: default}}
spec: {{type: LoadBalancer, clusterIPs: [10.96.0.{}], ipFamilies: [IPv4], ports: [{{port: 80}}]}}
"""
NO_UDP = """\
table inet lab {
  chain own { type filter hook input priority -200; udp dport 7946 drop; }
}
"""
BURST = 256
"""Frames that may go at once."""
SMALL = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: small, namespace: metallb-system}
spec: {addresses: [10.77.8.0/30]}
"""


POOL, SERVICE = MANIFEST.split("---\napiVersion: v1\n")
POOL = POOL.format()


def service(name: str, ip: str) -> str:
    """Return the manifests of a service with endpoints."""
    return ("apiVersion: v1\n" + SERVICE).format(name=name, ip=ip)


@dataclass
class Lab:
    """A segment, and Prometheus on its own host."""

    topology: Topology
    folder: Path
    parts: ExitStack
    prometheus: Prometheus

    def source(self, name: str, services: int = 1) -> Path:
        """Make a folder with that many services."""
        made = self.folder / name
        made.mkdir()
        for number in range(1, services + 1):
            (made / f"{number}.yaml").write_text(service(f"web-{number}", f"10.77.9.{number}"))
        (made / "pool.yaml").write_text(POOL)
        return made

    def start(self, node: str, source: Path, *flags: str, fault: str = "") -> Speaker:
        """Start a speaker and wait until it is ready."""
        log = self.folder / f"{node}.log"
        running = self.parts.enter_context(
            speaker(self.topology.nodes[node], source, *flags, log=log, fault=fault)
        )
        running.wait_for("ready", 40.0)
        return running

    def gossip(self, node: str) -> tuple[str, ...]:
        """Return the flags by which it joins node-1."""
        own, first = self.topology.nodes[node].ip, self.topology.nodes["node-1"].ip
        return "--ml-bindaddr", own, "--join", first

    def secret(self, name: str, text: bytes) -> tuple[str, str]:
        """Write a secret, and return the flags with it."""
        path = self.folder / name
        path.write_bytes(text)
        return "--ml-secret-key-path", str(path)

    def fires(self, *alerts: str, within: float = 60.0) -> None:
        """Wait until each of these alerts fires."""
        for alert in alerts:
            self.prometheus.wait_for_alert(alert, within)

    def is_quiet(self, *alerts: str) -> None:
        """Fail where one of these fires, by an evaluation of what is scraped from now on."""
        instances = [labels["instance"] for labels, _ in self.prometheus.query("up == 1")]
        self.prometheus.wait_for_scrapes(*instances)
        self.prometheus.wait_for_evaluation()
        assert self.prometheus.raised().keys() & set(alerts) == set()


@contextmanager
def lab(folder: Path, names: tuple[str, ...], **schemes: str) -> Iterator[Lab]:
    """Build the segment and begin to scrape all nodes; `schemes` are those that are not HTTP."""
    topology = Topology(list(names))
    with ExitStack() as parts:
        for namespace in [host.namespace for host in topology.hosts()] + [topology.switch]:
            parts.callback(namespace.close)
        targets = [
            Target(f"{host.ip}:7472", name, scheme=schemes.get(name.replace("-", ""), "http"))
            for name, host in topology.nodes.items()
        ]
        watching = parts.enter_context(
            prometheus(topology.observer, folder / "prometheus", targets)
        )
        yield Lab(topology, folder, parts, watching)


def test_two_with_different_settings_that_lose_each_other(tmp_path: Path) -> None:
    """And a third one that has another secret."""
    with lab(tmp_path, ("node-1", "node-2", "node-3")) as made:
        source = made.source("source", 4)
        secret = made.secret("key", b"one secret, and long enough")
        made.start("node-1", source, *made.gossip("node-1"), *secret)
        made.is_quiet("ClarionIPWithTwoOwners", "ClarionIPContested", "ClarionSettingsDiffer")
        flags = *made.gossip("node-2"), *secret, "--failover-after=500ms"
        made.start("node-2", source, *flags, fault="no_room_for_news")
        other = made.secret("other", b"another secret, and long enough")
        flags = *made.gossip("node-3"), *other
        # It waits for word from a peer that it can read, and so is not ready.
        made.parts.enter_context(
            speaker(made.topology.nodes["node-3"], source, *flags, log=tmp_path / "log")
        )
        made.fires("ClarionSettingsDiffer", "ClarionGossipDecryptFailures")
        made.prometheus.wait_for_scrapes(f"{made.topology.nodes['node-2'].ip}:7472")
        rules.load(made.topology.switch, rules.no_gossip())
        # Whoever owned an IP goes on to answer for it, so the other one leaves it alone.
        made.fires("ClarionIPWithTwoOwners", "ClarionIPContested", "ClarionGossipNewsLost")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Speaker, Path]]:
    """A speaker without secret, engine, or a certificate that lasts; it owns 20 IPs."""
    folder = tmp_path_factory.mktemp("alone")
    pair = folder / "pair"
    pair.mkdir()
    certificates(pair, "127.0.0.1")
    for suffix in ("crt", "key"):
        (pair / f"server.{suffix}").rename(pair / f"tls.{suffix}")
    engine = folder / "engine"
    engine.mkdir()
    with lab(folder, ("node-1",), node1="https") as made:
        source = made.source("source", 20)
        (source / "peer.yaml").write_text(PEER)
        flags = "--bgp-engine", str(engine), "--metrics-cert-dir", str(pair)
        gossip = made.gossip("node-1")
        running = made.start("node-1", source, *gossip, *flags, fault="frame_once")
        yield made, running, source


Alone = tuple[Lab, Speaker, Path]


def test_what_a_speaker_lacks(alone: Alone) -> None:
    made, _, _ = alone
    made.fires("ClarionGossipPlaintext", "ClarionBGPEngineDown", "ClarionCertificateEnds")
    made.fires("MetalLBBGPSessionDown", "MetalLBBFDSessionDown")


def test_an_error_of_its_own(alone: Alone) -> None:
    """The fault is in it: the first frame that comes."""
    made, _, _ = alone
    made.is_quiet("ClarionErrorSurvived")
    wait_until(lambda: ask(made.topology.client, VIP), "an answer")
    made.fires("ClarionErrorSurvived")


def test_a_stranger_with_our_ip(alone: Alone) -> None:
    made, _, _ = alone
    stranger = made.topology.client
    made.is_quiet("ClarionForeignMAC")

    def announce() -> None:
        with packet_socket(LINK, arp.ETH_P_ARP) as raw:
            raw.send(arp.gratuitous(bytes.fromhex(stranger.mac.replace(":", "")), VIP))

    stranger.namespace.run(announce)
    made.fires("ClarionForeignMAC")


def test_an_ip_that_comes_and_goes(alone: Alone) -> None:
    """Its endpoints are ready, and not, and ready again."""
    made, running, source = alone
    made.is_quiet("ClarionIPFlaps")
    instance = f"{made.topology.nodes['node-1'].ip}:7472"
    path = source / "2.yaml"
    ready = path.read_text()
    for _ in range(5):
        for text, shown in ((ready.replace("ready: true", "ready: false"), 0), (ready, 1)):
            path.write_text(text)
            running.process.send_signal(signal.SIGHUP)
            made.prometheus.wait_for_scrapes(instance)
            wait_until(partial(owned, made, shown), f"{shown} owners", 30.0)
    made.fires("ClarionIPFlaps")


def owned(made: Lab, number: int) -> bool:
    """Tell whether so many nodes own the IP that comes and goes."""
    series = 'count(clarion_owner_info{ip="10.77.9.2"}) or vector(0)'
    return made.prometheus.value(series) == number


def test_a_pool_with_a_typing_error(alone: Alone) -> None:
    made, running, source = alone
    made.is_quiet("ClarionConfigurationStale")
    path = source / "pool.yaml"
    good = path.read_text()
    path.write_text(good.replace("10.77.9.0/24", "10.77.9.0-24"))
    running.process.send_signal(signal.SIGHUP)
    made.fires("ClarionConfigurationStale")
    path.write_text(good)
    running.process.send_signal(signal.SIGHUP)


def test_a_speaker_that_does_not_get_its_turn(alone: Alone) -> None:
    made, running, _ = alone
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and "ClarionLoopLag" not in made.prometheus.raised():
        running.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        running.process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
    made.fires("ClarionLoopLag")


def test_an_advertisement_for_no_node(alone: Alone) -> None:
    made, running, source = alone
    made.is_quiet("ClarionIPWithoutOwner", "ClarionIPNotAnswered")
    path = source / "pool.yaml"
    path.write_text(path.read_text().replace(HERE, NOWHERE))
    running.process.send_signal(signal.SIGHUP)
    made.fires("ClarionIPWithoutOwner", "ClarionIPNotAnswered")


def test_no_majority_and_a_full_pool_with_two_who_fill_it(tmp_path: Path) -> None:
    with lab(tmp_path, ("node-1", "node-2", "node-3")) as made:
        source = made.source("source")
        (source / "nodes.yaml").write_text("".join(NODE.format(n) for n in (1, 2, 3)))
        small = tmp_path / "small"
        small.mkdir()
        (small / "pool.yaml").write_text(SMALL)
        for number in range(1, 5):
            (small / f"{number}.yaml").write_text(WAITING.format(f"web-{number}", number))
        instances = [
            made.parts.enter_context(controlled(made.topology.nodes[name], small, tmp_path))
            for name in ("node-2", "node-3")
        ]
        made.prometheus.wait_for_scrapes(*instances)
        made.fires("ClarionNoLeader", "ClarionPoolNearlyEmpty", "MetalLBPoolExhaustion")
        made.is_quiet("ClarionAllocationFailing", "MetalLBAllocationFailure")
        (small / "5.yaml").write_text(WAITING.format("web-5", 5))
        flags = *made.gossip("node-1"), "--quorum=majority"
        made.start("node-1", source, *flags)
        made.fires("ClarionWithoutQuorum", "ClarionAllocationFailing", "MetalLBAllocationFailure")


@contextmanager
def controlled(host: Host, source: Path, folder: Path) -> Iterator[str]:
    """Run a controller with a state of its own; yield where it is scraped."""
    state = folder / f"state-{host.name}.yaml"
    with folder_controller(host, source, folder / f"{host.name}.log", f"--state={state}"):
        yield f"{host.ip}:7472"


def test_gossip_by_udp_is_lost_and_a_client_does_not_follow(tmp_path: Path) -> None:
    with lab(tmp_path, ("node-1", "node-2")) as made:
        source = made.source("source", 4)
        secret = made.secret("key", b"one secret, and long enough")
        running = {
            name: made.start(name, source, *made.gossip(name), *secret)
            for name in ("node-1", "node-2")
        }
        made.is_quiet("ClarionTakeoverNotConfirmed")
        for number in range(1, 5):
            ip = f"10.77.9.{number}"
            wait_until(partial(ask, made.topology.client, ip), f"an answer for {ip}")
        rules.load(made.topology.nodes["node-1"].namespace, NO_UDP)
        made.fires("ClarionGossipDegraded")
        made.topology.unplug([made.topology.client])
        running["node-1"].stop()
        made.fires("ClarionTakeoverNotConfirmed")


def test_a_new_key_that_one_does_not_get(tmp_path: Path) -> None:
    """The Secret is mounted anew on one node, and not on the other."""
    with lab(tmp_path, ("node-1", "node-2")) as made:
        source = made.source("source")
        for name in ("node-1", "node-2"):
            flags = *made.gossip(name), *made.secret(f"key-{name}", b"the first, and long enough")
            made.start(name, source, *flags, fault="quick_rotation")
        made.is_quiet("ClarionGossipKeyNotEverywhere")
        made.secret("key-node-1", b"the second, and long enough")
        made.fires("ClarionGossipKeyNotEverywhere")


def test_an_heir_that_may_announce_little(tmp_path: Path) -> None:
    with lab(tmp_path, ("node-1", "node-2")) as made:
        source = made.source("source", 120)
        running = [
            made.start(name, source, *made.gossip(name), "--announce-rate=2")
            for name in ("node-1", "node-2")
        ]
        heir = f"{made.topology.nodes['node-2'].ip}:7472"
        sent = f'sum(metallb_layer2_gratuitous_sent{{instance="{heir}"}})'
        wait_until(lambda: (made.prometheus.value(sent) or 0) >= BURST, "all at once", 60.0)
        running[0].stop()
        made.fires("ClarionTakeoverSlow")
