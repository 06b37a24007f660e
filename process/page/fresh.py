"""One page for all who look: made anew when it is old, and the older the more it costs. Pure.

However many ask, however often, a page takes a small share of one processor.
"""

from collections.abc import Callable

FRESH = 1.0
"""Seconds for which a page is good."""
SHARE = 20
"""And for so many times as long as it took to make: a twentieth of a processor at most."""


class Fresh:
    """Keeps the last page."""

    def __init__(self, make: Callable[[], bytes], clock: Callable[[], float]) -> None:
        """`make` may take long, and is called in the thread that asks; `clock` is monotonic."""
        self._make, self._clock = make, clock
        self._body, self._good_until = b"", float("-inf")

    def page(self) -> bytes:
        """Return a page that is not old. Raises what `make` raises, and keeps none then."""
        began = self._clock()
        if began >= self._good_until:
            self._body = self._make()
            ended = self._clock()
            self._good_until = ended + max(FRESH, SHARE * (ended - began))
        return self._body
