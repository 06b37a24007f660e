"""Errors in an agent's tasks: they cost one datagram, stream or turn, or the end is told."""

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gossip import agent as agent_module
from gossip.agent import MAX_RETRIES, Agent
from gossip.config import LOCAL
from gossip.io import Address, Datagram, StreamFailure
from gossip.swim import Swim
from gossip.wire.errors import Refusal
from gossip.wire.stream import StreamMessage

WITHIN = 10.0
"""Seconds after which a test hangs."""


class FaultyError(Exception):
    """Not a type that anybody expects."""


class Faulty(Swim):
    """Raises where `failing` says so, by the name of the input, and notes what it was given."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.failing: dict[str, int] = {}
        self.calls: list[str] = []
        self.called = asyncio.Event()

    def _note(self, name: str) -> None:
        self.calls.append(name)
        self.called.set()
        if self.failing.get(name, 0) > 0:
            self.failing[name] -= 1
            raise FaultyError(name)

    def handle_datagram(self, data: bytes, source: Address, now: float) -> None:
        self._note("datagram")
        super().handle_datagram(data, source, now)

    def handle_timeout(self, now: float) -> None:
        self._note("timer")
        super().handle_timeout(now)

    def handle_reply(
        self, dial_id: int, reply: bytes | StreamMessage | Refusal | StreamFailure, now: float
    ) -> None:
        self._note(f"reply {reply!r}")
        super().handle_reply(dial_id, reply, now)


class Rig:
    """One agent on loopback, what it complained of, and with what it ended."""

    def __init__(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = Address("127.0.0.1", int(probe.getsockname()[1]))
        self.swim = Faulty(
            LOCAL,
            name="n1",
            address=self.address,
            keyring=None,
            rng=random.Random(1),
            nonce=lambda: os.urandom(12),
            incarnation=1,
            now=time.monotonic(),
        )
        self.errors: list[tuple[str, str]] = []
        self.ends: list[tuple[str, str]] = []
        self.ended = asyncio.Event()
        self.agent = Agent(
            self.swim,
            self.address,
            time.monotonic,
            lambda event: None,
            lambda where, error: self.errors.append((where, type(error).__name__)),
            self._on_end,
        )

    def _on_end(self, where: str, error: BaseException | None) -> None:
        self.ends.append((where, type(error).__name__))
        self.ended.set()

    def datagram(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"junk", self.address)

    async def until(self, name: str, count: int) -> None:
        """Wait until an input was called so often."""
        while self.swim.calls.count(name) < count:
            self.swim.called.clear()
            await self.swim.called.wait()


def run(scenario: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    async def course() -> None:
        rig = Rig()
        await rig.agent.start()
        try:
            async with asyncio.timeout(WITHIN):
                await scenario(rig)
        finally:
            await rig.agent.close()

    asyncio.run(course())


def test_a_datagram_that_raises_costs_itself_only() -> None:
    async def scenario(rig: Rig) -> None:
        rig.swim.failing["datagram"] = 3
        for _ in range(3):
            rig.datagram()
        await rig.until("datagram", 3)
        assert rig.agent.unreadable == 3
        rig.datagram()
        await rig.until("datagram", 4)
        assert rig.agent.unreadable == 0
        assert rig.errors == [("datagram", "FaultyError")] * 3
        assert rig.ends == []

    run(scenario)


def test_a_timer_that_raises_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "FIRST_RETRY", 0.0001)

    async def scenario(rig: Rig) -> None:
        rig.swim.failing["timer"] = MAX_RETRIES
        await rig.until("timer", MAX_RETRIES + 2)
        assert rig.errors == [("timer", "FaultyError")] * MAX_RETRIES
        assert rig.ends == []

    run(scenario)


def test_a_timer_that_never_works_again_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "FIRST_RETRY", 0.0001)

    async def scenario(rig: Rig) -> None:
        rig.swim.failing["timer"] = MAX_RETRIES + 1
        await rig.ended.wait()
        assert rig.ends == [("timer", "FaultyError")]

    run(scenario)


def test_a_socket_that_somebody_closed_has_ended() -> None:
    async def scenario(rig: Rig) -> None:
        rig.agent._udp.close()
        await rig.ended.wait()
        assert rig.ends == [("udp", "NoneType")]

    run(scenario)


@pytest.mark.parametrize(
    ("coroutine", "name"), [("_receive", "udp"), ("_send", "udp send"), ("_fire_timers", "timer")]
)
def test_a_task_that_somebody_cancelled_has_ended(coroutine: str, name: str) -> None:
    async def scenario(rig: Rig) -> None:
        for task in rig.agent._tasks:
            if getattr(task.get_coro(), "__name__", "") == coroutine:
                task.cancel()
        await rig.ended.wait()
        assert [where for where, _ in rig.ends] == [name]

    run(scenario)


def test_its_own_end_is_none() -> None:
    rigs: list[Rig] = []

    async def scenario(rig: Rig) -> None:
        rigs.append(rig)

    run(scenario)
    assert rigs[0].ends == []


def test_a_send_that_raises_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(rig: Rig) -> None:
        send, sent, done = rig.agent._udp.send, list[bytes](), asyncio.Event()

        async def failing(data: bytes, to: Any) -> None:
            if data == b"lost":
                raise FaultyError("send")
            sent.append(data)
            done.set()
            await send(data, to)

        monkeypatch.setattr(rig.agent._udp, "send", failing)
        rig.swim.transmits()
        for data in (b"lost", b"kept"):
            rig.agent._queue(Datagram(data, rig.address))
        await done.wait()
        assert sent == [b"kept"]
        assert ("udp send", "FaultyError") in rig.errors
        assert rig.ends == []

    run(scenario)


def test_the_end_of_a_dial_is_told_whatever_it_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Swim` dials nobody twice at a time: a dial without an end would be the last one there."""

    async def scenario(rig: Rig) -> None:
        async def failing(to: Address) -> Any:
            raise FaultyError("connect")

        monkeypatch.setattr(rig.agent, "_connect", failing)
        rig.swim.set_seeds([Address("127.0.0.9", 1)], time.monotonic())
        rig.agent.poke()
        await rig.until(f"reply {StreamFailure.REFUSED!r}", 1)
        assert rig.errors == [("tcp dial", "FaultyError")]

    run(scenario)
