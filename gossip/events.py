"""What happened, waiting for the application to drain it."""

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gossip.io import Event
    from gossip.stats import Stats

MAX_EVENTS = 16_384
"""More than one push/pull can cause; the oldest are lost beyond it."""


class EventQueue:
    """A bounded queue of events; what is lost is counted."""

    def __init__(self, stats: "Stats") -> None:
        self._stats = stats
        self._events: deque[Event] = deque()

    def add(self, event: "Event") -> None:
        """Append an event, dropping the oldest when full."""
        if len(self._events) >= MAX_EVENTS:
            self._events.popleft()
            self._stats.events_lost += 1
        self._events.append(event)

    def drain(self) -> list["Event"]:
        """Return and forget all events, oldest first."""
        if not self._events:
            return []
        drained = list(self._events)
        self._events.clear()
        return drained
