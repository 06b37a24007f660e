"""Real agents on loopback, each with what it saw."""

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from gossip.agent import Agent
from gossip.config import LOCAL, Config
from gossip.io import Address, Event
from gossip.swim import Swim
from gossip.wire.crypto import Keyring
from gossip.wire.messages import State

FAST = replace(
    LOCAL,
    probe_interval=0.2,
    probe_timeout=0.08,
    gossip_interval=0.05,
    suspicion_mult=2,
    tcp_timeout=0.5,
    lonely_interval=0.2,
)
KEY = b"k" * 32
HANG = 20.0
"""Seconds after which a test that waits fails. How soon things come is held in virtual time."""


class Node:
    """An agent with what it saw; closed by `Nodes.close`."""

    def __init__(self, agent: Agent, events: list[Event], errors: list[Exception]) -> None:
        self.agent = agent
        self.swim = agent.swim
        self.events = events
        self.errors = errors

    def join(self, *others: "Node") -> None:
        seeds = [other.address for other in others]
        self.swim.set_seeds(seeds, time.monotonic())
        self.agent.poke()

    @property
    def address(self) -> Address:
        return next(row.address for row in self.swim.members() if row.own)

    def state(self, name: str) -> State | None:
        return next((row.state for row in self.swim.members() if row.name == name), None)


class Nodes:
    """All agents of a test."""

    def __init__(self) -> None:
        self.all: list[Node] = []

    async def start(
        self,
        name: str,
        ip: str,
        config: Config = FAST,
        key: bytes | None = KEY,
        make: type[Swim] = Swim,
        on_event: Callable[[Event], None] | None = None,
    ) -> Node:
        address = Address(ip, free_port(ip))
        swim = make(
            config,
            name=name,
            address=address,
            keyring=Keyring([key]) if key else None,
            rng=random.Random(name),
            nonce=lambda: os.urandom(12),
            incarnation=int(time.time()),
            now=time.monotonic(),
        )
        events: list[Event] = []
        errors: list[Exception] = []
        agent = Agent(
            swim,
            address,
            time.monotonic,
            on_event or events.append,
            lambda where, error: errors.append(error),
        )
        node = Node(agent, events, errors)
        await agent.start()
        self.all.append(node)
        return node

    async def close(self) -> None:
        for node in self.all:
            await node.agent.close()


def free_port(ip: str) -> int:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((ip, 0))
        return int(probe.getsockname()[1])


def run(scenario: Callable[[Nodes], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on the stock loop, and close what it started."""

    async def course() -> None:
        nodes = Nodes()
        try:
            await scenario(nodes)
        finally:
            await nodes.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "every task is given back"

    asyncio.run(course())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG):
        while not condition():  # noqa: ASYNC110 - asks about several nodes, none of which signals
            await asyncio.sleep(0.01)


def of_kind(kind: type[Any], node: Node) -> list[Any]:
    """Give the events of this kind that a node has seen."""
    return [event for event in node.events if isinstance(event, kind)]
