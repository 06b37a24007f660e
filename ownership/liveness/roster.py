"""Who the other nodes are: their lives, their links, and who watches whom. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Interface, IPv6Interface

from gossip.io import Address
from gossip.wire.messages import State
from link.address import IPAddress
from link.interface import Interface
from ownership.letters.letters import PeerLink
from ownership.letters.mark import Flags

WITNESSES = 3
"""How many nodes watch each one, living or dead."""
MOST_LATE = 256
"""Of those that gossip has forgotten, so many are remembered here."""
REMEMBERED = 3_600.0
"""Seconds for which one of them is, after its kernel was silent last."""
MOST_MOURNED = 16
"""A node that is cut off mourns for all others: it asks so many."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another member as gossip knows it; `start_id` is None for one that is no Clarion."""

    name: str
    start_id: int | None
    flags: Flags
    state: State
    address: Address | None = None
    """Where it gossips."""

    @property
    def living(self) -> bool:
        """Alive or suspected."""
        return self.state in (State.ALIVE, State.SUSPECT)

    @property
    def died(self) -> bool:
        """Declared dead, so it did not part with what it owned; one that left did."""
        return self.state is State.DEAD


class Roster:
    """The other members, and what they told of their links. Those of the dead are kept, beyond what
    gossip remembers of them: whoever inherits from them has to know their MACs, and they may be cut
    off, not dead, and come back."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._peers: dict[str, Peer] = {}
        self._late: dict[str, tuple[Peer, float]] = {}
        """Those that died without leaving and that gossip has forgotten; and since when their
        kernels were not heard."""
        self._links: dict[str, tuple[PeerLink, ...]] = {}
        self._met: dict[tuple[str, int], tuple[Interface, tuple[PeerLink, IPAddress] | None]] = {}
        """What `meet` has found, until a node tells other links or another address."""
        self._told_in: dict[str, int | None] = {}
        """The life of a node in which it told its links."""
        self._by_mac: dict[bytes, str] = {}
        self._told: Counter[IPAddress] = Counter()
        """How many links have each address."""
        self._ring: list[tuple[bytes, str]] = []
        self.clarions: frozenset[str] = frozenset({node})
        """The living ones, this node among them."""
        self.version = 0
        """Grows whenever a member may have changed."""

    def set_peers(self, peers: Iterable[Peer], now: float) -> frozenset[str]:
        """Take all other members; return those of which the life known so far is over."""
        self.version += 1
        self._met.clear()
        before, self._peers = self._peers, {peer.name: peer for peer in peers}
        for name in before.keys() - self._peers.keys():
            if before[name].state is not State.LEFT and before[name].start_id is not None:
                self._late[name] = before[name], now
        for name in self._late.keys() & self._peers.keys():
            del self._late[name]
        for name in self._links.keys() - self._peers.keys() - self._late.keys():
            self._forget_links(name)
        self.clarions = frozenset(
            peer.name for peer in self._peers.values() if peer.living and peer.start_id is not None
        ) | {self._node}
        self._ring = sorted((sha256(name.encode()).digest(), name) for name in self.clarions)
        return frozenset(
            name
            for name, peer in before.items()
            if peer.living and not _same_life(peer, self._peers.get(name))
        )

    def set_links(self, name: str, links: tuple[PeerLink, ...]) -> None:
        """Take what a node told of its links."""
        self._forget_links(name)
        self._links[name], self._told_in[name] = links, self._start_id(name)
        self._met.clear()
        self._by_mac.update((link.mac, name) for link in links)
        self._told.update(ip for link in links for ip in set(link.ips))

    def remember(self, name: str, links: tuple[PeerLink, ...], now: float) -> None:
        """Take what another node knows of one that is dead and unknown here."""
        if self.peer(name) is None and name != self._node:
            self._late[name] = Peer(name, 0, Flags.NONE, State.DEAD), now
            self.set_links(name, links)

    def forget_late(self, alive: Callable[[str], bool], now: float) -> bool:
        """Forget those that were silent for long; `alive` are those that matter still or whose
        kernel answers. Return whether there were any."""
        for name, (peer, _) in list(self._late.items()):
            if alive(name):
                self._late[name] = peer, now
        by_age = sorted(self._late, key=lambda name: self._late[name][1], reverse=True)
        gone = [name for name in by_age if now - self._late[name][1] > REMEMBERED]
        gone += by_age[MOST_LATE:]
        for name in dict.fromkeys(gone):
            del self._late[name]
            self._forget_links(name)
        return bool(gone)

    def peer(self, name: str) -> Peer | None:
        """Return a member, living or not, or one that gossip has forgotten."""
        found = self._peers.get(name)
        if found is None and name in self._late:
            return self._late[name][0]
        return found

    def peers(self) -> Iterable[Peer]:
        """Return all other members."""
        return self._peers.values()

    def dead(self) -> frozenset[str]:
        """Name the Clarions that were declared dead and have not come back."""
        died = {name for name in self._links if (peer := self._peers.get(name)) and peer.died}
        return frozenset(died | self._late.keys())

    @property
    def others_live(self) -> bool:
        """Whether there is another living Clarion."""
        return len(self.clarions) > 1

    @property
    def lonely(self) -> bool:
        """Whether all Clarions that there were are dead, or only this one is cut off."""
        return len(self.clarions) == 1 and bool(self.dead())

    def mourned(self) -> frozenset[str]:
        """Name the dead that this node asks whether they are back: it is one of the living ones
        that would watch them."""
        places = {name: step for name in self.dead() if (step := self._place_before(name))}
        nearest = sorted(places, key=lambda name: (places[name], name))
        return frozenset(nearest[:MOST_MOURNED])

    def links(self, name: str) -> tuple[PeerLink, ...]:
        """Return the links of a node, none where it has not told yet."""
        return self._links.get(name, ())

    def owner_of(self, mac: bytes) -> str | None:
        """Name the node with a link of this MAC."""
        return self._by_mac.get(mac)

    def knows(self, ip: IPAddress) -> bool:
        """Tell whether a node has told that the address is its own."""
        return self._told[ip] > 0

    def strangers(self) -> tuple[str, ...]:
        """Name the living Clarions that have not told their links, or only in an earlier life: they
        may have other addresses now."""
        told = {
            name for name, start_id in self._told_in.items() if self._start_id(name) == start_id
        }
        return tuple(sorted(self.clarions - told - {self._node}))

    def watched(self) -> tuple[str, ...]:
        """Name the nodes that this one watches: the next of the ring of hashed names."""
        return self._next(1)

    def watchers(self) -> tuple[str, ...]:
        """Name the nodes that watch this one: those before it."""
        return self._next(-1)

    def watched_by(self, name: str) -> tuple[str, ...]:
        """Name the nodes that a living Clarion watches: as `watched` does for this one."""
        return self._next(1, name) if name in self.clarions else ()

    def meet(self, name: str, interface: Interface) -> tuple[PeerLink, IPAddress] | None:
        """Return the link of a node that shares a segment with `interface`, and its address there:
        that of its gossip, else the first that it told, so that all witnesses ask the same. One
        that another node has told as well floats between them, and says nothing of either."""
        known = self._met.get((name, interface.index))
        if known is not None and known[0] is interface:
            return known[1]
        met = self._meet(name, interface)
        self._met[name, interface.index] = interface, met
        return met

    def _meet(self, name: str, interface: Interface) -> tuple[PeerLink, IPAddress] | None:
        peer = self.peer(name)
        gossips_at = None if peer is None or peer.address is None else peer.address.ip
        for link in self._links.get(name, ()):
            near = [ip for ip in link.ips if self._told[ip] == 1 and interface.reaches(ip)]
            if near:
                return link, next((ip for ip in near if str(ip) == gossips_at), near[0])
        return None

    def _place_before(self, name: str) -> int:
        """Return how many of the living are between a dead node and this one, this one counted; 0
        where they are more than watch it."""
        size = len(self._ring)
        there = bisect_left(self._ring, (sha256(name.encode()).digest(), name))
        for place in range(1, min(WITNESSES, size) + 1):
            if self._ring[(there - place) % size][1] == self._node:
                return place
        return 0

    def _next(self, step: int, name: str | None = None) -> tuple[str, ...]:
        size, name = len(self._ring), name or self._node
        here = bisect_left(self._ring, (sha256(name.encode()).digest(), name))
        places = range(1, min(WITNESSES, size - 1) + 1)
        return tuple(self._ring[(here + step * place) % size][1] for place in places)

    def _start_id(self, name: str) -> int | None:
        peer = self.peer(name)
        return None if peer is None else peer.start_id

    def _forget_links(self, name: str) -> None:
        self._met.clear()
        self._told_in.pop(name, None)
        for link in self._links.pop(name, ()):
            for ip in set(link.ips):
                self._told[ip] -= 1
                if not self._told[ip]:
                    del self._told[ip]
            if self._by_mac.get(link.mac) == name:
                del self._by_mac[link.mac]


def own_links(interfaces: Mapping[int, Interface]) -> tuple[PeerLink, ...]:
    """Describe links of ours to others, by name. Link-local addresses say nothing to somebody on
    another segment; those without a subnet come last, as they may float between nodes."""
    found = []
    for interface in sorted(interfaces.values(), key=lambda interface: interface.name):
        addresses = [address for address in interface.addresses if not address.is_link_local]
        if addresses:
            addresses.sort(key=lambda address: (_floats(address), address.version, address.packed))
            ips = dict.fromkeys(address.ip for address in addresses)
            found.append(PeerLink(interface.name, interface.mac, tuple(ips)))
    return tuple(found)


def _floats(address: IPv4Interface | IPv6Interface) -> bool:
    """Tell whether an address belongs to no subnet: a virtual IP is set up so as a rule."""
    return address.network.prefixlen == address.max_prefixlen


def _same_life(before: Peer, after: Peer | None) -> bool:
    return after is not None and after.living and after.start_id == before.start_id
