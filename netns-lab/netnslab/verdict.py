"""What counts as passed: the limits as one table, and the judgement of a row against it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Upper bounds, ms but for `lost`; None: not bounded here."""

    silent_ms: float
    dual_answer_ms: float
    outage_ms: float | None = None
    lost: int | None = None
    exit_ms: float | None = None


LIMITS = {
    "power-off": Limits(outage_ms=8000, silent_ms=8000, dual_answer_ms=0),
    "kill": Limits(lost=0, silent_ms=8000, dual_answer_ms=0),
    "stop": Limits(silent_ms=500, dual_answer_ms=200, exit_ms=2000),
    "freeze": Limits(silent_ms=8000, dual_answer_ms=200),
    "rejoin": Limits(silent_ms=500, dual_answer_ms=200),
}


@dataclass(frozen=True)
class Row:
    """One IP through one fault. Owners are node names, None where nobody could be named."""

    run: int
    victim: str
    ip: str
    sent: int
    lost: int
    outage_ms: float
    takeover_ms: float | None
    silent_ms: float
    dual_answer_ms: float
    owner_before: str | None
    owner_after: str | None
    moves: int
    expected: str
    client_after: str | None
    prober_gap_ms: float
    exit_ms: float | None = None
    exit_code: int | None = None


@dataclass(frozen=True)
class Bystanders:
    """All IPs that the faults had nothing to do with: sums, and the longest silence.

    `late` counts single questions answered late or not at all; it tells of a busy machine and does
    not fail a run: whoever asks by ARP asks again.
    """

    ips: int = 0
    lost: int = 0
    moves: int = 0
    silent_ms: float = 0.0
    late: int = 0

    def plus(self, lost: int, moves: int, silent_ms: float, late: int = 0) -> "Bystanders":
        """One more IP."""
        return Bystanders(
            self.ips + 1,
            self.lost + lost,
            self.moves + moves,
            max(self.silent_ms, round(silent_ms, 1)),
            self.late + late,
        )


def judge(row: Row, limits: Limits) -> list[str]:
    """Every way in which the row fails; empty where it is ok."""
    failures = [
        f"{name} {value} is over {limit}"
        for name, value, limit in _bounds(row, limits)
        if value is None or value > limit
    ]
    if row.owner_after != row.expected:
        failures.append(f"the wire names {row.owner_after}, not {row.expected}")
    if row.client_after != row.expected:
        failures.append(f"the client's neighbour entry names {row.client_after}")
    if row.takeover_ms is None:
        failures.append("no frame of a new owner was seen")
    if limits.exit_ms is not None and row.exit_code != 0:
        failures.append(f"exit code {row.exit_code}")
    return [f"run {row.run} {row.ip}: {failure}" for failure in failures]


def _bounds(row: Row, limits: Limits) -> list[tuple[str, Any, float]]:
    pairs = [
        ("silent_ms", row.silent_ms, limits.silent_ms),
        ("dual_answer_ms", row.dual_answer_ms, limits.dual_answer_ms),
        ("outage_ms", row.outage_ms, limits.outage_ms),
        ("lost", row.lost, limits.lost),
        ("exit_ms", row.exit_ms, limits.exit_ms),
    ]
    return [(name, value, limit) for name, value, limit in pairs if limit is not None]


def judge_bystanders(bystanders: Bystanders) -> list[str]:
    """Nothing moves, loses or falls silent that did not have to."""
    counts = {
        "lost": bystanders.lost,
        "moves": bystanders.moves,
        "silent_ms": bystanders.silent_ms,
    }
    return [f"bystanders: {name} {value}" for name, value in counts.items() if value]
