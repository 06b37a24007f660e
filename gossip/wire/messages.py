"""What memberlist peers say to each other, as plain values.

One dataclass a message type. Addresses are the raw 4 or 16 bytes of the wire: Go compares them
bytewise, so the exact bytes received are kept and sent on. Field order is the wire's (sorted keys).
"""

from dataclasses import dataclass
from enum import IntEnum

from gossip.wire.errors import Refusal

CURRENT_VSN = bytes((1, 5, 2, 0, 0, 0))
"""Protocol min, max, current; delegate min, max, current, as a plain memberlist node sends it."""


class MessageType(IntEnum):
    """The first byte of a message; memberlist's own numbers."""

    PING = 0
    INDIRECT_PING = 1
    ACK = 2
    SUSPECT = 3
    ALIVE = 4
    DEAD = 5
    PUSH_PULL = 6
    COMPOUND = 7
    USER = 8
    COMPRESS = 9
    ENCRYPT = 10
    NACK = 11
    HAS_CRC = 12
    ERROR = 13
    HAS_LABEL = 244


class State(IntEnum):
    """A member's state, as push/pull carries it."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? `node` is who is asked; the source fields say where the ack belongs."""

    node: str
    seq_no: int
    source_addr: bytes = b""
    source_node: str = ""
    source_port: int = 0


@dataclass(frozen=True, slots=True)
class IndirectPing:
    """Please ping `node` at `target`:`port` for me."""

    nack: bool
    node: str
    port: int
    seq_no: int
    source_addr: bytes
    source_node: str
    source_port: int
    target: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to a ping; only a ping delegate fills the payload."""

    seq_no: int
    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class Nack:
    """A helper is well, but has not heard from the target."""

    seq_no: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """`sender` (From) did not hear from `node`, last known at `incarnation`."""

    sender: str
    incarnation: int
    node: str


@dataclass(frozen=True, slots=True)
class Alive:
    """`node` lives at `addr`:`port`."""

    addr: bytes
    incarnation: int
    meta: bytes | None
    node: str
    port: int
    vsn: bytes


@dataclass(frozen=True, slots=True)
class Dead:
    """`node` is dead, or has left when `sender` is the node itself."""

    sender: str
    incarnation: int
    node: str


@dataclass(frozen=True, slots=True)
class User:
    """An opaque message of the application."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The acceptor of a stream could not read the request."""

    text: str


@dataclass(frozen=True, slots=True)
class NodeState:
    """One row of a push/pull."""

    addr: bytes
    incarnation: int
    meta: bytes | None
    name: str
    port: int
    state: State
    vsn: bytes

    def __hash__(self) -> int:
        """Take what tells rows apart: all seven fields are hashed for each row of each table."""
        return hash((self.name, self.incarnation))


@dataclass(frozen=True, slots=True)
class PushPull:
    """A whole member table, and the application's state behind it.

    `refused` says why rows that came with it are not among the `nodes`; it is never sent.
    """

    join: bool
    nodes: tuple[NodeState, ...]
    user_state: bytes = b""
    refused: tuple[Refusal, ...] = ()


Message = Ping | IndirectPing | Ack | Nack | Suspect | Alive | Dead | User | ErrorReply | PushPull

TYPES: dict[type, MessageType] = {
    Ping: MessageType.PING,
    IndirectPing: MessageType.INDIRECT_PING,
    Ack: MessageType.ACK,
    Nack: MessageType.NACK,
    Suspect: MessageType.SUSPECT,
    Alive: MessageType.ALIVE,
    Dead: MessageType.DEAD,
    User: MessageType.USER,
    PushPull: MessageType.PUSH_PULL,
    ErrorReply: MessageType.ERROR,
}
"""What each is on the wire; the other types wrap these."""
