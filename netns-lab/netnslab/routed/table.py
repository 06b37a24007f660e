"""bgp.toml as the lab reads it: what happens, and what routers and clients may notice."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netnslab.course.scenario_table import LabTableError
from netnslab.routed.plan import MOST_NODES, MOST_ROUTERS
from netnslab.routed.sessions import DETECTIONS

FILE = Path(__file__).resolve().parents[3] / "bgp.toml"
Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class RoutedEntry:
    """One scenario, as the head of bgp.toml explains its fields; None where nothing is bounded."""

    what: str
    nodes: int
    detections: tuple[str, ...]
    routers: int = 1
    lasts: float = 0.0
    graceful: int = 0
    gone: Mapping[str, Bounds] = field(default_factory=dict)
    back: float | None = None
    margin: float | None = None
    latency: float | None = None
    lost: int | None = None
    calm: bool = True


def _text(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"{value!r} is no text")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is neither true nor false")


def _count(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is int and least <= value <= most:
            return value
        raise ValueError(f"{value!r} is no whole number from {least} to {most}")

    return check


def _seconds(value: Any) -> float:
    if type(value) in (int, float) and 0 < value < float("inf"):
        return float(value)
    raise ValueError(f"{value!r} is no number above 0")


def _detections(value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and value and all(each in DETECTIONS for each in value):
        return tuple(value)
    raise ValueError(f"{value!r} is no list of {', '.join(DETECTIONS)}")


def _gone(value: Any) -> dict[str, Bounds]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is no table")
    return {name: _pair(name, bounds) for name, bounds in value.items()}


def _pair(name: str, bounds: Any) -> Bounds:
    if name not in DETECTIONS:
        raise ValueError(f"{name} is none of {', '.join(DETECTIONS)}")
    if not isinstance(bounds, list) or len(bounds) != 2 or bounds != sorted(map(_seconds, bounds)):
        raise ValueError(f"{bounds!r} is no median and worst")
    return float(bounds[0]), float(bounds[1])


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "what": _text,
    "nodes": _count(2, MOST_NODES),
    "routers": _count(1, MOST_ROUTERS),
    "detections": _detections,
    "lasts": _seconds,
    "graceful": _count(1, 4095),
    "gone": _gone,
    "back": _seconds,
    "margin": _seconds,
    "latency": _seconds,
    "lost": _count(0, 1_000_000),
    "calm": _flag,
}
_NEEDED = ("what", "nodes", "detections")


def _entry(name: str, given: Any) -> RoutedEntry:
    if not isinstance(given, dict):
        raise LabTableError(f"{FILE}: {name}: a table is needed")
    found = {}
    for key, value in given.items():
        if key not in _FIELDS:
            raise LabTableError(f"{FILE}: {name}: {key}: no such field")
        try:
            found[key] = _FIELDS[key](value)
        except ValueError as error:
            raise LabTableError(f"{FILE}: {name}: {key}: {error}") from None
    for key in _NEEDED:
        if key not in found:
            raise LabTableError(f"{FILE}: {name}: {key}: is needed")
    return RoutedEntry(**found)


def read(text: str) -> dict[str, RoutedEntry]:
    """Return the scenarios by name, in their order. Raises LabTableError."""
    try:
        rows = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LabTableError(f"{FILE}: {error}") from None
    return {name: _entry(name, given) for name, given in rows.items()}


def load(file: Path) -> dict[str, RoutedEntry]:
    """Return what `read` does. Raises LabTableError for a file that cannot be read, too."""
    try:
        return read(file.read_text())
    except OSError as error:
        raise LabTableError(f"{file}: {error.strerror}") from None


ROUTED = load(FILE)
