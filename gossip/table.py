"""The member table and the order in which its rows are probed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from gossip.address import unmapped
from gossip.calendar import UNIX_SECONDS
from gossip.core import UINT32
from gossip.member import Member
from gossip.wire.messages import State

if TYPE_CHECKING:
    from random import Random

MAX_MEMBERS = 6_000
"""Rows kept; a name beyond that is refused. Kubernetes itself stops at 5,000 nodes.

The whole table must fit into one push/pull whatever hostile peers fill it with: 6,000 rows of about
850 bytes, half as long again where they do not compress, stay below `MAX_STREAM`.
"""

MAX_GRAVES = 4_096

_DRAWS = 8


class Table:
    """All known nodes, self included, dead and left ones until they are reaped."""

    def __init__(self, own: Member, rng: "Random") -> None:
        self.own = own
        self._rng = rng
        self._rows = {own.name: own}
        self._order = [own]
        self._next = 0
        self._living_peers = 0
        self._suspects = 0
        self._graves: dict[str, int] = {}
        self._addresses: Counter[bytes] = Counter()
        """How many rows of others have an address, the dead among them."""
        self.version = 0
        """Grows whenever a row has changed, come or gone."""

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._rows.values())

    @property
    def living_peers(self) -> int:
        """How many others are alive or suspect."""
        return self._living_peers

    @property
    def alive_peers(self) -> int:
        """How many others are alive and not suspected."""
        return self._living_peers - self._suspects

    @property
    def full(self) -> bool:
        """No new name fits."""
        return len(self._rows) >= MAX_MEMBERS

    def get(self, name: str) -> Member | None:
        """Find a row by its node name."""
        return self._rows.get(name)

    def has_address(self, raw: bytes) -> bool:
        """Tell whether a row other than our own, dead or living, has this address."""
        return self._addresses[unmapped(raw)] > 0

    def buried(self, name: str) -> int:
        """Return the incarnation at which a forgotten node of our kind was last known, else 0.

        Go nodes begin each life at 1, so theirs is not kept.
        """
        return self._graves.get(name, 0)

    def add(self, member: Member) -> None:
        """Put a new row at a random place of the probe order, so that nobody foresees it."""
        self.version += 1
        self._rows[member.name] = member
        self._addresses[unmapped(member.addr)] += 1
        self._order.append(member)
        index = self._rng.randrange(len(self._order))
        self._order[index], self._order[-1] = self._order[-1], self._order[index]
        self._living_peers += member.living

    def adopt(self, members: Iterable[Member]) -> None:
        """Put in many new rows at once; those whose names are known are left out."""
        new = {member.name: member for member in members if member.name not in self._rows}
        self.version += 1
        self._rows |= new
        self._addresses.update(unmapped(member.addr) for member in new.values())
        self._living_peers += sum(member.living for member in new.values())
        self._suspects += sum(member.state is State.SUSPECT for member in new.values())
        self._order += new.values()
        # As a whole: halves of the given order would be everybody's, and one of them would wait.
        self._rng.shuffle(self._order)
        self._next = 0

    def move(self, member: Member, addr: bytes, port: int) -> None:
        """Change a row's address; the one place that does."""
        if addr != member.addr and not member.own:
            self._addresses[unmapped(addr)] += 1
            self._forget_address(member.addr)
        member.addr, member.port = addr, port

    def _forget_address(self, addr: bytes) -> None:
        plain = unmapped(addr)
        self._addresses[plain] -= 1
        if not self._addresses[plain]:
            del self._addresses[plain]

    def set_state(self, member: Member, state: State, now: float) -> None:
        """Change a row's state; the one place that does."""
        self.version += 1
        lived = member.living
        self._suspects += (state is State.SUSPECT) - (member.state is State.SUSPECT)
        if member.state is not state:
            member.since = now
        member.state = state
        if not member.own:
            self._living_peers += member.living - lived

    def next_target(self, keep_dead: float, now: float, latest: int = UINT32) -> Member | None:
        """Return the next living peer in the probe order, None when there is none.

        At the end of a round the rows dead or left for more than `keep_dead` seconds are
        forgotten and the order is shuffled anew. A whole new round is looked through, so that
        small clusters lose no tick. None is buried above `latest`, which a new life can outrank.
        """
        for _ in range(2):
            while self._next < len(self._order):
                member = self._order[self._next]
                self._next += 1
                if member.living and not member.own:
                    return member
            self._new_round(keep_dead, now, latest)
        return None

    def pick(self, count: int, eligible: Callable[[Member], bool]) -> list[Member]:
        """Give up to `count` distinct random rows that are `eligible`; none for a negative one."""
        if count <= 0:
            return []
        if len(self._order) > count * _DRAWS:
            drawn = self._rng.sample(self._order, count * 2)
            chosen = [member for member in drawn if eligible(member)][:count]
            if len(chosen) == count:
                return chosen
        candidates = [member for member in self._order if eligible(member)]
        return self._rng.sample(candidates, min(count, len(candidates)))

    def _new_round(self, keep_dead: float, now: float, latest: int) -> None:
        kept = [row for row in self._order if row.living or row.own or now - row.since <= keep_dead]
        if len(kept) < len(self._order):
            forgotten = set(self._rows) - {row.name for row in kept}
            self._bury(forgotten, latest)
            for name in forgotten:
                self._forget_address(self._rows[name].addr)
            self._rows = {row.name: row for row in kept}
            self.version += 1
        self._order = self._shuffle(kept)
        self._next = 0

    def _bury(self, names: set[str], latest: int) -> None:
        for name in sorted(names):
            incarnation = min(self._rows[name].incarnation, latest)
            if incarnation >= UNIX_SECONDS:
                self._graves.pop(name, None)
                self._graves[name] = incarnation
        while len(self._graves) > MAX_GRAVES:
            del self._graves[next(iter(self._graves))]

    def _shuffle(self, rows: list[Member]) -> list[Member]:
        """Shuffle each half by itself, so that nobody waits longer than a round and a half.

        memberlist shuffles the whole, and the last of one round may be the last of the next: in a
        cluster of three a dead node then waits up to 3 s for its first failed probe instead of 2.
        """
        own = [row for row in rows if row.own]
        others = [row for row in rows if not row.own]
        middle = len(others) // 2
        first, second = others[:middle], others[middle:]
        self._rng.shuffle(first)
        self._rng.shuffle(second)
        return own + first + second
