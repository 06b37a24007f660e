"""Logs: one JSON object a line on standard output, keys `ts`, `level`, `event` first."""

import logging
import sys
import time
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog

LEVELS = {
    "all": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "none": logging.CRITICAL + 1,
}
"""MetalLB's words for `--log-level`."""


def configure(level: str) -> None:
    """Set structlog up, and send the standard library's warnings (asyncio's, scapy's) its way."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamp,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)


def logger() -> Any:
    """Return the program's logger."""
    return structlog.get_logger()


def _stamp(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Add the time: now, or `at` (Unix time in seconds) where the line tells of something past."""
    at = datetime.fromtimestamp(event.pop("at", None) or time.time(), UTC)
    event["ts"] = at.isoformat().replace("+00:00", "Z")
    return event


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        structlog.get_logger().log(
            record.levelno, record.name, message=record.getMessage(), exc_info=record.exc_info
        )
