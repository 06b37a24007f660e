"""What counts as passed: the upper bounds of every scenario, as two tables."""

from dataclasses import dataclass, replace

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


def _gone(median: float, most: float) -> Limits:
    """A machine or its link is gone: the warm client and the one without a cache wait alike."""
    return Limits(outage_ms=(median, most), silent_ms=(median, most))


# A process is gone, its kernel forwards on: only who has no entry yet may have to wait.
_PROCESS = Limits(silent_ms=(2000, 2000), lost=0, tcp_failed=0, quiet=True, wire_only=True)
# Two questions of the observer may fall into the moment in which old and new owner both answer:
# the old one answers on until it has heard the new one, which both know a moment after clients.
_CROSSED = 100
_PLANNED = Limits(silent_ms=(1000, 1000), dual_answer_ms=_CROSSED, lost=0, tcp_failed=0)
# The process comes back: its heir hands over, as planned.
_BACK = replace(_PROCESS, wire_only=False, dual_answer_ms=_CROSSED)
# Nobody but the owner may speak for an IP.
_CALM = Limits(moves=0, claimants=0)
_THERE_AND_BACK = Limits(moves=2, claimants=1)
# Not even a frame is lost.
_UNTOUCHED = replace(_CALM, lost=0, tcp_failed=0, tcp_reset=0, silent_ms=(200, 200))
# A node comes back to its peers: it has been told who owns its IPs before it answers for any.
_RETURN = replace(_gone(500, 1000), moves=2, heal_dual_ms=_CROSSED, heal_silent_ms=200)
# Whole groups meet again, and each has owned every IP until then.
_HEAL = Limits(heal_dual_ms=2000, heal_dual_median_ms=300, heal_silent_ms=1000)
_AWAY = replace(_BACK, wire_only=True, tcp_reset=0, moves=2)

FAILOVER = {
    "power-off": _gone(500, 1000),
    "cable-node": _gone(500, 1000),
    "cable-switch": _gone(500, 1000),
    "uplink": _gone(500, 1000),
    "half": _gone(1000, 2000),
    "all-but-one": _gone(1000, 2000),
    "kill": _PROCESS,
    "freeze": _BACK,
    "restart": _AWAY,
    "thaw": replace(_BACK, moves=2),
    "stop": replace(_PLANNED, handover_ms=1000, exit_ms=2000),
    "stop-twice": replace(_PROCESS, quiet=False, dual_answer_ms=_CROSSED, exit_ms=300),
    "rejoin": replace(_PLANNED, silent_ms=(500, 500)),
    "rolling": replace(_PLANNED, dual_answer_ms=400, exit_ms=2000),
    "blink-100": _CALM,
    "blink-250": _CALM,
    "blink-500": _THERE_AND_BACK,
    "blink-1000": _THERE_AND_BACK,
    "switch-pause-500": _CALM,
    "switch-pause-2000": _CALM,
    "gossip-cut": replace(_CALM, lost=0, silent_ms=(200, 200)),
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
    # Each was alone for so long, and knows that it was: it waits for a word of the others.
    "switch-pause-60": replace(_HEAL, heal_dual_ms=_CROSSED, heal_silent_ms=2000),
    # A double may not be heard at all.
    "same-name": _UNTOUCHED,
    "new-address": _RETURN,
    # Its own clock tells it nothing: somebody has to.
    "paused-vm": replace(_RETURN, moves=None, heal_dual_ms=2000, heal_dual_median_ms=300),
    # Gone twice, it stays away for 10 s, then 20, then 40: four returns a minute at most.
    "flap": replace(_gone(1000, 1000), dual_answer_ms=5 * _CROSSED, moves=10, claimants=1),
    "floating-address": _gone(500, 1000),
    # The foreign kernel answers beside the heir until it is mended.
    "foreign-kernel": replace(_gone(500, 1000), dual_answer_ms=None, heal_dual_ms=0),
    "plan-edit": replace(_PLANNED, silent_ms=(200, 200), moves=1, claimants=1),
    "partition-quorum": Limits(heal_dual_ms=_CROSSED, heal_silent_ms=2000),
    "guide-scenario-3": _UNTOUCHED,
    # What a forged announcement tells a warm client, no speaker can help.
    "attacked": Limits(
        silent_ms=(1000, 1000),
        moves=1,
        claimants=1,
        answer_p99_ms=10,
        # As of who is untouched: a speaker that is short of CPU stands still for up to 80 ms.
        bystanders_silent_ms=200,
        wire_only=True,
    ),
    "partition-2-2": replace(_HEAL, silent_ms=(1000, 2000)),
    "partition-2-3": replace(_HEAL, silent_ms=(1000, 2000)),
    "partition-2-2-2": replace(_HEAL, silent_ms=(1000, 2000)),
}

_SLOW = 8000.0
# memberlist's own verdict of one dead node takes 5 to 7 s; many at once up to half as much again.
_MANY = 12000.0
_PROCESSES = ("kill", "kill-120", "heir-stopped", "freeze", "restart", "thaw", "stop-twice")


def _memberlist(name: str, fast: Limits) -> Limits:
    """The bounds of `speaker --failover-after off`, whose verdicts are memberlist's alone."""
    groups = name.startswith("partition")
    if name == "attacked":
        return replace(fast, silent_ms=(_SLOW, _SLOW))
    slow = _MANY if groups or name in ("half", "all-but-one") else _SLOW
    if groups:
        return replace(fast, silent_ms=(slow, slow))
    if fast.outage_ms is not None:
        return replace(fast, outage_ms=(slow, slow), silent_ms=(slow, slow))
    if name in _PROCESSES:
        return replace(fast, silent_ms=(slow, slow), quiet=False, wire_only=True)
    return fast


MEMBERLIST = {name: _memberlist(name, fast) for name, fast in FAILOVER.items()}
TABLES = {"failover": FAILOVER, "memberlist": MEMBERLIST}
