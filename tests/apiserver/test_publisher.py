"""What speakers publish, on a real API server that answers late: it becomes what is announced."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import structlog

from apiserver import ApiServer
from kube.api.client import ApiClient
from kube.api.events import Involved, node_assigned
from kube.api.state import METALLB, KubernetesSource, Scope
from kube.snapshot import Snapshot
from speaker.cluster.publisher import Publisher
from speaker.cluster.status import LEFT_OVER

NAMESPACE = "metallb-system"
COLLECTION = f"{METALLB}/namespaces/{NAMESPACE}/servicel2statuses"
NODES = ("a", "b", "c")
SERVICES = [f"shop/s{n}" for n in range(50)]
LATENCY = 2.0
QUIET = LATENCY + LEFT_OVER + 2.0
"""Seconds without a write after which none is to come: the last may count so late, and what it has
left over is cleared away so much later; the rest is what a busy machine takes to hear of it."""


class LateClient(ApiClient):
    """A client whose requests take up to `LATENCY` seconds, before or after they count."""

    def __init__(self, kubeconfig: str, rng: random.Random) -> None:
        super().__init__(kubeconfig)
        self.writes = 0
        self.late = False
        self.latency = partial(rng.uniform, 0, LATENCY)
        self._rng = rng

    async def post(self, path: str, body: Any) -> bytes:
        return await self._late(super().post(path, body))

    async def merge(self, path: str, body: Any) -> bytes:
        return await self._late(super().merge(path, body))

    async def delete(self, path: str) -> bytes:
        return await self._late(super().delete(path))

    async def _late(self, request: Awaitable[bytes]) -> bytes:
        self.writes += 1
        wait = self.latency() if self.late else 0.0
        before = wait * self._rng.random()
        await asyncio.sleep(before)
        began = time.monotonic()
        try:
            return await request
        finally:
            # The server's own time is part of it: that of a slow disk is no matter of this test.
            await asyncio.sleep(max(0.0, wait - before - (time.monotonic() - began)))


class Node:
    """One speaker's publishing half; `where` is what it announces."""

    def __init__(self, name: str, kubeconfig: str, seed: int) -> None:
        self.name = name
        self.where: dict[str, tuple[str, ...]] = {}
        self.client = LateClient(kubeconfig, random.Random(seed))
        scope = Scope(node=name, namespace=NAMESPACE)
        log = structlog.get_logger()
        self.source = KubernetesSource(self.client, scope, time.monotonic, _ignore, log)
        self.publisher = Publisher(
            self.client, self.source, scope, self.where.get, time.monotonic, log
        )

    def announce(self, service: str, interfaces: tuple[str, ...] | None) -> None:
        if interfaces is None:
            self.where.pop(service, None)
        else:
            self.where[service] = interfaces
        self.publisher.look({service})


def _ignore(snapshot: Snapshot, problems: object, changed: object) -> None:
    pass


@asynccontextmanager
async def speakers(server: ApiServer) -> AsyncIterator[Mapping[str, Node]]:
    config = str(server.kubeconfig("publisher"))
    nodes = {name: Node(name, config, seed) for seed, name in enumerate(NODES)}
    tasks = []
    for node in nodes.values():
        await node.client.open()
        tasks.append(asyncio.create_task(node.source.run()))
    try:
        for node in nodes.values():
            await until(lambda node=node: node.source.statuses.synced, "synced")  # type: ignore[misc]
            node.publisher.activate(())
        yield nodes
    finally:
        for node in nodes.values():
            node.publisher.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for node in nodes.values():
            await node.client.close()


async def until(found: Callable[[], Any], what: str, within: float = 15.0) -> None:
    end = time.monotonic() + within
    while not found():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


def published(server: ApiServer) -> list[tuple[str, str, tuple[str, ...]]]:
    """Service, node and interfaces of each object, two for a service if there are two."""
    found = []
    for item in server.get(COLLECTION)["items"]:
        status = item.get("status", {})
        key = f"{status.get('serviceNamespace')}/{status.get('serviceName')}"
        names = tuple(entry["name"] for entry in status.get("interfaces", ()))
        found.append((key, status.get("node", ""), names))
    return sorted(found)


def announced(nodes: Mapping[str, Node]) -> list[tuple[str, str, tuple[str, ...]]]:
    return sorted(
        (service, node.name, interfaces)
        for node in nodes.values()
        for service, interfaces in node.where.items()
    )


@pytest.fixture
def namespace(server: ApiServer) -> ApiServer:
    for name in (NAMESPACE, "shop"):
        server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return server


@pytest.mark.parametrize(("seed", "slowest"), [(1, False), (2, True)])
def test_after_fifty_moves_the_objects_are_what_is_announced(
    namespace: ApiServer, seed: int, slowest: bool
) -> None:
    """With `slowest` each request takes either no time or as long as it may."""
    rng = random.Random(seed)

    async def scenario() -> None:
        async with speakers(namespace) as nodes:
            for node in nodes.values():
                node.client.late = True
                if slowest:
                    node.client.latency = partial(rng.choice, (0.0, LATENCY))
            for service in rng.sample(SERVICES, 25):
                nodes[rng.choice(NODES)].announce(service, ())
            await asyncio.sleep(rng.uniform(0, 3))
            for _ in range(50):
                move(rng, nodes)
            await nothing_more(nodes)
            found = await asyncio.to_thread(published, namespace)
            assert found == announced(nodes)
            for node in nodes.values():
                for service in list(node.where):
                    node.announce(service, None)
            await until(lambda: published(namespace) == [], "all deleted")

    asyncio.run(scenario())


async def nothing_more(nodes: Mapping[str, Node]) -> None:
    """Wait until nothing is written any more: when that is depends on the machine, too."""
    before, end = -1, time.monotonic() + 60.0
    while (writes := sum(node.client.writes for node in nodes.values())) != before:
        assert time.monotonic() < end, "writes never end"
        before = writes
        await asyncio.sleep(QUIET)


def move(rng: random.Random, nodes: Mapping[str, Node]) -> None:
    """Give a random service to a random node, or to none, or change its interfaces."""
    service = rng.choice(SERVICES)
    heir = rng.choice([*NODES, None])
    for node in nodes.values():
        if node.name == heir:
            node.announce(service, rng.choice([(), (), ("eth0",), ("eth0", "eth1")]))
        elif service in node.where:
            node.announce(service, None)


def test_what_others_do_to_our_objects_is_undone(namespace: ApiServer) -> None:
    async def scenario() -> None:
        async with speakers(namespace) as nodes:
            nodes["a"].announce("shop/s1", ())
            await until(lambda: published(namespace) == announced(nodes), "published")
            (item,) = namespace.get(COLLECTION)["items"]
            path = f"{COLLECTION}/{item['metadata']['name']}"
            namespace.merge(f"{path}/status", {"status": {"interfaces": [{"name": "lies"}]}})
            await until(lambda: published(namespace) == announced(nodes), "rewritten")
            namespace.delete(path)
            await until(lambda: published(namespace) == announced(nodes), "made again")
            nodes["a"].announce("shop/s1", None)
            await until(lambda: published(namespace) == [], "deleted")

    asyncio.run(scenario())


def test_what_a_dead_owner_left_is_cleared_by_its_heir(namespace: ApiServer) -> None:
    async def scenario() -> None:
        async with speakers(namespace) as nodes:
            nodes["a"].announce("shop/s1", ())
            await until(lambda: published(namespace) == announced(nodes), "published")
            nodes["a"].publisher.active = False
            nodes["a"].where.clear()
            nodes["b"].announce("shop/s1", ("eth0",))
            await until(lambda: published(namespace) == announced(nodes), "the heir's alone")
            nodes["b"].announce("shop/s1", None)
            await until(lambda: published(namespace) == [], "deleted")

    asyncio.run(scenario())


def test_an_event_again_counts_up(namespace: ApiServer) -> None:
    async def scenario() -> None:
        async with speakers(namespace) as nodes:
            publisher = nodes["a"].publisher
            subject = Involved("v1", "Service", "shop", "s1", "uid-1")
            for _ in range(3):
                publisher.event(node_assigned(subject, "a"))

            def counts() -> list[int]:
                items = namespace.get("/api/v1/namespaces/shop/events")["items"]
                return [item["count"] for item in items]

            await until(lambda: counts() == [3], "one event, counted three times")
            assert publisher.failures == 0

    asyncio.run(scenario())


def test_the_state_is_written_once_and_made_again(namespace: ApiServer) -> None:
    collection = f"{METALLB}/namespaces/{NAMESPACE}/configurationstates"

    def result() -> str:
        items = namespace.get(collection)["items"]
        return str(items[0].get("status", {}).get("result")) if len(items) == 1 else ""

    async def scenario() -> None:
        async with speakers(namespace) as nodes:
            node = nodes["a"]
            node.publisher.judge([])
            await until(lambda: result() == "Valid", "valid")
            await asyncio.sleep(0.5)
            writes = node.client.writes
            node.publisher.judge([])
            await asyncio.sleep(0.5)
            assert node.client.writes == writes
            node.publisher.judge(["IPAddressPool x: spec.addresses[0]: is reversed"])
            await until(lambda: result() == "Invalid", "invalid")
            namespace.delete(f"{collection}/speaker-a")
            await until(lambda: result() == "Invalid", "made again")

    asyncio.run(scenario())
