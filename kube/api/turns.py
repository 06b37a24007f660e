"""Shares the event loop: of those who have much to do, one a turn does a little of it."""

import asyncio


class Turns:
    """First come, first served; between any two the loop does everything else that is due."""

    def __init__(self, pause: float = 0.0) -> None:
        """`pause` is how many seconds are between two turns at least."""
        self._pause = pause
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        """Wait for a turn; what is done until the exit should take a millisecond at most."""
        await self._lock.acquire()

    async def __aexit__(self, *error: object) -> None:
        """Let the loop turn before the next one."""
        try:
            await asyncio.sleep(self._pause)
        finally:
            self._lock.release()

    async def take(self) -> None:
        """Wait for a turn for what comes after the call."""
        async with self:
            pass
