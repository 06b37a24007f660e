"""Which incarnations can be true: those of our kind are Unix seconds, so none is of next year.

Nothing outranks an incarnation but a higher one, and there are only 32 bits. Without a bound one
false accusation at the top of them would be the last word on a node, for as long as anybody
remembers it. memberlist's own nodes count from 1, so nothing can be said about theirs.
"""

from gossip.core import UINT32

UNIX_SECONDS = 1_000_000_000
"""Incarnations above this count Unix seconds: each life of such a node begins above its last."""
MAX_AHEAD = 3_600
"""Seconds by which an incarnation may be ahead of our clock. It is the start of a node by its own
clock, and one more for each refutation and each change of its Meta."""
MAX_STEPS = 64
"""By how much it may rise at once where it is ahead already, since the clock of that node was wrong
as it started: refutations and changes that we have missed. An hour each time would let accusations
climb to the top of the 32 bits in a minute."""


class Calendar:
    """What our clock says in Unix seconds, from the time that every input brings."""

    def __init__(self, incarnation: int, now: float) -> None:
        """Begin with our own incarnation, which is the Unix time of `now` where we are such a node.

        One that is no such time says that we have no clock: then every incarnation may be true.
        """
        self._ahead: float | None = None
        self.set(incarnation, now)

    def set(self, unix: float, now: float) -> None:
        """Take the Unix time of `now`; one before 2001 is that of a machine without a clock."""
        self._ahead = unix - now if unix >= UNIX_SECONDS else None

    def latest(self, now: float) -> int:
        """Return the highest incarnation that a node may have begun with by now."""
        if self._ahead is None:
            return UINT32
        return min(UINT32, int(now + self._ahead) + MAX_AHEAD)
