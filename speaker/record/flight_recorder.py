"""The last decisions of this speaker with their causes, in a bounded memory. Pure.

Causes (who was missed, who was judged, who came) and deeds (what was done about an IP) are kept
apart, each in its own share: where a node with thousands of IPs dies, what was done about the last
of them would wash out why. All have one row of numbers, so that who follows knows what it missed.
"""

import struct
from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address
from itertools import takewhile
from typing import NamedTuple, TypeVar

import msgspec

from link.address import IPAddress
from process.local.protocol import spelled

MOST_CAUSES, MOST_DEEDS = 1_000, 3_000
CAUSES_BYTES, DEEDS_BYTES = 256 * 1024, 768 * 1024
"""Of memory."""
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


_NUMBER = struct.Struct(">Q")
_OVERHEAD = 48
"""Bytes that Python takes for a piece of memory of any length, and its place in a list."""
_encode = msgspec.msgpack.Encoder().encode
_Body = tuple[float, RecordKind, tuple[bytes, ...], tuple[str, ...], str | None, tuple[Detail, ...]]
_decode = msgspec.msgpack.Decoder(_Body).decode


def write(record: FlightRecord) -> bytes:
    """Return a record as it is kept: its number, so that records sort by it, and all else as
    MessagePack. So its size is known, it keeps nothing else alive, and costs no collector."""
    number, at, kind, ips, services, node, details = record
    body = at, kind, [ip.packed for ip in ips], services, node, details
    try:
        text = _encode(body)
    except UnicodeEncodeError:
        text = _encode(spelled(body))
    return _NUMBER.pack(number) + text


def read(kept: bytes) -> FlightRecord:
    """Return a record that is kept."""
    (number,) = _NUMBER.unpack_from(kept)
    at, kind, packed, services, node, details = _decode(kept[_NUMBER.size :])
    return FlightRecord(number, at, kind, tuple(map(ip_address, packed)), services, node, details)


class _Share:
    """Some of the records: the newest ones that fit."""

    def __init__(self, most: int, size: int) -> None:
        self.records: deque[bytes] = deque()
        self.size = 0
        self._most, self._bytes = most, size

    def add(self, record: FlightRecord) -> None:
        kept = write(record)
        self.records.append(kept)
        self.size += len(kept) + _OVERHEAD
        while len(self.records) > self._most or self.size > self._bytes:
            self.size -= len(self.records.popleft()) + _OVERHEAD


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
        """Bytes of memory that all records take."""
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

    def after(self, number: int) -> list[bytes]:
        """Return what is kept of all that came after the record of this number, oldest first: to be
        made out by `read`, which takes some microseconds each."""
        last = _NUMBER.pack(number + 1)
        return sorted([*_from(self._causes.records, last), *_from(self._deeds.records, last)])


def _parts(items: tuple[_T, ...]) -> Iterator[tuple[_T, ...]]:
    return (items[at : at + MOST_SUBJECTS] for at in range(0, len(items), MOST_SUBJECTS))


def _from(records: deque[bytes], first: bytes) -> Iterator[bytes]:
    return takewhile(lambda kept: kept >= first, reversed(records))


def word(text: object) -> str:
    """Return a text that is short enough to be kept."""
    return str(text)[:LONGEST_WORD]
