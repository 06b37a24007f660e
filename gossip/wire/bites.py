"""Long work in bites: generators that stop wherever their caller may do something else first.

Whoever has to answer others meanwhile takes one bite after the other; who has not, takes all of it
`at_once`. It is the same work, and it ends in the same result or the same error.
"""

from collections.abc import Generator
from typing import Generic, TypeVar

T = TypeVar("T")

Bites = Generator[None, None, T]
"""Work that gives a T at its end; between two of its stops it takes some 2 ms at most."""

BITE = 4096
"""Bytes worked on from one stop to the next, where each of them is handled in Python."""
PIECE = 64 * 1024
"""The same of bytes that msgpack alone looks at, in C. What costs less than a nanosecond a byte, to
copy and to seal, is done in one go: 8 MiB of it, the longest stream, take a millisecond."""


def at_once(bites: Bites[T]) -> T:
    """Do all of it, and give what it comes to."""
    while True:
        try:
            next(bites)
        except StopIteration as end:
            result: T = end.value
            return result


class Deferred(Generic[T]):
    """What somebody may want, and is made when he does: once, in bites or at once."""

    def __init__(self, bites: Bites[T]) -> None:
        self._bites = bites
        self._made: list[T] = []

    def making(self) -> Bites[T]:
        """Make it in bites; who begins must end before anybody else asks."""
        if not self._made:
            self._made.append((yield from self._bites))
        return self._made[0]
