"""A cluster whose first node speaks BGP: an API server, a speaker, FRR's container, a router.

The speaker has the shipped rights, and no other ones.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import cluster as clusters
from cluster import MANIFESTS, NAMESPACE, NODES, STATES, Cluster
from frr_container import FrrContainer, frr_container
from frr_engine import ask_vty
from routers import Router, router
from speakers import Speaker, wait_until

NODE = NODES[0]
MY_AS, ITS_AS = 64500, 64501
COMES_UP = 30.0
"""Seconds for a session, on a machine that has much else to do."""
RIGHTS = MANIFESTS / "overlays" / "bgp" / "rbac.yaml"
Document = Mapping[str, Any]


@dataclass
class BgpCluster:
    """`speak` starts the speaker; the router knows the node as an ordinary peer."""

    cluster: Cluster
    container: FrrContainer
    router: Router

    def speak(self) -> Speaker:
        """Start the node's speaker, beside its engine."""
        return self.cluster.start(NODE, "env", f"CLARION_BGP_ENGINE={self.container.folder}")

    def apply(self, kind: str, name: str, spec: Document) -> None:
        """Apply an object of MetalLB's."""
        version = "v1beta2" if kind == "BGPPeer" else "v1beta1"
        about = {"name": name, "namespace": NAMESPACE}
        self.cluster.server.apply(
            {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": about, "spec": spec}
        )

    def peer(self, **spec: Any) -> None:
        """Apply the BGPPeer of the router."""
        usual = {"myASN": MY_AS, "peerASN": ITS_AS, "holdTime": "9s", "connectTime": "1s"}
        self.apply("BGPPeer", "tor", usual | {"peerAddress": self.router.host.ip} | spec)

    def engine(self) -> str:
        """Return what bgpd has in its configuration."""
        vty = self.container.folder / "bgpd.vty"
        return ask_vty(vty, ("enable", "show running-config"))[1][1]

    def verdict(self) -> tuple[str, str]:
        """Return the result and the error summary of the node's ConfigurationState."""
        items = self.cluster.server.get(STATES)["items"]
        found = [each for each in items if each["metadata"]["name"] == f"speaker-{NODE}"]
        status = found[0].get("status", {}) if found else {}
        return status.get("result", ""), status.get("errorSummary", "")

    def learns(self, prefix: str) -> None:
        """Wait until the router's kernel sends what is for the prefix to the node."""
        ours = frozenset((self.cluster.hosts[NODE].ip,))
        wait_until(lambda: self.router.next_hops(prefix) == ours, f"no {prefix}", COMES_UP)


@contextmanager
def bgp_cluster(folder: Path) -> Iterator[BgpCluster]:
    """A cluster with a pool that is announced by BGP, and no speaker yet."""
    with clusters.running(folder) as cluster:
        node, tor = cluster.hosts[NODE], cluster.hosts["asker"]
        cluster.server.apply_all(RIGHTS.read_text())
        convert_nothing(cluster)
        for other in NODES[1:]:
            # Nobody to wait for: there is one speaker alone.
            cluster.server.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/speaker-{other}")
        peers = ([node.ip, "remote-as", str(MY_AS)], [node.ip, "timers", "connect", "1"])
        with (
            frr_container(namespace=node.namespace) as container,
            router(tor, ITS_AS, peers) as running,
        ):
            made = BgpCluster(cluster, container, running)
            made.apply("BGPAdvertisement", "bgp", {"ipAddressPools": ["pool"]})
            made.peer()
            yield made


def convert_nothing(cluster: Cluster) -> None:
    """Nobody answers for the conversion here, and nothing is stored in the old version."""
    found = yaml.safe_load((MANIFESTS / "crds" / "bgppeers.yaml").read_text())
    found["spec"].pop("conversion", None)
    cluster.server.apply(found)
