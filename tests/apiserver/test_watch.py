"""List and watch against the real kube-apiserver: paging, compaction, kill -9, SIGSTOP, tokens."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from apiserver import ApiServer
from kube.api import reflector as reflector_module
from kube.api import watch as watch_module
from kube.api.client import ApiClient, ApiError
from kube.api.reflector import Key, Reflector, Resource
from kube.api.watch import Watcher
from kube.objects.core import Namespace

SPACES = Resource("Namespace", "/api/v1/namespaces", (("labelSelector", "test"),))


class Mirror:
    """What the changes alone tell, applied one after the other."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.changes: list[str] = []

    def take(self, reflector: Reflector, changed: set[Key]) -> None:
        for _, name in changed:
            self.changes.append(name)
            view = reflector.objects.get(("", name))
            if isinstance(view, Namespace):
                assert self.names.get(name) != view.labels["test"], "a change that is none"
                self.names[name] = view.labels["test"]
            else:
                del self.names[name]


@asynccontextmanager
async def watching(
    server: ApiServer, resource: Resource = SPACES, kubeconfig: Path | None = None
) -> AsyncIterator[tuple[Reflector, Mirror]]:
    client = ApiClient(str(kubeconfig or server.kubeconfig("admin")))
    await client.open()
    mirror = Mirror()
    reflector = Reflector(resource, random.Random(3))
    watcher = Watcher(client, reflector, time.monotonic, mirror.take, structlog.get_logger())
    task = asyncio.create_task(watcher.run())
    try:
        yield reflector, mirror
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def until(found: Callable[[], Any], what: str, within: float = 15.0) -> None:
    end = time.monotonic() + within
    while not found():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


def has(mirror: Mirror, name: str, value: str) -> bool:
    return mirror.names[name] == value


def put(server: ApiServer, name: str, value: str) -> None:
    metadata = {"name": name, "labels": {"test": value}}
    server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def state(server: ApiServer) -> dict[str, str]:
    found = server.get("/api/v1/namespaces?labelSelector=test")["items"]
    return {item["metadata"]["name"]: item["metadata"]["labels"]["test"] for item in found}


@pytest.fixture
def spaces(server: ApiServer) -> ApiServer:
    """Three namespaces in a known state."""
    for name in ("red", "green", "blue"):
        put(server, name, "0")
    return server


def test_pages_then_events(spaces: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector_module, "PAGE", 2)

    async def scenario() -> None:
        async with watching(spaces) as (reflector, mirror):
            await until(lambda: reflector.watching, "synced")
            assert mirror.names == {"red": "0", "green": "0", "blue": "0"}
            for value in map(str, range(1, 20)):
                await asyncio.to_thread(put, spaces, "red", value)
                # What comes in one go is one change, so each has to have come before the next.
                await until(partial(has, mirror, "red", value), "the change")
            # The selector makes a lost label a deletion.
            metadata = {"metadata": {"labels": {"test": None}}}
            spaces.merge("/api/v1/namespaces/green", metadata)
            await until(lambda: "green" not in mirror.names, "the deletion")
            assert mirror.changes.count("red") == 20
            assert reflector.relists == 0

    asyncio.run(scenario())


def test_compaction_and_kill_9_lose_and_double_nothing(spaces: ApiServer) -> None:
    async def scenario() -> None:
        async with watching(spaces) as (reflector, mirror):
            await until(lambda: reflector.watching, "synced")
            for round_ in range(2):
                # As after an hour away: what we saw last is compacted.
                put(spaces, "blue", f"before{round_}")
                spaces.compact()
                spaces.kill()
                await until(lambda: reflector.trouble, "trouble noticed")
                kept = dict(mirror.names)
                reflector._version = "1"
                await asyncio.sleep(1)
                assert mirror.names == kept, "nothing changes because the server is gone"
                await asyncio.to_thread(spaces.start)
                put(spaces, "red", f"after{round_}")
                put(spaces, f"new{round_}", "x")
                await until(lambda: mirror.names == state(spaces), "as on the server", 30)
                # The watches before were short: this one has to last before all is well.
                await until(lambda: reflector.trouble is None, "trouble over")
            assert reflector.relists >= 2

    asyncio.run(scenario())


def test_a_frozen_server_is_noticed_and_nothing_is_lost(
    spaces: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "SILENCE", 1.0)
    monkeypatch.setattr("kube.api.client.CONNECT_TIMEOUT", 1.0)

    async def scenario() -> None:
        async with watching(spaces) as (reflector, mirror):
            await until(lambda: reflector.watching, "synced")
            before = dict(mirror.names)
            spaces.freeze()
            try:
                await until(lambda: reflector.trouble, "the silence noticed")
                await asyncio.sleep(1)
                assert mirror.names == before
            finally:
                spaces.thaw()
            put(spaces, "red", "thawed")
            await until(lambda: mirror.names["red"] == "thawed", "the change")
            await until(lambda: mirror.names == state(spaces), "as on the server")

    asyncio.run(scenario())


def test_a_rotated_token_is_read_again(spaces: ApiServer, tmp_path: Path) -> None:
    """The old token is worthless at once; the file holds the new one."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    for name in ("old", "new"):
        spaces.apply({**account, "metadata": {"name": name, "namespace": "default"}})
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "rotated"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [
            {"kind": "ServiceAccount", "name": name, "namespace": "default"}
            for name in ("old", "new")
        ],
    }
    spaces.apply(role)
    file = tmp_path / "token"
    file.write_text(spaces.account_token("default", "old") + "\n")
    config = spaces.kubeconfig("rotated", token_file=file)

    async def scenario() -> None:
        client = ApiClient(str(config))
        await client.open()
        try:
            await client.get("/api/v1/namespaces")
            file.write_text(spaces.account_token("default", "new") + "\n")
            spaces.delete("/api/v1/namespaces/default/serviceaccounts/old")
            await asyncio.sleep(0.2)
            end = time.monotonic() + 15
            refused = 0
            while refused == 0:
                # The server remembers a good token for some seconds.
                assert time.monotonic() < end, "the old token still works"
                try:
                    await client.get("/api/v1/namespaces")
                except ApiError as error:
                    assert error.status == 401
                    refused += 1
                await asyncio.sleep(0.2)
            await client.get("/api/v1/namespaces")
        finally:
            await client.close()

    asyncio.run(scenario())


def test_a_kind_that_is_not_served_yet_is_waited_for(server: ApiServer) -> None:
    path = "/apis/test.example/v1/things"

    async def scenario() -> None:
        async with watching(server, Resource("Namespace", path)) as (reflector, _):
            await until(lambda: reflector.trouble, "trouble noticed")
            assert "404" in str(reflector.trouble)
            server.apply(THINGS)
            await until(lambda: reflector.synced, "listed once it is served", 30)

    asyncio.run(scenario())


THINGS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.test.example"},
    "spec": {
        "group": "test.example",
        "scope": "Cluster",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }
        ],
    },
}
