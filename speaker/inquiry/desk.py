"""Takes questions from the local socket to whoever can answer them."""

from collections.abc import Callable, Mapping

from process.local.answer import LocalAnswer, LocalRow
from process.local.protocol import LocalQuestion, LocalRefusal
from speaker.inquiry import pool_rows, setting_values
from speaker.inquiry.explaining import Explaining
from speaker.inquiry.owner_rows import OwnerRows
from speaker.inquiry.ring_rows import RingRows
from speaker.inquiry.sight import Sight
from speaker.record import log_rows
from speaker.record.log_rows import Interest

_NUMBERED = frozenset({"explain", "log"})
"""Verbs whose places are numbers."""
_MOST_DIGITS = 18
_Verb = Callable[[LocalQuestion], LocalAnswer | LocalRefusal]


class Desk:
    """One answer a verb; nothing is changed by any of them."""

    def __init__(self, sight: Sight) -> None:
        """All answers are from what `sight` shows when they are asked for."""
        self._sight = sight
        self._owners = OwnerRows(sight)
        self._explaining = Explaining(sight, self._owners)
        self._ring = RingRows(sight)
        self._verbs: Mapping[str, _Verb] = {
            "members": lambda asked: self._ring.members(asked.after),
            "ring": lambda asked: self._ring.ring(asked.after),
            "owners": lambda asked: self._owners.answer(asked.after),
            "explain": lambda asked: self._explaining.answer(asked.about, asked.after),
            "pools": lambda asked: pool_rows.answer(self._sight, asked.after),
            "log": self._log,
            "settings": self._settings,
        }

    def answer(self, asked: LocalQuestion) -> LocalAnswer | LocalRefusal:
        """Return the answer, or why there is none."""
        if asked.verb in _NUMBERED and not _is_number(asked.after or "0"):
            return LocalRefusal.MALFORMED
        verb = self._verbs.get(asked.verb)
        if verb is None:
            return LocalRefusal.UNKNOWN_VERB
        if asked.follow and asked.verb != "log":
            return LocalRefusal.MALFORMED
        return verb(asked)

    # ---- inside

    def _log(self, asked: LocalQuestion) -> LocalAnswer | LocalRefusal:
        recorder = self._sight.recording.recorder
        interest = self._interest(asked.about)
        after = int(asked.after or 0)
        rows = log_rows.rows(recorder, interest, after, asked.follow, self._sight.dated)
        return LocalAnswer(rows)

    def _interest(self, about: str) -> Interest:
        services = frozenset(self._explaining.find(about)) if about else frozenset[str]()
        owners = frozenset(owner for name in services if (owner := self._owners.of(name)))
        return Interest(about, owners, services)

    def _settings(self, _: LocalQuestion) -> LocalAnswer:
        found = setting_values.values(self._sight.settings)
        return LocalAnswer([LocalRow(found, "")])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
