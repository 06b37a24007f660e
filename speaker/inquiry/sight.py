"""All that an answer on the local socket may look at. Nothing of it is changed by looking."""

from collections.abc import Callable
from dataclasses import dataclass

from ownership.announcing.announcer import Announcer
from ownership.failover import Failover
from ownership.ownership import Ownership
from speaker.bgp.making import RoutingDoors
from speaker.configuration import Configuration
from speaker.record.recording import Recording
from speaker.ring.peers import Peers
from speaker.settings import Settings
from speaker.wire.layer2 import Layer2


@dataclass(frozen=True, slots=True)
class Sight:
    """The parts of a speaker, and its clocks."""

    settings: Settings
    core: Ownership
    failover: Failover
    announcer: Announcer
    configuration: Configuration
    layer2: Layer2
    peers: Peers
    routing: RoutingDoors
    recording: Recording
    clock: Callable[[], float]
    date: Callable[[], float]
    """Unix time, in seconds."""

    def dated(self, at: float) -> float:
        """Return the Unix time of a moment of our own clock, to the millisecond."""
        return round(at + self.date() - self.clock(), 3)
