"""Has a few workers write what many keys need, each key by one of them at a time."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from kube.api.backoff import delay_after
from kube.api.client import ApiError
from kube.api.turns import Turns

WRITERS = 32
"""Requests at a time."""
PAUSE = 0.2
"""Seconds between two looks at a key: two owners of a split cluster fight no faster."""


class KeyedQueue:
    """Has some workers call `handle(key)` for each key added, never twice at a time for one key."""

    def __init__(
        self,
        handle: Callable[[str], Awaitable[bool]],
        on_failure: Callable[[str, Exception], None],
        pause: float | None = None,
    ) -> None:
        """`handle` tells if it acted; after an error it is called again, later and later.

        `pause` is how many seconds a key rests after that, `PAUSE` by default.
        """
        self._handle, self._on_failure, self._turns = handle, on_failure, Turns()
        self._pause = pause
        self._due: dict[str, None] = {}
        # Handled now, or resting: what is added meanwhile is due after that.
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        """In a row, of each key."""
        self._workers: set[asyncio.Task[None]] = set()
        self._rests: dict[str, asyncio.TimerHandle] = {}

    def add(self, key: str) -> None:
        """Have the key looked at, once more if it is being looked at now."""
        if key in self._busy:
            self._again.add(key)
            return
        self._due[key] = None
        if len(self._workers) < WRITERS:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    @property
    def busy(self) -> bool:
        """Whether keys wait for a worker."""
        return bool(self._due)

    def close(self) -> None:
        """Cancel everything."""
        self._due.clear()
        self._again.clear()
        for worker in self._workers:
            worker.cancel()
        for rest in self._rests.values():
            rest.cancel()

    async def finish(self, within: float) -> None:
        """Begin nothing more, and let what is under way end: at most so many seconds."""
        self._due.clear()
        self._again.clear()
        if self._workers:
            await asyncio.wait(tuple(self._workers), timeout=within)
        self.close()

    async def _work(self) -> None:
        while self._due:
            key = next(iter(self._due))
            del self._due[key]
            self._busy.add(key)
            rest = PAUSE
            try:
                await self._turns.take()
                rest = await self._rest_after(key)
            finally:
                self._finish(key, rest)

    def _finish(self, key: str, rest: float) -> None:
        """Let the key be looked at again after `rest` seconds."""
        if rest > 0:
            self._rests[key] = asyncio.get_running_loop().call_later(rest, self._free, key)
        else:
            self._free(key)

    async def _rest_after(self, key: str) -> float:
        """Handle the key; give the seconds until it may be looked at again."""
        try:
            acted = await self._handle(key)
        except Exception as error:
            # Ours too: the key would be forgotten, and those that wait would lose a worker.
            self._on_failure(key, error)
            self._again.add(key)
            self._failures[key] = self._failures.get(key, 0) + 1
            longer = error.retry_after if isinstance(error, ApiError) else 0.0
            return delay_after(self._failures[key], longer, random.uniform(0.5, 1.0))  # noqa: S311
        self._failures.pop(key, None)
        if not acted:
            return 0.0
        return PAUSE if self._pause is None else self._pause

    def _free(self, key: str) -> None:
        self._rests.pop(key, None)
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)


async def unless(status_code: int, request: Awaitable[bytes]) -> None:
    """Do the request; the one failure that means that it is done already is none."""
    try:
        await request
    except ApiError as error:
        if error.status != status_code:
            raise
