"""Who may hold a connection to the webhooks, and for how long. Pure.

The API server is one source among strangers. Who comes to full places gets one of the source that
holds the most, and of those the oldest that waits for nothing: a stranger with two hundred idle
connections shuts out himself. What bodies together take of memory is held down in the same way.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

MOST_CONNECTIONS = 128
"""Places. An API server speaks HTTP/1.1 with us: each call of its own at a time takes one."""
LONGEST_REQUEST = 10.0
"""Seconds from a connection, or the first byte of a request on one that is kept, to the last byte
of the answer: what an API server waits for by default."""
LONGEST_REST = 120.0
"""Seconds without a request. Go's clients hang up after 90: where both do so at the same time, a
call is lost that was just sent."""
LONGEST_HEAD = 16 * 1024
"""Bytes of the request line and all headers; an API server sends some 300."""
LONGEST_BODY = 3 * 1024 * 1024
"""Bytes of a review: an object of etcd's 1.5 MiB comes twice, as it was and as it will be."""
MOST_BYTES = 24 * 1024 * 1024
"""Bytes of all unfinished requests together."""


class Refused(StrEnum):
    """Why a connection was closed before it had its answer."""

    CROWDED = "crowded"
    """Closed to make room for a newer one, or for what others send."""
    TOO_SLOW = "too_slow"
    """The handshake, or a request and its answer, did not end in time."""
    TOO_LONG = "too_long"
    """More bytes than a head, or head and body, may have."""
    PIPELINED = "pipelined"
    """A second request came before the answer to the first."""
    TLS = "tls"
    """The handshake failed: another protocol, a version or a suite that is not wanted."""
    NO_CERTIFICATE = "no_certificate"
    """There was none to serve with yet."""
    NO_ROOM = "no_room"
    """The system gave no descriptor, or no memory, for one more."""


@dataclass(eq=False, slots=True)
class Place:
    """One connection."""

    source: str
    deadline: float
    resting: bool = False
    """It has had an answer, and no byte has come since."""
    head: bytearray = field(default_factory=bytearray)
    head_length: int = 0
    """Bytes up to the end of the head; 0 until it is there."""
    received: int = 0
    """Bytes of the request in hand."""
    whole: bool = False
    """All of the request is here, and the answer is not out."""


class Places:
    """All connections, the oldest first."""

    def __init__(self) -> None:
        self._places: dict[Place, None] = {}

    def __len__(self) -> int:
        return len(self._places)

    def take(self, source: str, now: float) -> tuple[Place, list[Place]]:
        """Give a newcomer a place; return it, and who has to go."""
        leaving = self._crowded_out() if len(self._places) >= MOST_CONNECTIONS else None
        place = Place(source, now + LONGEST_REQUEST)
        self._places[place] = None
        if leaving is None:
            return place, []
        self.leave(leaving)
        return place, [leaving]

    def leave(self, place: Place) -> None:
        """Free a place; once more does no harm."""
        self._places.pop(place, None)

    def handle_bytes(self, place: Place, data: bytes, now: float) -> Refused | None:
        """Count what has come; return why the connection must be closed, None where all is well."""
        if place.whole:
            return Refused.PIPELINED
        if place.resting:
            place.resting, place.deadline = False, now + LONGEST_REQUEST
        before = place.received
        place.received += len(data)
        if not place.head_length and before < LONGEST_HEAD:
            self._look_for_end_of_head(place, data)
        longest = LONGEST_HEAD + (LONGEST_BODY if place.head_length else 0)
        return Refused.TOO_LONG if place.received > longest else None

    @staticmethod
    def _look_for_end_of_head(place: Place, data: bytes) -> None:
        looked_at = max(0, len(place.head) - 3)
        place.head += data[: LONGEST_HEAD - len(place.head)]
        found = place.head.find(b"\r\n\r\n", looked_at)
        if found >= 0:
            place.head_length = found + 4
            place.head.clear()

    def handle_whole(self, place: Place, body: int) -> bool:
        """All of a request with `body` bytes of body is here; return whether nothing follows it."""
        place.whole = True
        return place.received == place.head_length + body

    def handle_answer(self, place: Place, now: float) -> None:
        """The answer is out."""
        place.whole, place.resting, place.deadline = False, True, now + LONGEST_REST
        place.received = place.head_length = 0
        place.head.clear()

    def burdens(self) -> list[Place]:
        """Return who has to go so that requests take no more memory than they may."""
        total = sum(each.received for each in self._places)
        leaving: list[Place] = []
        while total > MOST_BYTES:
            held = Counter[str]()
            for each in self._places:
                held[each.source] += each.received
            source = held.most_common(1)[0][0]
            own = [each for each in self._places if each.source == source]
            largest = max(own, key=lambda each: each.received)
            total -= largest.received
            self.leave(largest)
            leaving.append(largest)
        return leaving

    def late(self, now: float) -> list[Place]:
        """Return whose time is over, and free their places."""
        found = [each for each in self._places if each.deadline <= now]
        for each in found:
            self.leave(each)
        return found

    def deadline(self) -> float | None:
        """Return when `late` is due; None where nobody is here."""
        return min((each.deadline for each in self._places), default=None)

    def _crowded_out(self) -> Place:
        held = Counter(each.source for each in self._places)
        most = max(held.values())
        crowd = [each for each in self._places if held[each.source] == most]
        return next(self._by_need(crowd))

    @staticmethod
    def _by_need(crowd: list[Place]) -> Iterator[Place]:
        """Give who waits for nothing first: unfinished requests, then rests, then the answered."""
        yield from (each for each in crowd if not each.resting and not each.whole)
        yield from (each for each in crowd if each.resting)
        yield from crowd
