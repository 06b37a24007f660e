"""What counts as passed: the upper bounds of every scenario, as two tables.

What clients may notice stands in scenarios.toml; here is what only the lab's instruments see.
"""

from dataclasses import dataclass, replace

from netnslab.course.scenario_table import TABLE
from netnslab.instruments.observer import INTERVAL

Pair = tuple[float, float]


@dataclass(frozen=True)
class Limits:
    """Upper bounds, ms or counts; None: not bounded here.

    A pair bounds median and 99th percentile over faults of the worst hit IP of each fault; all
    other bounds hold for every IP of every fault. `quiet`: the heir may answer but announce
    nothing. `heal_*`: from the moment on in which the fault was undone; `dual_answer_ms` then
    bounds what was before, and the median is over faults. `wire_only`: clients may go on by way of
    the old node, whose kernel still forwards. `answer_ms` is the median time to an answer,
    `answer_p99_ms` the 99th percentile; `late_share` of the questions outside of the longest
    silence may be answered late or never; so many frames of one kind may one node send unasked
    about one IP in a second. These four hold for bystanders too, who may be silent for
    `bystanders_silent_ms`.
    """

    outage_ms: Pair | None = None
    silent_ms: Pair | None = None
    dual_answer_ms: float | None = 0
    lost: int | None = None
    tcp_failed: int | None = None
    tcp_reset: int | None = None
    moves: int | None = None
    claimants: int | None = None
    handover_ms: float | None = None
    exit_ms: float | None = None
    heal_dual_ms: float | None = None
    heal_dual_median_ms: float | None = None
    heal_silent_ms: float | None = None
    answer_ms: float | None = 20
    answer_p99_ms: float | None = None
    late_share: float | None = 0.1
    frames_a_second: int | None = 12
    bystanders_silent_ms: float = 0
    quiet: bool = False
    wire_only: bool = False


_NOTHING_ELSE = Limits()
# A process is gone, its kernel forwards on: only who has no entry yet may have to wait.
_PROCESS = Limits(lost=0, tcp_failed=0, quiet=True, wire_only=True)
_PLANNED = Limits(lost=0, tcp_failed=0)
# The process comes back: its heir hands over, as planned.
_BACK = replace(_PROCESS, wire_only=False)
# Nobody but the owner may speak for an IP.
_CALM = Limits(claimants=0)
_THERE_AND_BACK = Limits(claimants=1)
# Not even a frame is lost.
_UNTOUCHED = replace(_CALM, lost=0, tcp_failed=0, tcp_reset=0)
# A node comes back to its peers: it has been told who owns its IPs before it answers for any.
_RETURN = Limits(heal_silent_ms=200)
# Whole groups meet again, and each has owned every IP until then.
_HEAL = Limits(heal_silent_ms=1000)
_AWAY = replace(_BACK, wire_only=True, tcp_reset=0)

_OWN = {
    "power-off": _NOTHING_ELSE,
    "cable-node": _NOTHING_ELSE,
    "cable-switch": _NOTHING_ELSE,
    "uplink": _NOTHING_ELSE,
    "half": _NOTHING_ELSE,
    "all-but-one": _NOTHING_ELSE,
    "kill": _PROCESS,
    "freeze": _BACK,
    "restart": _AWAY,
    "thaw": _BACK,
    "stop": replace(_PLANNED, handover_ms=1000, exit_ms=2000),
    "stop-twice": replace(_PROCESS, quiet=False, exit_ms=300),
    "rejoin": _PLANNED,
    "rolling": replace(_PLANNED, exit_ms=2000),
    "blink-100": _CALM,
    "blink-250": _CALM,
    "blink-500": _THERE_AND_BACK,
    "blink-1000": _THERE_AND_BACK,
    "switch-pause-500": _CALM,
    "switch-pause-2000": _CALM,
    "gossip-cut": replace(_CALM, lost=0),
    "freeze-1s": replace(_CALM, lost=0),
    # A fifth of all questions or answers is lost on the way.
    "loss": replace(_CALM, late_share=0.35),
    "quota": _CALM,
    "gossip-cut-120": _UNTOUCHED,
    "kill-120": _AWAY,
    "heir-stopped": replace(_AWAY, claimants=2),
    "deaf": _RETURN,
    "mute": _RETURN,
    "one-way": _UNTOUCHED,
    "echo-filtered": _UNTOUCHED,
    "echo-filtered-one": _UNTOUCHED,
    "echo-limited": _UNTOUCHED,
    "silent-8": _RETURN,
    "silent-60": _RETURN,
    "switch-pause-60": replace(_HEAL, heal_silent_ms=2000),
    # A double may not be heard at all.
    "same-name": _UNTOUCHED,
    "new-address": _RETURN,
    "paused-vm": _RETURN,
    "flap": Limits(claimants=1),
    "floating-address": _NOTHING_ELSE,
    # The foreign kernel answers beside the heir until it is mended.
    "foreign-kernel": Limits(dual_answer_ms=None, heal_dual_ms=0),
    "plan-edit": replace(_PLANNED, claimants=1),
    "partition-quorum": Limits(heal_silent_ms=2000),
    "guide-scenario-3": _UNTOUCHED,
    # What a forged announcement tells a warm client, no speaker can help.
    "attacked": Limits(claimants=1, answer_p99_ms=10, wire_only=True),
    "partition-2-2": _HEAL,
    "partition-2-3": _HEAL,
    "partition-2-2-2": _HEAL,
}
# Two answer here for a while: the answers of both count as moves from one to the other and back,
# so that `dual` bounds them.
_MOVES_UNCOUNTED = ("paused-vm", "foreign-kernel")


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _limits(name: str, own: Limits) -> Limits:
    """The lab's own bounds, and those of the table.

    The warm client, where it may lose anything and its way is judged, waits as the other does.
    """
    entry = TABLE[name]
    median = entry.silent if entry.median is None else entry.median
    silent = (_milliseconds(median), _milliseconds(entry.silent))
    told = replace(
        own,
        silent_ms=silent,
        outage_ms=silent if own.lost is None and not own.wire_only else None,
        moves=None if entry.heals or name in _MOVES_UNCOUNTED else entry.moves,
        bystanders_silent_ms=_milliseconds(entry.bystanders),
    )
    dual = _milliseconds(INTERVAL * entry.dual)
    if own.heal_silent_ms is None:
        return told if own.dual_answer_ms is None else replace(told, dual_answer_ms=dual)
    # Two may answer from the heal on, and not before it.
    usual = None if entry.median_dual is None else _milliseconds(INTERVAL * entry.median_dual)
    return replace(told, heal_dual_ms=dual, heal_dual_median_ms=usual)


FAILOVER = {name: _limits(name, _OWN[name]) for name in TABLE}

_SLOW = 8000.0
# memberlist's own verdict of one dead node takes 5 to 7 s; many at once up to half as much again.
_MANY = 12000.0
_PROCESSES = ("kill", "kill-120", "heir-stopped", "freeze", "restart", "thaw", "stop-twice")


def _memberlist(name: str, fast: Limits) -> Limits:
    """The bounds of `speaker --failover-after off`, whose verdicts are memberlist's alone."""
    entry = TABLE[name]
    if name == "attacked":
        return replace(fast, silent_ms=(_SLOW, _SLOW))
    # A median is asked for where the fast verdict is what clients wait for.
    if entry.median is not None:
        slow = _SLOW if entry.victims == 1 else _MANY
        return replace(fast, outage_ms=(slow, slow), silent_ms=(slow, slow))
    if name in _PROCESSES:
        return replace(fast, silent_ms=(_SLOW, _SLOW), quiet=False, wire_only=True)
    return fast


MEMBERLIST = {name: _memberlist(name, fast) for name, fast in FAILOVER.items()}
TABLES = {"failover": FAILOVER, "memberlist": MEMBERLIST}
