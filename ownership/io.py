"""All that leaves `Ownership` besides frames, echoes and letters: what it has decided and done."""

from dataclasses import dataclass

from link.address import IPAddress
from ownership.contact import Held, Released
from ownership.election.election import Move
from ownership.election.reconcile import Announce, Withdraw


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


OwnershipEvent = Moved | Won | Lost | Failed | QuorumChanged | Held | Released
