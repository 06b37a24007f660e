"""How long a silent member stays suspect before it is declared dead.

Lifeguard: the first accusation starts a long timer, and each further node that accuses
independently shortens it towards the minimum.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import floor, log, log10

SPARE = 64
"""Entries beyond two a timer from which the heap of deadlines is built anew, without those that
count no more: so its length and its work stay in proportion to the timers."""


def suspicion_timeout(mult: int, nodes: int, interval: float) -> float:
    """Return the shortest wait in seconds; the factor is cut to 3 decimals, as Go does."""
    scale = max(1.0, log10(max(1.0, nodes)))
    return mult * int(scale * 1000) * interval / 1000


def expected_confirmations(mult: int, nodes: int) -> int:
    """Return how many accusers besides the first shorten the wait to its minimum; 0: too few."""
    wanted = mult - 2
    return wanted if wanted > 0 and nodes - 2 >= wanted else 0


def remaining_suspicion_time(
    confirmations: int, expected: int, elapsed: float, minimum: float, maximum: float
) -> float:
    """Return the seconds left; zero or below means now. The whole wait is cut to milliseconds."""
    fraction = log(confirmations + 1) / log(expected + 1)
    wait = floor(1000 * (maximum - fraction * (maximum - minimum))) / 1000
    return max(minimum, wait) - elapsed


class Suspicion:
    """The timer of one suspected member. `deadline` is when it counts as dead."""

    def __init__(
        self, accuser: str, expected: int, minimum: float, maximum: float, now: float
    ) -> None:
        self._accusers = {accuser}
        self._expected = expected
        self._possible = expected
        self._minimum = minimum
        self._maximum = maximum
        self._start = now
        self._not_before = now
        self.deadline = self._due(now)

    @property
    def confirmations(self) -> int:
        """How many others have accused besides the first."""
        return len(self._accusers) - 1

    @property
    def unheard(self) -> bool:
        """Accusers are missing only because nobody is left who could be one."""
        return self._possible == 0 < self._expected and not self.confirmations

    def accused_by(self, name: str) -> bool:
        """Tell whether this node has accused."""
        return name in self._accusers

    def wants(self, accuser: str) -> bool:
        """Tell whether a word of this node would shorten the wait."""
        return self.confirmations < self._expected and accuser not in self._accusers

    def confirm(self, accuser: str, now: float) -> bool:
        """Note another accuser; false when it is not new, or no more are needed."""
        if not self.wants(accuser):
            return False
        self._accusers.add(accuser)
        self.deadline = self._due(now)
        return True

    def expect_at_most(self, possible: int, now: float) -> None:
        """Do not wait for more confirmations than `possible` members could give.

        memberlist does the same for small clusters (`n - 2 < k`), but counts the dying too.
        """
        possible = min(possible, self._expected)
        if possible != self._possible:
            self._possible = possible
            self.deadline = self._due(now)

    def postpone(self, until: float) -> None:
        """Let the timer run at least until `until`."""
        self._not_before = max(self._not_before, until)
        self.deadline = max(self.deadline, until)

    def _due(self, now: float) -> float:
        given, wanted = self.confirmations, self._possible
        wait = self._minimum
        if given < wanted:
            wait = remaining_suspicion_time(given, wanted, 0.0, self._minimum, self._maximum)
        return max(self._start + wait, self._not_before, now)


class Suspicions:
    """The timers that run, by node name, and which of them ends first.

    A key holder can have thousands of members suspected at once, and the next deadline is asked for
    after every packet. So the deadlines are in a heap; one that has moved is put in once more, and
    what it was before is passed over when it comes up.
    """

    def __init__(self) -> None:
        self._timers: dict[str, tuple[int, Suspicion]] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._last = 0
        self._possible: int | None = None

    def __len__(self) -> int:
        return len(self._timers)

    def __iter__(self) -> Iterator[str]:
        """Return the names, in the order in which their timers began."""
        return iter(self._timers)

    def get(self, name: str) -> Suspicion | None:
        """Find the timer of a node."""
        found = self._timers.get(name)
        return found[1] if found else None

    def accused_by(self, name: str, accuser: str) -> bool:
        """Tell whether `accuser` is one of those who accuse a node with a timer."""
        return self._timers[name][1].accused_by(accuser)

    def start(self, name: str, timer: Suspicion, now: float) -> None:
        """Let a timer run for a node that has none."""
        if self._possible is not None:
            timer.expect_at_most(self._possible, now)
        self._last += 1
        self._timers[name] = self._last, timer
        self._push(name)

    def stop(self, name: str) -> None:
        """Forget the timer of a node, if there is one."""
        self._timers.pop(name, None)

    def confirm(self, name: str, accuser: str, now: float) -> bool:
        """Note another accuser of a node with a timer; false when it is not new, or not needed."""
        _, timer = self._timers[name]
        if not timer.confirm(accuser, now):
            return False
        self._push(name)
        return True

    def expect_at_most(self, possible: int, now: float) -> None:
        """Wait for no more confirmations than `possible` members could give; see `Suspicion`."""
        if possible == self._possible:
            return
        self._possible = possible
        for _, timer in self._timers.values():
            timer.expect_at_most(possible, now)
        self._build()

    def postpone(self, until: float) -> None:
        """Let no timer end before `until`."""
        for _, timer in self._timers.values():
            timer.postpone(until)
        self._build()

    def deadline(self) -> float | None:
        """When the first of them ends."""
        while self._heap and self._stale(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[str]:
        """Name those that have ended, in the order in which they began. They stay until stopped."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            entry = heappop(self._heap)
            if not self._stale(entry):
                found.append(entry)
        for entry in found:
            heappush(self._heap, entry)
        return list(dict.fromkeys(name for _, _, name in sorted(found, key=lambda it: it[1])))

    def _stale(self, entry: tuple[float, int, str]) -> bool:
        deadline, number, name = entry
        found = self._timers.get(name)
        return found is None or found[0] != number or found[1].deadline != deadline

    def _push(self, name: str) -> None:
        number, timer = self._timers[name]
        heappush(self._heap, (timer.deadline, number, name))
        if len(self._heap) > 2 * len(self._timers) + SPARE:
            self._build()

    def _build(self) -> None:
        self._heap = [
            (timer.deadline, number, name) for name, (number, timer) in self._timers.items()
        ]
        heapify(self._heap)
