"""`clarion doctor` on a node among real speakers, with a real API server: each fault is found."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

import cluster as clusters
import netns
from cluster import NODES, Cluster, service
from netnslab.machines.topology import Host

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

HERE, OTHER, THIRD = NODES
VIP = "10.77.9.1"
OF_WIRE = {"echo", "gossip-tcp", "gossip-udp", "gossip-mtu"}
OF_HOST = {"bound-ip", "arp-announce", "rp-filter", "segments", "interfaces"}
PROXY = "kind: KubeProxyConfiguration\nmode: ipvs\nipvs: {strictARP: false}\n"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@pytest.fixture(scope="module")
def cluster(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Three speakers that are ready, a service, and a kube-proxy that is told to be quiet."""
    if reason := netns.missing_right():
        pytest.skip(reason)
    with clusters.running(tmp_path_factory.mktemp("cluster")) as made:
        made.server.apply_all(service("web", VIP))
        set_proxy(made, PROXY.replace("false", "true"))
        for node in NODES:
            made.start(node)
        for speaker in made.speakers.values():
            speaker.wait_for("ready")
        yield made


def set_proxy(cluster: Cluster, text: str) -> None:
    metadata = {"name": "kube-proxy", "namespace": "kube-system"}
    data = {"config.conf": text}
    cluster.server.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    )


def diagnosed(cluster: Cluster, *more: str) -> tuple[int, Any]:
    """Run the doctor on the first node; return its status and its answer."""
    admin = cluster.server.kubeconfig("admin")
    code = "from clarion.doctor import doctor; doctor()"
    words = ["--node-name", HERE, "--kubeconfig", str(admin), "-o", "json", *more]
    output = cluster.folder / f"doctor-{time.monotonic_ns()}"
    with output.open("wb") as file:
        process = cluster.hosts[HERE].namespace.start(
            [sys.executable, "-c", code, *words], stdout=file.fileno(), stderr=subprocess.STDOUT
        )
        status = process.wait(60)
    return status, json.loads(output.read_text())


def found(cluster: Cluster, *more: str) -> set[tuple[str, str]]:
    """Check and place of each finding."""
    _, answer = diagnosed(cluster, *more)
    return {(each["check"], each["where"]) for each in answer["findings"]}


@contextmanager
def sysctl(host: Host, key: str, value: int) -> Iterator[None]:
    before = host.namespace.run((Path("/proc/sys/net") / key).read_text).strip()
    host.namespace.sysctl(key, value)
    yield
    host.namespace.sysctl(key, before)


def set_mtu(host: Host, mtu: int) -> None:
    def act() -> None:
        with IPRoute() as netlink:
            netlink.link("set", index=netlink.link_lookup(ifname="eth0")[0], mtu=mtu)

    host.namespace.run(act)


@contextmanager
def bound(host: Host, ip: str, link: str) -> Iterator[None]:
    def act(verb: str) -> None:
        with IPRoute() as netlink:
            index = netlink.link_lookup(ifname=link)[0]
            netlink.addr(verb, index=index, address=ip, prefixlen=32)

    host.namespace.run(act, "add")
    yield
    host.namespace.run(act, "del")


def test_a_node_that_is_well(cluster: Cluster) -> None:
    status, answer = diagnosed(cluster)
    assert (status, answer["findings"]) == (0, [])
    assert set(answer["checks"]) >= OF_WIRE | OF_HOST | {"kube-proxy", "clock", "versions"}
    unseen = {each["check"]: each["reason"] for each in answer["unseen"]}
    # The kernel keeps it for the first namespace alone, up to Linux 6.x.
    assert set(unseen) <= {"settings", "optmem-max"}


def test_an_ip_that_the_kernel_answers_for(cluster: Cluster) -> None:
    with bound(cluster.hosts[HERE], VIP, "lo"):
        assert found(cluster) == {("bound-ip", f"{HERE}/lo"), ("arp-announce", f"{HERE}/eth0")}
    with (
        bound(cluster.hosts[HERE], VIP, "lo"),
        sysctl(cluster.hosts[HERE], "ipv4/conf/all/arp_ignore", 1),
        sysctl(cluster.hosts[HERE], "ipv4/conf/all/arp_announce", 2),
    ):
        assert found(cluster) == set()


def test_another_key(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METALLB_ML_SECRET_KEY", "a key that the others have not")
    wrong = {("gossip-tcp", f"{HERE} -> {node}") for node in (OTHER, THIRD)}
    assert found(cluster) >= wrong
    assert not {check for check, _ in found(cluster)} & {"gossip-udp", "gossip-mtu", "echo"}


def test_a_kernel_that_answers_no_echo(cluster: Cluster) -> None:
    with sysctl(cluster.hosts[OTHER], "ipv4/icmp_echo_ignore_all", 1):
        assert ("echo", f"{HERE} -> {OTHER}") in found(cluster)
    assert ("echo", f"{HERE} -> {OTHER}") not in found(cluster)


def test_a_way_that_is_too_narrow(cluster: Cluster) -> None:
    set_mtu(cluster.hosts[OTHER], 1000)
    try:
        wire = {each for each in found(cluster) if each[0] in OF_WIRE}
        assert wire == {("gossip-mtu", f"{HERE} -> {OTHER}")}
    finally:
        set_mtu(cluster.hosts[OTHER], 1500)


def test_what_a_speakers_own_account_may_not_read_is_named(cluster: Cluster) -> None:
    token = cluster.server.account_token("metallb-system", "speaker")
    config = str(cluster.server.kubeconfig("speaker", token))
    status, answer = diagnosed(cluster, "--kubeconfig", config)
    unseen = {each["check"]: each["reason"] for each in answer["unseen"]}
    assert (status, answer["findings"]) == (0, [])
    assert unseen["kube-proxy"].startswith("ConfigMap: 403 ")
    assert "token" not in json.dumps(answer)
    assert set(answer["checks"]) >= OF_WIRE | OF_HOST | {"clock", "versions", "advertisements"}


def test_objects_of_the_cluster(cluster: Cluster) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=3)
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": OTHER, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": OTHER, "renewTime": ahead.isoformat(timespec="microseconds")},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-node-lease"}}
    cluster.server.apply(namespace)
    cluster.server.must("POST", LEASES, lease)
    set_proxy(cluster, PROXY)
    label = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
    cluster.server.merge(f"/api/v1/nodes/{THIRD}", {"metadata": {"labels": label}})
    assert found(cluster) >= {
        ("clock", OTHER),
        ("kube-proxy", "ConfigMap kube-system/kube-proxy"),
        ("nodes", THIRD),
    }


def test_a_speaker_that_does_not_run(cluster: Cluster) -> None:
    cluster.kill(THIRD)
    assert ("gossip-tcp", f"{HERE} -> {THIRD}") in found(cluster)
