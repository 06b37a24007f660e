"""Asks this speaker for what its page shows, by its own local socket. A driver.

It runs in a thread of the HTTP server. The loop makes answers in bites and only as fast as they
are read, so nobody who looks at the page can hold a turn of it; and what the page shows is what
`clarion` shows.
"""

from collections import deque
from collections.abc import Callable

from process.told.asking import RunningSpeaker
from process.told.rows import LiveError, LiveRecord
from speaker.page.view import SpeakerView, page, silence

DECISIONS = 40
"""How many of the last are shown."""


class PageMaker:
    """Makes the page anew each time that it is called."""

    def __init__(
        self, node: str, version: str, unready: Callable[[], str | None], date: Callable[[], float]
    ) -> None:
        """`unready` says why the speaker is not ready; `date` gives Unix time."""
        self._node, self._version = node, version
        self._unready, self._date = unready, date
        self._speaker = RunningSpeaker(node)
        self._records: deque[LiveRecord] = deque(maxlen=DECISIONS)

    def __call__(self) -> bytes:
        """Return the page; where the speaker does not answer itself, one that says so."""
        try:
            return page(self._view())
        except LiveError as error:
            return silence(self._node, str(error))

    def _view(self) -> SpeakerView:
        speaker = self._speaker
        newest = self._records[-1].number if self._records else 0
        self._records.extend(speaker.log(after=newest))
        return SpeakerView(
            self._node,
            self._version,
            self._date(),
            self._unready(),
            speaker.ring(),
            speaker.owners(),
            speaker.pools(),
            tuple(self._records),
        )
