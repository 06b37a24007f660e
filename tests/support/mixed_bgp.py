"""A cluster in BGP mode in which one node runs MetalLB's own speaker and two run ours.

One router with ECMP learns from all of them. MetalLB's speaker is in its native mode, in which it
speaks BGP itself and refuses what only FRR can do: BFD, IPv6, large communities.

As root, `python tests/support/mixed_bgp.py` prints what the router's kernel did while MetalLB's
node was replaced and put back, with sessions of 3 s, so that the MED rises in between.
"""

import argparse
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pyroute2.netlink.rtnl.marshal import MarshalRtnl

import apiserver as api
import cluster as clusters
import metallb
import netns
from cluster import NAMESPACE, NODES, Cluster
from frr_container import FrrContainer, frr_container
from netnslab.instruments.routed.routes import RTMGRP_IPV4_ROUTE, RouteLog, told_of
from routers import Router, router
from speakers import Speaker, wait_until

OURS, FOREIGN = NODES[:2], NODES[2]
ROUTER = "tor"
MY_AS, ITS_AS = 64500, 64501
HOLD = 90
"""Seconds, as in MetalLB's guide. A MED that has fallen for MetalLB's sake stays for longer."""
WITHIN = 60.0
"""Seconds for whatever is waited for, on a machine that has much else to do."""
DRAINS_WITHIN = 20.0
"""Seconds, as in the manifest."""
LOOKS_EVERY = 0.1
AGGREGATE = "10.88.0.0/24"
OVERLAY = clusters.MANIFESTS / "overlays" / "bgp" / "rbac.yaml"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
STATUSES = f"/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/servicebgpstatuses"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
OBJECTS = f"""\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{name: routed, namespace: metallb-system}}
spec: {{addresses: [{AGGREGATE}]}}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {{name: each, namespace: metallb-system}}
spec: {{ipAddressPools: [routed], communities: ["64500:7", "65535:65281"]}}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {{name: whole, namespace: metallb-system}}
spec: {{ipAddressPools: [routed], aggregationLength: 24}}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {{name: tor, namespace: metallb-system}}
spec: {{myASN: {MY_AS}, peerASN: {ITS_AS}, peerAddress: ADDRESS, holdTime: HOLDs}}
"""


def ip(number: int) -> str:
    """Return the IP of the service `web-NUMBER`."""
    return f"10.88.0.{number}"


def prefix(number: int) -> str:
    """Return what is announced for it."""
    return f"{ip(number)}/32"


class KernelRoutes:
    """All that the router's kernel sent each prefix to, in order; `close` it at the end."""

    def __init__(self, host: netns.Host, prefixes: list[str]) -> None:
        self._log = RouteLog(prefixes)
        # A netlink socket belongs to the namespace in which it is made.
        self._raw = host.namespace.run(_listener)
        self._ending = threading.Event()
        self._reader = threading.Thread(target=self._read, name="reader of routes")
        self._reader.start()

    def states(self, prefix: str, since: float) -> list[tuple[float, frozenset[str]]]:
        """Return when what the prefix goes to has changed since then (`time.monotonic()`), and to
        which next hops."""
        changes = list(self._log.changes)
        return [(at, frozenset(hops)) for at, of, hops in changes if of == prefix and at >= since]

    def close(self) -> None:
        """Read no more."""
        self._ending.set()
        self._reader.join()
        self._raw.close()

    def _read(self) -> None:
        marshal = MarshalRtnl()
        while not self._ending.is_set():
            with suppress(TimeoutError):
                data = self._raw.recv(1 << 16)
                at = time.monotonic()
                for told in map(told_of, marshal.parse(data)):
                    if told is not None:
                        self._log.note(at, told[0], told[1], further=told[2])


def _listener() -> socket.socket:
    raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    raw.bind((0, RTMGRP_IPV4_ROUTE))
    raw.settimeout(LOOKS_EVERY)
    return raw


class MixedRing:
    """The cluster, the router, and who speaks on each node."""

    def __init__(self, cluster: Cluster, tor: Router, engines: Mapping[str, FrrContainer]) -> None:
        self.cluster, self.router, self._engines = cluster, tor, engines
        self._metallb: dict[str, Speaker] = {}
        watched = [AGGREGATE, *(prefix(number) for number in range(1, 10))]
        self.kernel = KernelRoutes(tor.host, watched)

    # ---- who speaks

    def start_ours(self, node: str) -> Speaker:
        """Start a Clarion with FRR beside it."""
        engine = self._engines[node]
        if engine.process.poll() is not None:
            engine.start()
        return self.cluster.start(node, flags=("--bgp-engine", str(engine.folder)))

    def stop_ours(self, node: str) -> None:
        """End a node's pod as a kubelet does: the engine's container waits for the speaker."""
        self.cluster.server.delete(f"{PODS}/speaker-{node}")
        running, engine = self.cluster.speakers.pop(node), self._engines[node]
        waiting = engine.drained(DRAINS_WITHIN)
        assert running.stop(WITHIN)[0] == 0
        waiting.wait(WITHIN)
        engine.stop()
        self._renew_pod(node)

    def start_metallb(self, node: str) -> Speaker:
        """Start MetalLB's speaker on a node that has none."""
        self._metallb[node] = metallb.start(self.cluster, node)
        return self._metallb[node]

    def stop_metallb(self, node: str) -> None:
        """End a node's pod as a kubelet does."""
        self.cluster.server.delete(f"{PODS}/speaker-{node}")
        running = self._metallb.pop(node)
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(WITHIN)
        self._renew_pod(node)

    def close(self) -> None:
        """Kill what is not the cluster's."""
        self.kernel.close()
        for running in self._metallb.values():
            running.process.kill()
            running.process.wait()

    def _renew_pod(self, node: str) -> None:
        """Nobody but the test plays the kubelet and whoever makes pods; and the collector, that
        takes with a pod what it owns."""
        server = self.cluster.server
        uid = server.get(f"{PODS}/speaker-{node}")["metadata"]["uid"]
        server.must("DELETE", f"{PODS}/speaker-{node}?gracePeriodSeconds=0")
        for item in server.get(STATUSES)["items"]:
            if [owner["uid"] for owner in item["metadata"].get("ownerReferences", ())] == [uid]:
                server.request("DELETE", f"{STATUSES}/{item['metadata']['name']}")
        server.apply(clusters.pod(node, self.cluster.hosts[node].ip))

    # ---- what there is

    def service(self, number: int, *nodes: str, local: bool = False) -> None:
        """Write a service with an endpoint on each of the nodes; `local`: its traffic policy."""
        name = f"web-{number}"
        policy = "Local" if local else "Cluster"
        for document in _service(name, ip(number), policy, nodes):
            self.cluster.server.apply(document)

    def endpoints(self, number: int, *nodes: str) -> None:
        """Give a service an endpoint on each of the nodes, and no others."""
        self.cluster.server.apply(_points(f"web-{number}", nodes))

    def withdraw(self, number: int) -> None:
        """Delete a service."""
        self.cluster.server.delete(f"/api/v1/namespaces/default/services/web-{number}")

    def label(self, node: str, label: str, value: str | None) -> None:
        """Give a node a label, or take it away."""
        body = {"metadata": {"labels": {label: value}}}
        self.cluster.server.merge(f"/api/v1/nodes/{node}", body)

    def ips(self, *nodes: str) -> frozenset[str]:
        """Return the addresses of these nodes."""
        return frozenset(self.cluster.hosts[node].ip for node in nodes)

    # ---- what the router has

    def goes_to(self, what: str, *nodes: str) -> None:
        """Wait until the router's kernel sends what is for the prefix to exactly these nodes."""
        wanted = self.ips(*nodes)
        wait_until(
            lambda: self.router.next_hops(what) == wanted,
            f"{what} goes to {nodes}, not to {self.router.next_hops(what)}",
            WITHIN,
        )

    def paths(self, what: str) -> dict[str, dict[str, Any]]:
        """Return what each node tells the router of the prefix, by the node's name."""
        names = {host.ip: name for name, host in self.cluster.hosts.items()}
        route = self.router.route(what) or {"paths": []}
        return {names[path["peer"]["peerId"]]: _attributes(path) for path in route["paths"]}

    def statuses(self, number: int) -> dict[str, list[str]]:
        """Node to the peers that its ServiceBGPStatus of the service names."""
        found: dict[str, list[str]] = {}
        for item in self.cluster.server.get(STATUSES)["items"]:
            status = item.get("status", {})
            if status.get("serviceName") == f"web-{number}":
                assert status["node"] not in found, "one object for each service and node"
                found[status["node"]] = status.get("peers", [])
        return found


def _service(name: str, address: str, policy: str, nodes: tuple[str, ...]) -> list[Any]:
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "externalTrafficPolicy": policy}
    made = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
    }
    return [made, _points(name, nodes)]


def _points(name: str, nodes: tuple[str, ...]) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-x", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [f"10.1.0.{number}"], "conditions": {"ready": True}, "nodeName": node}
            for number, node in enumerate(nodes, 1)
        ],
    }


def _attributes(path: Mapping[str, Any]) -> dict[str, Any]:
    """Return what routers choose by. A MED that is not sent counts as 0 (RFC 4271, 9.1.2.2 c)."""
    return {
        "as path": path["aspath"]["string"],
        "origin": path["origin"],
        "communities": path.get("community", {}).get("string", ""),
        "med": path.get("metric", 0),
        "local preference": path.get("locPrf"),
        "next hops": [hop["ip"] for hop in path["nexthops"]],
    }


@contextmanager
def running(folder: Path, hold: int = HOLD) -> Iterator[MixedRing]:
    """A ring in which all speak, and `web-1` goes to all; everything is killed at the end."""
    with silent(folder, hold) as ring:
        ring.service(1, *NODES)
        ring.start_metallb(FOREIGN)
        for node in OURS:
            ring.start_ours(node)
        ring.goes_to(prefix(1), *NODES)
        yield ring


@contextmanager
def silent(folder: Path, hold: int = HOLD) -> Iterator[MixedRing]:
    """A ring in which nobody speaks yet, without a service."""
    with ExitStack() as stack:
        hosts = stack.enter_context(netns.segment([*NODES, "api", ROUTER]))
        server = stack.enter_context(api.running(folder, hosts["api"]))
        cluster = Cluster(server, hosts, folder)
        stack.callback(cluster.stop)
        cluster.set_up()
        server.apply_all(OVERLAY.read_text())
        tor = hosts[ROUTER]
        words = {"ADDRESS": tor.ip, "HOLD": str(hold)}
        text = OBJECTS
        for word, value in words.items():
            text = text.replace(word, value)
        server.apply_all(text)
        peers = [(hosts[node].ip, *line) for node in NODES for line in _neighbour(hold)]
        made = stack.enter_context(router(tor, ITS_AS, peers))
        engines = {
            node: stack.enter_context(frr_container(namespace=hosts[node].namespace))
            for node in NODES
        }
        ring = MixedRing(cluster, made, engines)
        stack.callback(ring.close)
        yield ring


def _neighbour(hold: int) -> list[tuple[str, ...]]:
    timers = ("timers", str(hold // 3), str(hold))
    return [("remote-as", str(MY_AS)), timers, ("timers", "connect", "1")]


def main() -> None:
    """Print each state of the one service's route, and what was done before it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hold", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="mixed-bgp-"))
    folder.mkdir(parents=True, exist_ok=True)
    print("logs in", folder, flush=True)
    with running(folder, given.hold) as ring:
        for what, rest in _acts(ring, given.hold):
            print(f"{what} ...", flush=True)
            began = time.monotonic()
            rest()
            for at, hops in ring.kernel.states(prefix(1), began):
                names = [node for node in NODES if ring.ips(node) <= hops]
                print(f"  {at - began:8.3f} s  {' '.join(names)}", flush=True)
            meds = {node: path["med"] for node, path in ring.paths(prefix(1)).items()}
            print("  MEDs", meds, flush=True)


def _acts(ring: MixedRing, hold: int) -> list[tuple[str, Any]]:
    wait = hold + 20.0

    def pause() -> None:
        time.sleep(wait)

    def replace() -> None:
        ring.stop_metallb(FOREIGN)
        ring.start_ours(FOREIGN)
        pause()

    def put_back() -> None:
        ring.stop_ours(FOREIGN)
        ring.start_metallb(FOREIGN)
        pause()

    return [("MetalLB's node gets a Clarion", replace), ("and MetalLB again", put_back)]


if __name__ == "__main__":
    main()
