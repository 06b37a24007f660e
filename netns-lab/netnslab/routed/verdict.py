"""What one fault of the routed network cost, and whether that is too much. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from netnslab.routed.sessions import MED_STEP
from netnslab.routed.table import RoutedEntry

FAMILY_WORDS = {(4,): "4", (6,): "6", (4, 6): "dual"}
# What a client still loses after the router has withdrawn: questions that were on their way.
ON_THEIR_WAY = 100.0
FEWEST_FAULTS = 3


@dataclass(frozen=True)
class RoutedRow:
    """One fault. Times in ms from it on; None where it did not happen.

    `gone_ms`: the last router has withdrawn the last prefix of the struck nodes; `back_ms`: all
    have all again; `margin_ms`: how long before a planned stop's end that was, the least of all;
    `latency_ms`: the slowest change of the configuration, `unseen` changes that no router showed.
    `strays`: how often a route left a node that was not struck; `resets`: of such nodes' sessions.
    `others_lost`: lost questions of flows that such a node answered; `moved`: of such flows
    those that another node answered after the fault; `own_gap_ms`: the client itself stood still.
    """

    run: int
    victim: str
    gone_ms: float | None = None
    back_ms: float | None = None
    margin_ms: float | None = None
    latency_ms: float | None = None
    unseen: int = 0
    strays: int = 0
    resets: int = 0
    flows: int = 0
    silent_flows: int = 0
    sent: int = 0
    lost: int = 0
    others_lost: int = 0
    last_loss_ms: float | None = None
    moved: int = 0
    own_gap_ms: float = 0.0


def judge_routed(row: RoutedRow, entry: RoutedEntry, detection: str) -> list[str]:
    """Every way in which the row by itself fails; empty where it is ok."""
    failures = _times(row, entry, detection)
    for name, value, most in _counts(row, entry, detection):
        if value > most:
            failures.append(f"{name} {value} is over {most}")
    return [f"run {row.run} {row.victim}: {failure}" for failure in failures]


def _times(row: RoutedRow, entry: RoutedEntry, detection: str) -> list[str]:
    failures = []
    gone = entry.gone.get(detection)
    pairs = [
        ("gone_ms", row.gone_ms, gone[1] if gone else None),
        ("back_ms", row.back_ms, entry.back),
        ("latency_ms", row.latency_ms, entry.latency),
    ]
    for name, value, most in pairs:
        if most is not None and (value is None or value > 1000 * most):
            failures.append(f"{name} {_shown(value)} is over {1000 * most:g}")
    if entry.margin is not None and (row.margin_ms is None or row.margin_ms < 1000 * entry.margin):
        failures.append(f"margin_ms {_shown(row.margin_ms)} is under {1000 * entry.margin:g}")
    if gone and row.last_loss_ms is not None and row.last_loss_ms > 1000 * gone[1] + ON_THEIR_WAY:
        failures.append(f"last_loss_ms {_shown(row.last_loss_ms)}: lost after all was over")
    return failures


def _counts(row: RoutedRow, entry: RoutedEntry, detection: str) -> list[tuple[str, int, int]]:
    counts = [("unseen", row.unseen, 0), ("silent_flows", row.silent_flows, 0)]
    if entry.calm:
        counts.append(("resets", row.resets, 0))
    # The first whose MED is lower is for a moment the only way; that loses nothing.
    if entry.calm and detection != MED_STEP:
        counts.append(("strays", row.strays, 0))
    if entry.calm and entry.lost is None:
        counts.append(("others_lost", row.others_lost, 0))
    if entry.lost is not None:
        counts.append(("lost", row.lost, entry.lost))
    return counts


def judge_runs(rows: Sequence[RoutedRow], entry: RoutedEntry, detection: str) -> list[str]:
    """The median over all faults, where these are enough to have one."""
    bounds = entry.gone.get(detection)
    times = [row.gone_ms for row in rows if row.gone_ms is not None]
    if bounds is None or len(times) < FEWEST_FAULTS or median(times) <= 1000 * bounds[0]:
        return []
    return [f"gone_ms: median {median(times):.1f} of {len(times)} is over {1000 * bounds[0]:g}"]


def _shown(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"
