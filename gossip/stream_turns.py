"""Long work of the driver, in bites between which the loop turns: one piece of it at a time.

So many pieces together need no more memory than one, and in one turn of the loop a single bite is
taken. What is done with its first bite, as nearly everything is, waits for nobody.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from gossip.wire.bites import Bites

T = TypeVar("T")


class StreamTurns:
    """Whose turn it is. Members' work goes before strangers', else whoever came first."""

    def __init__(self) -> None:
        self._holder: int | None = None
        self._members: dict[int, asyncio.Future[None]] = {}
        self._strangers: dict[int, asyncio.Future[None]] = {}

    @property
    def busy(self) -> bool:
        """Whether any work is under way that needed more than a bite."""
        return self._holder is not None

    async def finish(
        self, number: int, bites: Bites[T], *, known: bool, check: Callable[[], None]
    ) -> T:
        """Do all of it, and give what it comes to. `check` raises where nobody wants it any more.

        `number` is unique among all that is under way.
        """
        try:
            next(bites)
            await self._take(number, known=known)
            while True:
                await asyncio.sleep(0)
                check()
                next(bites)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            bites.close()
            self._give(number)

    def wake(self, number: int) -> None:
        """Have one that waits look again whether it is wanted."""
        for waiting in (self._members, self._strangers):
            if (turn := waiting.get(number)) and not turn.done():
                turn.set_result(None)

    async def _take(self, number: int, *, known: bool) -> None:
        if self._holder is None:
            self._holder = number
            return
        waiting = self._members if known else self._strangers
        waiting[number] = turn = asyncio.get_running_loop().create_future()
        try:
            await turn
        finally:
            del waiting[number]

    def _give(self, number: int) -> None:
        if self._holder != number:
            return
        self._holder = None
        for waiting in (self._members, self._strangers):
            for other, turn in waiting.items():
                if not turn.done():
                    self._holder = other
                    turn.set_result(None)
                    return
