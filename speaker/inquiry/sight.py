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

STEP = 0.01
"""Seconds by which the date has to go another way than our own clock before that is believed: else
the same moment were told as another one in the next answer."""


class Dating:
    """Tells the moments of our own clock by the date of today."""

    def __init__(self, clock: Callable[[], float], date: Callable[[], float]) -> None:
        """`date` gives Unix time; both are in seconds."""
        self._clock, self._date = clock, date
        self._apart = date() - clock()

    def date(self, at: float) -> float:
        """Return the Unix time of a moment of our own clock, to the millisecond."""
        apart = self._date() - self._clock()
        if abs(apart - self._apart) > STEP:
            self._apart = apart
        return round(at + self._apart, 3)


@dataclass(frozen=True, slots=True)
class Sight:
    """The parts of a speaker, and its clock."""

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
    dated: Callable[[float], float]
    """From that clock to Unix time, in seconds."""
