"""A small cluster of real parts: an API server, three nodes with a speaker each, one client."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

import apiserver as api
import netns
import stall_probe
from speakers import Speaker

NODES = ("iris1", "iris2", "iris3")
NAMESPACE = "metallb-system"
LABELS = {"app": "metallb", "component": "speaker"}
MANIFESTS = Path(__file__).parents[2] / "manifests"
CRDS = [
    path for path in sorted((MANIFESTS / "crds").glob("*.yaml")) if path.stem != "kustomization"
]
_MOUNT = """
folder=$1; shift
mount -t tmpfs none /var/run && mkdir -p /var/run/secrets/kubernetes.io/serviceaccount &&
mount --bind "$folder" /var/run/secrets/kubernetes.io/serviceaccount && exec "$@"
"""
ANSWERED_WITHIN = 3.0
"""Seconds in which the kernel asks for a neighbour before it gives up."""
STATUSES = f"/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/servicel2statuses"
STATES = f"/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/configurationstates"
POOL = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: [10.77.8.0/21]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: l2, namespace: metallb-system}
spec: {ipAddressPools: [pool]}
"""


def service(name: str, ip: str, endpoints: int = 1) -> str:
    """Manifests of a service with an address and endpoints that can serve."""
    listed = ", ".join(
        f"{{addresses: [10.1.{n // 200}.{n % 200 + 1}], conditions: {{ready: true}},"
        f" nodeName: {NODES[n % 3]}}}"
        for n in range(endpoints)
    )
    return f"""\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: {ip}}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-x, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{listed}]
"""


class Cluster:
    """The API server `server`, and `hosts` by name: the nodes, `api` and `asker`."""

    def __init__(self, server: api.ApiServer, hosts: dict[str, netns.Host], folder: Path) -> None:
        self.server, self.hosts, self.folder = server, hosts, folder
        self.speakers: dict[str, Speaker] = {}

    def set_up(self) -> None:
        """Install the shipped manifests, the configuration, nodes and the speakers' pods."""
        self.server.install_crds(CRDS)
        for name in ("namespace", "serviceaccount", "rbac"):
            self.server.apply_all((MANIFESTS / "speaker" / f"{name}.yaml").read_text())
        self.server.apply_all(POOL)
        for node in NODES:
            self.server.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
            self.server.apply(pod(node, self.hosts[node].ip))

    def start(
        self, node: str, *prefix: str, probe: Path | None = None, flags: Sequence[str] = ()
    ) -> Speaker:
        """Start the node's speaker, under exactly the shipped service account."""
        token = self.server.account_token(NAMESPACE, "speaker")
        config = self.server.kubeconfig(node, token)
        return self.start_with(node, config, *prefix, probe=probe, flags=flags)

    def start_in_pod(self, node: str, mounted: Path) -> Speaker:
        """Start the node's speaker as in a pod: `mounted` is the folder of its service account."""
        shutil.copy(self.server.directory / "ca.crt", mounted / "ca.crt")
        (mounted / "namespace").write_text(NAMESPACE)
        prefix = ("unshare", "--mount", "sh", "-c", _MOUNT, "sh", str(mounted))
        where = ("KUBERNETES_SERVICE_HOST", self.server.ip), ("KUBERNETES_SERVICE_PORT", "6443")
        return self._start(node, dict(where), prefix, None, ())

    def start_with(
        self,
        node: str,
        config: Path,
        *prefix: str,
        probe: Path | None = None,
        flags: Sequence[str] = (),
    ) -> Speaker:
        """Start the node's speaker with a kubeconfig.

        `prefix` is a command that runs it; `probe` is the file for `stall_probe`, if it is to run;
        `flags` come after those that every speaker here has.
        """
        return self._start(node, {"KUBECONFIG": str(config)}, prefix, probe, flags)

    def _start(
        self,
        node: str,
        where: dict[str, str],
        prefix: tuple[str, ...],
        probe: Path | None,
        flags: Sequence[str],
    ) -> Speaker:
        host = self.hosts[node]
        labels = ",".join(f"{key}={value}" for key, value in LABELS.items())
        probed = (stall_probe.__file__, str(probe)) if probe else ()
        variables = {**where, "METALLB_POD_NAME": f"speaker-{node}"}
        command = [
            *prefix,
            *("env", *(f"{name}={value}" for name, value in variables.items())),
            *(sys.executable, *probed, "-m", "speaker", "--node-name", node, "--host", host.ip),
            *("--namespace", NAMESPACE, "--ml-bindaddr", host.ip, "--ml-labels", labels, *flags),
        ]
        log = self.folder / f"{node}-{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            start = host.namespace.start
            process = start(command, stdout=output.fileno(), stderr=subprocess.STDOUT)
        self.speakers[node] = Speaker(process, log, host)
        return self.speakers[node]

    def kill(self, node: str) -> None:
        """Kill -9 the node's speaker."""
        process = self.speakers.pop(node).process
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """Kill all speakers."""
        for node in list(self.speakers):
            self.kill(node)

    def owners(self) -> dict[str, str]:
        """Service to node, from the ServiceL2Status objects; fails where there are two."""
        found: dict[str, str] = {}
        for item in self.server.get(STATUSES)["items"]:
            status = item.get("status", {})
            key = f"{status.get('serviceNamespace')}/{status.get('serviceName')}"
            if key in found:
                return {}
            found[key] = status.get("node", "")
        return found

    def announced(self) -> dict[str, str]:
        """Service to node, from the speakers' own metrics."""
        found: dict[str, str] = {}
        for node, speaker in self.speakers.items():
            for line in speaker.get("/metrics")[1].splitlines():
                if line.startswith("metallb_speaker_announced{"):
                    name = line.split('service="')[1].split('"')[0]
                    if name in found:
                        return {}
                    found[name] = node
        return found

    def events(self, reason: str) -> list[dict[str, Any]]:
        """All Events with the reason."""
        items = self.server.get("/api/v1/events")["items"]
        return [item for item in items if item["reason"] == reason]

    def answers(self, ip: str) -> str | None:
        """The node whose MAC a kernel client without a cache learns for the IP."""
        return self.hosts["asker"].namespace.run(_ask, ip, self._macs())

    def _macs(self) -> dict[str, str]:
        path = Path("/sys/class/net/eth0/address")
        return {self.hosts[node].namespace.run(lambda: _mac_of_eth0(path)): node for node in NODES}


def pod(node: str, ip: str) -> dict[str, Any]:
    """Return the Pod of the node's speaker."""
    metadata = {"name": f"speaker-{node}", "namespace": NAMESPACE, "labels": LABELS}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "nodeName": node,
            "hostNetwork": True,
            "containers": [{"name": "speaker", "image": "clarion"}],
        },
        "status": {"podIP": ip, "podIPs": [{"ip": ip}], "phase": "Running"},
    }


def _mac_of_eth0(path: Path) -> str:
    """The MAC of eth0 in the caller's namespace; /sys shows that of the process."""
    import fcntl
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        found = fcntl.ioctl(probe, 0x8927, path.parts[-2].encode().ljust(256, b"\0"))
    return found[18:24].hex(":")


def _ask(ip: str, macs: dict[str, str]) -> str | None:
    """Have the kernel ask for the IP anew, and read what it learnt."""
    import socket

    table = Path("/proc/thread-self/net/arp")
    # A warm entry may rightly stay with a machine whose speaker died: only who asks is told.
    with IPRoute() as netlink, suppress(NetlinkError):
        netlink.neigh("del", dst=ip, ifindex=netlink.link_lookup(ifname="eth0")[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.sendto(b"", (ip, 9))
    end = time.monotonic() + ANSWERED_WITHIN
    while time.monotonic() < end:
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[0] == ip and fields[2] == "0x2":
                return macs.get(fields[3])
        time.sleep(0.02)
    return None


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster without speakers yet; everything is killed at the end."""
    hosts_of = netns.segment([*NODES, "api", "asker"])
    with hosts_of as hosts, api.running(folder, hosts["api"]) as server:
        cluster = Cluster(server, hosts, folder)
        try:
            cluster.set_up()
            yield cluster
        finally:
            cluster.stop()
