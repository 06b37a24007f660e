"""Prefixes as lines of bgpd: one line a prefix, whatever the number of peers. Pure.

A prefix is typed with the route-map of its class, which gives it a tag; in the map of each peer
the entry of that tag says with which attributes the peer hears of it, or there is none.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from bgp.classes import MOST_CLASSES, Classes, Key, RouteClass
from bgp.forms import DENY_OUT
from bgp.places import PeerPlace, PeerPlaces
from bgp.tree import Block, entered
from bgp.words import prefix as prefix_word
from plan.offers import IPNetwork, Offer, Offers

_NOWHERE = PeerPlaces({}, {})
_DECIMAL = re.compile(r"[0-9]{1,10}")
_Family = tuple[str, int]
"""The VRF and the version of IP."""


class RouteLines:
    """What is told, and the lines for each change of it, at the cost of the change.

    `put` gives all of it for the comparison with what the engine has, which is for the first lines
    on a connection; after that `changes` alone is typed.
    """

    def __init__(self, most_classes: int = MOST_CLASSES) -> None:
        self._places = _NOWHERE
        self._classes = Classes(most_classes)
        self._told: dict[IPNetwork, RouteClass] = {}
        self._refused: dict[IPNetwork, Offers] = {}

    @property
    def refused(self) -> int:
        """How many prefixes are not told because there are too many different offers."""
        return len(self._refused)

    @property
    def classes(self) -> int:
        """How many different offers there are."""
        return len(self._classes)

    def handle_places(self, places: PeerPlaces) -> None:
        """Take where the peers stand now; all must be compared anew at the engine."""
        self._places = places

    def changes(self, changed: Mapping[IPNetwork, Offers | None]) -> tuple[str, ...]:
        """Return the lines for prefixes whose offers changed; None or none takes them back.

        First come the new classes, then the prefixes, then the classes go that have none left.
        Raises `LineError`, before anything changes.
        """
        for each in changed:
            prefix_word(each)
        new: list[RouteClass] = []
        gone: list[RouteClass] = []
        moves: dict[_Family, list[str]] = defaultdict(list)
        for each, offers in self._with_refused(changed):
            old = self._told.pop(each, None)
            now = self._take(each, offers, new)
            if old is not now:
                for vrf, line in self._moved(each, old, now):
                    moves[vrf, each.version].append(line)
            if old is not None and self._classes.give_back(old):
                gone.append(old)
        return tuple(self._ordered(new, moves, gone))

    def put(self, root: Block) -> None:
        """Add all classes to a tree that has no routers yet."""
        for one in self._classes.all():
            for map_line, lines in self._entries(one):
                block = root.put(map_line)
                for line in lines:
                    block.put(line)

    def put_networks(self, root: Block) -> None:
        """Add all prefixes to the routers of the tree."""
        for each, one in self._told.items():
            for vrf in self._vrfs(one):
                router = root.put(self._places.routers[vrf])
                router.put(_family(each.version)).put(_network(each, one))

    def adopt(self, running: Block) -> None:
        """Take the numbers of classes that the engine has already."""
        self._classes.adopt(known_classes(running, self._places), self._places.peers)

    def _with_refused(
        self, changed: Mapping[IPNetwork, Offers | None]
    ) -> Iterator[tuple[IPNetwork, Offers | None]]:
        """Yield what comes before what goes, and again what there was no number for."""
        yield from ((each, offers) for each, offers in changed.items() if offers)
        yield from ((each, None) for each, offers in changed.items() if not offers)
        if not self._classes.full:
            yield from list(self._refused.items())

    def _take(
        self, each: IPNetwork, offers: Offers | None, new: list[RouteClass]
    ) -> RouteClass | None:
        self._refused.pop(each, None)
        if not offers:
            return None
        one = self._classes.take(offers)
        if one is None:
            self._refused[each] = offers
            return None
        self._told[each] = one
        if one.prefixes == 1:
            new.append(one)
        return one

    def _moved(
        self, each: IPNetwork, old: RouteClass | None, now: RouteClass | None
    ) -> Iterator[tuple[str, str]]:
        """Yield the prefix's line in each VRF where it changes."""
        after = self._vrfs(now) if now is not None else {}
        if old is not None:
            for vrf in self._vrfs(old):
                if vrf not in after:
                    yield vrf, f"no network {each}"
        if now is not None:
            for vrf in after:
                yield vrf, _network(each, now)

    def _vrfs(self, one: RouteClass) -> Mapping[str, None]:
        """The VRFs in which somebody hears of the class, in order and each once."""
        peers = self._places.peers
        found = sorted(peers[peer].vrf for peer, _ in one.key if peer in peers)
        return dict.fromkeys(found)

    def _ordered(
        self,
        new: list[RouteClass],
        moves: Mapping[_Family, list[str]],
        gone: list[RouteClass],
    ) -> Iterator[str]:
        # A number that another class took at once must be empty first; none else is in a hurry.
        taken = {one.number for one in new}
        yield from self._removals(one for one in gone if one.number in taken)
        for one in new:
            for map_line, lines in self._entries(one):
                yield from entered(map_line, lines)
        for (vrf, version), lines in sorted(moves.items()):
            inner = entered(_family(version), lines)
            yield from entered(self._places.routers[vrf], inner)
        yield from self._removals(one for one in gone if one.number not in taken)

    def _removals(self, gone: Iterable[RouteClass]) -> Iterator[str]:
        for one in gone:
            yield from (f"no {map_line}" for map_line, _ in self._entries(one))

    def _entries(self, one: RouteClass) -> Iterator[tuple[str, list[str]]]:
        """Yield the entries of the route-maps that are the class, with what is in them."""
        known = [(self._places.peers[p], offer) for p, offer in one.key if p in self._places.peers]
        if not known:
            return
        yield f"route-map {one.map} permit 10", [f"set tag {one.number}"]
        for place, offer in sorted(known, key=lambda each: each[0].outgoing):
            lines = [f"match tag {one.number}", *_attributes(offer)]
            yield f"route-map {place.outgoing} permit {one.number}", lines


def _network(each: IPNetwork, one: RouteClass) -> str:
    return f"network {each} route-map {one.map}"


def _family(version: int) -> str:
    return f"address-family ipv{version} unicast"


def _attributes(offer: Offer) -> Iterator[str]:
    if offer.communities:
        yield f"set community {_numbers(offer.communities)}"
    if offer.large:
        yield f"set large-community {_numbers(offer.large)}"
    if offer.local_pref:
        yield f"set local-preference {offer.local_pref}"
    if offer.med:
        yield f"set metric {offer.med}"


def _numbers(communities: Iterable[tuple[int, ...]]) -> str:
    return " ".join(":".join(str(int(part)) for part in each) for each in sorted(communities))


def known_classes(running: Block, places: PeerPlaces) -> dict[int, Key]:
    """Return the classes that the engine has, by number: what its maps tell each of our peers."""
    by_map: dict[str, PeerPlace] = {place.outgoing: place for place in places.peers.values()}
    found: dict[int, set[tuple[str, Offer]]] = defaultdict(set)
    for block in running.below.values():
        words = block.line.split()
        if words[0] != "route-map" or len(words) != 4 or not _DECIMAL.fullmatch(words[3]):
            continue
        number = int(words[3])
        if words[1] in by_map and words[2] == "permit" and number < DENY_OUT:
            found[number].add((by_map[words[1]].peer, offer_of(block)))
    return {number: frozenset(offers) for number, offers in found.items()}


def offer_of(entry: Block) -> Offer:
    """Return the offer that an entry of a peer's map makes, as far as it is one of ours."""
    said = {" ".join(line.split()[:2]): line.split()[2:] for line in entry.lines()}
    return Offer(
        communities=frozenset((a, b) for a, b in _parts(said.get("set community", ()), 2)),
        large=frozenset((a, b, c) for a, b, c in _parts(said.get("set large-community", ()), 3)),
        local_pref=_number(said.get("set local-preference", ())),
        med=_number(said.get("set metric", ())),
    )


def _parts(words: Iterable[str], count: int) -> Iterator[tuple[int, ...]]:
    for word in words:
        parts = word.split(":")
        if len(parts) == count and all(map(_DECIMAL.fullmatch, parts)):
            yield tuple(int(part) for part in parts)


def _number(words: Iterable[str]) -> int:
    return next((int(each) for each in words if _DECIMAL.fullmatch(each)), 0)
