"""The flight recorder as rows: all of it, or what concerns an IP, a service or a node. Pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kube.address import parse_ip
from link.address import IPAddress
from process.local.answer import LocalLoss, LocalRow
from speaker.record.flight_recorder import (
    CAUSES,
    FIELDS,
    FlightRecord,
    FlightRecorder,
    read,
)

AT_ONCE = 100
"""Records that are looked at between two rests: half a millisecond."""

Dated = Callable[[float], float]
"""From our own clock to Unix time."""


def row(record: FlightRecord, dated: Dated) -> dict[str, Any]:
    """Return a record as people and programs read it; what is empty is left out."""
    found: dict[str, Any] = {"number": record.number, "at": dated(record.at), "kind": record.kind}
    if record.node is not None:
        found["node"] = record.node
    if record.ips:
        found["ips"] = [str(ip) for ip in record.ips]
    if record.services:
        found["services"] = list(record.services)
    details = zip(FIELDS[record.kind], record.details, strict=True)
    return found | {name: value for name, value in details if value not in (None, "")}


class Interest:
    """What somebody wants to see.

    Of an IP or a service that is what was done about it, and why: what befell the nodes that owned
    it. As a cause comes before what it causes, who owns it is known from before.
    """

    def __init__(self, about: str, owners: frozenset[str], services: frozenset[str]) -> None:
        """`services` are those that it is about, or that share the IP; `owners` have them now."""
        self.all = not about
        self._ip: IPAddress | None = parse_ip(about)
        self._services = services | ({about} if "/" in about else frozenset())
        self._nodes = set(owners)
        self._name = about
        self._story = self._ip is not None or bool(self._services)

    def wants(self, record: FlightRecord) -> bool:
        """Tell whether it is part of the story."""
        if self.all or self._names(record):
            return True
        if not self._story or record.kind not in CAUSES or record.services:
            return False
        return record.node is None or record.node in self._nodes

    def learn(self, record: FlightRecord) -> None:
        """Find in it who has owned what it is about: their fate is part of the story."""
        if record.kind not in CAUSES and self._names(record):
            previous = record.details[0] if FIELDS[record.kind][:1] == ("previous",) else None
            self._nodes |= {who for who in (record.node, previous) if isinstance(who, str)}

    def _names(self, record: FlightRecord) -> bool:
        if self._ip is not None and self._ip in record.ips:
            return True
        if not self._services.isdisjoint(record.services):
            return True
        return record.node == self._name or self._name in record.details


def rows(
    recorder: FlightRecorder, interest: Interest, after: int, follow: bool, dated: Dated
) -> Iterator[LocalRow | LocalLoss | None]:
    """Yield what is kept after the record of this number, and with `follow` what comes then."""
    at, reads_on = after, after > 0
    while True:
        newest, found = recorder.newest, recorder.after(at)
        lost = newest - at - len(found)
        # What went before anybody asked is no loss; what went while somebody read is one.
        if reads_on and lost > 0:
            yield LocalLoss(lost)
        if not interest.all:
            for _ in _in_parts(found, interest.learn):
                yield None
        yield from _wanted(found, interest, dated)
        at, reads_on = newest, True
        if not follow:
            return
        yield None


def _wanted(found: Sequence[bytes], interest: Interest, dated: Dated) -> Iterator[LocalRow | None]:
    passed = 0
    for kept in found:
        record = read(kept)
        if interest.wants(record):
            yield LocalRow(row(record, dated), str(record.number))
        else:
            passed += 1
            if passed % AT_ONCE == 0:
                yield None


def _in_parts(found: Sequence[bytes], look: Callable[[FlightRecord], None]) -> Iterator[None]:
    for number, kept in enumerate(found, 1):
        look(read(kept))
        if number % AT_ONCE == 0:
            yield None
