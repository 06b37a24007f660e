"""Events trail behind what is better to write, and as many wait as they are told to."""

import asyncio
from typing import Any

import pytest

from kube.api import event_sender
from kube.api.client import ApiClient
from kube.api.event_sender import EventSender
from kube.api.events import Event, EventRecorder, Involved


class Server(ApiClient):
    """Takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[Any] = []

    async def post(self, path: str, body: Any) -> bytes:
        self.posted.append(body)
        return b""


def event(number: int) -> Event:
    return Event(Involved("v1", "Service", "shop", f"web{number}"), "Normal", "Told", "text")


def test_they_wait_while_there_is_something_better_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_sender, "BUSY_INTERVAL", 1e6)

    async def scenario() -> None:
        server, busy = Server(), True
        recorder = EventRecorder("n1")

        def sender() -> EventSender:
            return EventSender(
                server, recorder, lambda: 0.0, lambda *_: None, 0.0, busy=lambda: busy
            )

        one = sender()
        for number in range(3):
            one.add(event(number))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(server.posted) == 1
        one.close()
        busy = False
        other = sender()
        for number in range(3, 6):
            other.add(event(number))
        assert other._sender is not None
        await other._sender
        assert len(server.posted) == 4

    asyncio.run(scenario())


def test_as_many_wait_as_may() -> None:
    async def scenario() -> None:
        server = Server()
        sender = EventSender(
            server, EventRecorder("n1"), lambda: 0.0, lambda *_: None, 0.0, most=2_500
        )
        for number in range(2_501):
            sender.add(event(number))
        assert sender.dropped == 1
        sender.close()

    asyncio.run(scenario())
