"""Classes of prefixes: one for each set of offers, known at the engine by its number. Pure.

The number is the tag that the class's route-map sets, and the sequence number of the entry in the
map of each peer that hears of it. So there are at most as many as a map has entries.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from bgp.forms import DENY_OUT
from plan.offers import Offer, Offers

MOST_CLASSES = DENY_OUT - 1

Key = frozenset[tuple[str, Offer]]
"""The offers of a class, by the names of the peers."""


def key_of(offers: Offers) -> Key:
    """Return what two prefixes of one class have in common."""
    return frozenset(offers.items())


@dataclass(slots=True)
class RouteClass:
    """One class, with how many prefixes are in it."""

    number: int
    key: Key
    prefixes: int = 0

    @property
    def map(self) -> str:
        """The route-map that its prefixes go through."""
        return f"c{self.number}"


class Classes:
    """The classes in use.

    A number that is free again is taken last of all, when the engine has long forgotten it.
    """

    def __init__(self, most: int = MOST_CLASSES) -> None:
        self._most = most
        self._by_key: dict[Key, RouteClass] = {}
        self._numbers: set[int] = set()
        self._last = 0

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def full(self) -> bool:
        """Whether no number is left."""
        return len(self._by_key) >= self._most

    def all(self) -> Iterable[RouteClass]:
        """Return all classes, of which each has a prefix."""
        return self._by_key.values()

    def take(self, offers: Offers) -> RouteClass | None:
        """Return the class of one more prefix with these offers; None when there is no number."""
        key = key_of(offers)
        found = self._by_key.get(key)
        if found is None:
            number = self._free_number(frozenset())
            if number is None:
                return None
            found = self._by_key[key] = RouteClass(number, key)
            self._numbers.add(number)
        found.prefixes += 1
        return found

    def give_back(self, one: RouteClass) -> bool:
        """Take a prefix out of its class; return whether it was the last, and the class is gone."""
        one.prefixes -= 1
        if one.prefixes:
            return False
        del self._by_key[one.key]
        self._numbers.remove(one.number)
        return True

    def adopt(self, known: Mapping[int, Key], peers: Container[str]) -> None:
        """Take the numbers that the engine knows, so that a new speaker finds all as it was.

        Of the offers only those to `peers` are known there. No number gets another meaning: a class
        under whose number the engine has something else gets one that is free on both sides, if
        there is any.
        """
        shown = {key: frozenset(each for each in key if each[0] in peers) for key in self._by_key}
        late = [one for one in self._by_key.values() if known.get(one.number) != shown[one.key]]
        self._numbers = {one.number for one in self._by_key.values()} - {one.number for one in late}
        free = {key: number for number, key in known.items() if number not in self._numbers}
        without = [one for one in late if not self._renumber(one, free.pop(shown[one.key], 0))]
        unknown = [one for one in without if not self._renumber(one, one.number, known)]
        for one in unknown:
            one.number = self._another_number(known)

    def _renumber(self, one: RouteClass, number: int, avoid: Container[int] = ()) -> bool:
        """Give the class a number if it is one, and nobody else's."""
        if not 0 < number <= self._most or number in self._numbers or number in avoid:
            return False
        one.number = number
        self._numbers.add(number)
        return True

    def _another_number(self, known: Mapping[int, Key]) -> int:
        # There are no more classes than numbers.
        number = self._free_number(known.keys()) or self._free_number(frozenset()) or self._most
        self._numbers.add(number)
        return number

    def _free_number(self, avoid: Container[int]) -> int | None:
        """Return the next number that nobody has; it goes round."""
        if len(self._numbers) >= self._most:
            return None
        for step in range(self._most):
            number = (self._last + step) % self._most + 1
            if number not in self._numbers and number not in avoid:
                self._last = number
                return number
        return None
