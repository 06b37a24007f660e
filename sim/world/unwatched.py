"""In the place of `Failover` where gossip alone is simulated: IPs change hands at once. Pure.

A run with watches has ten times as many events; what is studied at 1,000 nodes has no use for them.
"""

from collections.abc import Iterable, Mapping

from gossip.io import Address
from link.address import IPAddress
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.handover.states import HoldState
from ownership.io import Ask, EchoRequest, HandingEvent, Send
from ownership.letters.courier import Letter
from ownership.letters.mark import Flags
from ownership.liveness.barred import Barred
from ownership.liveness.roster import Peer

_NOBODY = Barred()


class Unwatched:
    """What `Ownership` calls of a `Failover`, without one: as MetalLB's speaker does."""

    calling = False
    flags = Flags.NONE

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer

    def set_interfaces(self, interfaces: Mapping[int, Interface], now: float) -> None:
        """No echo is sent by any."""

    def set_needed(self, names: frozenset[str] | None, now: float) -> None:
        """No link is missed."""

    def set_peers(self, peers: Iterable[Peer], now: float) -> None:
        """Nobody is watched."""

    def win(
        self,
        service: str,
        ip: IPAddress,
        interfaces: frozenset[str] | None,
        previous: str | None,
        now: float,
    ) -> None:
        """Announce it."""
        self._announcer.announce(ip, service, interfaces, now)

    def lose(
        self, service: str, ip: IPAddress, winner: str | None, now: float, *, surely: bool = True
    ) -> None:
        """Stop at once."""
        self._announcer.withdraw(ip, service)

    def note_move(
        self, service: str, ip: IPAddress, before: str | None, winner: str | None, now: float
    ) -> None:
        """Nothing is handed over."""

    def withdraw(self, service: str, ip: IPAddress) -> None:
        """Stop at once."""
        self._announcer.withdraw(ip, service)

    def verify(self, ifindex: int | None, now: float) -> None:
        """The wire is not asked."""

    def leave(self, now: float) -> None:
        """Gossip says it."""

    def handle_echo(self, ifindex: int, ip: IPAddress, token: bytes, now: float) -> bool:
        """Nobody asked for it."""
        return False

    def handle_frames(self, ifindex: int, now: float) -> None:
        """Who is heard matters to nobody."""

    def handle_announcement(
        self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool = False
    ) -> None:
        """Nobody waits for it."""

    def is_node(self, mac: bytes) -> bool:
        """No MAC is known."""
        return False

    def handle_letter(self, letter: Letter, now: float) -> None:
        """None is read."""

    def bars(self) -> Barred:
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

    def handing_over(self, *, foreign: bool) -> int:
        """None."""
        return 0

    def unwitnessed(self) -> list[str]:
        """No link is watched."""
        return []

    def asks(self) -> list[tuple[Interface, Ask]]:
        """None."""
        return []

    def requests(self) -> list[EchoRequest]:
        """None."""
        return []

    def letters(self) -> list[Send]:
        """None."""
        return []

    def calls(self) -> list[Address]:
        """None."""
        return []

    def events(self) -> list[HandingEvent]:
        """None."""
        return []
