"""Which MED this node announces, so that routers leave a dead node before its session ends. Pure.

All nodes announce the same MULTI_EXIT_DISC, so that a router shares traffic among them. Where one
is gone the others announce a lower one, and the router, which prefers the lowest (RFC 4271,
9.1.2.2 c), has no more use for the route of the one that is gone. Members of another kind, which
know nothing of it, announce 0: beside them so do we.

The MED falls at once and rises late. Falling takes effect with the first node that does it; what
rises too early draws traffic back to a dead node's route, or flaps with a node that flaps. The
times are the same on all nodes and never grow: nodes that rise apart share no traffic meanwhile.
"""

from collections.abc import Iterable
from enum import IntEnum

from kube.bgp_config import BgpConfig
from kube.peering import AnyAS, Session

DAMPING = 30.0
"""Seconds that a node has to be back, or to have left, before the MED rises."""
MARGIN = 10.0
"""Seconds after the hold time until the router has dropped the routes of a dead node for sure."""
HOLD = 180
"""Seconds of hold time of a session that does not say (FRR's own)."""
RESTART = 120
"""Seconds more for which a router keeps what a peer with graceful restart has told (FRR's own)."""
_NEVER = float("inf")


class Med(IntEnum):
    """What is announced: the lowest wins."""

    MIXED = 0
    """As MetalLB's speakers do, one of which is a member, or was lately."""
    STEPPED = 99
    PLAIN = 100


class MedStep:
    """Takes who is gone and who is a stranger; `med` is what follows."""

    def __init__(self) -> None:
        self._outlasts: float = HOLD + MARGIN
        """Seconds for which a router may keep the routes of a node that is gone."""
        self._gone: dict[str, float] = {}
        """Who is gone, since when."""
        self._strangers = False
        self._mixed_until = self._stepped_until = -_NEVER
        self.med = Med.PLAIN
        self.steps = 0
        """How often the MED fell because a node was gone."""

    def set_sessions(self, sessions: Iterable[Session]) -> None:
        """Take the sessions of this node; the same are taken for those of the others."""
        self._outlasts = max(map(_outlasts, sessions), default=HOLD) + MARGIN

    def handle_lives(self, gone: frozenset[str], strangers: bool, now: float) -> None:
        """Take who is gone, and whether any living member is a stranger."""
        if self._strangers and not strangers:
            # Its routes may outlive it, and they are the best while they are there.
            self._mixed_until = now + self._outlasts
        self._strangers = strangers
        for name in self._gone.keys() - gone:
            if now < self._gone.pop(name) + self._outlasts:
                self._stepped_until = now + DAMPING
        for name in gone:
            self._gone.setdefault(name, now)
        self.handle_timeout(now)

    def handle_timeout(self, now: float) -> None:
        """Let the MED rise if it is time."""
        before, self.med = self.med, self._work_out(now)
        self.steps += self.med is Med.STEPPED and before is Med.PLAIN

    def deadline(self) -> float:
        """When `handle_timeout` may change something, as far as it has told."""
        if self.med is Med.MIXED:
            return _NEVER if self._strangers else self._mixed_until
        return self._until() if self.med is Med.STEPPED else _NEVER

    def _work_out(self, now: float) -> Med:
        if self._strangers or now < self._mixed_until:
            return Med.MIXED
        return Med.STEPPED if now < self._until() else Med.PLAIN

    def _until(self) -> float:
        """Return when nothing is left of those that are gone: sessions end, or they are back."""
        ends = (since + self._outlasts for since in self._gone.values())
        return max(self._stepped_until, max(ends, default=-_NEVER))


def _outlasts(session: Session) -> float:
    hold = HOLD if session.hold is None else session.hold
    # Without a hold time nothing ends a session.
    return (hold or _NEVER) + RESTART * session.graceful_restart


def prefers(config: BgpConfig) -> bool:
    """Tell whether any peer is sent a local preference, which routers heed before the MED.

    Other nodes may send another one, or none: advertisements for them alone are unknown here.
    """
    inside = {session.peer for session in config.sessions if _internal(session)}
    ads = (ad for some in config.advertisements.values() for ad in some if ad.local_pref)
    return any(not ad.peers or ad.peers & inside for ad in ads) if inside else False


def _internal(session: Session) -> bool:
    if isinstance(session.peer_as, AnyAS):
        return session.peer_as is AnyAS.INTERNAL
    return session.peer_as == session.my_as
