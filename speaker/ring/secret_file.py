"""Watches the mounted gossip secret: a changed file changes the key without a restart."""

import asyncio
from collections import Counter
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger as Log

from process.settings import SettingsError
from speaker.ring.rekeying import Look, Rekeying, SecretRefusal
from speaker.settings import SHORT_SECRET, GossipSecret, read_secret

POLL = 2.0
"""Seconds between looks. kubelet swaps a mounted Secret within about 90 s."""


class SecretFile:
    """Reads the file again and again, and calls `on_change` with each new key.

    What gives no new key changes nothing: a file that is missing or empty for a moment (a swap),
    half written, or too short. It is logged and counted once.
    """

    def __init__(
        self, path: str, current: GossipSecret, on_change: Callable[[bytes], None], log: Log
    ) -> None:
        self.refused: Counter[SecretRefusal] = Counter()
        self._path = path
        self._rekeying = Rekeying(current)
        self._on_change = on_change
        self._log = log
        self._complained = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(POLL)
            await self.look()

    async def look(self) -> None:
        """Look once."""
        try:
            found = await asyncio.to_thread(read_secret, self._path, "")
        except SettingsError as error:
            self._rekeying.note_failure()
            if str(error) != self._complained:
                self._complained = str(error)
                self._refuse(SecretRefusal.UNREADABLE, self._complained)
            return
        self._complained = ""
        match self._rekeying.read(found):
            case Look.NEW_KEY if found.key is not None:
                self._on_change(found.key)
            case SecretRefusal.SHORT as reason:
                problem = f"the new secret is short: {found.length} bytes, not {SHORT_SECRET}"
                self._refuse(reason, problem)
            case SecretRefusal.SAME_KEY as reason:
                self._refuse(reason, "the file has changed, but only its first 32 bytes count")

    def _refuse(self, reason: SecretRefusal, problem: str) -> None:
        self.refused[reason] += 1
        self._log.warning(
            "secret", error=problem, reason=reason.value, message="the key in use stays"
        )
