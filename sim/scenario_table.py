"""scenarios.toml as the simulator reads it: what happens, to whom, what clients may notice. Pure.

The lab has a reader of its own (it imports nothing of ours); `tests/house` holds both to the same.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ownership.election.quorum import QuorumMode

if TYPE_CHECKING:
    from random import Random

FILE = Path(__file__).parent.parent / "scenarios.toml"
WORLDS = ("simulator", "lab")
WORLD = WORLDS[0]
AFTER = 8.0
"""Seconds that a run goes on after the last fault: memberlist's own verdict falls within them."""


class ScenarioTableError(Exception):
    """A table that cannot be used; the text names file, scenario and field, and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverScenario:
    """One scenario, as the head of scenarios.toml explains its fields.

    `silent` in seconds, `moves` an IP, are what clients may notice of the nodes that are struck. Of
    the others they may notice nothing (see `judge`).
    """

    what: str
    nodes: int
    victims: int | None
    """None: all of them, or groups that are parted."""
    silent: float
    moves: int
    groups: tuple[int, ...] = ()
    services: int | None = None
    """One more than nodes where None."""
    lasts: tuple[float, float] | None = None
    """The shortest and the longest; None: for ever."""
    amount: float = 0.0
    uplink: bool = False
    quorum: QuorumMode = QuorumMode.OFF
    median: float | None = None
    dual: int = 0
    row: int | None = None
    """How many of `dual` in a row, all where None."""
    median_dual: int | None = None
    heals: bool = False
    """Whether nodes that owned the same meet again: bystanders may have two answers then, too."""
    bystanders: float = 0.0
    everyone: bool = False
    after: float = AFTER
    frames: float = float("inf")

    def seconds(self, rng: "Random") -> float | None:
        """Draw how long the fault lasts; None: for ever."""
        if self.lasts is None or self.lasts[0] < self.lasts[1]:
            return None if self.lasts is None else rng.uniform(*self.lasts)
        return self.lasts[0]


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


def _lasts(value: Any) -> tuple[float, float]:
    ends = value if isinstance(value, list) else [value, value]
    if len(ends) == 2 and _number(ends[0]) <= _number(ends[1]):
        return float(ends[0]), float(ends[1])
    raise ValueError(f"{value!r} is no range of two ascending numbers")


def _groups(value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and len(value) > 1:
        return tuple(map(_count(1), value))
    raise ValueError(f"{value!r} is no list of two sizes or more")


def _victims(value: Any) -> int | str:
    return value if value in ("half", "all-but-one", "all") else _count(1)(value)


def _worlds(value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and value and all(world in WORLDS for world in value):
        return tuple(value)
    raise ValueError(f"{value!r} is no list of {' or '.join(WORLDS)}")


_BOUNDS: dict[str, Callable[[Any], Any]] = {
    "lasts": _lasts,
    "silent": _number,
    "moves": _count(0),
    "dual": _count(0),
    "median_dual": _count(0),
}
"""What may differ between the worlds."""
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
    "quorum": QuorumMode,
    "median": _number,
    "heals": _flag,
    "bystanders": _number,
}
_OWN: dict[str, Callable[[Any], Any]] = {
    **_BOUNDS,
    "row": _count(1),
    "after": _number,
    "everyone": _flag,
    "frames": _number,
}
_NEEDED = ("what", "nodes", "silent", "moves")


class _RefusedError(Exception):
    """A field, and what is wrong with it."""


_Checks = Mapping[str, Callable[[Any], Any]]


def _check(given: Mapping[str, Any], checks: _Checks, where: str = "") -> dict[str, Any]:
    found = {}
    for field, value in given.items():
        if field not in checks:
            raise _RefusedError(where + field, "no such field")
        try:
            found[field] = checks[field](value)
        except ValueError as error:
            raise _RefusedError(where + field, str(error)) from None
    return found


def _fields(given: Any) -> dict[str, Any]:
    """Check all that is said of a scenario; what is the simulator's own comes before the rest."""
    if not isinstance(given, dict):
        raise _RefusedError("-", "a table is needed")
    found = _check({f: v for f, v in given.items() if f not in WORLDS}, _COMMON)
    worlds = found.pop("worlds", WORLDS)
    for world in WORLDS:
        if world in given and (world not in worlds or not isinstance(given[world], dict)):
            raise _RefusedError(world, "no table of a world that plays it")
    found |= _check(given.get(WORLD, {}), _OWN, f"{WORLD}.")
    for field in _NEEDED:
        if field not in found:
            raise _RefusedError(field, "is needed")
    _agree(found)
    return found if WORLD in worlds else {}


def _agree(found: dict[str, Any]) -> None:
    """Make a count of who is struck, and see whether the fields fit together."""
    nodes, groups = found["nodes"], found.get("groups", ())
    if ("victims" in found) == bool(groups):
        raise _RefusedError("victims", "either they or groups are needed")
    if groups and sum(groups) != nodes:
        raise _RefusedError("groups", f"{sum(groups)} nodes of {nodes}")
    victims = found.get("victims", "all")
    counts = {"half": (nodes + 1) // 2, "all-but-one": nodes - 1, "all": None}
    found["victims"] = counts.get(victims, victims)
    if found["victims"] is not None and found["victims"] >= nodes:
        raise _RefusedError("victims", f"{victims} of {nodes} nodes")
    for most, less in (("silent", "median"), ("dual", "median_dual"), ("dual", "row")):
        if found.get(less, 0) > found.get(most, 0):
            raise _RefusedError(less, f"is over {most}")


def parse(text: str, file: str) -> dict[str, FailoverScenario]:
    """Read the scenarios that the simulator plays, in their order. Raises ScenarioTableError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioTableError(f"{file}: {error}") from None
    scenarios = {}
    for name, given in table.items():
        try:
            fields = _fields(given)
        except _RefusedError as refused:
            raise ScenarioTableError(": ".join((file, name, *refused.args))) from None
        if fields:
            scenarios[name] = FailoverScenario(**fields)
    return scenarios


def load(file: Path = FILE) -> dict[str, FailoverScenario]:
    """Read the file. Raises ScenarioTableError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioTableError(f"{file}: {error}") from None
    return parse(text, str(file))
