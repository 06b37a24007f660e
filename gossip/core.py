"""What the parts of one node share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from gossip.awareness import Awareness
    from gossip.calendar import Calendar
    from gossip.config import Config
    from gossip.events import EventQueue
    from gossip.hooks import Hooks
    from gossip.outbox import Outbox
    from gossip.stats import Ignored, Stats
    from gossip.table import Table
UINT32 = 0xFFFFFFFF


@dataclass(slots=True)
class Core:
    """The parts that every state machine of a node works on."""

    config: "Config"
    table: "Table"
    outbox: "Outbox"
    awareness: "Awareness"
    events: "EventQueue"
    stats: "Stats"
    rng: "Random"
    hooks: "Hooks"
    calendar: "Calendar"
    sequence: int
    ack_payload: bytes | None = None

    @property
    def name(self) -> str:
        """Our own node name."""
        return self.table.own.name

    def next_sequence(self) -> int:
        """Return a new SeqNo; 32 bits, wraps."""
        self.sequence = (self.sequence + 1) & UINT32
        return self.sequence

    def ignore(self, reason: "Ignored") -> "Ignored":
        """Count a message that changes nothing, and give the reason on."""
        self.stats.ignored[reason] += 1
        return reason
