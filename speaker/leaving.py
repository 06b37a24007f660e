"""The steps in which a speaker leaves: hand over, leave gossip, hand over again, fall silent."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from process.later import Later
from speaker.driver import Driver
from speaker.ring.peers import Peers
from speaker.telling import Telling
from speaker.upkeep import Part, survive

HAND_OVER_WITHIN = 0.9
"""Seconds for the heirs to be heard when we leave, and once more for those that are no Clarion."""


class Leaving:
    """Whatever fails on the way, the process ends."""

    def __init__(
        self,
        driver: Driver,
        peers: Peers,
        telling: Telling,
        later: Later,
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        """`drain` takes back what is announced by other means, beside all that."""
        self._driver = driver
        self._peers = peers
        self._telling = telling
        self._later = later
        self._drain = drain

    async def run(self) -> None:
        """Leave as well as it goes."""
        try:
            await self._leave()
        except Exception as error:
            survive(Part.TURN, error, message="leaving")

    async def _leave(self) -> None:
        """Hand over what we own, then leave: an IP is answered until its heir was heard."""
        self._driver.leave()
        draining = asyncio.ensure_future(self._drain())
        await self._wait_for_winners(foreign=False)
        leaving = asyncio.create_task(self._peers.leave())
        await asyncio.sleep(0)
        self._driver.review_members()
        await self._wait_for_winners(foreign=True)
        await self._withdraw_everything()
        await leaving
        await draining

    async def _wait_for_winners(self, *, foreign: bool) -> None:
        """Wait until the winners of all our IPs were heard, or the time for that is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_WITHIN):
                await self._driver.wait_for_winners(foreign=foreign)

    async def _withdraw_everything(self) -> None:
        self._driver.withdraw_everything()
        self._telling.note_leave()
        await self._later.finish()
