"""What the network does to a packet between two hosts: delays, copies, losses, cuts. Pure."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from random import Random

T = TypeVar("T")

SYN_RETRY = 1.0
"""Linux' first retransmission of a SYN; each further one waits twice as long (RFC 6298)."""
DATA_RETRY = 0.2
"""Linux' shortest retransmission timeout of data."""
_SEGMENTS = 3
"""Segments of a small conversation whose loss delays it."""
_MOST_RETRIES = 6


@dataclass(slots=True)
class Conditions:
    """How the network treats every packet; probabilities from 0 to 1, times in seconds."""

    latency: float = 0.0003
    jitter: float = 0.0004
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay: float = 0.02

    @property
    def rough(self) -> bool:
        """Whether packets may be lost, doubled or held back."""
        return bool(self.loss or self.duplicate or self.reorder)


class Network:
    """Decides the fate of each packet, by host names."""

    def __init__(self, rng: "Random") -> None:
        self._rng = rng
        self.conditions = Conditions()
        self._blocked: Counter[tuple[str, str]] = Counter()
        self._deaf: Counter[str] = Counter()
        self._mute: Counter[str] = Counter()
        self._islands: list[frozenset[str]] = []

    def block(self, source: str, target: str, by: int = 1) -> None:
        """Drop what goes from `source` to `target`; `by=-1` takes one such fault back."""
        self._blocked[source, target] += by

    def isolate(self, host: str, *, inbound: bool, by: int = 1) -> None:
        """Drop all that goes to the host (inbound), or all that comes from it."""
        (self._deaf if inbound else self._mute)[host] += by

    def part(self, hosts: Collection[str]) -> frozenset[str]:
        """Cut `hosts` off from all others; the result is what `heal` wants."""
        island = frozenset(hosts)
        self._islands.append(island)
        return island

    def heal(self, island: frozenset[str]) -> None:
        """Take one partition back."""
        self._islands.remove(island)

    def connects(self, source: str, target: str) -> bool:
        """Tell whether packets can get from `source` to `target` at all."""
        if self._blocked and self._blocked[source, target]:
            return False
        if (self._deaf and self._deaf[target]) or (self._mute and self._mute[source]):
            return False
        return not self._islands or all(
            (source in island) == (target in island) for island in self._islands
        )

    def copies(self, source: str, target: str) -> tuple[float, ...]:
        """Return the delays of the copies of one packet that arrive; none where it is lost."""
        conditions, rng = self.conditions, self._rng
        if not self.connects(source, target):
            return ()
        delay = conditions.latency + conditions.jitter * rng.random()
        if not conditions.rough:
            return (delay,)
        if rng.random() < conditions.loss:
            return ()
        if rng.random() < conditions.reorder:
            delay += conditions.reorder_delay * rng.random()
        if rng.random() < conditions.duplicate:
            return (delay, delay + conditions.jitter * rng.random())
        return (delay,)

    def passing(self, source: str, target: str, packets: Sequence[T]) -> Sequence[T]:
        """Return those of some packets, sent together, that arrive; a doubled one comes twice."""
        if self.conditions.rough:
            return [packet for packet in packets for _ in self.copies(source, target)]
        return packets if self.connects(source, target) else ()

    def round_trip(self, dialler: str, target: str) -> float | None:
        """Return the time to open a TCP connection, None where none can be opened."""
        if not (self.connects(dialler, target) and self.connects(target, dialler)):
            return None
        return 2 * self._latency() + self._retries(1, SYN_RETRY)

    def stream(self, source: str, target: str) -> float | None:
        """Return the time that one direction of a conversation takes, None where it is cut."""
        if not (self.connects(source, target) and self.connects(target, source)):
            return None
        return self._latency() + self._retries(_SEGMENTS, DATA_RETRY)

    def _latency(self) -> float:
        return self.conditions.latency + self.conditions.jitter * self._rng.random()

    def _retries(self, segments: int, first: float) -> float:
        waited, again = 0.0, first
        for _ in range(segments if self.conditions.loss else 0):
            tries = 0
            while tries < _MOST_RETRIES and self._rng.random() < self.conditions.loss:
                waited, again, tries = waited + again, again * 2, tries + 1
        return waited
