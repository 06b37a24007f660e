"""The queue of news that gossip still has to carry, fewest transmits first."""

from bisect import bisect_left, insort
from dataclasses import dataclass
from math import ceil, log10

from gossip.wire.compound import MAX_PARTS

_Key = tuple[int, int, int]


def retransmit_limit(mult: int, nodes: int) -> int:
    """Return how many packets carry one piece of news in a cluster of `nodes`."""
    return mult * ceil(log10(nodes + 1))


@dataclass(frozen=True, slots=True)
class _Item:
    name: str | None
    part: bytes


class BroadcastQueue:
    """News as encoded messages; one a node name, because newer news about a node replaces older.

    `fresh` is true while something was added since the last `gossip` round cleared it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._order: list[_Key] = []
        self._items: dict[int, _Item] = {}
        self._keys: dict[str, _Key] = {}
        self._last_id = 0
        self.fresh = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def add(self, name: str | None, part: bytes) -> None:
        """Queue `part`, in the place of earlier news about `name`; None replaces nothing."""
        if name is not None and name in self._keys:
            self._forget(self._keys[name])
        self._last_id += 1
        self._items[self._last_id] = _Item(name, part)
        self._place((0, -len(part), -self._last_id))
        self.fresh = True
        if len(self._order) > self._limit:
            self.dropped += 1
            self.prune(self._limit)

    def prune(self, keep: int) -> None:
        """Drop the most transmitted until no more than `keep` are left."""
        while len(self._order) > keep:
            self._forget(self._order[-1])

    def take(self, overhead: int, budget: int, limit: int, most: int = MAX_PARTS) -> list[bytes]:
        """Return at most `most` parts for one packet of `budget` bytes; each costs `overhead` more.

        Within the same number of transmits the largest that still fits goes first, then the
        newest. What has been in `limit` packets is forgotten.
        """
        chosen: list[_Key] = []
        places: list[int] = []
        index = 0
        while index < len(self._order) and budget > overhead and len(chosen) < most:
            transmits, _, _ = self._order[index]
            index = bisect_left(self._order, (transmits, overhead - budget, -self._last_id), index)
            if index < len(self._order) and self._order[index][0] == transmits:
                key = self._order[index]
                chosen.append(key)
                places.append(index)
                budget += key[1] - overhead
                index += 1
        parts = [self._items[-key[2]].part for key in chosen]
        # Those are known places: with thousands of others in the queue, looking for each is dear.
        for place in reversed(places):
            del self._order[place]
        for transmits, size, number in chosen:
            if transmits + 1 < limit:
                self._place((transmits + 1, size, number))
            else:
                self._drop(-number)
        return parts

    def _place(self, key: _Key) -> None:
        insort(self._order, key)
        name = self._items[-key[2]].name
        if name is not None:
            self._keys[name] = key

    def _forget(self, key: _Key) -> None:
        del self._order[bisect_left(self._order, key)]
        self._drop(-key[2])

    def _drop(self, number: int) -> None:
        item = self._items.pop(number)
        if item.name is not None:
            del self._keys[item.name]
