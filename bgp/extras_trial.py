"""Whether the engine takes the lines that people add: until it does, the last good ones stay. Pure.

It alone knows its language in full. So new lines are tried, and where it refuses one of them, all
of them give way to those that it took last. They are tried again when anything else about the
configuration is another one, and at an engine that begins anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bgp import extras, forms
from bgp.frr_config import Wanted


@dataclass(frozen=True, slots=True)
class RefusedExtra:
    """A line of `bgpextras` that the engine did not take: its number, and what the engine said."""

    number: int
    why: str


class ExtrasTrial:
    """Is told what is wanted and which lines were refused; chooses what to type."""

    def __init__(self) -> None:
        self.refused: RefusedExtra | None = None
        """The first line that was refused, while it is wanted."""
        self._asked = Wanted()
        self._good = ""
        """The lines that the engine took last."""
        self._bad: Wanted | None = None
        """What was tried last, if a line of it was refused."""

    def handle_wanted(self, asked: Wanted) -> Wanted:
        """Return what to type where this is wanted."""
        self._asked = asked
        if not asked.extras:
            self.refused = None
        return self._chosen()

    def handle_new_engine(self) -> Wanted:
        """Return what to type into an engine that may know more than the one before."""
        self._bad = None
        return self._chosen()

    def handle_refusals(self, refused: Iterable[tuple[str, str]]) -> Wanted | None:
        """Take which lines were refused, and why, when everything was compared and typed.

        Return what to type in its place, None where it stays.
        """
        if self._bad == self._asked:
            return None
        self.refused = self._first(refused)
        if self.refused is None:
            self._good = self._asked.extras
        elif self._asked.extras != self._good:
            self._bad = self._asked
            return self._chosen()
        return None

    def _chosen(self) -> Wanted:
        if self._bad == self._asked:
            return replace(self._asked, extras=self._good)
        return self._asked

    def _first(self, refused: Iterable[tuple[str, str]]) -> RefusedExtra | None:
        numbers = extras.numbers(self._asked.extras)
        found = ((numbers.get(forms.canonical(line), 0), why) for line, why in refused)
        return min(
            (RefusedExtra(*each) for each in found if each[0]),
            key=lambda each: each.number,
            default=None,
        )
