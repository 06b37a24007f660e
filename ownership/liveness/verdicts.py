"""From what single nodes miss to what counts: the fast verdict. Pure.

A node is *gone* on a link, or its process is *silent*, when two others say so; one is enough where
there is nobody else to ask. What one node misses is a report that it repeats; reports that are not
repeated expire. Whoever first has enough of them tells everybody. A verdict changes no member
state of gossip: it only lets heirs begin, and any sign of life voids it.
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

NEEDED = 2
MOST_OF_A_NODE = 9
"""Subjects of one node, as it has at most eight links and a process: more is nonsense."""
PROCESS = ""
"""In the place of a link's name: not the kernel, only the speaker's process is missed."""


class Subject(NamedTuple):
    """What is missed: a node's link, by the name that it has on that node, or its PROCESS."""

    node: str
    link: str


@dataclass(frozen=True, slots=True)
class Reached:
    """Enough nodes miss `subject`: tell everybody."""

    subject: Subject


@dataclass(slots=True)
class Verdicts:
    """Collects reports about nodes; `lasts` is the seconds for which a report counts."""

    own: str
    lasts: float
    counts: Counter[str] = field(default_factory=Counter)
    """How often a verdict was reached, heard, or voided, for the metric."""
    _reports: dict[Subject, dict[str, float]] = field(default_factory=dict)
    _gone: dict[Subject, float] = field(default_factory=dict)
    _changed: bool = False

    def report(self, subject: Subject, witness: str, now: float) -> None:
        """A witness (also we) misses the subject at `now`."""
        if subject in self._reports or self._room(subject.node, self._reports):
            self._reports.setdefault(subject, {})[witness] = now

    def retract(self, subject: Subject, witness: str) -> None:
        """A witness misses it no more."""
        reports = self._reports.get(subject, {})
        reports.pop(witness, None)
        if not reports:
            self._reports.pop(subject, None)

    @property
    def idle(self) -> bool:
        """Whether nobody is missed and no verdict stands."""
        return not self._reports and not self._gone

    def judge(self, able: AbstractSet[str], now: float, *, alone: bool = True) -> list[Reached]:
        """Return new verdicts; `able` are the others that could say whether they miss somebody.
        Unless `alone` two are needed even where nobody else could: we may be the one cut off."""
        reached = []
        for subject, reports in list(self._reports.items()):
            fresh = {witness for witness, at in reports.items() if now - at <= self.lasts}
            others = able - {subject.node, self.own}
            needed = NEEDED if others or not alone else 1
            if subject not in self._gone and len(fresh) >= needed:
                self._set(subject, now, "reached")
                reached.append(Reached(subject))
            if not fresh:
                del self._reports[subject]
        return reached

    def hear(self, subject: Subject, now: float) -> bool:
        """Somebody else reached the verdict; true where it is news."""
        if subject in self._gone or not self._room(subject.node, self._gone):
            return False
        self._set(subject, now, "heard")
        return True

    def acquit(self, subject: Subject, now: float) -> bool:
        """A sign of life: the verdict and all reports are void; true where there was one."""
        self._reports.pop(subject, None)
        at = self._gone.get(subject)
        if at is None or now < at:
            return False
        del self._gone[subject]
        self.counts["voided"] += 1
        self._changed = True
        return True

    def forget(self, node: str) -> None:
        """The node left, died for all, or began a new life."""
        for subject in [subject for subject in self._reports if subject.node == node]:
            del self._reports[subject]
        for subject in [subject for subject in self._gone if subject.node == node]:
            del self._gone[subject]
            self._changed = True

    def gone(self) -> frozenset[Subject]:
        """Return the verdicts that stand."""
        return frozenset(self._gone)

    def news(self) -> bool:
        """Tell once whether `gone` has changed."""
        changed, self._changed = self._changed, False
        return changed

    @staticmethod
    def _room(node: str, known: Iterable[Subject]) -> bool:
        return sum(subject.node == node for subject in known) < MOST_OF_A_NODE

    def _set(self, subject: Subject, now: float, how: str) -> None:
        self._gone[subject] = now
        self.counts[how] += 1
        self._changed = True
