"""The measurement around each fault of the routed network: the same steps for all of them."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from netnslab.routed import absences, plan
from netnslab.routed.absences import Absence, State
from netnslab.routed.laboratory import STEADY, NoRoutesError, RoutedLab
from netnslab.routed.scenarios import STAGED_ROUTED, RoutedStrike, Struck
from netnslab.routed.table import RoutedEntry
from netnslab.routed.verdict import RoutedRow, judge_routed, judge_runs

# How long a router may take beyond its bound before it is not waited for any more.
PATIENCE = 2.0
# Without a bound, as long as the slowest detection that the table has one for.
GONE_WITHIN = 5.0
LOOKS_ON = 1.0
STRAGGLERS = 0.3


@dataclass(frozen=True)
class RoutedCourse:
    """Which scenario, by which detection, how often; and what the table says of it."""

    name: str
    detection: str
    runs: int
    entry: RoutedEntry


@dataclass
class RoutedResult:
    """A row for each fault, and what is wrong with them."""

    rows: list[RoutedRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every bound was kept, of something that was measured."""
        return bool(self.rows) and not self.failures


def run(lab: RoutedLab, course: RoutedCourse, random: Random) -> RoutedResult:
    """Return what so many faults cost. That no state was reached to begin from is a failure too."""
    result = RoutedResult()
    entry = course.entry
    try:
        lab.start()
        for number in range(1, course.runs + 1):
            if number > 1:
                lab.repair()
            victim = lab.nodes[random.choice(sorted(lab.nodes))]
            row = _measure(lab, course, number, RoutedStrike(victim, entry, random))
            result.rows.append(row)
            result.failures += judge_routed(row, entry, course.detection)
    except NoRoutesError as error:
        result.failures.append(str(error))
    result.failures += judge_runs(result.rows, entry, course.detection)
    return result


def _measure(lab: RoutedLab, course: RoutedCourse, number: int, strike: RoutedStrike) -> RoutedRow:
    lab.mark()
    lab.pass_time(STEADY)
    resets = lab.resets()
    struck = STAGED_ROUTED[course.name](lab, strike)
    _look_on(lab, struck, _patience(course, struck))
    end = time.monotonic()
    lab.pass_time(STRAGGLERS)
    window = {"start": struck.at, "end": end}
    flows = {family: prober.ask("window", **window) for family, prober in lab.flows.items()}
    seen = {name: lab.changes(name, struck.at) for name in lab.routers}
    return RoutedRow(
        run=number,
        victim=strike.victim.name,
        resets=_resets(lab, struck, resets),
        **_routes(lab, struck, seen),
        **_changes(struck, seen),
        **_traffic(lab, struck, flows),
    )


def _patience(course: RoutedCourse, struck: Struck) -> float:
    """Seconds after the fault itself that its end is waited for."""
    entry = course.entry
    bounds = entry.gone.get(course.detection)
    gone = bounds[1] if bounds else GONE_WITHIN if struck.gone else 0.0
    return PATIENCE + max(gone, entry.back or 0.0)


def _look_on(lab: RoutedLab, struck: Struck, patience: float) -> None:
    """Wait for the state in which all is to end, and a second more, for what comes too late."""
    there = set(lab.nodes) - (set(struck.gone) if struck.stays else set())

    def over() -> bool:
        return lab.everywhere(there) and (struck.stays or _all_left(lab, struck))

    lab.wait_until(over, patience)
    lab.pass_time(LOOKS_ON)


def _all_left(lab: RoutedLab, struck: Struck) -> bool:
    """Whether each node that is to go and come back has gone, so that it can have come back.

    BFD may notice it later than the daemon is there again.
    """
    if struck.back_from is None or not struck.gone:
        return True
    prefixes = [plan.prefix(ip) for ip in lab.ips]
    return all(
        absences.gone_at(_absences(lab, name, lab.changes(name, struck.at)), node, prefixes)
        for name in lab.routers
        for node in struck.gone
    )


def _absences(lab: RoutedLab, router: str, changes: Sequence[State]) -> list[Absence]:
    return absences.absences(changes, lab.nodes, [plan.prefix(ip) for ip in lab.ips])


def _resets(lab: RoutedLab, struck: Struck, before: dict[str, dict[str, int]]) -> int:
    """How many sessions of nodes that were not struck have gone down, at routers that were not."""
    after = lab.resets()
    return sum(
        after[router][node] - before[router].get(node, 0)
        for router in after
        for node in after[router]
        if router not in struck.restarted and node not in (*struck.gone, *struck.reset)
    )


def _routes(lab: RoutedLab, struck: Struck, seen: dict[str, list[State]]) -> dict[str, Any]:
    """What the kernels of the routers say."""
    prefixes = [plan.prefix(ip) for ip in lab.ips]
    by_router = {name: _absences(lab, name, changes) for name, changes in seen.items()}
    strays = sum(
        each.node not in struck.gone
        for name, found in by_router.items()
        for each in found
        if name not in struck.restarted
    )
    gone = {
        node: _latest(absences.gone_at(found, node, prefixes) for found in by_router.values())
        for node in struck.gone
    }
    every = [each for found in by_router.values() for each in found]
    back = absences.back_at(every, struck.back_from) if struck.back_from is not None else None
    return {
        "strays": strays,
        "gone_ms": _after(struck.at, _latest(gone.values()) if len(gone) == 1 else None),
        "back_ms": _after(struck.back_from or 0.0, back),
        "margin_ms": _margin(struck, gone),
    }


def _margin(struck: Struck, gone: dict[str, float | None]) -> float | None:
    """The least ms from a node's leaving the routers to its end; None: one did not leave."""
    if not struck.ended:
        return None
    spans = []
    for node, ended in struck.ended.items():
        at = gone[node]
        if at is None:
            return None
        spans.append(ended - at)
    return round(1000 * min(spans), 1)


def _latest(moments: Iterable[float | None]) -> float | None:
    known = list(moments)
    found = [at for at in known if at is not None]
    return max(found) if found and len(found) == len(known) else None


def _after(start: float, at: float | None) -> float | None:
    return None if at is None else round(1000 * (at - start), 1)


def _changes(struck: Struck, seen: dict[str, list[State]]) -> dict[str, Any]:
    """How soon each router showed each change; the next change of the same may overtake it."""
    found = [
        absences.latency(changes, each.at, each.node, each.prefix, announced=each.announced)
        for each in struck.changes
        for changes in seen.values()
    ]
    times = [each for each in found if each is not None]
    return {
        "unseen": len(found) - len(times),
        "latency_ms": round(1000 * max(times), 1) if times else None,
    }


def _traffic(lab: RoutedLab, struck: Struck, flows: dict[int, Any]) -> dict[str, Any]:
    """What the client says of its flows, all families together."""
    names = {host.number: name for name, host in lab.fabric.nodes.items()}
    rows = [row for family in flows.values() for row in family["flows"]]
    # Whose node stayed: of nobody, where a whole router was struck or all nodes were.
    others = [row for row in rows if names.get(row["before"]) not in struck.gone]
    lost = [at for row in rows for at in row["lost"]]
    return {
        "flows": len(rows),
        "silent_flows": sum(row["after"] == 0 for row in rows),
        "sent": sum(row["sent"] for row in rows),
        "lost": len(lost),
        "others_lost": sum(len(row["lost"]) for row in others),
        "last_loss_ms": _after(struck.at, max(lost, default=None)),
        "moved": sum(row["after"] != row["before"] for row in others),
        "own_gap_ms": round(max(family["own_gap_ms"] for family in flows.values()), 1),
    }
