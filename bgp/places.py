"""Where at the engine each peer stands: its router, its neighbour, its route-maps. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bgp.words import LineError, WordForm, address, number, word
from kube.peering import Session

Neighbor = tuple[str, str]
"""A VRF, empty for the default one, and the engine's name of a neighbour in it."""
MOST_AS = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class PeerPlace:
    """A peer at the engine."""

    peer: str
    """The name of the BGPPeer."""
    vrf: str
    """Empty: the default one."""
    neighbor: str

    @property
    def at(self) -> Neighbor:
        """The VRF, empty for the default one, and the neighbour."""
        return self.vrf, self.neighbor

    @property
    def incoming(self) -> str:
        """The route-map for what the peer tells us; MetalLB's name of it, for `bgpextras`."""
        return f"{self._name}-in"

    @property
    def outgoing(self) -> str:
        """The route-map for what the peer is told; MetalLB's name of it, for `bgpextras`."""
        return f"{self._name}-out"

    @property
    def _name(self) -> str:
        return f"{self.neighbor}-{self.vrf}" if self.vrf else self.neighbor


@dataclass(frozen=True, slots=True)
class PeerPlaces:
    """All peers, by their names, and the routers by their VRFs."""

    peers: Mapping[str, PeerPlace]
    routers: Mapping[str, str]
    """The line of each router: `router bgp 64512 vrf red`."""


def place(session: Session) -> PeerPlace:
    """Return where the peer stands. Raises `LineError`."""
    owner = f"BGPPeer {session.peer}"
    vrf = word(owner, "vrf", session.vrf, WordForm.LINK) if session.vrf else ""
    if session.address is not None:
        neighbor = address(owner, "peerAddress", session.address)
    else:
        neighbor = word(owner, "interface", session.interface, WordForm.LINK)
    return PeerPlace(session.peer, "" if vrf == "default" else vrf, neighbor)


def places(sessions: Iterable[Session]) -> PeerPlaces:
    """Return where all peers stand. Raises `LineError` for two that are one to the engine."""
    peers: dict[str, PeerPlace] = {}
    routers: dict[str, str] = {}
    names: set[str] = set()
    for session in sessions:
        found = place(session)
        owner = f"BGPPeer {session.peer}"
        if found.outgoing in names or session.peer in peers:
            raise LineError(owner, "peerAddress", "is another peer's too")
        names.add(found.outgoing)
        peers[session.peer] = found
        suffix = f" vrf {found.vrf}" if found.vrf else ""
        line = f"router bgp {number(owner, 'myASN', session.my_as, 1, MOST_AS)}{suffix}"
        if routers.setdefault(found.vrf, line) != line:
            raise LineError(owner, "myASN", "differs from that of another peer in the same VRF")
    return PeerPlaces(peers, routers)
