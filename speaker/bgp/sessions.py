"""What the engine says of each session: read once a second, told when one comes up or goes."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from bgp.door.frr import Query
from bgp.places import Neighbor, place
from bgp.state import BfdCounts, BfdState, NeighborState, bfd_counters, bfd_peers, neighbors
from kube.peering import Session

NEIGHBORS = Query("bgpd", "show bgp vrf all neighbors json", neighbors)
# Without a VRF it shows those of all; `all` would be the name of one.
BFD_PEERS = Query("bfdd", "show bfd peers json", bfd_peers)
BFD_COUNTERS = Query("bfdd", "show bfd peers counters json", bfd_counters)


class Sessions:
    """The last readings; what is configured and was not read is down."""

    queries = (NEIGHBORS, BFD_PEERS, BFD_COUNTERS)

    def __init__(self, log: Log, on_change: Callable[[frozenset[Neighbor]], None]) -> None:
        """`on_change` is told which sessions are up now, whenever that changes."""
        self._log, self._on_change = log, on_change
        self._peers: Mapping[Neighbor, Session] = {}
        self._states: Mapping[Neighbor, NeighborState] = {}
        self._bfd: Mapping[Neighbor, BfdState] = {}
        self._counters: Mapping[Neighbor, BfdCounts] = {}
        self._up = frozenset[Neighbor]()

    @property
    def peers(self) -> Mapping[Neighbor, Session]:
        """The sessions that are wanted, by neighbour. From any thread, as all that follow."""
        return self._peers

    @property
    def states(self) -> Mapping[Neighbor, NeighborState]:
        """How each session is, as far as the engine has said."""
        return MappingProxyType(dict(self._states))

    @property
    def bfd(self) -> Mapping[Neighbor, BfdState]:
        """How each BFD session is."""
        return MappingProxyType(dict(self._bfd))

    @property
    def counters(self) -> Mapping[Neighbor, BfdCounts]:
        """What each BFD session has counted."""
        return MappingProxyType(dict(self._counters))

    def names_up(self) -> frozenset[str]:
        """Name the BGPPeers whose session is up."""
        return frozenset(self._peers[at].peer for at in self._up if at in self._peers)

    def set_peers(self, sessions: Iterable[Session]) -> None:
        """Take the sessions that are wanted."""
        self._peers = {place(session).at: session for session in sessions}
        self._look()

    def read(self, query: Query, reading: Any) -> None:
        """Take a reading; None: the daemon did not say, or what it said could not be read."""
        if query is NEIGHBORS:
            self._states = reading if reading is not None else {}
            self._look()
        elif query is BFD_PEERS:
            self._bfd = reading if reading is not None else {}
        else:
            self._counters = reading if reading is not None else {}

    def forget(self) -> None:
        """Nobody can say how the sessions are."""
        self._states, self._bfd, self._counters = {}, {}, {}
        self._look()

    def _look(self) -> None:
        before = self._up
        self._up = frozenset(
            at for at, state in self._states.items() if state.established and at in self._peers
        )
        if self._up == before:
            return
        for at in sorted(self._up ^ before):
            self._tell(at, at in self._up)
        self._on_change(self._up)

    def _tell(self, at: Neighbor, up: bool) -> None:
        session, state = self._peers.get(at), self._states.get(at)
        about = {"vrf": at[0] or "default", "neighbor": at[1]}
        if session is not None:
            about["peer"] = session.peer
        if up:
            self._log.info("bgp_session", state="up", **about)
        else:
            why = state.last_reset if state is not None else "the engine does not say"
            self._log.warning("bgp_session", state="down", reason=why, **about)
