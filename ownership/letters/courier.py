"""Messages between Clarion nodes, inside memberlist's user messages. Others never get any.

     0       1         2      3        7         15      19            23         27
    +-------+---------+------+--------+---------+-------+-------------+----------+---------
    | first | version | kind | sender | counter | about | incarnation | receiver | payload
    +-------+---------+------+--------+---------+-------+-------------+----------+---------

`sender`, `about` and `receiver` are start ids (see `mark`): who speaks, of which life of which
node, and to which. memberlist has no protection against replay, so a message counts once, within a
window, for the one life it was sent to, and only while the lives it names are the current ones.
What goes to all goes to each in a copy of its own.

Version 1 had no receiver. For a rolling update it is spoken with those, and only with those, whose
mark is of version 1: so an earlier version that is in the ring is protected as well as it was.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from gossip.io import MemberView
from gossip.wire.messages import State
from ownership.letters import mark

if TYPE_CHECKING:
    from random import Random

    from gossip.swim import Swim

FIRST = 0xC7
"""No serf message type (0 to 9)."""
VERSION, UNADDRESSED = 2, 1
WINDOW = 1_024
MAX_PAYLOAD = 512
SPREAD = 3
MOST_AWAY = 4_096
"""Senders that gossip has forgotten, of which we remember what we took: they may have been cut off,
and come back in the same life. As many as it remembers incarnations of."""
_LAYOUT = struct.Struct("!BBBIQIII")
_RECEIVER = struct.Struct("!I")
_SENDER = slice(3, 7)
_RECEIVER_AT = _LAYOUT.size - _RECEIVER.size


class CourierRefusal(StrEnum):
    """Why a message of ours was not taken."""

    FOREIGN = "foreign"
    TRUNCATED = "truncated"
    TOO_LONG = "too_long"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_SENDER = "unknown_sender"
    OWN = "own"
    OTHER_RECEIVER = "other_receiver"
    """It was sent to another node, or to an earlier life of this one."""
    REPEATED = "repeated"
    OUT_OF_WINDOW = "out_of_window"
    OTHER_START = "other_start"
    OTHER_INCARNATION = "other_incarnation"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that counts. `sender` and `about` are names of members."""

    kind: int
    sender: str
    about: str
    incarnation: int
    payload: bytes


@dataclass(slots=True)
class Window:
    """Which counters of one sender have been seen: the highest, and a bit for each of the last."""

    highest: int = 0
    seen: int = 0

    def take(self, counter: int) -> CourierRefusal | None:
        """Note a counter; say why it does not count."""
        if counter > self.highest:
            self.seen = (self.seen << min(counter - self.highest, WINDOW)) | 1
            self.seen &= (1 << WINDOW) - 1
            self.highest = counter
            return None
        age = self.highest - counter
        if age >= WINDOW:
            return CourierRefusal.OUT_OF_WINDOW
        if self.seen >> age & 1:
            return CourierRefusal.REPEATED
        self.seen |= 1 << age
        return None


@dataclass(slots=True)
class Courier:
    """Sends and takes our messages through one `Swim`, whose own Meta bears `start_id`."""

    swim: "Swim"
    rng: "Random"
    start_id: int
    refused: Counter[CourierRefusal] = field(default_factory=Counter)
    _counter: int = 0
    _windows: dict[int, Window] = field(default_factory=dict)
    _known: Mapping[int, MemberView] = field(default_factory=dict)
    _unaddressed: frozenset[int] = frozenset()
    """The start ids of those that take and send letters of version 1."""
    _known_at: int = -1

    def straight(self, kind: int, about: int, incarnation: int, payload: bytes = b"") -> int:
        """Send to every living Clarion node at once; return how many there were."""
        peers = self._peers()
        return self._send(peers, peers, self._seal(kind, about, incarnation, payload))

    def to(
        self, names: Sequence[str], kind: int, about: int, incarnation: int, payload: bytes = b""
    ) -> int:
        """Send to these members, as far as they are living Clarions; return how many those were."""
        peers = self._peers()
        there = [name for name in names if name in peers]
        if not there:
            return 0
        return self._send(there, peers, self._seal(kind, about, incarnation, payload))

    def gossip(self, kind: int, about: int, incarnation: int, payload: bytes = b"") -> int:
        """Send to some, who pass it on when it is news to them; return how many got it from us."""
        return self._pass_on(self._seal(kind, about, incarnation, payload))

    def take(self, data: bytes, *, spread: bool = False) -> Letter | CourierRefusal:
        """Read a user message; refusals are counted. `spread` passes on what counts."""
        data = self._addressed(data)
        result = self._read(data)
        if isinstance(result, CourierRefusal):
            self.refused[result] += 1
        elif spread:
            self._pass_on(data)
        return result

    def _seal(self, kind: int, about: int, incarnation: int, payload: bytes) -> bytes:
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"payload: {len(payload)} bytes, at most {MAX_PAYLOAD}")
        self._counter += 1
        head = FIRST, VERSION, kind, self.start_id, self._counter, about, incarnation
        return _LAYOUT.pack(*head, 0) + payload

    def _addressed(self, data: bytes) -> bytes:
        """Put our name on a letter of version 1, if its sender is of that version."""
        if data[:2] != bytes((FIRST, UNADDRESSED)):
            return data
        self._lives()
        if int.from_bytes(data[_SENDER]) not in self._unaddressed:
            return data
        to = _RECEIVER.pack(self.start_id)
        return bytes((FIRST, VERSION)) + data[2:_RECEIVER_AT] + to + data[_RECEIVER_AT:]

    def _copy(self, data: bytes, receiver: int) -> bytes:
        """Return a letter as this receiver reads it."""
        body, payload = data[2:_RECEIVER_AT], data[_LAYOUT.size :]
        if receiver in self._unaddressed:
            return bytes((FIRST, UNADDRESSED)) + body + payload
        return bytes((FIRST, VERSION)) + body + _RECEIVER.pack(receiver) + payload

    def _read(self, data: bytes) -> Letter | CourierRefusal:
        if not data or data[0] != FIRST:
            return CourierRefusal.FOREIGN
        # First of all, since other versions have other lengths.
        if len(data) > 1 and data[1] != VERSION:
            return CourierRefusal.UNKNOWN_VERSION
        if len(data) < _LAYOUT.size:
            return CourierRefusal.TRUNCATED
        if len(data) > _LAYOUT.size + MAX_PAYLOAD:
            return CourierRefusal.TOO_LONG
        _, _, kind, sender, counter, about, incarnation, receiver = _LAYOUT.unpack_from(data)
        lives = self._lives()
        speaker, subject = lives.get(sender), lives.get(about)
        if sender == self.start_id:
            return CourierRefusal.OWN
        if receiver != self.start_id:
            return CourierRefusal.OTHER_RECEIVER
        if speaker is None:
            return CourierRefusal.UNKNOWN_SENDER
        if subject is None:
            return CourierRefusal.OTHER_START
        if incarnation != subject.incarnation:
            return CourierRefusal.OTHER_INCARNATION
        refusal = self._window(sender, lives).take(counter)
        if refusal is not None:
            return refusal
        return Letter(kind, speaker.name, subject.name, incarnation, data[_LAYOUT.size :])

    def _window(self, sender: int, lives: Mapping[int, MemberView]) -> Window:
        """The oldest windows of senders that gossip has forgotten go when a new one speaks."""
        if sender not in self._windows:
            away = [key for key in self._windows if key not in lives]
            for key in away[: max(0, len(away) - MOST_AWAY)]:
                del self._windows[key]
            self._windows[sender] = Window()
        return self._windows[sender]

    def _lives(self) -> Mapping[int, MemberView]:
        """Return the members whose Meta bears the mark, by start id; the dead are among them."""
        if self._known_at != self.swim.version:
            self._known_at = self.swim.version
            marks = ((mark.decode(member.meta), member) for member in self.swim.members())
            found = [(its, member) for its, member in marks if its is not None]
            self._known = {its.start_id: member for its, member in found}
            self._unaddressed = frozenset(
                its.start_id for its, _ in found if its.version == UNADDRESSED
            )
        return self._known

    def _peers(self) -> dict[str, int]:
        """Return the start ids of the living Clarions, by name."""
        return {
            member.name: start_id
            for start_id, member in self._lives().items()
            if not member.own and member.state in (State.ALIVE, State.SUSPECT)
        }

    def _pass_on(self, data: bytes) -> int:
        peers = self._peers()
        some = self.rng.sample(list(peers), min(SPREAD, len(peers)))
        return self._send(some, peers, data)

    def _send(self, names: Iterable[str], peers: Mapping[str, int], data: bytes) -> int:
        """Send each its own copy."""
        return sum(self.swim.send(name, self._copy(data, peers[name])) for name in names)
