"""A thread with an event loop of its own, and calls from one loop into another."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any

from process.survival import LOOP, survive

STOP_WITHIN = 0.5
"""Seconds for the coroutine to clean up after it was cancelled; the process ends all the same."""


class Mailbox:
    """Calls for one loop, made there in the order in which they were posted, by any thread.

    The loop is woken once for all that wait: a wake costs a system call.
    """

    def __init__(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = False

    def open(self) -> None:
        """Deliver to the running loop from now on; what was posted before is delivered now."""
        self._loop = asyncio.get_running_loop()
        self._deliver()

    def close(self) -> None:
        """Deliver nothing any more."""
        self._loop = None
        self._calls.clear()

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have `call(*arguments)` made in the loop, soon."""
        self._calls.append(partial(call, *arguments))
        loop = self._loop
        if loop is not None and not self._woken:
            self._woken = True
            # A loop that is closed has no use for it.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # First the flag: what is posted after the last look below wakes the loop again.
        self._woken = False
        while self._calls:
            call = self._calls.popleft()
            try:
                call()
            except Exception as error:
                # Those behind it are of others.
                survive(LOOP, error)


class LoopThread:
    """Runs one coroutine in a thread of its own; `inbox` is for calls into its loop."""

    def __init__(self, name: str) -> None:
        """`name` is what the operating system shows of the thread."""
        self.inbox = Mailbox()
        self._name = name
        self._task: asyncio.Task[None] | None = None

    async def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Wait for its end, and raise what it raises; who cancels this cancels it there."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()
        Thread(target=self._work, args=(main, done), name=self._name, daemon=True).start()
        waiting = asyncio.wrap_future(done)
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            self.inbox.post(self._cancel)
            await asyncio.wait({waiting}, timeout=STOP_WITHIN)
            raise

    def _work(self, main: Coroutine[Any, Any, None], done: "Future[None]") -> None:
        try:
            asyncio.run(self._main(main))
        except asyncio.CancelledError:
            done.set_result(None)
        except BaseException as error:  # it is raised where it is waited for
            done.set_exception(error)
        else:
            done.set_result(None)

    async def _main(self, main: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.current_task()
        self.inbox.open()
        try:
            await main
        finally:
            self.inbox.close()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
