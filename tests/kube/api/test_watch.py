"""The driver of a reflector against a real server on loopback that ends its watches at once."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from kube.api import watch as watch_module
from kube.api.client import ApiClient
from kube.api.reflector import Reflector, Resource
from kube.api.watch import Watcher

LIST = {"metadata": {"resourceVersion": "10"}, "items": [{"metadata": {"name": "a"}}]}
BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "11"}}}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.states: list[str] = []

    def info(self, event: str, **said: Any) -> None:
        self.states.append(f"{said['state']}")

    def warning(self, event: str, **said: Any) -> None:
        self.states.append(f"{said['state']}: {said['error']}")


class Server:
    """Lists at once; a watch brings a bookmark and ends, or stays, as `patient` says."""

    def __init__(self) -> None:
        self.watches = 0
        self.patient = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        if b"watch=1" in request.split(b"\r\n")[0]:
            patient = self.patient.is_set()
            self.watches += 1
            writer.write(json.dumps(BOOKMARK).encode() + b"\n")
            await writer.drain()
            if patient:
                await reader.read()
        else:
            writer.write(json.dumps(LIST).encode())
        writer.close()


def _kubeconfig(folder: Path, url: str) -> str:
    document = {
        "clusters": [{"name": "x", "cluster": {"server": url}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(document))
    return str(folder / "kubeconfig")


async def _until(found: Callable[[], Any]) -> None:
    end = time.monotonic() + 30.0
    while not found():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def _watching(
    folder: Path, server: Server, then: Callable[[Reflector, Log], Awaitable[None]]
) -> None:
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client, log = ApiClient(_kubeconfig(folder, f"http://127.0.0.1:{port}")), Log()
    await client.open()
    reflector = Reflector(Resource("Node", "/api/v1/nodes"), random.Random(1))
    watcher = Watcher(client, reflector, time.monotonic, lambda _, changed: None, cast(Any, log))
    running = asyncio.create_task(watcher.run())
    try:
        await then(reflector, log)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()
        listening.close()


def test_watches_that_end_at_once_are_one_line_until_one_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None of the watches lasts as long, however slow this machine is.
    monkeypatch.setattr("kube.api.reflector.SHORT_WATCH", 1e9)

    async def scenario() -> None:
        server = Server()

        async def then(reflector: Reflector, log: Log) -> None:
            await _until(lambda: server.watches >= 4)
            assert reflector.trouble == "the watch ended at once"
            assert log.states == ["failing: the watch ended at once"]
            monkeypatch.setattr("kube.api.reflector.SHORT_WATCH", 0.05)
            monkeypatch.setattr(watch_module, "SHORT_WATCH", 0.1)
            server.patient.set()
            await _until(lambda: reflector.trouble is None)
            assert log.states == ["failing: the watch ended at once", "ok"]

        await _watching(tmp_path, server, then)

    asyncio.run(scenario())
