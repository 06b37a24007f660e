"""The live view: who owns how much, what is not as it should be, and what happened last. Pure."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence

from clarion.live.tables import lines
from process.told.rows import LiveOwner, LiveRecord
from process.told.story import line, visible
from process.told.words import AS_IT_SHOULD_BE

DECISIONS = 12
"""How many of the last decisions are shown."""
MOST_ROWS = 20
"""How many owners, and how many IPs that are not well."""


class Board:
    """Keeps the last decisions; is told all owners anew each time."""

    def __init__(self, node: str) -> None:
        self.newest = 0
        """The number of the last record that was taken."""
        self._node = node
        self._records: deque[LiveRecord] = deque(maxlen=DECISIONS)

    def take(self, records: Sequence[LiveRecord]) -> None:
        """Take what has happened since the record `newest`."""
        self._records.extend(records)
        if records:
            self.newest = records[-1].number

    def lines(self, owners: Sequence[LiveOwner]) -> Iterator[str]:
        """Yield the lines of the view."""
        unwell = [row for row in owners if row.state not in AS_IT_SHOULD_BE]
        counts = Counter(row.owner for row in owners if row.owner is not None)
        yield (
            f"node {visible(self._node)}: {len(owners)} IPs, {len(counts)} owners, "
            f"{len(unwell)} not well"
        )
        yield ""
        table = [(name, str(count)) for name, count in counts.most_common(MOST_ROWS)]
        yield from lines(("owner", "ips"), table)
        yield from _more(len(counts) - MOST_ROWS, "owners")
        if unwell:
            yield ""
            yield from lines(("ip", "service", "owner", "state", "why"), _cells(unwell))
            yield from _more(len(unwell) - MOST_ROWS, "IPs")
        yield ""
        yield from (line(record) for record in self._records)


def _cells(rows: Sequence[LiveOwner]) -> list[tuple[str, ...]]:
    return [
        (row.ip, row.service, row.owner or "nobody", row.state, row.why or "-")
        for row in rows[:MOST_ROWS]
    ]


def _more(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"and {count} more {what}"
