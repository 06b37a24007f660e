"""What a node keeps in mind of IPs that it does not hold, or not any more. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from link.address import IPAddress
from ownership.handover.loser import ASK_INTERVAL, Yours

ASK_THE_DEAD, ASK_THE_DEAD_SLOWLY = 0.25, 5.0
"""Seconds until the wire is asked again for IPs of a node that gossip holds dead: doubled each
time, and anew when an IP is taken over from it."""
REMINDERS = 20
"""How often the next owner of what we stopped is told so, ASK_INTERVAL apart."""
SETTLED_AFTER = 0.1
"""Seconds after which a winner that is asked announces again: where a partition heals, it may learn
within a moment of a better one, and clients were told twice."""
ANNOUNCE_EVERY = 0.2
"""Seconds between two such announcements. They add to the rounds of an IP, and to the questions to
its clients that do not answer: switches that inspect ARP shut a port at 15 frames a second."""
SIGHTING_KEPT = 1.0
"""Seconds for which an announcement that was heard answers the question who owns the IP."""
CONFLICT_EVERY = 10.0
"""Seconds after which the same MAC is a conflict once more."""
MOST_KEPT = 8_192
"""Entries of a table of this kind, which forgets the oldest."""

Key = TypeVar("Key")
Value = TypeVar("Value")


def keep(table: dict[Key, Value], key: Key, value: Value) -> None:
    """Put a value into a table that forgets the oldest."""
    table.pop(key, None)
    table[key] = value
    if len(table) > MOST_KEPT:
        del table[next(iter(table))]


@dataclass(frozen=True, slots=True)
class Sighting:
    """Somebody announced an IP, or answered for it, with this MAC."""

    mac: bytes
    at: float
    alone: bool
    """Whether it told nobody but us, who had asked."""


class Sightings:
    """Who was seen last to answer for an IP on a link, or to announce it."""

    def __init__(self) -> None:
        self._latest: dict[tuple[IPAddress, int], Sighting] = {}

    def note(self, ip: IPAddress, ifindex: int, sighting: Sighting) -> None:
        """Somebody was seen."""
        keep(self._latest, (ip, ifindex), sighting)

    def lately(self, ip: IPAddress, ifindex: int, now: float) -> Sighting | None:
        """Return the last one, if it is so fresh that it tells who owns the IP."""
        found = self._latest.get((ip, ifindex))
        return None if found is None or now - found.at > SIGHTING_KEPT else found

    def mac(self, ip: IPAddress, ifindexes: Iterable[int]) -> bytes | None:
        """Return the MAC that was seen last on any of these links."""
        found = [self._latest.get((ip, ifindex)) for ifindex in ifindexes]
        latest = max((one for one in found if one), key=lambda one: one.at, default=None)
        return None if latest is None else latest.mac

    def is_news(self, ip: IPAddress, ifindex: int, mac: bytes, now: float) -> bool:
        """Tell whether this MAC was not the last one, or that is long ago: a conflict counts once
        in a while."""
        known = self._latest.get((ip, ifindex))
        return known is None or known.mac != mac or now - known.at > CONFLICT_EVERY


class Predecessors:
    """Who owned an IP and died: connections may go through their machines still."""

    def __init__(self, node: str, lost: Callable[[str], bool]) -> None:
        """`lost` tells whether a node is gone without a word."""
        self._node = node
        self._lost = lost
        self._dead: dict[IPAddress, frozenset[str]] = {}
        self._ask_at: dict[str, tuple[float, float]] = {}
        """By node: when its IPs are asked for again, and how long to wait after that."""

    def note(self, ip: IPAddress, names: frozenset[str]) -> None:
        """Add owners that are dead."""
        keep(self._dead, ip, self._dead.get(ip, frozenset()) | names)

    def note_owner(self, ip: IPAddress, name: str) -> None:
        """Add an owner, if it is another node and gone."""
        if name != self._node and self._lost(name):
            self.note(ip, frozenset({name}))

    def named(self, ip: IPAddress) -> frozenset[str]:
        """Return all that are noted for the IP, whether they are dead still or not."""
        return self._dead.get(ip, frozenset())

    def dead(self, ip: IPAddress) -> frozenset[str]:
        """Return those who owned the IP and are dead, and forget who is not any more."""
        known = self._dead.get(ip) if self._dead else None
        if known is None:
            return frozenset()
        dead = frozenset(filter(self._lost, known))
        if dead:
            self._dead[ip] = dead
        else:
            del self._dead[ip]
        return dead

    def ips(self, name: str) -> list[IPAddress]:
        """Return the IPs for which the node is noted, first those not asked for lately."""
        return [ip for ip, dead in self._dead.items() if name in dead]

    def wants_asking(self, name: str, now: float) -> bool:
        """Tell whether the wire is to be asked for IPs of the node now; true once each time."""
        due, wait = self._ask_at.get(name, (now, ASK_THE_DEAD))
        if now < due or not self._dead:
            return False
        keep(self._ask_at, name, (now + wait, min(2 * wait, ASK_THE_DEAD_SLOWLY)))
        return True

    def note_question(self, ip: IPAddress) -> None:
        """The wire is asked for the IP: others come first the next time."""
        self._dead[ip] = self._dead.pop(ip)

    def note_life(self, name: str) -> None:
        """The node has ended its silence: the wire is asked at once, however often it was."""
        self._ask_at.pop(name, None)

    def note_takeover(self, ip: IPAddress) -> None:
        """The IP is taken over: whether its owners live is to be found out anew."""
        for name in self._dead.get(ip, ()):
            self._ask_at.pop(name, None)


@dataclass(slots=True)
class _Reminder:
    """Who owns now what we stopped, and how often it is to be told still."""

    winner: str
    at: float
    left: int = REMINDERS


class Reminders:
    """What we answered for and stopped while our clients believe us still: its next owner is told,
    so that it announces itself."""

    def __init__(self) -> None:
        self._stopped: dict[IPAddress, None] = {}
        self._due: dict[IPAddress, _Reminder] = {}

    def note_stop(self, ip: IPAddress) -> None:
        """We do not answer for the IP any more, and nobody else has told clients so."""
        keep(self._stopped, ip, None)

    def forget(self, ip: IPAddress) -> None:
        """Clients have been told."""
        self._stopped.pop(ip, None)

    def begin(self, ip: IPAddress, winner: str, now: float) -> None:
        """Tell this node from now on, if the IP is one of those."""
        if ip in self._stopped:
            self._due[ip] = _Reminder(winner, now)

    def handle_mine(self, ip: IPAddress) -> None:
        """Somebody says that it answers for the IP. Who was not told may but answer a question of
        ours, and announces nothing for that."""
        told = self._due.get(ip)
        if told is not None and told.left < REMINDERS:
            self._stopped.pop(ip, None)

    def due(self, now: float) -> list[Yours]:
        """Return what is to be told now, one for each winner."""
        by_winner = defaultdict[str, set[IPAddress]](set)
        for ip, item in list(self._due.items()):
            if ip not in self._stopped or not item.left:
                del self._due[ip]
            elif now >= item.at:
                item.at, item.left = now + ASK_INTERVAL, item.left - 1
                by_winner[item.winner].add(ip)
        return [Yours(winner, frozenset(ips)) for winner, ips in by_winner.items()]

    def deadline(self) -> float:
        """When `due` has something next."""
        return min((item.at for item in self._due.values()), default=float("inf"))


class Requests:
    """What others asked us to announce, as we own it: once in a while for each IP."""

    def __init__(self) -> None:
        self._due: dict[IPAddress, float] = {}
        self._announced: dict[IPAddress, float] = {}
        """When each IP may be announced the next time."""

    def note(self, ip: IPAddress, now: float) -> None:
        """Somebody asks, perhaps not for the first time."""
        self._due.setdefault(ip, max(now + SETTLED_AFTER, self._announced.get(ip, now)))

    def due(self, now: float) -> list[IPAddress]:
        """Drain what is to be announced now."""
        ips = [ip for ip, at in self._due.items() if now >= at]
        for ip in ips:
            del self._due[ip]
            keep(self._announced, ip, now + ANNOUNCE_EVERY)
        return ips

    def deadline(self) -> float:
        """When `due` has something next."""
        return min(self._due.values(), default=float("inf"))
