"""How people read what a speaker tells: one voice for the command and for the page. Pure."""

from datetime import UTC, datetime

from process.told.rows import LiveTakeover

AS_IT_SHOULD_BE = frozenset(("owned", "elsewhere", "routed"))
"""States of an IP on a node in which nothing is amiss."""


def moment(at: float | None) -> str:
    """Return a Unix time in UTC, to the second; empty where the speaker knows none."""
    if at is None:
        return ""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return "?"


def taken_over(takeover: LiveTakeover | None) -> str:
    """Return how an IP came to its owner; empty where the speaker has not seen it."""
    if takeover is None:
        return ""
    took = "" if takeover.seconds is None else f", {takeover.seconds:.3f} s"
    return f"from {takeover.previous or 'nobody'} ({takeover.reason}{took})"
