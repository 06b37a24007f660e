"""Sessions as lines of bgpd: routers, neighbours, their address families. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from bgp.forms import DENY_IN, DENY_OUT
from bgp.places import MOST_AS, Neighbor, PeerPlace, PeerPlaces
from bgp.tree import Block
from bgp.words import LineError, WordForm, address, number, profile, word
from kube.peering import AddressFamily, AnyAS, Session

CONNECT = 5
"""Seconds between attempts where nobody says another; the engine's own 120 would be an outage."""
MOST_SECONDS = 65535
STANDING = (
    "no bgp ebgp-requires-policy",
    "no bgp default ipv4-unicast",
    "bgp graceful-restart preserve-fw-state",
    "no bgp network import-check",
    # The engine waits a second and more for other peers before it tells a new one its first route,
    # so that one UPDATE is made for all. Few peers gain nothing by that.
    "coalesce-time 50",
)


@dataclass(frozen=True, slots=True)
class SessionCourse:
    """What the moment asks of all sessions."""

    watched: frozenset[Neighbor] = frozenset()
    """Those whose session is up, or has BFD. It is typed for no other: they would flap."""
    draining: bool = False
    """Every route is told with GRACEFUL_SHUTDOWN (RFC 8326)."""
    farewell: str = ""
    """Not empty: every session is shut down, with this text (RFC 9003)."""


def put_routers(
    root: Block,
    sessions: Iterable[Session],
    where: PeerPlaces,
    router_id: IPv4Address | None,
    course: SessionCourse,
) -> None:
    """Add the routers and all of their sessions. Raises `LineError`."""
    sessions = tuple(sessions)
    for vrf, line in where.routers.items():
        router = root.put(line)
        mine = [each for each in sessions if where.peers[each.peer].vrf == vrf]
        chosen = next((each.router_id for each in mine if each.router_id), router_id)
        lines = [*STANDING, *([f"bgp router-id {chosen}"] if chosen else [])]
        for text in [*lines, *(["bgp graceful-shutdown"] if course.draining else [])]:
            router.put(text)
        for session in mine:
            for text in _neighbor(session, where.peers[session.peer], course):
                router.put(text)
        for family in AddressFamily:
            _put_family(router, family, mine, where)
        # It starts the session, and so comes when the families are there to be agreed on.
        for session in mine:
            router.put(f"neighbor {where.peers[session.peer].neighbor} {_retry(session)}")


def put_filters(root: Block, where: PeerPlaces) -> None:
    """Add the entries by which nothing comes in, and nothing goes out that no class names."""
    for place in where.peers.values():
        root.put(f"route-map {place.incoming} deny {DENY_IN}")
        root.put(f"route-map {place.outgoing} deny {DENY_OUT}")


def _put_family(
    router: Block, family: AddressFamily, sessions: Iterable[Session], where: PeerPlaces
) -> None:
    below = router.put(f"address-family {family} unicast")
    for session in sessions:
        if family in session.families:
            place = where.peers[session.peer]
            below.put(f"neighbor {place.neighbor} activate")
            below.put(f"neighbor {place.neighbor} route-map {place.incoming} in")
            below.put(f"neighbor {place.neighbor} route-map {place.outgoing} out")


def _neighbor(session: Session, place: PeerPlace, course: SessionCourse) -> Iterator[str]:
    owner, start = f"BGPPeer {session.peer}", f"neighbor {place.neighbor}"
    link = " interface" if session.address is None else ""
    yield f"{start}{link} remote-as {_remote(owner, session)}"
    if course.farewell:
        farewell = word("shutdown", "message", course.farewell, WordForm.TEXT)
        yield f"{start} shutdown message {farewell}"
    yield from (f"{start} {each}" for each in _way(owner, session))
    yield from (f"{start} {each}" for each in _times(owner, session))
    if session.password:
        yield f"{start} password {word(owner, 'password', session.password, WordForm.PASSWORD)}"
    if session.graceful_restart:
        yield f"{start} graceful-restart"
    if session.bfd and place.at in course.watched:
        yield f"{start} bfd"
        yield f"{start} bfd profile {profile(session.bfd)}"


def _remote(owner: str, session: Session) -> str:
    if isinstance(session.peer_as, AnyAS):
        return str(session.peer_as)
    return number(owner, "peerASN", session.peer_as, 1, MOST_AS)


def _way(owner: str, session: Session) -> Iterator[str]:
    """Yield how the peer is reached. What the engine has no use for is left out: it prints none."""
    if session.local_as and session.local_as != session.my_as:
        if not _external(session) or session.local_as == session.peer_as:
            raise LineError(owner, "localASN", "is only for a peer in another AS")
        local = number(owner, "localASN", session.local_as, 1, MOST_AS)
        yield f"local-as {local} no-prepend replace-as"
    if session.port != 179:
        yield f"port {number(owner, 'peerPort', session.port, 1, 65535)}"
    if session.address is None:
        return
    if session.multihop and _external(session):
        yield "ebgp-multihop"
    elif session.address.version == 6 and _external(session):
        # As MetalLB: the engine would hold back a session over an address that it cannot place.
        yield "disable-connected-check"
    if session.source is not None:
        yield f"update-source {address(owner, 'sourceAddress', session.source)}"


def _external(session: Session) -> bool:
    return session.peer_as == AnyAS.EXTERNAL or (
        session.peer_as != AnyAS.INTERNAL and session.peer_as != session.my_as
    )


def _times(owner: str, session: Session) -> Iterator[str]:
    if session.hold is not None and session.keepalive is not None:
        keepalive = number(owner, "keepaliveTime", session.keepalive, 0, MOST_SECONDS)
        yield f"timers {keepalive} {number(owner, 'holdTime', session.hold, 0, MOST_SECONDS)}"


def _retry(session: Session) -> str:
    connect = CONNECT if session.connect is None else session.connect
    owner = f"BGPPeer {session.peer}"
    return f"timers connect {number(owner, 'connectTime', connect, 1, MOST_SECONDS)}"
