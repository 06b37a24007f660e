"""Logs: one JSON object a line on standard output, with `ts`, `level` and `event`."""

import json
import logging
import time
from collections.abc import Callable, Hashable, Mapping, MutableMapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import structlog

from process.log_writer import LogWriter, standard_output

LEVELS = {
    "all": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "none": logging.CRITICAL,
}
"""MetalLB's words for `--log-level`. structlog knows none above CRITICAL, and we log nothing there.
"""

LAST_WORDS = 0.3
"""Seconds that the end of the process waits for its last lines to be written."""
INTERVAL = 60.0
"""Seconds between two lines that say the same."""
MOST_SUBJECTS = 64
"""How many different lines are remembered as written; what else comes within a minute is not."""

_writers: list[LogWriter] = []


def configure(level: str) -> None:
    """Set structlog up, and send the standard library's warnings (asyncio's, scapy's) its way."""
    writer: Any = LogWriter(standard_output(), _dropped_line)
    _writers.append(writer)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamp,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=writer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


def finish() -> None:
    """Have the last lines written, as far as somebody reads them; the end of the process."""
    for writer in _writers:
        writer.finish(LAST_WORDS)


def dropped() -> int:
    """Count the lines that nobody will read."""
    return sum(writer.dropped for writer in _writers)


def logger() -> Any:
    """Return the program's logger."""
    return structlog.get_logger()


def _stamp(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Add the time: now, or `at` (Unix time in seconds) where the line tells of something past."""
    at = datetime.fromtimestamp(event.pop("at", None) or time.time(), UTC)
    event["ts"] = at.isoformat().replace("+00:00", "Z")
    return event


def _dropped_line(count: int) -> str:
    event: dict[str, Any] = {"dropped": count, "event": "log_lines_dropped", "level": "warning"}
    return json.dumps(_stamp(None, "", event)) + "\n"


class Sparing:
    """Tells whether to write a line: the same at most once a minute. Any thread may ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._said: dict[Hashable, tuple[float, int]] = {}

    def ask(self, subject: Hashable) -> int | None:
        """Return how many were left out since the last one; None: leave this one out too."""
        with self._lock:
            now = self._clock()
            said, left_out = self._said.get(subject, (-INTERVAL, 0))
            if now - said < INTERVAL:
                self._said[subject] = said, left_out + 1
                return None
            if subject not in self._said and not self._room(now):
                return None
            self._said[subject] = now, 0
            return left_out

    def _room(self, now: float) -> bool:
        if len(self._said) >= MOST_SUBJECTS:
            self._said = {
                subject: (said, left_out)
                for subject, (said, left_out) in self._said.items()
                if now - said < INTERVAL
            }
        return len(self._said) < MOST_SUBJECTS


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        structlog.get_logger().log(
            record.levelno, record.name, message=record.getMessage(), exc_info=record.exc_info
        )
