"""Lifeguard's health score: how much a node distrusts its own observations.

A node that misses answers everywhere is probably ill itself, so it gives the others more time.
"""


class Awareness:
    """A score from 0 (well) to `maximum` - 1; probes last (score + 1) times as long."""

    def __init__(self, maximum: int) -> None:
        self._top = maximum - 1
        self.score = 0

    def apply(self, delta: int) -> None:
        """Add `delta` to the score, within its bounds."""
        self.score = min(self._top, max(0, self.score + delta))

    def scale(self, seconds: float) -> float:
        """Stretch a duration by the score."""
        return seconds * (self.score + 1)
