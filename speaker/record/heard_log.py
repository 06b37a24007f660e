"""A log whose lines about BGP are kept in the flight recorder too: they are all that BGP tells."""

from collections.abc import Callable
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from speaker.record.recording import Recording

_ROUTES = frozenset({"announce", "withdraw"})
_PREFIX = "bgp_"


class HeardLog:
    """Passes each line on; whatever else a log can do, the one behind it does."""

    def __init__(self, log: Log, recording: Recording, clock: Callable[[], float]) -> None:
        self._log, self._recording, self._clock = log, recording, clock

    def info(self, event: str, **about: Any) -> None:
        """Log it."""
        self._hear(event, about)
        self._log.info(event, **about)

    def warning(self, event: str, **about: Any) -> None:
        """Warn of it."""
        self._hear(event, about)
        self._log.warning(event, **about)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def _hear(self, event: str, about: dict[str, Any]) -> None:
        now = self._clock()
        if event in _ROUTES:
            peers, reason = tuple(about.get("peers", ())), str(about.get("reason", ""))
            self._recording.note_routes(str(about.get("service", "")), peers, reason, now)
        elif event.startswith(_PREFIX):
            who = about.get("peer", about.get("neighbor", ""))
            state, reason = about.get("state", ""), about.get("reason", "")
            self._recording.note_bgp(event, str(state), str(who), str(reason), now)
