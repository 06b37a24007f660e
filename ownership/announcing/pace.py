"""How fast frames may leave one interface: a token bucket. Pure."""

BURST = 256
"""Frames that may leave at once after a quiet time."""
RATE = 2_000.0
"""Frames a second after that, by default. Switches drop what their processor cannot follow."""
_ROUNDING = 1e-6
"""A bucket short of a token by no more than this has one: else a deadline could fall on `now`."""


class Pace:
    """Hands out one token a frame; full at first."""

    def __init__(self, rate: float = RATE, burst: int = BURST) -> None:
        """`rate` is frames a second; 0 sets no limit."""
        self._rate = rate
        self._burst = float(burst)
        self._tokens = self._burst
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take the token for one frame; False where there is none yet."""
        if not self._rate:
            return True
        if not self.ready(now):
            return False
        self._tokens -= 1.0
        return True

    def ready(self, now: float) -> bool:
        """Tell whether `take` would have a token."""
        if not self._rate:
            return True
        self._fill(now)
        return self._tokens >= 1.0 - _ROUNDING

    def deadline(self, frames: int, now: float) -> float:
        """Return when so many frames (at most a full bucket) may leave."""
        if not self._rate:
            return now
        self._fill(now)
        missing = min(frames, self._burst) - self._tokens
        return now + max(0.0, missing / self._rate)

    def _fill(self, now: float) -> None:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        self._at = now
