"""Certificates that are replaced under a running client, with a real TLS server on loopback."""

import asyncio
import base64
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from apiserver import certificates
from kube.api.client import ApiClient, ApiError
from kube.api.credentials import AFTER_TLS_ERROR, LOOK_INTERVAL

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
PADDED = 4096
"""Bytes of each file, so that another content is of the same size."""


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.states: list[str] = []

    def info(self, event: str, **said: Any) -> None:
        assert event == "credentials"
        self.states.append(said["state"])

    def warning(self, event: str, **said: Any) -> None:
        self.info(event, **said)
        assert 0 < len(said["error"]) < 300


class World:
    """A TLS server that wants client certificates, a kubeconfig, and a clock that stands still."""

    def __init__(self, folder: Path) -> None:
        self.server, self.client = folder / "server", folder / "client"
        self.now = 0.0
        self.log = Log()
        self.port = 0
        self.kubeconfig = folder / "kubeconfig"
        self.mutual = True
        self._running: asyncio.Server | None = None
        for part in (self.server, self.client):
            part.mkdir()
            self.replace(part)

    @property
    def files(self) -> dict[str, Path]:
        """What the kubeconfig names."""
        return {
            "certificate-authority": self.server / "ca.crt",
            "client-certificate": self.client / "server.crt",
            "client-key": self.client / "server.key",
        }

    def replace(self, part: Path) -> None:
        """Make a new CA and a new certificate of it, in place."""
        certificates(part, "127.0.0.1")
        for file in part.iterdir():
            file.write_bytes(file.read_bytes().ljust(PADDED, b"\n"))

    def write(self, *, inline: bool = False) -> None:
        """Write the kubeconfig: with paths, or with the files in it."""
        found = {
            f"{name}-data" if inline else name: base64.b64encode(path.read_bytes()).decode()
            if inline
            else str(path)
            for name, path in self.files.items()
        }
        user = {name: value for name, value in found.items() if name.startswith("client")}
        cluster = {name: value for name, value in found.items() if name not in user}
        document = {
            "clusters": [
                {"name": "x", "cluster": {"server": f"https://127.0.0.1:{self.port}", **cluster}}
            ],
            "users": [{"name": "x", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "current-context": "x",
        }
        self.kubeconfig.write_text(yaml.safe_dump(document))

    async def serve(self) -> None:
        """Serve with what the files hold now, where it was served before."""
        await self.stop()
        self._running = await asyncio.start_server(
            self._answer, "127.0.0.1", self.port, ssl=self.context()
        )
        self.port = self._running.sockets[0].getsockname()[1]

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server / "server.crt", self.server / "server.key")
        context.load_verify_locations(self.client / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED if self.mutual else ssl.CERT_NONE
        return context

    async def stop(self) -> None:
        if self._running is not None:
            self._running.close()
            await self._running.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Outspoken:
    """A TLS server in a thread: its alert tells a client what is wrong with its certificate."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._answer(self._listening.accept()[0])

    def _answer(self, accepted: socket.socket) -> None:
        accepted.settimeout(5.0)
        with self._context.wrap_socket(
            accepted, server_side=True, do_handshake_on_connect=False
        ) as connection:
            try:
                connection.do_handshake()
                connection.recv(4096)
                connection.sendall(HEAD)
            except ssl.SSLError:
                # A reset would overtake the alert.
                socket.socket.shutdown(connection, socket.SHUT_WR)
                socket.socket.recv(connection, 4096)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()


Scenario = Callable[[World, ApiClient], Awaitable[None]]


def _run(folder: Path, scenario: Scenario, *, inline: bool = False, pod: bool = False) -> World:
    async def whole() -> World:
        world = World(folder)
        world.mutual = not pod
        await world.serve()
        world.write(inline=inline)
        if pod:
            os.environ["KUBERNETES_SERVICE_PORT"] = str(world.port)
        client = ApiClient(
            "" if pod else str(world.kubeconfig), lambda: world.now, cast(Any, world.log)
        )
        await client.open()
        try:
            assert await client.get("/version") == b"{}"
            await scenario(world, client)
        finally:
            await client.close()
            await world.stop()
        return world

    return asyncio.run(whole())


async def _fails(client: ApiClient) -> bool:
    try:
        await client.get("/version")
    except ApiError as error:
        assert error.status == 0
        return True
    return False


@pytest.mark.parametrize("inline", [False, True], ids=["paths", "inline"])
@pytest.mark.parametrize("part", ["server", "client"])
def test_new_certificates_are_used_before_anything_fails(
    tmp_path: Path, part: str, inline: bool
) -> None:
    async def scenario(world: World, client: ApiClient) -> None:
        world.replace(getattr(world, part))
        world.write(inline=inline)
        await world.serve()
        world.now += LOOK_INTERVAL
        assert not await _fails(client)

    assert _run(tmp_path, scenario, inline=inline).log.states == ["read again"]


def test_a_tls_error_looks_at_once(tmp_path: Path) -> None:
    async def scenario(world: World, client: ApiClient) -> None:
        world.replace(world.server)
        await world.serve()
        assert await _fails(client)
        assert not await _fails(client)

    _run(tmp_path, scenario)


def test_so_does_what_the_server_says_of_our_certificate(tmp_path: Path) -> None:
    """After the handshake, with TLS 1.3; asyncio's own server hangs up without a word."""

    async def scenario(world: World, client: ApiClient) -> None:
        world.replace(world.client)
        await world.stop()
        server = Outspoken(world.port, world.context())
        try:
            assert await _fails(client)
            assert not await _fails(client)
        finally:
            server.close()

    _run(tmp_path, scenario)


def test_in_a_pod_the_mounted_ca_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kubelet does it: a link that is moved from one folder to another."""
    (tmp_path / "token").write_text("secret")
    link = tmp_path / "ca.crt"
    link.symlink_to(tmp_path / "server" / "ca.crt")
    module = "kubernetes.aio.config.incluster_config"
    monkeypatch.setattr(f"{module}.SERVICE_CERT_FILENAME", str(link))
    monkeypatch.setattr(f"{module}.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "set later")

    async def scenario(world: World, client: ApiClient) -> None:
        other = tmp_path / "other"
        other.mkdir()
        world.replace(other)
        world.server = other
        await world.serve()
        link.unlink()
        link.symlink_to(other / "ca.crt")
        world.now += LOOK_INTERVAL
        assert not await _fails(client)

    _run(tmp_path, scenario, pod=True)


def test_half_a_file_keeps_the_last_good_one_and_is_told_once(tmp_path: Path) -> None:
    async def scenario(world: World, client: ApiClient) -> None:
        for name in ("certificate-authority", "client-certificate", "client-key"):
            file = world.files[name]
            whole = file.read_bytes()
            for length in (0, 100, 200):
                file.write_bytes(whole[:length])
                world.now += LOOK_INTERVAL
                assert not await _fails(client), name
            file.write_bytes(whole)
            world.now += LOOK_INTERVAL
            assert not await _fails(client), name
        # A certificate is there before its key is.
        key = world.files["client-key"].read_bytes()
        world.replace(world.client)
        new = world.files["client-key"].read_bytes()
        world.files["client-key"].write_bytes(key)
        world.now += LOOK_INTERVAL
        assert not await _fails(client)
        world.files["client-key"].write_bytes(new)
        await world.serve()
        world.now += LOOK_INTERVAL
        assert not await _fails(client)

    assert _run(tmp_path, scenario).log.states == ["failing", "ok"] * 4


def test_half_a_kubeconfig_keeps_the_last_good_one(tmp_path: Path) -> None:
    async def scenario(world: World, client: ApiClient) -> None:
        whole = world.kubeconfig.read_bytes()
        for length in range(0, len(whole), 40):
            world.kubeconfig.write_bytes(whole[:length])
            world.now += LOOK_INTERVAL
            assert not await _fails(client), whole[:length]

    assert _run(tmp_path, scenario).log.states[0] == "failing"


def test_where_no_file_has_changed_a_tls_error_reads_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And finds what `stat` does not show: another content of the same size and time."""
    reads: list[str] = []
    monkeypatch.setattr("kube.api.credentials._load", _counted(reads))

    async def scenario(world: World, client: ApiClient) -> None:
        ca = world.files["certificate-authority"]
        good, seen = ca.read_bytes(), ca.stat()
        world.replace(world.server)
        new = ca.read_bytes()
        ca.write_bytes(good)
        os.utime(ca, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        await world.serve()
        world.now += AFTER_TLS_ERROR
        assert await _fails(client)
        reads.clear()
        for _ in range(20):
            world.now += 1.0
            assert await _fails(client)
        assert reads == []
        ca.write_bytes(new)
        os.utime(ca, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        assert await _fails(client)
        assert reads == []
        world.now += AFTER_TLS_ERROR - 20.0
        assert await _fails(client)
        assert len(reads) == 1
        assert not await _fails(client)

    _run(tmp_path, scenario)


def test_where_nothing_changes_nothing_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    monkeypatch.setattr("kube.api.credentials._load", _counted(reads))

    async def scenario(world: World, client: ApiClient) -> None:
        for _ in range(20):
            world.now += LOOK_INTERVAL
            assert not await _fails(client)
        assert len(reads) == 1

    assert _run(tmp_path, scenario).log.states == []


def _counted(reads: list[str]) -> Callable[[str, str | None], Awaitable[Any]]:
    from kube.api.credentials import _load

    async def load(kubeconfig: str, context: str | None) -> Any:
        reads.append(kubeconfig)
        return await _load(kubeconfig, context)

    return load
