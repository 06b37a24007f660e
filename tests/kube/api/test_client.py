"""The API client against a server that accepts and then says nothing."""

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from apiserver import certificates
from kube.api.client import ApiClient


class Silent:
    """Takes one connection, as a server does that is then frozen: before or after TLS begins."""

    def __init__(self, folder: Path, *, tls: bool) -> None:
        certificates(folder, "127.0.0.1")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.asked = threading.Event()
        self.kubeconfig = folder / "kubeconfig"
        cluster = {"server": self._url(), "certificate-authority": str(folder / "ca.crt")}
        document = {
            "clusters": [{"name": "x", "cluster": cluster}],
            "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "current-context": "x",
        }
        self.kubeconfig.write_text(yaml.safe_dump(document))
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _url(self) -> str:
        return f"https://127.0.0.1:{self._listening.getsockname()[1]}"

    def _run(self) -> None:
        self._connection = self._listening.accept()[0]
        self._connection.settimeout(5.0)
        if self._tls:
            self._connection = self._context.wrap_socket(self._connection, server_side=True)
        self._connection.recv(4096)
        self.asked.set()

    def close(self) -> None:
        self._thread.join()
        if self._connection is not None:
            self._connection.close()
        self._listening.close()


@pytest.fixture(params=[False, True], ids=["before TLS", "after the request"])
def silent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Silent]:
    server = Silent(tmp_path, tls=request.param)
    yield server
    server.close()


def test_a_request_that_is_given_up_leaves_no_connection(silent: Silent) -> None:
    """Else its socket is open until it is collected, some time, with a warning."""

    async def scenario() -> None:
        client = ApiClient(str(silent.kubeconfig))
        await client.open()
        asking = asyncio.create_task(client.get("/version"))
        assert await asyncio.to_thread(silent.asked.wait, 5.0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await client.close()

    asyncio.run(scenario())
    # pytest makes an error of what is warned of here.
    gc.collect()
