"""Names that only strangers bring: each has to answer a ping before it becomes a member.

memberlist believes an alive message whoever sends it, and has no protection against replay: who has
no key can still play what he recorded to a node that was not up at the time, and give it members
that are long dead. A ping has a new number, so that only its addressee, alive and in possession of
the key, can answer (docs/adr/0013-newcomers-answer.md). Where a packet comes from proves nothing,
and so does not matter; what somebody tells whom we dialled counts at once.
"""

from collections import deque
from dataclasses import dataclass, field

from gossip.address import to_text
from gossip.core import Core
from gossip.io import Address
from gossip.member import Member
from gossip.membership import Membership
from gossip.stats import Ignored
from gossip.wire.messages import Ack, Alive, Dead, Ping, State

MAX_CANDIDATES = 1_024
"""Candidates at the same time, so that memory is bounded whatever strangers bring. Our next
push/pull brings whom there was no room for."""
MOST_ADDRESSES = 4
"""Addresses at which one name is asked for: a recorded, old one must not be in the way of the
true one."""
TRIES, LATE_TRIES = 4, 3
"""Pings a candidate, quick ones and late ones. With a tenth of all packets lost, one newcomer in
700 needs the late ones; so does one whose process gets no processor for a second, as when it starts
beside many others. After them it waits for our next push/pull."""
PINGS_A_SECOND, BURST = 256, 64
"""The pace of the pings: 1 % of a processor; and how many leave at once, about 2 ms of work. A
thousand names that join a ring together are asked for within four seconds."""
AGAIN, LATE = 0.5, 4.0
"""Probe timeouts after which the next ping leaves: after a quick one, and after a late one."""


@dataclass(slots=True)
class _Candidate:
    message: Alive
    address: Address
    due: float
    first_hand: bool
    """Whether the node itself brought it, in a conversation over TCP."""
    left: int = TRIES + LATE_TRIES
    sequences: list[int] = field(default_factory=list)
    over: bool = False


class Candidates:
    """The door to the table for whoever was not asked for."""

    def __init__(self, core: Core, membership: Membership) -> None:
        self._core = core
        self._membership = membership
        self._by_name: dict[str, list[_Candidate]] = {}
        self._pings: dict[int, _Candidate] = {}
        self._count = 0
        self._fresh = deque[_Candidate]()
        """Those to ping as soon as the pace allows it."""
        self._asked = deque[_Candidate]()
        """Those that may answer still, by the time at which they are due again."""
        self._late = deque[_Candidate]()
        """The same of those that did not answer the quick pings."""
        self._paced = float("-inf")

    def __len__(self) -> int:
        return self._count

    def deadline(self) -> float | None:
        """When the next ping may leave, or a candidate is given up."""
        heads = [queue[0].due for queue in (self._asked, self._late) if queue]
        again = min(heads, default=None)
        if not self._fresh:
            return again
        return self._may_ping() if again is None else min(again, self._may_ping())

    def handle_timeout(self, now: float) -> None:
        """Ping whom it is time to ping, and give up who stays silent."""
        for queue in (self._asked, self._late):
            while queue and queue[0].due <= now:
                candidate = queue.popleft()
                if candidate.left:
                    self._fresh.append(candidate)
                elif not candidate.over:
                    self._give_up(candidate)
        self._ping_fresh(now)

    def handle_alive(self, message: Alive, now: float, dialler: Address | None = None) -> None:
        """Take an alive message that nobody sent at our request. `dialler` is who opened the stream
        in which it came: its own row is asked for at once, so that joining takes no longer."""
        port = message.port or self._core.config.port
        address = Address(to_text(message.addr) or "", port)
        first_hand = dialler is not None and dialler.ip == address.ip
        unproved = self._membership.unproved(message, now, first_hand=first_hand)
        if not (self._core.config.ask_newcomers and unproved):
            self._membership.handle_alive(message, now, first_hand=first_hand)
            return
        candidate = self._find(message, address) or self._begin(message, address, now)
        if candidate is not None:
            candidate.first_hand = candidate.first_hand or first_hand
        if candidate is not None and address == dialler and not candidate.sequences:
            self._ping(candidate, now)
        self._ping_fresh(now)

    def handle_dead(self, message: Dead, now: float) -> None:
        """Apply a death or a leave, to candidates as well."""
        for candidate in list(self._by_name.get(message.node, ())):
            if candidate.message.incarnation <= message.incarnation:
                self._end(candidate)
        self._membership.handle_dead(message, now)

    def handle_ack(self, ack: Ack, now: float) -> bool:
        """Let a candidate in that has answered; false when the ack is not of our pings."""
        candidate = self._pings.get(ack.seq_no)
        if candidate is None:
            return False
        self._end(candidate)
        self._membership.handle_alive(candidate.message, now, first_hand=candidate.first_hand)
        return True

    def _find(self, message: Alive, address: Address) -> _Candidate | None:
        for candidate in self._by_name.get(message.node, ()):
            if candidate.address == address:
                if message.incarnation > candidate.message.incarnation:
                    candidate.message = message
                self._core.ignore(Ignored.REPEATED)
                return candidate
        return None

    def _begin(self, message: Alive, address: Address, now: float) -> _Candidate | None:
        same = self._by_name.get(message.node, ())
        if self._count >= MAX_CANDIDATES:
            self._make_room()
        if self._count >= MAX_CANDIDATES or len(same) >= MOST_ADDRESSES:
            self._core.ignore(Ignored.NEWCOMERS_FULL)
            return None
        candidate = _Candidate(message, address, now, first_hand=False)
        self._by_name.setdefault(message.node, []).append(candidate)
        self._count += 1
        self._fresh.append(candidate)
        return candidate

    def _make_room(self) -> None:
        """Who did not answer the quick pings gives way to whoever comes."""
        while self._late:
            candidate = self._late.popleft()
            if not candidate.over:
                self._give_up(candidate)
                return

    def _give_up(self, candidate: _Candidate) -> None:
        self._end(candidate)
        self._core.ignore(Ignored.NEWCOMER_SILENT)

    def _end(self, candidate: _Candidate) -> None:
        name = candidate.message.node
        self._by_name[name].remove(candidate)
        if not self._by_name[name]:
            del self._by_name[name]
        self._count -= 1
        for sequence in candidate.sequences:
            del self._pings[sequence]
        candidate.over, candidate.left = True, 0

    def _may_ping(self) -> float:
        return self._paced - (BURST - 1) / PINGS_A_SECOND

    def _ping_fresh(self, now: float) -> None:
        while self._fresh and now >= self._may_ping():
            candidate = self._fresh.popleft()
            # One that was asked out of turn is due later.
            if not candidate.over and candidate.due <= now:
                self._ping(candidate, now)

    def _ping(self, candidate: _Candidate, now: float) -> None:
        sequence = self._core.next_sequence()
        self._pings[sequence] = candidate
        candidate.sequences.append(sequence)
        candidate.left -= 1
        late = candidate.left < LATE_TRIES
        candidate.due = now + (LATE if late else AGAIN) * self._core.config.probe_timeout
        (self._late if late else self._asked).append(candidate)
        self._paced = max(self._paced, now) + 1 / PINGS_A_SECOND
        own, its = self._core.table.own, candidate.message
        ping = Ping(its.node, sequence, own.addr, own.name, own.port)
        to = Member(
            its.node, its.addr, candidate.address.port, State.DEAD, 0, its.meta, its.vsn, now
        )
        # Without the news that usually rides on a ping: each piece leaves only so many times, and
        # must not be spent on addresses at which there is nobody.
        self._core.outbox.send_to_member(to, ping)
