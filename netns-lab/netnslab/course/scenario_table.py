"""scenarios.toml as the lab reads it: what happens, to whom, what clients may notice.

The simulator has a reader of its own, as the lab imports nothing of the product; tests hold both to
the same.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netnslab.errors import LabError

FILE = Path(__file__).resolve().parents[3] / "scenarios.toml"
WORLDS = ("simulator", "lab")
WORLD = WORLDS[1]
QUORUMS = ("off", "majority")


class LabTableError(LabError):
    """A table that cannot be used; the text names file, scenario and field, and says why."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One scenario, as the head of scenarios.toml explains its fields; times in seconds.

    `lasts` is 0 where the fault does not pass by itself, `median` None where it is as `silent`.
    """

    what: str
    nodes: int
    services: int
    victims: int | str
    silent: float
    moves: int
    groups: tuple[int, ...] = ()
    lasts: float = 0.0
    amount: float = 0.0
    uplink: bool = False
    quorum: str = QUORUMS[0]
    median: float | None = None
    dual: int = 0
    median_dual: int | None = None
    heals: bool = False
    bystanders: float = 0.0


class LabTable(dict[str, Entry]):
    """The scenarios that the lab plays, in their order; TableError for one that is not there."""

    def __missing__(self, name: str) -> Entry:
        raise LabTableError(f"{FILE}: {name}: not in the table, or not for the lab")


def how_many(victims: int | str, nodes: int) -> int:
    """How many nodes are chosen; one where all are struck, as its name stands for them."""
    counts = {"half": (nodes + 1) // 2, "all-but-one": nodes - 1, "all": 1}
    return victims if isinstance(victims, int) else counts[victims]


def _text(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"{value!r} is no text")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is neither true nor false")


def _count(least: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is int and value >= least:
            return value
        raise ValueError(f"{value!r} is no whole number from {least} on")

    return check


def _number(value: Any) -> float:
    if type(value) in (int, float) and 0 < value < float("inf"):
        return float(value)
    raise ValueError(f"{value!r} is no number above 0")


def _lasts(value: Any) -> float:
    ends = value if isinstance(value, list) else [value, value]
    if len(ends) == 2 and _number(ends[0]) <= _number(ends[1]):
        return (float(ends[0]) + float(ends[1])) / 2
    raise ValueError(f"{value!r} is no range of two ascending numbers")


def _groups(value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and len(value) > 1:
        return tuple(map(_count(1), value))
    raise ValueError(f"{value!r} is no list of two sizes or more")


def _quorum(value: Any) -> str:
    if value in QUORUMS:
        return str(value)
    raise ValueError(f"{value!r} is neither {' nor '.join(QUORUMS)}")


def _victims(value: Any) -> int | str:
    return value if value in ("half", "all-but-one", "all") else _count(1)(value)


def _worlds(value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and value and all(world in WORLDS for world in value):
        return tuple(value)
    raise ValueError(f"{value!r} is no list of {' or '.join(WORLDS)}")


# What may differ between the worlds.
_BOUNDS: dict[str, Callable[[Any], Any]] = {
    "lasts": _lasts,
    "silent": _number,
    "moves": _count(0),
    "dual": _count(0),
    "median_dual": _count(0),
}
_COMMON: dict[str, Callable[[Any], Any]] = {
    **_BOUNDS,
    "what": _text,
    "worlds": _worlds,
    "nodes": _count(2),
    "services": _count(1),
    "victims": _victims,
    "groups": _groups,
    "amount": _number,
    "uplink": _flag,
    "quorum": _quorum,
    "median": _number,
    "heals": _flag,
    "bystanders": _number,
}
_NEEDED = ("what", "nodes", "silent", "moves")


class _BadFieldError(Exception):
    """A field, and what is wrong with it."""


_Checks = Mapping[str, Callable[[Any], Any]]


def _check(given: Mapping[str, Any], checks: _Checks, where: str = "") -> dict[str, Any]:
    found = {}
    for field, value in given.items():
        if field not in checks:
            raise _BadFieldError(where + field, "no such field")
        try:
            found[field] = checks[field](value)
        except ValueError as error:
            raise _BadFieldError(where + field, str(error)) from None
    return found


def _fields(given: Any) -> dict[str, Any]:
    """Check all that is said of a scenario; what is the lab's own comes before the rest."""
    if not isinstance(given, dict):
        raise _BadFieldError("-", "a table is needed")
    found = _check({f: v for f, v in given.items() if f not in WORLDS}, _COMMON)
    worlds = found.pop("worlds", WORLDS)
    for world in WORLDS:
        if world in given and (world not in worlds or not isinstance(given[world], dict)):
            raise _BadFieldError(world, "no table of a world that plays it")
    found |= _check(given.get(WORLD, {}), _BOUNDS, f"{WORLD}.")
    for field in _NEEDED:
        if field not in found:
            raise _BadFieldError(field, "is needed")
    _agree(found)
    return found if WORLD in worlds else {}


def _agree(found: dict[str, Any]) -> None:
    """Fill in what is not said, and see whether the fields fit together."""
    nodes, groups = found["nodes"], found.get("groups", ())
    if ("victims" in found) == bool(groups):
        raise _BadFieldError("victims", "either they or groups are needed")
    if groups and sum(groups) != nodes:
        raise _BadFieldError("groups", f"{sum(groups)} nodes of {nodes}")
    victims = found.setdefault("victims", sum(groups[1:]))
    if how_many(victims, nodes) >= nodes:
        raise _BadFieldError("victims", f"{victims} of {nodes} nodes")
    found.setdefault("services", nodes + 1)
    for most, less in (("silent", "median"), ("dual", "median_dual")):
        if found.get(less, 0) > found.get(most, 0):
            raise _BadFieldError(less, f"is over {most}")


def parse(text: str, file: str) -> dict[str, Entry]:
    """The scenarios that the lab plays, in their order. Raises TableError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LabTableError(f"{file}: {error}") from None
    scenarios = {}
    for name, given in table.items():
        try:
            fields = _fields(given)
        except _BadFieldError as refused:
            raise LabTableError(": ".join((file, name, *refused.args))) from None
        if fields:
            scenarios[name] = Entry(**fields)
    return scenarios


def load(file: Path = FILE) -> dict[str, Entry]:
    """Read the file. Raises TableError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabTableError(f"{file}: {error}") from None
    return parse(text, str(file))


TABLE = LabTable(load())
