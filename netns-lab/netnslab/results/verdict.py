"""The judgement: each row by itself, then the worst IP of each fault over all faults."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from netnslab.course.limits import Limits, Pair
from netnslab.results.measure import percentile

# Late answers of one IP that a busy machine may cost, however short the window.
FORGIVEN = 3
# The median of fewer answer times than this says more about the machine.
FEWEST = 10
# Of fewer the 99th percentile is the worst of all.
FEWEST_OF_P99 = 100
# Of fewer heals a median says nothing.
FEWEST_HEALS = 3


@dataclass(frozen=True)
class Row:
    """One IP through one fault. Owners are node names, None where nobody could be named.

    `second_after` is where the second warm client's entry sends it; `asked` are the observer's
    questions, `late` those outside of the longest silence that were not answered promptly,
    `answer_ms` and `answer_p99_ms` median and 99th percentile of the time to an answer. `busiest`
    is the most frames of one kind that one node sent unasked in one second. `newcomer` must be
    heard on the wire (None: nobody has to); `claimants` counts the nodes that spoke for the IP
    though they had not owned it before; `noise` their frames that were no plain answers, `noise_ms`
    when each kind of the newcomer's began; `early`: a thawed owner spoke for the IP before it had
    heard from anybody; `heal_*`: as without it, but from the moment on in which the fault was
    undone, None where nothing was.
    """

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
    second_after: str | None = None
    asked: int = 0
    late: int = 0
    answer_ms: float = 0.0
    answer_p99_ms: float = 0.0
    busiest: int = 0
    newcomer: str | None = None
    claimants: int = 0
    noise: int = 0
    noise_ms: dict[str, int] = field(default_factory=dict)
    early: bool = False
    tcp_connects: int = 0
    tcp_failed: int = 0
    tcp_slowest_ms: float = 0.0
    tcp_reset: int = 0
    handover_ms: float | None = None
    exit_ms: float | None = None
    exit_code: int | None = None
    heal_dual_ms: float | None = None
    heal_silent_ms: float | None = None

    @property
    def late_share(self) -> float:
        """Which part of the questions was answered late, but for the first few."""
        return round(max(0, self.late - FORGIVEN) / max(1, self.asked), 3)

    @property
    def telling_ms(self) -> float:
        """`answer_ms`, where enough questions were asked to judge by; else 0."""
        return self.answer_ms if self.asked >= FEWEST else 0.0

    @property
    def telling_p99_ms(self) -> float:
        """`answer_p99_ms`, where enough questions were asked to judge by; else 0."""
        return self.answer_p99_ms if self.asked >= FEWEST_OF_P99 else 0.0


@dataclass(frozen=True)
class Bystanders:
    """All IPs that the faults had nothing to do with: sums, and the worst of times and shares.

    `astray` counts entries of either client that name another than the owner. A few `late` answers
    tell of a busy machine and fail no run: whoever asks by ARP asks again.
    """

    ips: int = 0
    lost: int = 0
    moves: int = 0
    silent_ms: float = 0.0
    late: int = 0
    claimants: int = 0
    tcp_reset: int = 0
    astray: int = 0
    answer_ms: float = 0.0
    answer_p99_ms: float = 0.0
    late_share: float = 0.0
    busiest: int = 0

    @property
    def telling_ms(self) -> float:
        """As of a row: none of too few questions is in it."""
        return self.answer_ms

    @property
    def telling_p99_ms(self) -> float:
        """The same."""
        return self.answer_p99_ms

    def plus(self, row: Row) -> "Bystanders":
        """One more IP. That it is known to nobody leads no client astray."""
        entries = (row.client_after, row.second_after)
        return Bystanders(
            ips=self.ips + 1,
            lost=self.lost + row.lost,
            moves=self.moves + row.moves,
            silent_ms=max(self.silent_ms, row.silent_ms),
            late=self.late + row.late,
            claimants=self.claimants + row.claimants,
            tcp_reset=self.tcp_reset + row.tcp_reset,
            astray=self.astray + sum(entry not in (None, row.expected) for entry in entries),
            answer_ms=max(self.answer_ms, row.telling_ms),
            answer_p99_ms=max(self.answer_p99_ms, row.telling_p99_ms),
            late_share=max(self.late_share, row.late_share),
            busiest=max(self.busiest, row.busiest),
        )


def judge(row: Row, limits: Limits) -> list[str]:
    """Every way in which the row by itself fails; empty where it is ok."""
    failures = [
        f"{name} {value} is over {limit}"
        for name, value, limit in _bounds(row, limits)
        if value is None or value > limit
    ]
    if row.owner_after != row.expected:
        failures.append(f"the wire names {row.owner_after}, not {row.expected}")
    if not limits.wire_only and row.client_after != row.expected:
        failures.append(f"the client's neighbour entry names {row.client_after}")
    if not limits.wire_only and row.second_after != row.expected:
        failures.append(f"the second client's neighbour entry names {row.second_after}")
    if row.newcomer is not None and row.takeover_ms is None:
        failures.append(f"no frame of {row.newcomer} was seen")
    if limits.quiet and row.noise:
        failures.append(f"{row.newcomer} announced {row.noise} times ({row.noise_ms} ms)")
    if row.early:
        failures.append(f"{row.victim} spoke for it before it had heard from anybody")
    if row.exit_code:
        failures.append(f"exit code {row.exit_code}")
    return [f"run {row.run} {row.ip}: {failure}" for failure in failures]


def _bounds(row: Row, limits: Limits) -> list[tuple[str, Any, float]]:
    names = (
        "dual_answer_ms",
        "lost",
        "tcp_failed",
        "tcp_reset",
        "moves",
        "claimants",
        "handover_ms",
        "exit_ms",
        "heal_dual_ms",
        "heal_silent_ms",
    )
    pairs = [(name, getattr(row, name), getattr(limits, name)) for name in names]
    if limits.heal_dual_ms is not None:
        # What is bounded apart does not count twice.
        during = row.dual_answer_ms - (row.heal_dual_ms or 0.0)
        pairs[0] = ("dual_answer_ms before the heal", during, limits.dual_answer_ms)
    bounded = [(name, value, limit) for name, value, limit in pairs if limit is not None]
    return bounded + _habits(row, limits)


def _habits(seen: "Row | Bystanders", limits: Limits) -> list[tuple[str, Any, float]]:
    """How an owner answers and announces at any time."""
    pairs = [
        ("answer_ms", seen.telling_ms, limits.answer_ms),
        ("answer_p99_ms", seen.telling_p99_ms, limits.answer_p99_ms),
        ("late_share", seen.late_share, limits.late_share),
        ("frames of one kind a second", seen.busiest, limits.frames_a_second),
    ]
    return [(name, value, limit) for name, value, limit in pairs if limit is not None]


def worst(rows: Sequence[Row], field: str) -> list[float]:
    """That field of the worst hit IP of each fault, ascending."""
    by_run: dict[int, float] = {}
    for row in rows:
        by_run[row.run] = max(by_run.get(row.run, 0.0), getattr(row, field) or 0.0)
    return sorted(by_run.values())


def judge_faults(rows: Sequence[Row], limits: Limits) -> list[str]:
    """Median and 99th percentile over the faults, each against its bound."""
    failures = []
    for name, pair in (("outage_ms", limits.outage_ms), ("silent_ms", limits.silent_ms)):
        if pair is not None and rows:
            failures += _over(name, worst(rows, name), pair)
    heals = worst(rows, "heal_dual_ms") if limits.heal_dual_median_ms is not None else []
    if len(heals) >= FEWEST_HEALS and median(heals) > (limits.heal_dual_median_ms or 0.0):
        failures.append(f"heal_dual_ms: median {median(heals):.1f} over {len(heals)} heals")
    return failures


def _over(name: str, ascending: Sequence[float], pair: Pair) -> list[str]:
    seen = (median(ascending), percentile(ascending, 0.99))
    return [
        f"{name}: {what} {value:.1f} over {len(ascending)} faults is over {limit:g}"
        for what, value, limit in zip(("median", "p99"), seen, pair, strict=True)
        if value > limit
    ]


def judge_bystanders(bystanders: Bystanders, limits: Limits) -> list[str]:
    """Nothing moves, loses, breaks, is misled or falls silent that did not have to."""
    names = ("lost", "moves", "silent_ms", "claimants", "tcp_reset", "astray")
    counts = {name: getattr(bystanders, name) for name in names}
    if bystanders.silent_ms <= limits.bystanders_silent_ms:
        del counts["silent_ms"]
    failures = [f"bystanders: {name} {value}" for name, value in counts.items() if value]
    return failures + [
        f"bystanders: {name} {value} is over {limit}"
        for name, value, limit in _habits(bystanders, limits)
        if value > limit
    ]
