"""Sends Kubernetes Events, one after the other, and never waits for the server but here."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from kube.api.client import ApiClient
from kube.api.events import Event, EventRecorder
from kube.api.writes import unless

MAX_EVENTS = 2_000
"""Events that wait."""
EVENT_INTERVAL = 0.02
BUSY_INTERVAL = 0.05
"""Seconds between two events while there is something better to write."""
_ALREADY_THERE = 409


class EventSender:
    """A bounded queue of events; the oldest are dropped where too many wait."""

    def __init__(
        self,
        client: ApiClient,
        recorder: EventRecorder,
        clock: Callable[[], float],
        on_failure: Callable[[str, Exception], None],
        interval: float = EVENT_INTERVAL,
        most: int | None = None,
        busy: Callable[[], bool] = bool,
    ) -> None:
        """`interval` is the least time between two events, in seconds; `most` of them may wait.

        `busy` tells whether there is something better to write: it takes as long as an event.
        """
        self.dropped = 0
        self._client, self._recorder, self._clock = client, recorder, clock
        self._on_failure, self._interval = on_failure, interval
        self._most, self._busy = most, busy
        self._events: deque[Event] = deque()
        self._sender: asyncio.Task[None] | None = None

    def add(self, event: Event) -> None:
        """Send an event soon."""
        if len(self._events) >= (self._most or MAX_EVENTS):
            self._events.popleft()
            self.dropped += 1
        self._events.append(event)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())

    def close(self) -> None:
        """Stop sending."""
        if self._sender is not None:
            self._sender.cancel()

    async def _send_all(self) -> None:
        while self._events:
            event = self._events.popleft()
            try:
                await self._send(event)
            except Exception as error:
                # An event is news: what cannot be told now is in the log.
                self.dropped += 1
                self._recorder.forget(event)
                self._on_failure("events", error)
            await asyncio.sleep(BUSY_INTERVAL if self._busy() else self._interval)

    async def _send(self, event: Event) -> None:
        name, body, new = self._recorder.record(event, self._clock(), wall_clock())
        collection = f"/api/v1/namespaces/{event.subject.events_namespace}/events"
        if new:
            await unless(_ALREADY_THERE, self._client.post(collection, body))
        else:
            await self._client.merge(f"{collection}/{name}", body)


def wall_clock() -> str:
    """Return the time of day as RFC 3339 has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
