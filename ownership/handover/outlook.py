"""What hand-overs ask of the watch on others, and what others grant too early. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from ownership.liveness.targets import KernelState


class Outlook(Protocol):
    """What `Succession` asks of the watch on other nodes."""

    def kernel(self, name: str, ifindexes: Collection[int], now: float) -> KernelState:
        """Tell what another node's machine does on links of ours."""

    def hears(self, ifindex: int, now: float) -> bool:
        """Tell whether this node would have heard an announcement."""

    def heard_since(self, ifindexes: Collection[int], at: float) -> bool:
        """Tell whether anybody was heard there, as far as there is anybody."""

    def lost_its_owner(self, name: str) -> bool:
        """Tell whether a node is gone without a word."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A loser's letter that came before our own election has seen that we won."""

    sender: str
    dead: frozenset[str]
    at: float
