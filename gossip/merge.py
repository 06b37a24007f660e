"""Taking a peer's whole table into ours, in bites where much of it is new.

Thousands of new rows take long enough to delay the answers that others wait for, and so a driver
comes back for the next bite after it has looked at its sockets.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gossip.address import to_text
from gossip.candidates import Candidates
from gossip.core import Core
from gossip.io import Address, Exchanged, UserState
from gossip.membership import Membership
from gossip.stats import Ignored
from gossip.wire.messages import Alive, Dead, NodeState, PushPull, State, Suspect

BITE = 192
"""New rows taken at once: 3 to 4 ms, of the 5 that the loop may stand still."""
MAX_WAITING = 4
"""Tables of which a part waits. The oldest is done in one piece when more come in."""


@dataclass(slots=True)
class _Table:
    peer: Address
    rows: list[NodeState]
    done: int
    finish: Callable[[], None]
    asked: bool
    """Whether we dialled; else the peer brought it without being asked."""


class Merger:
    """Applies rows in the order they came, and reports each exchange when all of it is applied."""

    def __init__(self, core: Core, membership: Membership, candidates: Candidates) -> None:
        self._core = core
        self._membership = membership
        self._candidates = candidates
        self._waiting: deque[_Table] = deque()
        self._next = 0.0

    def deadline(self) -> float | None:
        """When the next bite is due: at once, while anything waits."""
        return self._next if self._waiting else None

    def handle_timeout(self, now: float) -> None:
        """Take one bite."""
        if self._waiting:
            self._bite(self._waiting[0], BITE, now)

    def begin(
        self,
        message: PushPull,
        peer: Address,
        began: float | None,
        known: bool,
        now: float,
        then: Callable[[], None],
    ) -> None:
        """Take the table of `peer`; `then` is called when all of it is applied. `began` and `known`
        are for the event `Exchanged`."""

        def finish() -> None:
            self._core.stats.exchanges += 1
            self._core.events.add(Exchanged(peer, began, known))
            if message.user_state:
                self._core.events.add(UserState(message.user_state, peer))
            then()

        news = self._news(message.nodes)
        self._waiting.append(_Table(peer, news, 0, finish, asked=began is not None))
        if len(self._waiting) == 1:
            self._bite(self._waiting[0], BITE, now)
        while len(self._waiting) > MAX_WAITING:
            self._bite(self._waiting[0], len(self._waiting[0].rows), now)

    def _bite(self, table: _Table, size: int, now: float) -> None:
        rows = table.rows[table.done : table.done + size]
        if table.done:
            # Others may have said the same since.
            rows = self._news(rows)
        table.done += size
        for row in rows:
            self._merge_row(row, table, now)
        self._next = now
        if table.done >= len(table.rows):
            self._waiting.popleft()
            table.finish()

    def _news(self, rows: Sequence[NodeState]) -> list[NodeState]:
        news = self._membership.news(rows)
        self._core.stats.ignored[Ignored.OLD_INCARNATION] += len(rows) - len(news)
        return news

    def _merge_row(self, row: NodeState, table: _Table, now: float) -> None:
        name = self._core.name
        if row.state is State.ALIVE:
            alive = Alive(row.addr, row.incarnation, row.meta, row.name, row.port, row.vsn)
            if table.asked:
                first_hand = to_text(row.addr) == table.peer.ip
                self._membership.handle_alive(alive, now, first_hand=first_hand)
            else:
                self._candidates.handle_alive(alive, now, dialler=table.peer)
        elif row.state is State.LEFT:
            self._candidates.handle_dead(Dead(row.name, row.incarnation, row.name), now)
        else:
            # A peer's word alone kills nobody: the node gets the time to refute.
            self._membership.handle_suspect(Suspect(name, row.incarnation, row.name), now)
