"""The arithmetic of the stopwatch: lists of moments in, milliseconds out. Moments are seconds."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from statistics import median

# Whoever asks and waits for so long has noticed. Apart from the interval between questions: what is
# asked less often is not to be answered later.
PROMPT = 0.05


def outage_ms(answers: Sequence[float], start: float, end: float, interval: float) -> float:
    """The longest gap between two answered probes, less the interval between probes.

    `answers` are the ascending arrival times; the window's borders count as answers, so what never
    comes back is out until `end`.
    """
    first, last = bisect_left(answers, start), bisect_right(answers, end)
    moments = [start, *answers[first:last], end]
    longest = max(b - a for a, b in pairwise(moments))
    return max(0.0, longest - interval) * 1000


def busiest(moments: Sequence[float], within: float = 1.0) -> int:
    """The most of these ascending moments that lie within so many seconds."""
    return max((bisect_left(moments, at + within) - n for n, at in enumerate(moments)), default=0)


class Questions:
    """The questions about one IP, by number; of the number so many values come back in answers.

    What was forgotten keeps its numbers: `moments` begin at `_base`.
    """

    def __init__(self, identities: int) -> None:
        self._identities = identities
        self._base = 0
        self.moments: list[float] = []

    def ask(self, now: float) -> int:
        """Note a question; return the identity that it is asked by."""
        self.moments.append(now)
        return (self._base + len(self.moments) - 1) % self._identities

    def time_of(self, identity: int, at: float) -> float | None:
        """When the latest question of that identity before `at` was asked; None: nobody did."""
        newest = bisect_right(self.moments, at) - 1
        index = newest - (self._base + newest - identity) % self._identities
        return self.moments[index] if index >= 0 else None

    def forget(self, before: float) -> None:
        """Drop what was asked before that moment."""
        count = bisect_left(self.moments, before)
        del self.moments[:count]
        self._base += count


@dataclass(frozen=True)
class TimedAnswer:
    """When the kernel received it, the MAC that it names, and when its question was asked."""

    at: float
    mac: str
    asked: float


@dataclass(frozen=True)
class Heard:
    """What one asker without a cache heard about one IP within a window."""

    asked: int
    answered: int
    late: int
    answer_ms: float
    answer_p99_ms: float
    silent_ms: float
    dual_answer_ms: float
    moves: int
    macs: list[str]


def _waits(questions: Sequence[float], firsts: dict[float, float], end: float) -> list[float]:
    """How long after each question it, or one asked later, was answered; else until the window
    closes."""
    waits: list[float] = []
    following = end
    for question in reversed(questions):
        following = min(following, firsts.get(question, end))
        waits.append(following - question)
    return waits[::-1]


def _silence(questions: Sequence[float], waits: list[float], least: float) -> tuple[float, float]:
    """From when to when the longest wait lasted, if longer than `least`; else an empty span."""
    longest = max(waits, default=0.0)
    if longest <= least:
        return 0.0, 0.0
    start = questions[waits.index(longest)]
    return start, start + longest


def percentile(ascending: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; of fewer than 100 values the 99th is the greatest."""
    return ascending[max(0, ceil(share * len(ascending)) - 1)]


def evaluate(
    asked: Sequence[float],
    answers: Sequence[TimedAnswer],
    start: float,
    end: float,
    interval: float,
) -> Heard:
    """Evaluate the questions that were asked within [start, end] about one IP; `asked` ascends.

    An answer belongs to the question that it names, whenever it comes. Silence is the longest wait
    of a question for an answer to it or to one asked later, if a second question too went without:
    one lost answer, on a busy machine, is counted in `late` but is no silence. `late` counts those
    not answered promptly, `answer_ms` is the median time to an answer, `answer_p99_ms` the 99th
    percentile, in which no answer counts as one at the end; all leave out the silence.
    A question with answers from two MACs makes the whole interval that it stands for dual. `macs`
    are the distinct answering MACs in the order of the questions.
    """
    questions = asked[bisect_left(asked, start) : bisect_right(asked, end)]
    by_question: dict[float, list[TimedAnswer]] = {question: [] for question in questions}
    for answer in sorted(answers, key=lambda one: one.at):
        by_question.get(answer.asked, []).append(answer)
    answered = {question: found for question, found in by_question.items() if found}
    firsts = {question: found[0].at for question, found in answered.items()}
    silence = _silence(questions, _waits(questions, firsts, end), 2 * interval)
    told = [one for one in questions if not silence[0] <= one < silence[1]]
    due = [one for one in told if one in firsts or one <= end - PROMPT]
    times = [firsts[one] - one for one in told if one in firsts]
    waited = sorted(firsts.get(one, end) - one for one in due)
    macs = [[one.mac for one in found] for found in answered.values()]
    return Heard(
        asked=len(questions),
        answered=len(answered),
        late=sum(firsts.get(one, end) - one > PROMPT for one in due),
        answer_ms=1000 * median(times or [0.0]),
        answer_p99_ms=1000 * percentile(waited or [0.0], 0.99),
        silent_ms=1000 * (silence[1] - silence[0]),
        dual_answer_ms=sum(len(set(some)) > 1 for some in macs) * interval * 1000,
        moves=sum(a[0] != b[0] for a, b in pairwise(macs)),
        macs=list(dict.fromkeys(mac for some in macs for mac in some)),
    )
