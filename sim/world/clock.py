"""Virtual time: what is to happen, in order. Pure."""

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class EventHeap:
    """Runs actions at their times, seconds; at the same time in the order they were put in."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._heap: list[tuple[float, int, Action]] = []
        self._number = 0

    def at(self, when: float, action: Action) -> None:
        """Put `action` in for `when`; what is in the past happens now."""
        self._number += 1
        heapq.heappush(self._heap, (max(when, self.now), self._number, action))

    def after(self, delay: float, action: Action) -> None:
        """Put `action` in for `delay` seconds from now."""
        self.at(self.now + delay, action)

    def run_until(self, end: float) -> None:
        """Do everything that is due up to `end`, and move the clock there."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.now, _, action = heapq.heappop(heap)
            action()
        self.now = end
