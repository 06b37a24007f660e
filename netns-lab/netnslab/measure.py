"""The arithmetic of the stopwatch: lists of moments in, milliseconds out. Moments are seconds."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


def outage_ms(answers: Sequence[float], start: float, end: float, interval: float) -> float:
    """The longest gap between two answered probes, less the interval between probes.

    `answers` are the ascending arrival times; the window's borders count as answers, so what never
    comes back is out until `end`.
    """
    first, last = bisect_left(answers, start), bisect_right(answers, end)
    moments = [start, *answers[first:last], end]
    longest = max(b - a for a, b in pairwise(moments))
    return max(0.0, longest - interval) * 1000


@dataclass(frozen=True)
class Heard:
    """What one asker without a cache heard about one IP within a window."""

    asked: int
    answered: int
    late: int
    silent_ms: float
    dual_answer_ms: float
    moves: int
    macs: list[str]


@dataclass(frozen=True)
class Answer:
    """One ARP answer: when the kernel received it, and the MAC it names."""

    at: float
    mac: str


def _waits(asked: Sequence[float], answered: Sequence[float], end: float) -> list[float]:
    """How long each question waited for the next answer from anybody."""
    waits = []
    for question in asked:
        following = bisect_left(answered, question)
        until = answered[following] if following < len(answered) else end
        waits.append(until - question)
    return waits


def heard(
    asked: Sequence[float], answers: Sequence[Answer], start: float, end: float, interval: float
) -> Heard:
    """Evaluates the window [start, end] of one IP; both lists ascend.

    Silence is the longest wait of a question for the next answer, if a second question too went
    without: one late answer, on a busy machine, is counted in `late` but is no silence.
    An answer belongs to the latest question before it. A question with answers from two MACs makes
    the whole interval that it stands for dual. `macs` are the distinct answering MACs in the order
    of the first answers.
    """
    times = [answer.at for answer in answers]
    questions = asked[bisect_left(asked, start) : bisect_right(asked, end)]
    window = answers[bisect_left(times, start) : bisect_right(times, end)]
    by_question: dict[int, list[str]] = {}
    for answer in window:
        latest = bisect_right(questions, answer.at) - 1
        if latest >= 0:
            by_question.setdefault(latest, []).append(answer.mac)
    firsts = [macs[0] for macs in by_question.values()]
    waits = _waits(questions, [answer.at for answer in window], end)
    longest = max(waits, default=0.0)
    return Heard(
        asked=len(questions),
        answered=len(by_question),
        late=sum(wait > interval for wait in waits),
        silent_ms=longest * 1000 if longest > 2 * interval else 0.0,
        dual_answer_ms=sum(len(set(macs)) > 1 for macs in by_question.values()) * interval * 1000,
        moves=sum(a != b for a, b in pairwise(firsts)),
        macs=list(dict.fromkeys(mac for macs in by_question.values() for mac in macs)),
    )
