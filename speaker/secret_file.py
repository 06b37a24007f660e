"""Watches the mounted gossip secret: a changed file changes the key without a restart."""

import asyncio
from collections.abc import Callable
from typing import Any

from speaker.settings import Secret, SettingsError, read_secret

POLL = 2.0
"""Seconds between looks. kubelet swaps a mounted Secret within about 90 s."""


class SecretFile:
    """Reads the file again and again, and calls `on_change` with each new key.

    A file that is missing or empty for a moment (a swap) changes nothing; it is logged once.
    """

    def __init__(
        self, path: str, current: Secret, on_change: Callable[[bytes], None], log: Any
    ) -> None:
        self._path = path
        self._current = current
        self._on_change = on_change
        self._log = log
        self._complained = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(POLL)
            try:
                found = await asyncio.to_thread(read_secret, self._path, "")
            except SettingsError as error:
                self._complain(str(error))
                continue
            self._complained = ""
            if found.key is not None and found.key != self._current.key:
                self._on_change(found.key)
                self._current = found

    def _complain(self, problem: str) -> None:
        if problem != self._complained:
            self._complained = problem
            self._log.warning("secret", error=problem, message="the key in use stays")
