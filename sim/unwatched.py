"""In the place of `Failover` where gossip alone is simulated: IPs change hands at once. Pure.

A run with watches has ten times as many events; what is studied at 1,000 nodes has no use for them.
"""

from collections.abc import Iterable

from link.address import IPAddress
from ownership.announcing.announcer import Announcer
from ownership.handover.states import HoldState
from ownership.letters.courier import Letter
from ownership.liveness.barred import Bars
from ownership.liveness.roster import Peer

_NOBODY = Bars()


class Unwatched:
    """What `Ownership` calls of a `Failover`, without one: as MetalLB's speaker does."""

    calling = False

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer

    def set_peers(self, peers: Iterable[Peer], now: float) -> None:
        """Nobody is watched."""

    def won(
        self,
        service: str,
        ip: IPAddress,
        interfaces: frozenset[str] | None,
        previous: str | None,
        now: float,
    ) -> None:
        """Announce it."""
        self._announcer.announce(ip, service, interfaces, now)

    def lost(
        self, service: str, ip: IPAddress, winner: str | None, now: float, *, surely: bool = True
    ) -> None:
        """Stop at once."""
        self._announcer.withdraw(ip, service)

    def moved(
        self, service: str, ip: IPAddress, before: str | None, winner: str | None, now: float
    ) -> None:
        """Nothing is handed over."""

    def withdraw(self, service: str, ip: IPAddress) -> None:
        """Stop at once."""
        self._announcer.withdraw(ip, service)

    def unconfirmed(self, ifindex: int | None, now: float) -> None:
        """The wire is not asked."""

    def leave(self, now: float) -> None:
        """Gossip says it."""

    def letter(self, letter: Letter, now: float) -> None:
        """None is read."""

    def bars(self) -> Bars:
        """Nobody is barred."""
        return _NOBODY

    def state(self, ip: IPAddress) -> HoldState:
        """Return that it is answered for, or nothing."""
        return HoldState.OWNED if self._announcer.wants(ip) else HoldState.NONE

    def deadline(self) -> float:
        """Never."""
        return float("inf")

    def handle_timeout(self, now: float) -> None:
        """Nothing is ever due."""
