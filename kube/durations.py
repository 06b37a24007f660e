"""Durations as Go writes them: `200ms`, `1m30s`, `1.5h`."""

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")

_LONGEST = (2**63 - 1) / 1e9
"""Go counts nanoseconds in 64 bits with a sign."""


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration; raise ValueError for anything else.

    A sign is refused: no setting here can be negative. `0` needs no unit, as in Go.
    """
    if text == "0":
        return 0.0
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        raise ValueError(f"not a duration such as 200ms or 10s: {text!r}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > _LONGEST:
        raise ValueError(f"a duration of more than 292 years: {text[:40]!r}")
    return seconds
