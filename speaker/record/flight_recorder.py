"""The last decisions of this speaker with their causes, in a bounded memory. Pure.

Causes (who was missed, who was judged, who came) and deeds (what was done about an IP) are kept
apart, each in its own share: where a node with thousands of IPs dies, what was done about the last
of them would wash out why. All have one row of numbers, so that who follows knows what it missed.
"""

from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from itertools import takewhile
from typing import NamedTuple, TypeVar

from link.address import IPAddress

MOST_CAUSES, MOST_DEEDS = 1_000, 3_000
CAUSES_BYTES, DEEDS_BYTES = 256 * 1024, 768 * 1024
"""Of memory, as `cost` counts it."""
LONGEST_WORD = 320
"""Characters of a text: the longest name of a service is 317."""
MOST_SUBJECTS = 32
"""IPs or services of one record; what is about more of them is told in several."""


class RecordKind(StrEnum):
    """What is told by a record. The first ones are causes, the others deeds."""

    MISSED = "missed"
    """Somebody, or this node itself, misses a node: its kernel on a link, or its process."""
    JUDGED = "judged"
    """Another node says that enough of them miss it."""
    VERDICT = "verdict"
    """A node counts as gone on a link from now on, or does so no more."""
    BARRED = "barred"
    """A node may own nothing: its own word, or as its process is silent."""
    FLAGS = "flags"
    """What this node says of itself: why it may own nothing."""
    MEMBER = "member"
    """Gossip: who comes, is suspected, goes."""
    CONTACT = "contact"
    """Answers stop, as this node may be behind the times; or they flow again."""
    QUORUM = "quorum"
    ECHO_FILTERED = "echo_filtered"
    BGP = "bgp"
    """A session, the engine, or what routers are told for others."""
    FAILED = "failed"

    ELECTED = "elected"
    """The owner of a service is another one, as far as this node knows."""
    WON = "won"
    LOST = "lost"
    ASKED = "asked"
    """A question on the wire: who answers for the IP?"""
    SAID = "said"
    """A letter to another node about IPs."""
    HEARD = "heard"
    """Such a letter of another node."""
    CONTESTED = "contested"
    FOREIGN_ANSWER = "foreign_answer"
    PUT_OFF = "put_off"
    QUIET = "quiet"
    """Answered for from now on, and not announced."""
    HANDED_OVER = "handed_over"
    ANNOUNCED = "announced"
    """The first frame has left."""
    CONFIRMED = "confirmed"
    """A client answers to the new MAC."""
    ROUTES = "routes"
    """Which peers hear of a service by BGP."""


CAUSES = frozenset(tuple(RecordKind)[: tuple(RecordKind).index(RecordKind.ELECTED)])

FIELDS: dict[RecordKind, tuple[str, ...]] = {
    RecordKind.MISSED: ("link", "witness"),
    RecordKind.JUDGED: ("link", "by"),
    RecordKind.VERDICT: ("link", "state", "witnesses"),
    RecordKind.BARRED: ("state",),
    RecordKind.FLAGS: ("flags",),
    RecordKind.MEMBER: ("state", "address"),
    RecordKind.CONTACT: ("state", "reason", "by", "seconds"),
    RecordKind.QUORUM: ("changed", "lacking"),
    RecordKind.ECHO_FILTERED: (),
    RecordKind.BGP: ("event", "state", "about", "reason"),
    RecordKind.FAILED: ("reason", "error"),
    RecordKind.ELECTED: ("previous", "reason"),
    RecordKind.WON: ("reason", "interfaces"),
    RecordKind.LOST: ("reason",),
    RecordKind.ASKED: ("link", "mac"),
    RecordKind.SAID: ("letter",),
    RecordKind.HEARD: ("letter",),
    RecordKind.CONTESTED: ("mac",),
    RecordKind.FOREIGN_ANSWER: (),
    RecordKind.PUT_OFF: (),
    RecordKind.QUIET: (),
    RecordKind.HANDED_OVER: (),
    RecordKind.ANNOUNCED: ("reason", "seconds"),
    RecordKind.CONFIRMED: ("link", "client", "seconds"),
    RecordKind.ROUTES: ("peers", "reason"),
}
"""What `details` means, by kind."""

Detail = str | float | None
_T = TypeVar("_T")


class FlightRecord(NamedTuple):
    """One decision, or one cause of some. `node` is who it is about: the missed one, the owner."""

    number: int
    at: float
    """By the clock of this speaker, in seconds."""
    kind: RecordKind
    ips: tuple[IPAddress, ...]
    services: tuple[str, ...]
    node: str | None
    details: tuple[Detail, ...]


_RECORD, _WORD, _IP, _NUMBER = 320, 56, 120, 32
"""Bytes: of a record with its tuples and numbers, of a text without its characters, ..."""


def cost(record: FlightRecord) -> int:
    """Return the bytes of memory that a record takes, counted too high rather than too low."""
    size = _RECORD + _IP * len(record.ips)
    for text in (*record.services, record.node, *record.details):
        if not isinstance(text, str):
            size += _NUMBER
        elif text.isascii():
            size += _WORD + len(text)
        else:
            # PEP 393: up to four bytes a character.
            size += 2 * _WORD + 4 * len(text)
    return size


class _Share:
    """Some of the records: the newest ones that fit."""

    def __init__(self, most: int, size: int) -> None:
        self.records: deque[FlightRecord] = deque()
        self.size = 0
        self._costs: deque[int] = deque()
        self._most, self._bytes = most, size

    def add(self, record: FlightRecord) -> None:
        size = cost(record)
        self.records.append(record)
        self._costs.append(size)
        self.size += size
        while len(self._costs) > self._most or self.size > self._bytes:
            self.size -= self._costs.popleft()
            self.records.popleft()


class FlightRecorder:
    """Keeps the newest records; the oldest go."""

    def __init__(self) -> None:
        self.newest = 0
        """The number of the last record; the first is 1."""
        self._causes = _Share(MOST_CAUSES, CAUSES_BYTES)
        self._deeds = _Share(MOST_DEEDS, DEEDS_BYTES)

    def __len__(self) -> int:
        return len(self._causes.records) + len(self._deeds.records)

    @property
    def size(self) -> int:
        """Bytes of memory that all records take, as `cost` counts."""
        return self._causes.size + self._deeds.size

    def note_cause(
        self,
        kind: RecordKind,
        at: float,
        node: str | None = None,
        services: tuple[str, ...] = (),
        details: tuple[Detail, ...] = (),
    ) -> None:
        """Keep why things are done from `at` on; `details` are the FIELDS of its kind."""
        self.newest += 1
        self._causes.add(FlightRecord(self.newest, at, kind, (), services, node, details))

    def note_deed(
        self,
        kind: RecordKind,
        at: float,
        node: str | None = None,
        ips: tuple[IPAddress, ...] = (),
        services: tuple[str, ...] = (),
        details: tuple[Detail, ...] = (),
    ) -> None:
        """Keep what was done at `at`; `details` are the FIELDS of its kind."""
        if len(ips) > MOST_SUBJECTS:
            for some in _parts(ips):
                self.note_deed(kind, at, node, some, services, details)
        elif len(services) > MOST_SUBJECTS:
            for names in _parts(services):
                self.note_deed(kind, at, node, ips, names, details)
        else:
            self.newest += 1
            self._deeds.add(FlightRecord(self.newest, at, kind, ips, services, node, details))

    def after(self, number: int) -> list[FlightRecord]:
        """Return what is kept of all that came after the record of this number, oldest first."""
        found = [*_after(self._causes.records, number), *_after(self._deeds.records, number)]
        return sorted(found)


def _parts(items: tuple[_T, ...]) -> Iterator[tuple[_T, ...]]:
    return (items[at : at + MOST_SUBJECTS] for at in range(0, len(items), MOST_SUBJECTS))


def _after(records: deque[FlightRecord], number: int) -> Iterator[FlightRecord]:
    return takewhile(lambda record: record.number > number, reversed(records))


def word(text: object) -> str:
    """Return a text that is short enough to be kept."""
    return str(text)[:LONGEST_WORD]
