"""All that leaves `ownership`: what it has to send, and what has happened.

Nothing else crosses the door outwards. Every part of the heart may use these; they use none of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from link.address import IPAddress
from link.interface import Interface

if TYPE_CHECKING:
    from ownership.letters.letters import LetterKind
    from ownership.liveness.barred import Barred

# ---- what the driver sends


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody on the link; `mac` is 6 bytes, or None for a gateway that has not asked yet."""

    ip: IPAddress
    mac: bytes | None


class Form(StrEnum):
    """The frames of a round."""

    REQUEST = "request"
    """ARP request, sender = target = the IP; moves entries of any age."""
    REPLY = "reply"
    """ARP reply to our own MAC, RFC 5227's form."""
    REPLY_TO_ALL = "reply_to_all"
    """ARP reply to the broadcast MAC, MetalLB's form."""
    ADVERTISEMENT = "advertisement"
    """Unsolicited neighbour advertisement."""
    TO_CLIENT = "to_client"
    """ARP request or neighbour solicitation from the IP to one client."""


class Announcement(NamedTuple):
    """Send one frame for `ip` on `interface`; `client` is set in the form TO_CLIENT."""

    ip: IPAddress
    interface: Interface
    form: Form
    client: Client | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask on the link `ifindex` whether anybody answers for `ip`; `mac`: ask this one alone."""

    ip: IPAddress
    ifindex: int
    mac: bytes | None = None


ROUTED = 0
"""In the place of a link's index: by whatever way the kernel knows. No link has it."""


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """Send an echo request to `ip` by the link `ifindex`, or ROUTED; `token` is its payload."""

    ifindex: int
    ip: IPAddress
    token: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send a letter about the node `about`, to these nodes (None: to all living Clarions)."""

    kind: "LetterKind"
    about: str
    payload: bytes = b""
    to: tuple[str, ...] | None = None


# ---- what the driver tells people and the cluster


@dataclass(frozen=True, slots=True)
class Move:
    """A service changed hands. None: nobody, as far as this node knows."""

    service: str
    before: str | None
    after: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Announce:
    """This node answers for the service's IPs from now on."""

    service: str
    ips: tuple[IPAddress, ...]
    interfaces: frozenset[str] | None
    reason: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """This node answers no longer for these IPs of the service."""

    service: str
    ips: tuple[IPAddress, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The election has given a service with these IPs to another node, or to nobody."""

    move: Move
    ips: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class Won:
    """This node has taken a service up: it answers for its IPs, or asks the wire for them first."""

    action: Announce


@dataclass(frozen=True, slots=True)
class Lost:
    """This node gives IPs of a service up, at once or as soon as their winner is heard."""

    action: Withdraw


@dataclass(frozen=True, slots=True)
class Failed:
    """A service could not be brought in line; the others were. `look_again` at it in a while."""

    service: str
    reason: str
    error: Exception


@dataclass(frozen=True, slots=True)
class QuorumChanged:
    """So many services lost the majority of their nodes, or have it again; `lacking` have none."""

    changed: int
    lacking: int


class HoldReason(StrEnum):
    """Why a speaker keeps quiet."""

    START = "start"
    STALL = "stall"
    CARRIER = "carrier"
    ISOLATED = "isolated"
    """Nobody was heard on the link for long enough that others may have taken over."""
    NAME_TAKEN = "name_taken"
    """An older node has our name."""


@dataclass(frozen=True, slots=True)
class Held:
    """Answers stopped on `ifindex` (None: everywhere); `gap` is the seconds lost."""

    reason: HoldReason
    ifindex: int | None
    gap: float


@dataclass(frozen=True, slots=True)
class Released:
    """Answers may flow again; `by` is `exchange` or `silence`, `waited` in seconds."""

    reason: HoldReason
    ifindex: int | None
    by: str
    waited: float


@dataclass(frozen=True, slots=True)
class Contest:
    """`ip` is ours, but the node `by` answers for it and does not let go."""

    ip: IPAddress
    by: str


@dataclass(frozen=True, slots=True)
class ForeignAnswer:
    """The kernel of `node` answers for `ip`, though its speaker does not claim it."""

    ip: IPAddress
    node: str


@dataclass(frozen=True, slots=True)
class Contested:
    """`ip` is ours, but `node` answers for it and does not let go; `mac` is that of the answer, 6
    bytes, or None where none was heard."""

    ip: IPAddress
    node: str
    mac: bytes | None


@dataclass(frozen=True, slots=True)
class BarsChanged:
    """Others may own than before, by their own word or by a verdict; from now on `after` counts."""

    before: "Barred"
    after: "Barred"


@dataclass(frozen=True, slots=True)
class Filtered:
    """The node answers no echo request any more, though it lives."""

    node: str


@dataclass(frozen=True, slots=True)
class TookQuietly:
    """`ip` is answered for from now on, but not announced."""

    ip: IPAddress


@dataclass(frozen=True, slots=True)
class PutOff:
    """These IPs were won and are not announced now: contested, or taken over without a word."""

    ips: frozenset[IPAddress]


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Of each of these services an IP was taken up or given up, some time after the election."""

    services: frozenset[str]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A client has followed an IP to this node, so many seconds after it was first addressed."""

    seconds: float


HandingEvent = Filtered | TookQuietly | Contested | ForeignAnswer | PutOff | HandedOver
"""What happens while IPs change hands."""

OwnershipEvent = (
    Moved
    | Won
    | Lost
    | Failed
    | QuorumChanged
    | Held
    | Released
    | BarsChanged
    | Confirmed
    | HandingEvent
)
"""What `Ownership.events` gives out."""

# ---- what metrics show


class LetterRefusal(StrEnum):
    """Why a letter was not taken."""

    MALFORMED = "malformed"
    UNKNOWN_KIND = "unknown_kind"


class RoutedState(StrEnum):
    """What is done about a node in another subnet, which routers lead to."""

    ANSWERS = "answers"
    """It is asked, and would be missed."""
    UNPROVED = "unproved"
    """It is asked, and has not answered steadily: a firewall may be between."""
    MISSING = "missing"
    UNTOLD = "untold"
    """It has not told where it stands: it does not ask over routers itself."""
    ELSEWHERE = "elsewhere"
    """Its address is in none of the subnets that it told."""
    NO_ADDRESS = "no_address"
    """Its address is another node's too, or none of a host."""
    TOO_MANY = "too_many"


@dataclass(slots=True)
class FailoverStats:
    """Figures for the metrics."""

    verdicts: Mapping[str, int] = field(default_factory=dict)
    missing: int = 0
    contested: int = 0
    yielding: int = 0
    conflicts: int = 0
    foreign: int = 0
    """Of those, by a MAC that no other speaker has."""
    filtered: int = 0
    """How often a node was found to answer no echo request though it lives."""
    refused: Mapping[LetterRefusal, int] = field(default_factory=dict)
    """Letters."""
    routed: Mapping[RoutedState, int] = field(default_factory=dict)
    """Nodes in other subnets."""
