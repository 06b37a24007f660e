"""Whom a node asks by echo, what it knows of each of them, and the times of asking. Pure."""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from link.address import IPAddress

FAILOVER_AFTER = 0.35
"""Seconds from the death of a machine to the first announcement of its heir, as a rule."""
MOST_OUTSTANDING = 32
"""Requests to one target of which an answer is waited for."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The numbers that follow from `--failover-after`, in seconds."""

    interval: float
    patience: float
    retry: float
    isolated: float
    mourning: float
    """Between requests to those that gossip holds dead: a partition may heal."""

    @classmethod
    def of(cls, failover_after: float) -> "Timing":
        """A node dies half an `interval` before the next request on average, then it takes
        `patience`: together that is `failover_after`."""
        return cls(
            interval=failover_after * 2 / 7,
            patience=failover_after * 6 / 7,
            retry=failover_after / 14,
            # Less than the shortest time in which others can have missed us.
            isolated=failover_after * 5 / 7,
            mourning=failover_after * 2 / 7,
        )


class KernelState(Enum):
    """What we know of another node's kernel on one link."""

    ANSWERS = auto()
    SILENT = auto()
    """Missing, or it never answered, although it was asked."""
    UNKNOWN = auto()
    """Not asked lately, or we do not know where it is."""


class TargetKey(NamedTuple):
    """Somebody's address on one of our links: a node by name, or a gateway by its address."""

    who: str
    ifindex: int


class Echoed(NamedTuple):
    """An echo reply to us: whose, when we asked for it, and whether we had missed who answers."""

    key: TargetKey
    at: float
    anew: bool


@dataclass(frozen=True, slots=True)
class LinkReturned:
    """We were heard by nobody on the link for `gap` seconds, and now somebody answers again."""

    ifindex: int
    gap: float


@dataclass(slots=True)
class Target:
    """One address, and how its kernel has answered there; times in seconds."""

    ip: IPAddress
    gateway: bool = False
    armed: bool = False
    """Whether it ever answered an echo request: else it may never do so."""
    steady: int = 0
    """How many requests in a row it has answered, while it is not armed."""
    heard: float = float("-inf")
    """When the latest request was sent that was answered, or when it spoke otherwise."""
    echoed: float = float("-inf")
    """The former alone."""
    spoke_unanswered: bool = False
    """Whether it spoke while it left requests unanswered, and has answered none since."""
    filtered: int = 0
    """How often it was found so."""
    disarmed_until: float = float("-inf")
    since: float | None = None
    """When the run of unanswered requests began."""
    asked: float = float("-inf")
    unanswered: int = 0
    missing: bool = False
    check: bool = False
    outstanding: deque[tuple[float, bytes]] = field(
        default_factory=lambda: deque(maxlen=MOST_OUTSTANDING)
    )

    @property
    def owes(self) -> bool:
        """Whether it should have answered by now, as far as anybody knows."""
        return self.armed and not self.missing and self.since is not None
