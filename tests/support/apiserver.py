"""A real kube-apiserver with its etcd, for tests: built once, started, asked, killed, frozen."""

import base64
import datetime
import http.client
import ipaddress
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from gobuild import BuildError, build_once
from netns import Host
from ports import reserved_port

SOURCES = Path(__file__).parents[1] / "apiserver" / "server"
BUILD_TIMEOUT = 1800.0
"""Seconds; all of Kubernetes' server, on one slow core."""
VERSION = "1.37.2"
ADMIN = "admin-token"
START_TIMEOUT = 60.0
CLUSTER_IPS = "10.96.0.0/16"
MEMORY = Path("/dev/shm")
"""Where etcd writes if it has ROOM bytes: a slow disk would be in every latency that is tested."""
ROOM = 1 << 30
MOST_PUTS = 100
"""Of one transaction: etcd takes 128."""
_AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts"]
  - level: None
"""
"""Every request of a service account, as it comes in; a watch counts when it begins."""

_T = TypeVar("_T")


def binaries() -> tuple[Path, Path]:
    """The paths of kube-apiserver and etcd, built if need be. Raises BuildError."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return Path(assets) / "kube-apiserver", Path(assets) / "etcd"
    etcd = shutil.which("etcd")
    if etcd is None:
        raise BuildError("etcd is not installed, see .ci/install-apiserver")
    return build(), Path(etcd)


def build() -> Path:
    """The path of the server. Raises BuildError."""
    versions = {"gitVersion": f"v{VERSION}", "gitMajor": "1", "gitMinor": VERSION.split(".")[1]}
    stamped = " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in versions.items())
    return build_once("kube-apiserver", SOURCES, BUILD_TIMEOUT, f"-ldflags=-s -w {stamped}")


class RefusedError(AssertionError):
    """A request of the test itself that the server did not fulfil."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


class ApiServer:
    """One server and its etcd, in a namespace (`host`) or on the loopback."""

    def __init__(
        self, directory: Path, host: Host | None = None, cluster_ips: str = CLUSTER_IPS
    ) -> None:
        """`cluster_ips` is one range, or two with a comma for a cluster of both families."""
        self.directory, self.host, self._cluster_ips = directory, host, cluster_ips
        self.ip = host.ip if host else "127.0.0.1"
        ports = (6443, 2379, 2380) if host else (reserved_port(), reserved_port(), reserved_port())
        self.port, self._etcd_port, self._peer_port = ports
        self.url = f"https://{self.ip}:{self.port}"
        self._server, self._etcd = binaries()
        self._data = tempfile.TemporaryDirectory(dir=_memory(), prefix="etcd-")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        certificates(directory, self.ip)
        (directory / "audit.yaml").write_text(_AUDIT)
        (directory / "tokens.csv").write_text(f'{ADMIN},admin,admin,"system:masters"\n')

    # ---- processes

    def start(self) -> None:
        """Start what does not run, and wait until it is ready."""
        if "etcd" not in self._processes:
            self._start("etcd", self._etcd_command())
        if "server" not in self._processes:
            self._start("server", self._server_command())
        end = time.monotonic() + START_TIMEOUT
        while not self._ready():
            if time.monotonic() > end or self._processes["server"].poll() is not None:
                raise AssertionError((self.directory / "server.log").read_text()[-3000:])
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill -9 the server; etcd goes on."""
        process = self._processes.pop("server")
        process.kill()
        process.wait()

    def freeze(self) -> None:
        """SIGSTOP the server."""
        self._processes["server"].send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT the server."""
        self._processes["server"].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill both, and forget all."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()
        self._data.cleanup()

    def compact(self) -> None:
        """Forget all history in etcd, so that an old resource version is gone."""
        version = self.get("/api/v1/namespaces")["metadata"]["resourceVersion"]
        body = json.dumps({"revision": version, "physical": True}).encode()

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self._etcd_port, timeout=10)
            connection.request("POST", "/v3/kv/compaction", body)
            assert connection.getresponse().status == 200
            connection.close()

        self._run(ask)

    def store(self, objects: Mapping[str, Any]) -> None:
        """Put objects into etcd as they are, by key: the server checks nothing, and hears of it.

        For thousands of services: it takes 5 ms to create the first and 20 ms the ten thousandth.
        """

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self._etcd_port, timeout=10)
            puts = [
                {"requestPut": {"key": encoded(key), "value": encoded(json.dumps(found))}}
                for key, found in objects.items()
            ]
            for first in range(0, len(puts), MOST_PUTS):
                body = json.dumps({"success": puts[first : first + MOST_PUTS]})
                connection.request("POST", "/v3/kv/txn", body)
                reply = connection.getresponse()
                text = reply.read()
                assert reply.status == 200, text
            connection.close()

        self._run(ask)

    # ---- requests, as the administrator

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        token: str = ADMIN,
    ) -> tuple[int, Any]:
        """Do one request; return the status and the decoded body."""

        def ask() -> tuple[int, Any]:
            context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
            connection = http.client.HTTPSConnection(
                self.ip, self.port, timeout=30, context=context
            )
            try:
                content = None if body is None else json.dumps(body).encode()
                headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
                connection.request(method, path, content, headers)
                reply = connection.getresponse()
                text = reply.read()
            finally:
                connection.close()
            try:
                return reply.status, json.loads(text)
            except ValueError:
                return reply.status, text.decode()

        return self._run(ask)

    def must(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """Do one request that has to succeed; return the decoded body."""
        status, reply = self.request(method, path, body, kind)
        if status >= 300:
            raise RefusedError(status, reply)
        return reply

    def get(self, path: str) -> Any:
        """Read an object or a list."""
        return self.must("GET", path)

    def merge(self, path: str, body: Any) -> Any:
        """Merge into an object."""
        return self.must("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path: str) -> None:
        """Delete an object."""
        self.must("DELETE", path)

    def apply(self, document: Mapping[str, Any], query: str = "") -> Any:
        """Server-side apply of a manifest; the status of those that have one goes in too."""
        path = object_path(document)
        apply = "application/apply-patch+yaml"
        ask = f"?fieldManager=test&force=true{query}"
        found = self.must("PATCH", path + ask, _without_status(document), apply)
        if "status" in document and "dryRun" not in query:
            wanted = {**document, "metadata": dict(document["metadata"])}
            found = self.must("PATCH", f"{path}/status{ask}", wanted, apply)
        return found

    def apply_all(self, text: str) -> None:
        """Apply all documents of a YAML text, in order."""
        for document in yaml.safe_load_all(text):
            if document:
                self.apply(document)

    def install_crds(self, paths: list[Path]) -> None:
        """Apply the CustomResourceDefinitions in the files and wait until they are served."""
        documents = [d for path in paths for d in yaml.safe_load_all(path.read_text()) if d]
        crds = [d for d in documents if d["kind"] == "CustomResourceDefinition"]
        for crd in crds:
            self.apply(crd)
        end = time.monotonic() + 20
        for crd in crds:
            for version in crd["spec"]["versions"]:
                group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
                path = f"/apis/{group}/{version['name']}/{plural}"
                while self.request("GET", path)[0] != 200:
                    assert time.monotonic() < end, path
                    time.sleep(0.05)

    def kubeconfig(self, name: str, token: str = ADMIN, token_file: Path | None = None) -> Path:
        """Write a kubeconfig for a token, or for a file that holds one."""
        user = {"tokenFile": str(token_file)} if token_file else {"token": token}
        cluster = {"server": self.url, "certificate-authority": str(self.directory / "ca.crt")}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = self.directory / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path

    def account_token(self, namespace: str, account: str, seconds: int = 3600) -> str:
        """Ask for a token of a service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        return str(self.must("POST", path, body)["status"]["token"])

    def audited(self) -> list[tuple[str, str, str]]:
        """Verb, resource and user of every request of service accounts so far, in order."""
        log = self.directory / "audit.log"
        # What follows the last end of a line is not written yet, even if it ends in a bracket.
        lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
        found = [json.loads(line) for line in lines]
        return [
            (entry["verb"], entry["objectRef"]["resource"], entry["user"]["username"])
            for entry in found
            if "objectRef" in entry
        ]

    def until_idle(self, seconds: float, allowed: Callable[[tuple[str, str, str]], bool]) -> int:
        """Wait until service accounts did nothing but what is allowed for so long.

        Return how many requests of theirs there were so far.
        """
        end = time.monotonic() + START_TIMEOUT
        while True:
            before = len(self.audited())
            time.sleep(seconds)
            asked = self.audited()
            if all(map(allowed, asked[before:])):
                return len(asked)
            assert time.monotonic() < end, asked[before:]

    def metric(self, name: str) -> dict[str, float]:
        """The series of one of the server's own metrics."""
        text = str(self.request("GET", "/metrics")[1])
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    # ---- inside

    def _run(self, function: Callable[[], _T]) -> _T:
        return self.host.namespace.run(function) if self.host else function()

    def _ready(self) -> bool:
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def _start(self, name: str, command: list[str]) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            if self.host:
                start = self.host.namespace.start
                process = start(command, stdout=log.fileno(), stderr=subprocess.STDOUT)
            else:
                process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self._processes[name] = process

    def _etcd_command(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{p}" for p in (self._etcd_port, self._peer_port))
        return [
            str(self._etcd),
            f"--data-dir={self._data.name}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync" if _knows_no_fsync(self._etcd) else "--snapshot-count=10000",
        ]

    def _server_command(self) -> list[str]:
        d = self.directory
        return [
            str(self._server),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--secure-port={self.port}",
            f"--bind-address={self.ip}",
            f"--advertise-address={self.ip}",
            f"--tls-cert-file={d / 'server.crt'}",
            f"--tls-private-key-file={d / 'server.key'}",
            f"--cert-dir={d}",
            f"--token-auth-file={d / 'tokens.csv'}",
            f"--service-account-key-file={d / 'accounts.key'}",
            f"--service-account-signing-key-file={d / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={self._cluster_ips}",
            "--authorization-mode=RBAC",
            # Nobody makes the accounts of the test's pods, and nobody mounts their tokens.
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=none",
            f"--audit-policy-file={d / 'audit.yaml'}",
            f"--audit-log-path={d / 'audit.log'}",
        ]


@contextmanager
def running(
    directory: Path, host: Host | None = None, cluster_ips: str = CLUSTER_IPS
) -> Iterator[ApiServer]:
    """A server that is ready; all of it is killed at the end."""
    server = ApiServer(directory, host, cluster_ips)
    try:
        server.start()
        yield server
    finally:
        server.stop()


_PLURALS = {
    "EndpointSlice": "endpointslices",
    "BGPPeer": "bgppeers",
    "Community": "communities",
    "NetworkPolicy": "networkpolicies",
    "ServiceBGPStatus": "servicebgpstatuses",
    "ServiceL2Status": "servicel2statuses",
}
_CLUSTER_SCOPED = (
    "Namespace",
    "Node",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingWebhookConfiguration",
)


def object_path(document: Mapping[str, Any]) -> str:
    """The path of a manifest's object."""
    api, kind, meta = document["apiVersion"], document["kind"], document["metadata"]
    base = f"/apis/{api}" if "/" in api else f"/api/{api}"
    plural = _PLURALS.get(kind, kind.lower() + "s")
    space = "" if kind in _CLUSTER_SCOPED else f"/namespaces/{meta.get('namespace', 'default')}"
    return f"{base}{space}/{plural}/{meta['name']}"


def _without_status(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "status"}


def _knows_no_fsync(etcd: Path) -> bool:
    return b"unsafe-no-fsync" in subprocess.run([etcd, "--help"], capture_output=True).stdout


def _memory() -> Path | None:
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM else None


def certificates(directory: Path, ip: str) -> None:
    """Make a CA, the server's certificate and the key of service accounts."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
    ca = _certificate(ca_name, ca_name, ca_key.public_key(), ca_key, None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    addresses = [ipaddress.ip_address(text) for text in {"127.0.0.1", "10.96.0.1", ip}]
    certificate = _certificate(name, ca_name, key.public_key(), ca_key, addresses)
    _write(directory / "ca.crt", ca.public_bytes(serialization.Encoding.PEM))
    _write(directory / "server.crt", certificate.public_bytes(serialization.Encoding.PEM))
    _write(directory / "server.key", _pem(key))
    accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write(directory / "accounts.key", _pem(accounts))


def _certificate(
    subject: x509.Name, issuer: x509.Name, public: Any, signer: Any, addresses: Any
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=addresses is None, path_length=None), True)
    )
    if addresses is not None:
        names = [*map(x509.IPAddress, addresses), x509.DNSName("kubernetes.default.svc")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    certificate: x509.Certificate = builder.sign(signer, hashes.SHA256())
    return certificate


def _pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def encoded(text: str) -> str:
    """Text as a Secret's `data` holds it."""
    return base64.b64encode(text.encode()).decode()


if __name__ == "__main__":
    try:
        print(build())
    except BuildError as error:
        sys.exit(str(error))
