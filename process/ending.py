"""How a process comes to its end: by a signal or a fault, at leisure or at once, but always."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

from structlog.typing import FilteringBoundLogger as Log

from process import logs

END_WITHIN = 1.9
"""Seconds from the wish to stop to the end of the process, whatever hangs."""
LAST_WORDS_WITHIN = 0.25
"""Seconds from the second signal to the end, where something is to be said first."""
EXIT_FAILURE = 1


class Ending:
    """`stop` is set when the end has begun; `failure` is the first reason that was none of ours."""

    def __init__(self, log: Log) -> None:
        self.stop = asyncio.Event()
        self.failure: str | None = None
        self.last_words: Callable[[], Awaitable[None]] | None = None
        """Said at the second signal, if it does not take long."""
        self.on_failure: Callable[[], None] = lambda: None
        """Called once, when the first failure was logged."""
        self._signalled = False
        self._saying: asyncio.Task[None] | None = None
        self._log = log

    @property
    def status(self) -> int:
        """The exit status."""
        return EXIT_FAILURE if self.failure else 0

    def handle_signal(self) -> None:
        """Begin to stop; at the second signal say the last words, and stop at once."""
        if not self._signalled:
            self._signalled = True
            self._begin()
        elif self._saying is None and self.last_words is not None:
            self._saying = asyncio.create_task(self._say(self.last_words()))
        else:
            self._end_at_once()

    def fail(self, reason: str | None, error: BaseException | None = None) -> None:
        """Begin to stop, as this process cannot do its work."""
        if self.failure is None:
            self.failure = reason or "unknown error"
            self._log.error("fatal", error=self.failure, exc_info=error)
            self.on_failure()
        self._begin()

    def _begin(self) -> None:
        """Begin to stop; no part that hangs, no thread that waits for a disk prevents it."""
        if not self.stop.is_set():
            self.stop.set()
            last = threading.Timer(END_WITHIN, self._end_now)
            last.daemon = True
            with suppress(RuntimeError):
                last.start()

    async def _say(self, words: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS_WITHIN):
                await words
        finally:
            # Whatever became of them: nobody wants to wait any more.
            self._end_at_once()

    def _end_at_once(self) -> None:
        logs.finish()
        self._end_now()

    def _end_now(self) -> None:
        os._exit(self.status)


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
