"""Drives reflectors: does their requests, hands them what came.

A page or a burst of events is decoded in one go: this belongs on a loop of its own.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from structlog.typing import FilteringBoundLogger as Log

from kube.api.client import ApiClient, ApiError, TooLongError
from kube.api.reflector import SHORT_WATCH, Failure, Key, Reflector, classify

SILENCE = 90.0
"""Seconds without a byte after which a watch is asked for anew: bookmarks come every minute."""

MAX_REASONS = 10
"""How many different reasons one time of trouble may log."""

OnChange = Callable[[Reflector, set[Key]], None]


class Watcher:
    """Keeps one reflector up to date until cancelled."""

    def __init__(
        self,
        client: ApiClient,
        reflector: Reflector,
        clock: Callable[[], float],
        on_change: OnChange,
        log: Log,
    ) -> None:
        self._client = client
        self._reflector = reflector
        self._clock = clock
        self._on_change = on_change
        self._log = log
        self._told: set[str] = set()

    async def run(self) -> None:
        """List and watch for ever. Calls `on_change` after each change and after the first list."""
        while True:
            request = self._reflector.next_request()
            await asyncio.sleep(request.delay)
            try:
                if request.watch:
                    await self._watch(dict(request.query))
                else:
                    await self._list(dict(request.query))
            except ApiError as error:
                self._reflector.handle_failure(_failure(error), str(error), error.retry_after)
            self._tell()

    async def _list(self, query: dict[str, str]) -> None:
        reflector = self._reflector
        items = reflector.begin_page(await self._client.get(reflector.resource.path, query))
        if items is None:
            return
        reflector.add(items)
        first = not reflector.synced
        changed = reflector.end_page()
        if changed or (first and reflector.synced):
            self._on_change(reflector, changed)

    async def _watch(self, query: dict[str, str]) -> None:
        reflector = self._reflector
        async with aclosing(self._client.watch(reflector.resource.path, query, SILENCE)) as stream:
            # The first, empty batch says that the server has accepted the watch.
            await anext(stream)
            reflector.handle_open(self._clock())
            self._tell()
            lasting = asyncio.get_running_loop().call_later(SHORT_WATCH, self._handle_timeout)
            try:
                async for lines in stream:
                    self._events(lines)
                    if not reflector.watching:
                        return
            finally:
                lasting.cancel()
        reflector.handle_end(self._clock())

    def _handle_timeout(self) -> None:
        self._reflector.handle_timeout(self._clock())
        self._tell()

    def _events(self, lines: list[bytes]) -> None:
        changed: set[Key] = set()
        for line in lines:
            changed |= self._reflector.event(line)
            if not self._reflector.watching:
                break
        if changed:
            self._on_change(self._reflector, changed)

    def _tell(self) -> None:
        """Log when trouble begins, each reason once, and when it ends; not each time it goes on."""
        trouble, path = self._reflector.trouble, self._reflector.resource.path
        if trouble is None:
            if self._told:
                self._log.info("api", path=path, state="ok")
            self._told.clear()
        elif trouble not in self._told and len(self._told) < MAX_REASONS:
            self._told.add(trouble)
            self._log.warning("api", path=path, state="failing", error=trouble)


def _failure(error: ApiError) -> Failure:
    return Failure.TOO_LONG if isinstance(error, TooLongError) else classify(error.status)
