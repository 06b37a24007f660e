"""What goes in and out of `Swim`: addresses, things to send, things that happened."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from gossip.wire.bites import Bites, Deferred, at_once
from gossip.wire.messages import State


class Address(NamedTuple):
    """Where a peer listens: IP text (no zone) and port, the same for UDP and TCP."""

    ip: str
    port: int


class Datagram(NamedTuple):
    """Send `data` by UDP."""

    data: bytes
    to: Address


@dataclass(frozen=True, slots=True)
class Dial:
    """Open TCP to `to`, send `data`, read one whole reply, hand it to `Swim.handle_reply(id, …)`.

    Where it must not stand still, the driver makes the data by `making`. It gives up after
    `timeout` seconds, and waits for no reply where `reply` is false. A peer that stops in the
    middle: hand over what came, so that the core can count why.
    """

    id: int
    request: bytes | Deferred[bytes] = field(repr=False)
    to: Address
    timeout: float
    reply: bool = True

    @property
    def data(self) -> bytes:
        """What to send."""
        return at_once(self.making())

    def making(self) -> Bites[bytes]:
        """Make what to send in bites."""
        if isinstance(self.request, bytes):
            return self.request
        return (yield from self.request.making())


class StreamFailure(StrEnum):
    """Why a dialled conversation brought no reply."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    TOO_LONG = "too_long"
    """We gave it up, as all unfinished streams together were too long: see `slots`."""


@dataclass(frozen=True, slots=True)
class MemberView:
    """One row of the member table, for people and for the election."""

    name: str
    address: Address
    state: State
    incarnation: int
    meta: bytes
    vsn: bytes
    own: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """A member appeared, or came back from dead or left."""

    member: MemberView


@dataclass(frozen=True, slots=True)
class Suspected:
    """A member did not answer; it still counts as a member."""

    member: MemberView


@dataclass(frozen=True, slots=True)
class Recovered:
    """A suspected member refuted; it never stopped being a member."""

    member: MemberView


@dataclass(frozen=True, slots=True)
class Gone:
    """A member was declared dead, or left of its own will (`member.state`)."""

    member: MemberView


@dataclass(frozen=True, slots=True)
class Updated:
    """A member's meta changed."""

    member: MemberView


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A whole push/pull was done and merged with the peer at this address, in either role.

    `began` is when we dialled, None where the peer dialled us: its words may have waited. `known`:
    the peer's table had us, living, at our address; a joiner is in no table yet, and one whose name
    another node has never will be.
    """

    peer: Address
    began: float | None
    known: bool


@dataclass(frozen=True, slots=True)
class ExchangeFailed:
    """A push/pull that we began came to nothing.

    `silent` is true where nobody is there: refused, or no word in time. Who takes a connection and
    closes it without a byte is there.
    """

    peer: Address
    reason: str
    silent: bool
    join: bool


@dataclass(frozen=True, slots=True)
class UserMessage:
    """An application message arrived (UDP or TCP), framing removed."""

    data: bytes
    source: Address


@dataclass(frozen=True, slots=True)
class UserState:
    """The application's state of a peer arrived at the end of a push/pull."""

    data: bytes
    source: Address


@dataclass(frozen=True, slots=True)
class NameConflict:
    """Another address claims the name of a member, at this incarnation; it was ignored."""

    member: MemberView
    claimed: Address
    incarnation: int

    @property
    def ours_is_younger(self) -> bool:
        """Whether it is our own name, and the other node had it first."""
        theirs, ours = self.incarnation, self.member.incarnation
        return self.member.own and (theirs, self.claimed) < (ours, self.member.address)


@dataclass(frozen=True, slots=True)
class KeyUsed:
    """The new key seals from now on: every living peer has proved that it reads it, or somebody
    uses it already; who has not proved it is sealed to with the key before."""


@dataclass(frozen=True, slots=True)
class KeyDropped:
    """The older keys, `count` of them, are gone: nobody uses them any more."""

    count: int


@dataclass(frozen=True, slots=True)
class KeyBlocked:
    """These peers have not proved that they read the new key; the old one stays in use for them."""

    names: tuple[str, ...]


Transmit = Datagram | Dial
Event = (
    Joined
    | Suspected
    | Recovered
    | Gone
    | Updated
    | Exchanged
    | ExchangeFailed
    | UserMessage
    | UserState
    | NameConflict
    | KeyUsed
    | KeyDropped
    | KeyBlocked
)
