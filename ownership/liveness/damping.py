"""A node that was judged gone again and again bars itself for a while. Pure.

Every judgement takes a node's IPs away and every return brings them back, and each of both resets
connections. A link or a machine that flaps would cost its clients that each time.
"""

from ownership.liveness.verdicts import NEEDED

WINDOW = 60.0
"""Seconds within which a second judgement bars the node."""
FIRST, LONGEST = 10.0, 300.0
"""Seconds for which it is barred: doubled each time that it happens again within WINDOW."""
SAME = 1.0
"""Several witnesses tell of one judgement within so many seconds."""
_NEVER = float("inf")


class Damping:
    """Counts how often others had judged this node."""

    def __init__(self) -> None:
        self._last = -_NEVER
        self._until = -_NEVER
        self._lasts = FIRST
        self._barred = False
        self._tellers: dict[str, float] = {}

    def handle_back(self, sender: str, others: int, now: float) -> None:
        """Another node says that we were gone, and are back. One alone is believed only where it is
        the only one of the `others`: it takes two to judge."""
        self._tellers = {name: at for name, at in self._tellers.items() if now - at <= SAME}
        self._tellers[sender] = now
        if len(self._tellers) >= min(NEEDED, others):
            self._strike(now)

    def _strike(self, now: float) -> None:
        before, self._last = self._last, now
        if now - before < SAME:
            return
        if self.barred(now):
            # It goes on: the time begins anew.
            self._until = now + self._lasts
        elif now - self._until <= WINDOW:
            self._lasts = min(2 * self._lasts, LONGEST)
            self._until = now + self._lasts
        elif now - before <= WINDOW:
            self._lasts = FIRST
            self._until = now + self._lasts

    def barred(self, now: float) -> bool:
        """Tell whether this node is not to own anything."""
        self._barred = now < self._until
        return self._barred

    def deadline(self) -> float:
        """When that ends, as far as `barred` has told of it."""
        return self._until if self._barred else _NEVER
