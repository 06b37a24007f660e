"""Who the other nodes are: their lives, their links, and who watches whom. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address

from gossip.mark import Flags
from gossip.wire.messages import State
from link.interface import Interface
from speaker.letters import PeerLink

IPAddress = IPv4Address | IPv6Address

WITNESSES = 3
"""How many nodes watch each one."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another member as gossip knows it; `start_id` is None for one that is no Clarion."""

    name: str
    start_id: int | None
    flags: Flags
    state: State

    @property
    def living(self) -> bool:
        """Alive or suspected."""
        return self.state in (State.ALIVE, State.SUSPECT)

    @property
    def died(self) -> bool:
        """Declared dead, so it did not part with what it owned; one that left did."""
        return self.state is State.DEAD


class Roster:
    """The other members, and what they told of their links. Those of the dead are kept: whoever
    inherits from them has to know their MACs."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._peers: dict[str, Peer] = {}
        self._links: dict[str, tuple[PeerLink, ...]] = {}
        self._by_mac: dict[bytes, str] = {}
        self._ring: list[tuple[bytes, str]] = []
        self.clarions: frozenset[str] = frozenset({node})
        """The living ones, this node among them."""
        self.version = 0
        """Grows whenever a member may have changed."""

    def set_peers(self, peers: Iterable[Peer]) -> frozenset[str]:
        """Take all other members; return those of which the life known so far is over."""
        self.version += 1
        before, self._peers = self._peers, {peer.name: peer for peer in peers}
        for name in self._links.keys() - self._peers.keys():
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
        self._links[name] = links
        self._by_mac.update((link.mac, name) for link in links)

    def peer(self, name: str) -> Peer | None:
        """Return a member, living or not."""
        return self._peers.get(name)

    def peers(self) -> Iterable[Peer]:
        """Return all other members."""
        return self._peers.values()

    def dead(self) -> frozenset[str]:
        """Name the Clarions that were declared dead, as long as gossip remembers them."""
        return frozenset(
            name
            for name in self._links
            if (peer := self._peers.get(name)) is not None and peer.died
        )

    def links(self, name: str) -> tuple[PeerLink, ...]:
        """Return the links of a node, none where it has not told yet."""
        return self._links.get(name, ())

    def owner_of(self, mac: bytes) -> str | None:
        """Name the node with a link of this MAC."""
        return self._by_mac.get(mac)

    def strangers(self) -> tuple[str, ...]:
        """Name the living Clarions that have not told their links."""
        return tuple(sorted(self.clarions - self._links.keys() - {self._node}))

    def watched(self) -> tuple[str, ...]:
        """Name the nodes that this one watches: the next of the ring of hashed names."""
        return self._next(1)

    def watchers(self) -> tuple[str, ...]:
        """Name the nodes that watch this one: those before it."""
        return self._next(-1)

    def meet(self, name: str, interface: Interface) -> tuple[PeerLink, IPAddress] | None:
        """Return the link of a node that shares a segment with `interface`, and its address there:
        the lowest of IPv4, else of IPv6, so that all witnesses ask the same."""
        for link in self._links.get(name, ()):
            near = [ip for ip in link.ips if interface.reaches(ip)]
            if near:
                return link, min(near, key=lambda ip: (ip.version, ip.packed))
        return None

    def _next(self, step: int) -> tuple[str, ...]:
        size = len(self._ring)
        here = bisect_left(self._ring, (sha256(self._node.encode()).digest(), self._node))
        places = range(1, min(WITNESSES, size - 1) + 1)
        return tuple(self._ring[(here + step * place) % size][1] for place in places)

    def _forget_links(self, name: str) -> None:
        for link in self._links.pop(name, ()):
            if self._by_mac.get(link.mac) == name:
                del self._by_mac[link.mac]


def own_links(interfaces: Mapping[int, Interface]) -> tuple[PeerLink, ...]:
    """Describe links of ours to others, by name; link-local addresses say nothing to somebody on
    another segment."""
    found = []
    for interface in sorted(interfaces.values(), key=lambda interface: interface.name):
        ips = [address.ip for address in interface.addresses if not address.is_link_local]
        if ips:
            ips.sort(key=lambda ip: (ip.version, ip.packed))
            found.append(PeerLink(interface.name, interface.mac, tuple(ips)))
    return tuple(found)


def _same_life(before: Peer, after: Peer | None) -> bool:
    return after is not None and after.living and after.start_id == before.start_id
