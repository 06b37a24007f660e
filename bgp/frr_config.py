"""All that is wanted of the engine, and the lines to type for it, daemon by daemon. Pure.

A driver asks for `lines` with what the daemon printed whenever it has connected, and whenever the
configuration changed; for all else the drained lines of the change are enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address
from types import MappingProxyType

from bgp import extras, forms
from bgp.bfd import put_profiles
from bgp.classes import MOST_CLASSES
from bgp.places import Neighbor, PeerPlaces, places
from bgp.routes import RouteLines
from bgp.sessions import SessionCourse, put_filters, put_routers
from bgp.tree import Block, difference, merge, ordered, parse
from bgp.words import WordForm, word
from kube.peering import Profile, Session
from plan.offers import IPNetwork, Offers


class EngineDaemon(StrEnum):
    """The parts of the engine that take lines, in the order in which they are typed."""

    ZEBRA = "zebra"
    BFDD = "bfdd"
    BGPD = "bgpd"


ZEBRA_LINES = ("ip nht resolve-via-default", "ipv6 nht resolve-via-default")
"""A router behind the default route is reachable. From 10.x on mgmtd takes them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The configuration, each part judged."""

    sessions: tuple[Session, ...] = ()
    profiles: tuple[Profile, ...] = ()
    router_id: IPv4Address | None = None
    """For the routers of which no session says another."""
    extras: str = field(default="", repr=False)


class FrrConfig:
    """What the engine is to have, whatever it has just now."""

    def __init__(
        self,
        most_classes: int = MOST_CLASSES,
        memory: Mapping[str, extras.Digests] = MappingProxyType({}),
    ) -> None:
        """`memory`: what the one before us remembered when it ended."""
        self._memory = dict(memory)
        self._wanted = Wanted()
        self._places = PeerPlaces({}, {})
        self._extras = Block()
        self._course = SessionCourse()
        self._routes = RouteLines(most_classes)

    @property
    def refused_prefixes(self) -> int:
        """How many prefixes are not told because there are too many different offers."""
        return self._routes.refused

    @property
    def memory(self) -> Mapping[str, extras.Digests]:
        """Which lines of `bgpextras` each daemon may have: as of the last `lines`, all of these."""
        return MappingProxyType(dict(self._memory))

    @property
    def neighbors(self) -> Mapping[Neighbor, str]:
        """The BGPPeer of each neighbour."""
        return {place.at: peer for peer, place in self._places.peers.items()}

    def handle_wanted(self, wanted: Wanted) -> None:
        """Take a configuration; `lines` of all daemons must follow.

        Raises `LineError`, and stays as it was.
        """
        where, added = places(wanted.sessions), extras.read(wanted.extras)
        # Every word passes the gate here, whoever is to type it and when.
        everybody = frozenset(place.at for place in where.peers.values())
        trial = Block()
        put_routers(trial, wanted.sessions, where, wanted.router_id, SessionCourse(everybody))
        put_profiles(Block(), wanted.profiles)
        self._wanted, self._places, self._extras = wanted, where, added
        self._routes.handle_places(where)

    def handle_routes(self, changed: Mapping[IPNetwork, Offers | None]) -> tuple[str, ...]:
        """Return bgpd's lines for prefixes whose offers changed; no offers take a prefix back.

        Raises `LineError` for a prefix that no line can name, and stays as it was.
        """
        return self._routes.changes(changed)

    def handle_established(self, established: frozenset[Neighbor]) -> tuple[str, ...]:
        """Return bgpd's lines for sessions that came up: BFD, from then on for good."""
        return self._moved(replace(self._course, watched=self._course.watched | established))

    def handle_draining(self, draining: bool) -> tuple[str, ...]:
        """Return bgpd's lines that ask all peers to prefer others (RFC 8326), or no more."""
        return self._moved(replace(self._course, draining=draining))

    def handle_farewell(self, text: str) -> tuple[str, ...]:
        """Return bgpd's lines that shut all sessions down at once, with a text; empty: open them.

        Raises `LineError` for a text that is no line.
        """
        if text:
            word("shutdown", "message", text, WordForm.TEXT)
        return self._moved(replace(self._course, farewell=text))

    def lines(self, daemon: EngineDaemon, running: str) -> list[str]:
        """Return the lines from what the daemon printed to what it is to have, none if it has it.

        They are typed after `configure terminal`. Raises `ConfigurationError`.
        """
        tree = parse(running)
        return difference(tree, self._tree(daemon, tree), self._outdated(daemon, tree))

    def _outdated(self, daemon: EngineDaemon, running: Block) -> Block:
        """Return what people added once and want no more; remember what they add now."""
        now = extras.digests(extras.of_daemon(self._extras, daemon))
        before = self._memory.get(daemon, frozenset()) - now
        old = extras.among(running, before) if before else Block()
        self._memory[daemon] = now | (extras.digests(old) & before)
        return old

    def _tree(self, daemon: EngineDaemon, running: Block) -> Block:
        root = Block()
        if daemon == EngineDaemon.ZEBRA:
            for line in ZEBRA_LINES:
                root.put(line)
        elif daemon == EngineDaemon.BFDD:
            put_profiles(root, self._wanted.profiles)
        else:
            self._course = replace(self._course, watched=self._watched(running))
            self._routes.adopt(running)
            self._put_bgpd(root)
        merge(root, extras.of_daemon(self._extras, daemon))
        return ordered(root)

    def _put_bgpd(self, root: Block) -> None:
        # First, as every map that is typed before it waits for the engine's own 5 s.
        root.put(f"{forms.DELAY_TIMER} 1")
        put_filters(root, self._places)
        self._routes.put(root)
        self._put_routers(root, self._course)
        self._routes.put_networks(root)

    def _put_routers(self, root: Block, course: SessionCourse) -> None:
        put_routers(root, self._wanted.sessions, self._places, self._wanted.router_id, course)

    def _watched(self, running: Block) -> frozenset[Neighbor]:
        """Return for whom BFD is typed: who has it, and whose session is up and stays."""
        found: set[Neighbor] = set()
        for place in self._places.peers.values():
            line = self._places.routers[place.vrf]
            router = running.get(line)
            if router is None or router.line != line:
                continue
            start = f"neighbor {place.neighbor}"
            stays = {f"{start} remote-as", f"{start} interface"} & router.below.keys()
            if f"{start} bfd" in router.below or (stays and place.at in self._course.watched):
                found.add(place.at)
        return frozenset(found)

    def _moved(self, course: SessionCourse) -> tuple[str, ...]:
        before, after = Block(), Block()
        self._put_routers(before, self._course)
        self._put_routers(after, course)
        self._course = course
        # What others added to ours stays theirs.
        for root in (before, after):
            merge(root, extras.of_daemon(self._extras, EngineDaemon.BGPD))
        return tuple(difference(before, after))
