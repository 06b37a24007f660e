"""Who may hold a TCP stream of ours, for how long, and how many bytes of it until it is whole.

Nothing in a stream can be trusted before its last byte has come and its seal was opened; until then
it is judged by whence it came. Known are members and seeds, all others are strangers. The driver
tells of each connection and each piece, and cuts those that `evictions` names.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

MAX_STREAMS = 128
"""Accepted streams at a time. An honest one lasts milliseconds; each costs some 10 KiB."""
KEPT_STREAMS = 32
"""How many of them no stranger may have, so that members are heard whatever strangers do."""
STREAMS_A_SOURCE = 16
"""Accepted streams at a time from one address: more than a member has (an exchange, a ping, a few
dials of one who looks for contact), and so few that one host alone cannot fill the others' room."""
STRANGER_BYTES = 64 * 1024
"""Bytes of all unfinished streams from one stranger together. Who joins sends a table of one row,
not 200 bytes, however large the ring is. One who was cut off until we had forgotten it, and is no
seed, sends all the rows that it has: this holds about 500 of them, or 2,000 compressed."""
STRANGERS_BYTES = 512 * 1024
"""The same of all strangers together: eight that do their worst."""
KNOWN_BYTES = 8 * 1024 * 1024 - STRANGERS_BYTES
"""The same of all that are known, whoever dialled. Together with the strangers' it is 8 MiB, of the
22 MiB that a pod of 128 MiB has left. The longest table that may be (`table.MAX_MEMBERS`) fits."""
STRANGER_SECONDS = 5.0
"""How long a stranger's stream may take; enough for a joiner whose SYN and data are sent twice."""


class Cut(StrEnum):
    """Why a stream was ended before it was whole, or answered."""

    SOURCE_CROWDED = "source_crowded"
    """Its source had too many; the newest of them stay."""
    CROWDED = "crowded"
    """There were too many; it had been idle for the longest time."""
    STRANGER_LONG = "stranger_long"
    """A stranger announced or sent more than a joiner has to say."""
    BUDGET = "budget"
    """All unfinished streams together were too long, and its source had the most."""
    SLOW = "slow"
    FAILED = "failed"
    """The connection broke: the peer's reset, or the network's fault."""


@dataclass(slots=True)
class _Stream:
    source: str
    known: bool
    dialled: bool
    touched: float
    held: int = 0


class Slots:
    """Keeps account of the streams that are open; `cuts` counts those that were ended."""

    def __init__(self) -> None:
        self.cuts: Counter[Cut] = Counter()
        self._streams: dict[int, _Stream] = {}
        self._last = 0
        self._evicted: list[int] = []

    def handle_accepted(self, source: str, known: bool, now: float) -> int:
        """Take a connection in, if need be in place of another; gives its number."""
        self._make_room(source, known)
        return self._add(_Stream(source, known, False, now))

    def handle_dialled(self, to: str, now: float) -> int:
        """Take in a connection that we made: it needs no slot, but its bytes are counted."""
        return self._add(_Stream(to, True, True, now))

    def handle_piece(self, number: int, held: int, length: int | None, now: float) -> bool:
        """Note that a stream holds `held` bytes by now, and its `length` where it has said so.

        False: it is cut, or was so already, and must be given up at once.
        """
        stream = self._streams.get(number)
        if stream is None:
            return False
        stream.touched, stream.held = now, held
        if not stream.known and self._too_long(stream, length or 0):
            self.handle_end(number, Cut.STRANGER_LONG)
        elif (length or 0) > KNOWN_BYTES:
            self.handle_end(number, Cut.BUDGET)
        else:
            self._keep_to_budget(stream.known)
        return number in self._streams

    def handle_end(self, number: int, cut: Cut | None = None) -> None:
        """Forget a stream that has ended, `cut` if not by itself; harmless for one that was cut."""
        if self._streams.pop(number, None) is not None and cut is not None:
            self.cuts[cut] += 1

    def evictions(self) -> list[int]:
        """Drain the numbers of the streams to be cut; they are forgotten here already."""
        evicted, self._evicted = self._evicted, []
        return evicted

    def known(self, number: int) -> bool:
        """Tell whether a stream is that of a member or seed; false for one that was cut."""
        return number in self._streams and self._streams[number].known

    def held(self) -> int:
        """Return the bytes of all unfinished streams together."""
        return sum(stream.held for stream in self._streams.values())

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, number: int) -> bool:
        return number in self._streams

    def _add(self, stream: _Stream) -> int:
        self._last += 1
        self._streams[self._last] = stream
        return self._last

    def _make_room(self, source: str, known: bool) -> None:
        accepted = [number for number, one in self._streams.items() if not one.dialled]
        strangers = [number for number in accepted if not self._streams[number].known]
        of_source = [number for number in accepted if self._streams[number].source == source]
        if len(of_source) >= STREAMS_A_SOURCE:
            self._evict(self._idlest(of_source), Cut.SOURCE_CROWDED)
        elif not known and len(strangers) >= MAX_STREAMS - KEPT_STREAMS:
            self._evict(self._idlest(strangers), Cut.CROWDED)
        elif len(accepted) >= MAX_STREAMS:
            self._evict(self._idlest(strangers or accepted), Cut.CROWDED)

    def _idlest(self, numbers: Iterable[int]) -> int:
        return min(numbers, key=lambda number: self._streams[number].touched)

    def _too_long(self, stream: _Stream, length: int) -> bool:
        """What is announced counts as if it were here: it is refused before it is buffered."""
        of_source = (one.held for one in self._streams.values() if one.source == stream.source)
        return sum(of_source) + max(0, length - stream.held) > STRANGER_BYTES

    def _keep_to_budget(self, known: bool) -> None:
        """Whichever source has the most gives way, so that nobody is kept out by others' bytes."""
        budget = KNOWN_BYTES if known else STRANGERS_BYTES
        while True:
            pool = {n: stream for n, stream in self._streams.items() if stream.known is known}
            if sum(stream.held for stream in pool.values()) <= budget:
                return
            shares: Counter[str] = Counter()
            for stream in pool.values():
                shares[stream.source] += stream.held
            most = max(shares, key=lambda source: shares[source])
            its = [number for number, stream in pool.items() if stream.source == most]
            self._evict(max(its, key=lambda number: pool[number].held), Cut.BUDGET)

    def _evict(self, number: int, cut: Cut) -> None:
        self.handle_end(number, cut)
        self._evicted.append(number)
