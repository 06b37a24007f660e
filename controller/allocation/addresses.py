"""The lowest free address of some ranges, found without walking them. Pure.

Addresses are given out in the order of the ranges and upwards in each. A mark in every range stands
below all that was never used; what is freed under it goes into a heap. So a pool of ten million
addresses fills as fast at its end as at its beginning, and memory grows with what is in use.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kube.address import Range

Place = tuple[int, int]
"""Which range, and which address in it: what comes first is given out first."""


@dataclass(slots=True)
class _Span:
    """One range: `mark` is its first address that was never looked at."""

    range: Range
    mark: int
    freed: list[int] = field(default_factory=list)
    """A heap; some of them may be in use again."""
    known: set[int] = field(default_factory=set)
    """What is in the heap: nothing is in it twice."""


class FreeAddresses:
    """Ranges of one IP version. `usable(value)` tells whether an address may be given out now."""

    def __init__(self, ranges: Sequence[Range], usable: Callable[[int], bool]) -> None:
        self._spans = [_Span(span, span.first) for span in ranges]
        self._usable = usable
        self._from = 0
        """Before this range there is nothing free."""

    def lowest(self) -> int | None:
        """Return the first that is free, None if there is none; it stays free until it is used."""
        while self._from < len(self._spans):
            found = self._lowest_of(self._spans[self._from])
            if found is not None:
                return found
            self._from += 1
        return None

    def place(self, value: int) -> Place | None:
        """Return where an address comes in the order, None if it is in none of the ranges."""
        for index, span in enumerate(self._spans):
            if span.range.first <= value <= span.range.last:
                return index, value
        return None

    def free(self, value: int) -> None:
        """Take back an address that is not in use any more."""
        place = self.place(value)
        if place is not None:
            span = self._spans[place[0]]
            if value < span.mark and value not in span.known:
                span.known.add(value)
                heapq.heappush(span.freed, value)
                self._from = min(self._from, place[0])

    def _lowest_of(self, span: _Span) -> int | None:
        while span.freed:
            if self._usable(span.freed[0]):
                return span.freed[0]
            # It was given out again, as asked for by its number.
            span.known.discard(heapq.heappop(span.freed))
        while span.mark <= span.range.last:
            if self._usable(span.mark):
                return span.mark
            span.mark += 1
        return None
