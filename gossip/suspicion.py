"""How long a silent member stays suspect before it is declared dead.

Lifeguard: the first accusation starts a long timer, and each further node that accuses
independently shortens it towards the minimum.
"""

from math import floor, log, log10


def suspicion_timeout(mult: int, nodes: int, interval: float) -> float:
    """Give the shortest wait in seconds; the factor is cut to 3 decimals, as Go does."""
    scale = max(1.0, log10(max(1.0, nodes)))
    return mult * int(scale * 1000) * interval / 1000


def expected_confirmations(mult: int, nodes: int) -> int:
    """Give how many accusers besides the first shorten the wait to its minimum; 0: too few."""
    wanted = mult - 2
    return wanted if wanted > 0 and nodes - 2 >= wanted else 0


def remaining_suspicion_time(
    confirmations: int, expected: int, elapsed: float, minimum: float, maximum: float
) -> float:
    """Give the seconds left; zero or below means now. The whole wait is cut to milliseconds."""
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
