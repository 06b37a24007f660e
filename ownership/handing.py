"""What `Ownership` wants of whoever has IPs change hands: of `Failover`, or a stand-in. Pure."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from gossip.io import Address
from link.address import IPAddress
from link.interface import Interface
from ownership.handover.states import HoldState
from ownership.io import Ask, EchoRequest, HandingEvent, Send
from ownership.letters.courier import Letter
from ownership.letters.mark import Flags
from ownership.liveness.barred import Barred
from ownership.liveness.roster import Peer


class Handing(Protocol):
    """Who has IPs change hands gently. What each of these does is said in `Failover`."""

    @property
    def calling(self) -> bool: ...  # noqa: D102

    @property
    def flags(self) -> Flags: ...  # noqa: D102

    # ---- what comes in

    def set_interfaces(self, interfaces: Mapping[int, Interface], now: float) -> None: ...  # noqa: D102

    def set_needed(self, names: frozenset[str] | None, now: float) -> None: ...  # noqa: D102

    def set_peers(self, peers: Iterable[Peer], now: float) -> None: ...  # noqa: D102

    def win(  # noqa: D102
        self,
        service: str,
        ip: IPAddress,
        interfaces: frozenset[str] | None,
        previous: str | None,
        now: float,
    ) -> None: ...

    def lose(  # noqa: D102
        self, service: str, ip: IPAddress, winner: str | None, now: float, *, surely: bool = True
    ) -> None: ...

    def note_move(  # noqa: D102
        self, service: str, ip: IPAddress, before: str | None, winner: str | None, now: float
    ) -> None: ...

    def withdraw(self, service: str, ip: IPAddress) -> None: ...  # noqa: D102

    def verify(self, ifindex: int | None, now: float) -> None: ...  # noqa: D102

    def leave(self, now: float) -> None: ...  # noqa: D102

    def handle_echo(self, ifindex: int, ip: IPAddress, token: bytes, now: float) -> bool: ...  # noqa: D102

    def handle_frames(self, ifindex: int, now: float) -> None: ...  # noqa: D102

    def handle_announcement(  # noqa: D102
        self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool = False
    ) -> None: ...

    def handle_letter(self, letter: Letter, now: float) -> None: ...  # noqa: D102

    def handle_timeout(self, now: float) -> None: ...  # noqa: D102

    # ---- what follows

    def is_node(self, mac: bytes) -> bool: ...  # noqa: D102

    def bars(self) -> Barred: ...  # noqa: D102

    def state(self, ip: IPAddress) -> HoldState: ...  # noqa: D102

    def deadline(self) -> float: ...  # noqa: D102

    def handing_over(self, *, foreign: bool) -> int: ...  # noqa: D102

    def unwitnessed(self) -> list[str]: ...  # noqa: D102

    def asks(self) -> list[tuple[Interface, Ask]]: ...  # noqa: D102

    def requests(self) -> list[EchoRequest]: ...  # noqa: D102

    def letters(self) -> list[Send]: ...  # noqa: D102

    def calls(self) -> list[Address]: ...  # noqa: D102

    def events(self) -> list[HandingEvent]: ...  # noqa: D102
