"""Small jobs that nobody waits for: log lines and observations, done when all else is done."""

import asyncio
from collections import deque
from collections.abc import Callable

from process import interpreter
from process.survival import LATER, survive

AFTER = 0.1
"""Seconds that a job waits at least: a takeover is over by then. A log line takes as long as two
frames on the wire, and where a node dies all others have as many to write at the same moment."""
JOBS_A_TURN = 10
"""How many are done in one turn of the loop: half a millisecond."""
MOST_JOBS = 20_000
"""How many may wait: six for each of 3,000 service IPs. What comes on top is dropped."""


class Later:
    """Jobs in the order in which they came; `dropped` counts those that were one too many."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        """`busy` tells whether there is something better to do."""
        self.dropped = 0
        self._busy = busy
        self._jobs: deque[Callable[[], None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, job: Callable[[], None]) -> None:
        """Do this later. Call it from the loop's thread."""
        if len(self._jobs) >= MOST_JOBS:
            self.dropped += 1
        else:
            self._jobs.append(job)
        self._schedule(AFTER)

    async def finish(self) -> None:
        """Do all that waits, busy or not, and nothing by itself any more."""
        if self._timer is not None:
            self._timer.cancel()
        while self._jobs:
            self._do_some()
            await asyncio.sleep(0)

    def _schedule(self, after: float) -> None:
        if self._timer is None and self._jobs:
            self._timer = asyncio.get_running_loop().call_later(after, self._turn)

    def _turn(self) -> None:
        self._timer = None
        if self._busy():
            self._schedule(AFTER)
            return
        self._do_some()
        interpreter.tidy()
        self._schedule(0.0)

    def _do_some(self) -> None:
        for _ in range(min(JOBS_A_TURN, len(self._jobs))):
            job = self._jobs.popleft()
            try:
                job()
            except Exception as error:
                survive(LATER, error)
