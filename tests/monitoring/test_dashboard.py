"""The dashboard against a real Prometheus that scraped real speakers through a failover."""

import json
import math
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from apiserver import certificates
from folder_controllers import folder_controller
from netns import Host, missing_right, segment
from netnslab.machines.topology import Topology
from ownership.io import Announce
from process.health import Health, HttpServer
from prometheus import Prometheus, Target, prometheus
from prometheus_rules import FOLDER
from speaker.metrics.collector import Figures, make_registry
from speaker.wire.layer2 import Layer2Stats
from speakers import MANIFEST, Speaker, ask, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="the package prometheus is missing"
    ),
]
NODES = ("node-1", "node-2", "node-3")
SERVICES = 8
MANY = 1_000
PEER = """\
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 64501, peerAddress: 10.77.0.250}
"""
BOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
EXPRESSIONS = [
    (f"{panel['title']} {target['refId']}", target["expr"])
    for panel in BOARD["panels"]
    for target in panel.get("targets", ())
]
LACKING = {"ClarionBGPEngineDown", "ClarionCertificateEnds", "MetalLBBGPSessionDown"}
"""There is no engine, and the certificate is one of two days."""
OF_SLOW_MACHINES = {"ClarionGossipDegraded", "ClarionLoopLag", "ClarionTakeoverSlow"}
IN_TIME = {"$__rate_interval": "20s", "$__range": "5m"}


def filled(expression: str, **chosen: str) -> str:
    """Put values into the variables as Grafana does: `.*` where all are chosen."""
    for name, text in IN_TIME.items():
        expression = expression.replace(name, text)
    for name in ("node", "service", "ip"):
        # In a string of PromQL each backslash is written twice.
        text = chosen.get(name, ".*").replace("\\", "\\\\")
        expression = text.join(re.split(rf"\${name}\b", expression))
    return expression


def several(values: list[str]) -> str:
    """Return the pattern that Grafana makes of several values."""
    return "(" + "|".join(map(re.escape, values)) + ")"


@dataclass
class Scene:
    """What runs, and what has happened."""

    speakers: dict[str, Speaker]
    prometheus: Prometheus
    lost: set[str]
    """The IPs of the machine that was killed."""
    at: float
    """When, in seconds since 1970."""


def source(folder: Path) -> Path:
    """Write the services, each with an IP, and a router that nobody is."""
    made = folder / "source"
    made.mkdir()
    for number in range(1, SERVICES + 1):
        text = MANIFEST.format(name=f"web-{number}", ip=f"10.77.9.{number}")
        # The pool and the advertisement once.
        parts = text.split("---\n")
        (made / f"{number}.yaml").write_text("---\n".join(parts if number == 1 else parts[2:]))
    (made / "peer.yaml").write_text(PEER)
    return made


def owners(speakers: dict[str, Speaker]) -> dict[str, str]:
    """Return who answers for each IP, by their own word now."""
    found = {}
    for name, running in speakers.items():
        for ip in re.findall(r'^metallb_speaker_announced{ip="([^"]+)"', page(running), re.M):
            found[ip] = name
    return found


def page(running: Speaker) -> str:
    """Return /metrics; that of MetalLB's names without what BGP announces."""
    lines = running.get("/metrics")[1].splitlines()
    return "\n".join(line for line in lines if 'protocol="bgp"' not in line)


def settled(speakers: dict[str, Speaker]) -> bool:
    """Tell whether each IP is answered for by one, and by one alone."""
    shown = [page(running).count("\nmetallb_speaker_announced{") for running in speakers.values()]
    return sum(shown) == SERVICES == len(owners(speakers))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("dashboard")
    with ExitStack() as parts:
        topology = Topology(list(NODES))
        for namespace in [host.namespace for host in topology.hosts()] + [topology.switch]:
            parts.callback(namespace.close)
        pair = folder / "pair"
        pair.mkdir()
        certificates(pair, topology.client.ip)
        for suffix in ("crt", "key"):
            (pair / f"server.{suffix}").rename(pair / f"tls.{suffix}")
        made = source(folder)
        targets = [Target(f"{topology.nodes[name].ip}:7472", name) for name in NODES]
        control = Target(f"{topology.client.ip}:7472", "", "controller", "https")
        watching = parts.enter_context(
            prometheus(topology.observer, folder / "prometheus", [*targets, control])
        )
        flags = f"--state={folder / 'state.yaml'}", f"--metrics-cert-dir={pair}"
        parts.enter_context(
            folder_controller(topology.client, made, folder / "controller.log", *flags)
        )
        speakers = start(parts, topology.nodes, made, folder)
        everybody = [each.instance for each in (*targets, control)]
        yield fail_over(speakers, topology, watching, everybody)


def start(parts: ExitStack, hosts: dict[str, Host], made: Path, folder: Path) -> dict[str, Speaker]:
    secret = folder / "secretkey"
    secret.write_bytes(b"a secret of more than sixteen bytes")
    speakers = {}
    for name in NODES:
        engine = folder / f"engine-{name}"
        engine.mkdir()
        flags = (
            *("--ml-bindaddr", hosts[name].ip, "--join", hosts["node-1"].ip),
            *("--ml-secret-key-path", str(secret), "--bgp-engine", str(engine)),
        )
        log = folder / f"{name}.log"
        speakers[name] = parts.enter_context(speaker(hosts[name], made, *flags, log=log))
    for running in speakers.values():
        running.wait_for("ready", 30.0)
    return speakers


def fail_over(
    speakers: dict[str, Speaker],
    topology: Topology,
    watching: Prometheus,
    everybody: list[str],
) -> Scene:
    """Kill the machine that owns most, once a client knows all IPs."""
    ips = [f"10.77.9.{number}" for number in range(1, SERVICES + 1)]
    wait_until(lambda: settled(speakers), "all announced", 30.0)
    for ip in ips:
        wait_until(partial(ask, topology.client, ip), f"an answer for {ip}")
    before = owners(speakers)
    killed = max(NODES, key=list(before.values()).count)
    watching.wait_for_scrapes(*everybody)
    at = time.time()
    # Of a machine that lives its IPs would be taken over without a word.
    topology.unplug([topology.nodes[killed]])
    speakers[killed].process.kill()
    left = {name: running for name, running in speakers.items() if name != killed}
    wait_until(lambda: settled(left), "all taken over", 30.0)
    alive = [each for each in everybody if not each.startswith(topology.nodes[killed].ip + ":")]
    watching.wait_for_scrapes(*alive)
    lost = {ip for ip, name in before.items() if name == killed}
    return Scene(left, watching, lost, at)


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_an_expression_returns_data(scene: Scene, name: str, expression: str) -> None:
    """One scrape may have come too late; what has happened shows in the next one too."""

    def found() -> bool:
        series = scene.prometheus.query(filled(expression))
        return not all(math.isnan(value) for _, value in series)

    wait_until(found, f"data for {name}", 20.0)


def panel(title: str) -> list[str]:
    [found] = [each for each in BOARD["panels"] if each["title"] == title]
    return [target["expr"] for target in found["targets"]]


def until_equal(ask_for: Callable[[], Any], expected: Any) -> None:
    """Wait until that is the answer: of a machine at its limit one scrape may come too late."""
    last: Any = None

    def equal() -> bool:
        nonlocal last
        last = ask_for()
        return bool(last == expected)

    try:
        wait_until(equal, "an answer", 20.0)
    except AssertionError:
        assert last == expected


def test_the_table_says_who_owns_what_since_when_and_whether_it_answers(scene: Scene) -> None:
    def table() -> Any:
        since, answered = (scene.prometheus.query(filled(each)) for each in panel("Owners"))
        lately = {labels["ip"] for labels, value in since if value > scene.at * 1_000}
        return (
            {labels["ip"]: labels["owner"] for labels, _ in since},
            {labels["ip"]: labels["owner"] for labels, _ in answered},
            lately,
        )

    now = owners(scene.speakers)
    until_equal(table, (now, now, scene.lost))


def test_no_figure_of_trouble_is_left_after_the_failover(scene: Scene) -> None:
    titles = (
        *("IPs to announce", "IPs with an owner", "IPs answered for"),
        *("IPs without an owner", "Contested IPs"),
    )
    expected = [SERVICES, SERVICES, SERVICES, 0.0, 0.0]
    until_equal(
        lambda: [scene.prometheus.value(filled(panel(title)[0])) for title in titles], expected
    )


def test_a_healthy_ring_raises_no_alert_but_what_this_one_lacks(scene: Scene) -> None:
    scene.prometheus.wait_for_evaluation()
    assert scene.prometheus.raised().keys() <= LACKING | OF_SLOW_MACHINES


def variables(watching: Prometheus, label: str, match: str) -> list[str]:
    found: list[str] = watching.get(f"label/{label}/values", **{"match[]": match})
    return found


def test_one_ip_can_be_chosen(scene: Scene) -> None:
    chosen = 'clarion_owner_info{service=~"default/web-3"}'
    [ip] = variables(scene.prometheus, "ip", chosen)
    assert ip == "10.77.9.3"

    def table() -> list[list[str]]:
        filled_in = [filled(each, ip=re.escape(ip)) for each in panel("Owners")]
        found = [scene.prometheus.query(each) for each in filled_in]
        return [[labels["ip"] for labels, _ in each] for each in found]

    until_equal(table, [[ip], [ip]])


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that scrapes the page of a speaker with 1,000 IPs."""
    ips = [IPv4Address("10.0.0.0") + number for number in range(MANY)]
    announced = {f"ns/web-{ip}": Announce(f"ns/web-{ip}", (ip,), None, "start") for ip in ips}
    figures = Figures("node-1", Layer2Stats(), announced, lambda ip, service: True, dict)
    figures.since = dict.fromkeys(announced, 1_700_000_000.0)
    with segment(["node-1"]) as hosts:
        host, registry = hosts["node-1"], make_registry(figures)[0]
        server = host.namespace.run(HttpServer, host.ip, 7472, registry, Health())
        target = Target(f"{host.ip}:7472", "node-1")
        try:
            folder = tmp_path_factory.mktemp("thousand")
            # Such a page takes a busy machine a second.
            with prometheus(host, folder, [target], "5s") as made:
                made.wait_for_scrapes(target.instance)
                yield made
        finally:
            server.close()


@pytest.mark.parametrize("title", ["Owners", "IPs by owner"])
def test_a_thousand_ips_can_be_chosen_all_at_once_or_by_name(
    thousand: Prometheus, title: str
) -> None:
    ips = variables(thousand, "ip", 'clarion_owner_info{service=~".*"}')
    assert len(ips) == MANY
    expected = sorted(ips) if title == "Owners" else [None]
    for expression in panel(title):
        for chosen in ({}, {"ip": several(ips)}):
            text = filled(expression, **chosen)
            until_equal(partial(shown_ips, thousand, text), expected)


def shown_ips(watching: Prometheus, expression: str) -> list[str | None]:
    return sorted((labels.get("ip") for labels, _ in watching.query(expression)), key=str)
