"""Real `controller` processes on a real API server, for tests."""

import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from apiserver import ApiServer
from controller.cluster.writer import COMPONENT
from netns import Host
from ports import reserved_port

NAMESPACE = "metallb-system"
MANIFESTS = Path(__file__).parents[2] / "manifests"
CRDS = [
    path for path in sorted((MANIFESTS / "crds").glob("*.yaml")) if path.stem != "kustomization"
]
POOLS = f"/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/ipaddresspools"
SERVICES = "/api/v1/namespaces/default/services"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/clarion-controller"


class Controller:
    """One running replica and its log."""

    def __init__(
        self,
        name: str,
        config: Path,
        folder: Path,
        *flags: str,
        host: Host | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        """It runs on `host`, or on the loopback of the test, where `metric` finds it; `prefix` is
        a command that becomes what follows it."""
        self.name, self.port = name, reserved_port()
        self.log = folder / f"{name}.log"
        command = [*prefix, sys.executable, "-m", "controller", "--namespace", NAMESPACE]
        command += ["--pod-name", name, "--host", "127.0.0.1", "--port", str(self.port)]
        command = ["env", f"KUBECONFIG={config}", *command, *flags]
        begin = host.namespace.start if host else subprocess.Popen
        with self.log.open("wb") as output:
            self.process = begin(command, stdout=output.fileno(), stderr=subprocess.STDOUT)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        whole = self.log.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in whole if line.startswith(b"{")]

    @property
    def leads(self) -> bool:
        """Whether the last that it said is that it decides."""
        said = [line["event"] for line in self.lines() if line["event"] in ("leader", "follower")]
        return self.process.poll() is None and said[-1:] == ["leader"]

    @property
    def ready(self) -> bool:
        """Whether it has listed what it needs."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as page:
                return bool(page.status == 200)
        except OSError:
            return False

    def metric(self, name: str) -> float:
        """One series of /metrics, 0 where there is none."""
        found = [line for line in self.page("/metrics").splitlines() if line.startswith(f"{name} ")]
        return float(found[0].split()[1]) if found else 0.0

    def page(self, path: str) -> str:
        """What it serves there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as page:
            return str(page.read().decode())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it, in whatever state it is."""
        self.process.kill()
        self.process.wait()


@contextmanager
def replicas(
    server: ApiServer, folder: Path, count: int = 3, *flags: str, webhooks: tuple[int, ...] = ()
) -> Iterator[list[Controller]]:
    """Some controllers under exactly the shipped rights; all are killed at the end.

    `webhooks` are their ports for webhooks; none: they serve none.
    """
    config = server.kubeconfig("controller", server.account_token(NAMESPACE, "controller"))
    modes = [("--webhook-port", str(port)) for port in webhooks]
    modes = modes or [("--webhook-mode", "disabled")] * count
    made = [
        Controller(f"controller-{n}", config, folder, *mode, *flags) for n, mode in enumerate(modes)
    ]
    try:
        yield made
    finally:
        for one in made:
            one.end()


def shipped_config(server: ApiServer) -> Path:
    """A kubeconfig of the controller's own account, with exactly the shipped rights."""
    return server.kubeconfig("controller", server.account_token(NAMESPACE, "controller"))


def start(
    config: Path, name: str, folder: Path, *flags: str, host: Host | None = None
) -> Controller:
    """One more replica; whoever starts it ends it."""
    flags = ("--webhook-mode", "disabled", *flags)
    return Controller(name, config, folder, *flags, host=host)


def set_up(server: ApiServer) -> None:
    """Install the kinds, the namespace and the controller's rights."""
    server.install_crds(CRDS)
    server.apply_all((MANIFESTS / "speaker" / "namespace.yaml").read_text())
    for name in ("serviceaccount", "rbac"):
        server.apply_all((MANIFESTS / "controller" / f"{name}.yaml").read_text())


def forget_lease(server: ApiServer) -> None:
    """Have nobody wait for a leader that was killed."""
    code, reply = server.request("DELETE", LEASE)
    assert code in (200, 404), reply


def set_up_in(server: ApiServer, namespace: str) -> None:
    """Give the controller's account in another namespace the rights that it has in its own."""
    server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    text = (MANIFESTS / "controller" / "rbac.yaml").read_text()
    for document in yaml.safe_load_all(text):
        if document["kind"] in ("Role", "RoleBinding"):
            document["metadata"]["namespace"] = namespace
            server.apply(document)


def pool(name: str, *addresses: str, **spec: Any) -> dict[str, Any]:
    """An IPAddressPool."""
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"addresses": list(addresses), **spec},
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    """A Service of type LoadBalancer in the namespace `default`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
    }


def addresses(server: ApiServer) -> dict[str, list[str]]:
    """The addresses of every LoadBalancer service, as one list of the server has them."""
    found = {}
    for item in server.get("/api/v1/services")["items"]:
        if item["spec"]["type"] == "LoadBalancer":
            ingress = item["status"]["loadBalancer"].get("ingress", [])
            found[item["metadata"]["name"]] = [entry["ip"] for entry in ingress]
    return found


class Witness:
    """Lists all services again and again, and remembers any address that two of them had."""

    def __init__(self, server: ApiServer) -> None:
        self.doubles: list[tuple[str, list[str]]] = []
        self.moved: list[tuple[str, list[str], list[str]]] = []
        self.looks = 0
        self._server, self._stop = server, threading.Event()
        self._last: dict[str, list[str]] = {}
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self._look(addresses(self._server))
            self.looks += 1

    def _look(self, now: dict[str, list[str]]) -> None:
        users = defaultdict(list)
        for name, ips in now.items():
            for ip in ips:
                users[ip].append(name)
            before = self._last.get(name)
            if before and ips != before:
                self.moved.append((name, before, ips))
        self.doubles += [(ip, names) for ip, names in users.items() if len(names) > 1]
        self._last = now


def events_about(server: ApiServer, name: str) -> list[dict[str, Any]]:
    """The Events of the controller about the object of that name.

    The API server itself writes Events about Services, too: a repair loop of its own that sees
    a Service before the address of the cluster that belongs to it (they have no `count`).
    """
    return [
        item
        for item in server.get("/api/v1/events")["items"]
        if item["involvedObject"]["name"] == name and item["reportingComponent"] == COMPONENT
    ]
