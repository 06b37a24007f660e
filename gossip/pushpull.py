"""Exchanging whole member tables over TCP: joining, and mending what gossip missed."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from math import ceil, log2

from gossip.address import to_bytes, to_text, unmapped
from gossip.candidates import Candidates
from gossip.config import VSN_LENGTH
from gossip.core import Core
from gossip.io import Address, ExchangeFailed, StreamFailure
from gossip.member import Member
from gossip.membership import Membership
from gossip.merge import Merger
from gossip.outbox import SHOUT_LIMIT
from gossip.stats import Ignored
from gossip.wire.bites import Bites
from gossip.wire.errors import Refusal
from gossip.wire.messages import (
    ErrorReply,
    Message,
    NodeState,
    PushPull,
    State,
)

IPV4_BYTES = 4
_SCALE_FROM = 32
_AFTER_STALL = 3
_MOST_AGAIN = 3
"""Conversations with one seed at a time, where fresh news is wanted: that of an earlier dial may
wait until its SYN is sent again."""
_LONELY_SHARE = 4
_JITTER = 0.2
_SILENT = (StreamFailure.REFUSED, StreamFailure.TIMEOUT)
"""Where nobody is out there. Not who takes a connection and hangs up: he lives, and may own IPs."""


def push_pull_scale(interval: float, nodes: int) -> float:
    """Stretch the interval, so that big clusters are not busy with exchanges alone."""
    if nodes <= _SCALE_FROM:
        return interval
    return interval * (ceil(log2(nodes) - log2(_SCALE_FROM)) + 1)


def compatible(remote: Sequence[NodeState], local: Iterable[Member]) -> bool:
    """Tell whether every node speaks a version that all living ones understand.

    Checked for the protocol and the delegate triple (min, max, current). Remote rows without six
    version bytes take no part, as they are not merged either.
    """
    mine = list(local)
    everybody = {row.vsn for row in remote if len(row.vsn) == VSN_LENGTH}
    everybody |= {row.vsn for row in mine}
    living = {row.vsn for row in mine if row.state is State.ALIVE}
    if living != everybody:
        living |= {row.vsn for row in remote if row.state is State.ALIVE and row.vsn in everybody}
    return _in_range(living, everybody, 0) and _in_range(living, everybody, VSN_LENGTH // 2)


def _in_range(living: Set[bytes], everybody: Set[bytes], at: int) -> bool:
    low = max((vsn[at] for vsn in living), default=0)
    high = min((vsn[at + 1] for vsn in living), default=0xFF)
    return all(low <= vsn[at + 2] <= high for vsn in everybody)


def _do_nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class _Dialled:
    to: Address
    join: bool
    began: float
    timeout: float
    key: bytes | None = field(repr=False)
    again: bool = False
    """Asked a second time, in another key."""


class Exchanges:
    """Push/pull in both roles, its timer, and the seeds we keep trying (MetalLB's rejoin)."""

    def __init__(
        self, core: Core, membership: Membership, candidates: Candidates, now: float
    ) -> None:
        self._core = core
        self._membership = membership
        self._merger = Merger(core, membership, candidates)
        self._dialled: dict[int, _Dialled] = {}
        self._seeds: tuple[Address, ...] = ()
        self._seed_addrs: frozenset[bytes] = frozenset()
        self._retry: float | None = None
        self._next = now + core.rng.random() * core.config.push_pull_interval

    def deadline(self) -> float | None:
        """When the next exchange is due; None once we are leaving."""
        if self._membership.leaving:
            return None
        due = self._next if self._retry is None else min(self._next, self._retry)
        bite = self._merger.deadline()
        return due if bite is None else min(due, bite)

    def handle_timeout(self, now: float) -> None:
        """Begin the exchanges that are due."""
        if self._membership.leaving:
            return
        self._merger.handle_timeout(now)
        if now >= self._next:
            config = self._core.config
            self._next = now + push_pull_scale(config.push_pull_interval, len(self._core.table))
            self._exchange_with(1, now, State.ALIVE)
        if self._retry is not None and now >= self._retry:
            self._join(now)

    def set_seeds(self, seeds: Sequence[Address], now: float) -> None:
        """Take the addresses to join through, and join through those that are no members."""
        own = self._core.table.own.address
        self._seeds = tuple(dict.fromkeys(seed for seed in seeds if seed != own))
        self._seed_addrs = frozenset(unmapped(to_bytes(seed.ip)) for seed in self._seeds)
        self._join(now)

    def seed_at(self, ip: bytes) -> bool:
        """Tell whether one of the seeds has this address."""
        return ip in self._seed_addrs

    def spread(self, now: float) -> None:
        """Draw the time of the next exchange anew, for the size that the cluster has now."""
        interval = push_pull_scale(self._core.config.push_pull_interval, len(self._core.table))
        self._next = now + self._core.rng.random() * interval

    def exchange(self, now: float) -> None:
        """Exchange with a few living peers now, with all seeds where there are none."""
        if self._core.table.living_peers:
            self._exchange_with(_AFTER_STALL, now)
        else:
            self._join(now, again=True)

    def call(self, to: Address, now: float) -> None:
        """Exchange with whoever is at an address, member or not."""
        busy = sum(dialled.to == to for dialled in self._dialled.values())
        ours = to == self._core.table.own.address
        if busy < _MOST_AGAIN and not ours and not self._membership.leaving:
            self._dial(to, self._core.config.tcp_timeout / _LONELY_SHARE, now, join=True)

    def owns(self, dial: int) -> bool:
        """Tell whether a conversation is ours."""
        return dial in self._dialled

    def peer(self, dial: int) -> Address | None:
        """Return the address of whom that conversation is with; None where it is none of ours."""
        dialled = self._dialled.get(dial)
        return None if dialled is None else dialled.to

    def handle_failure(self, dial: int, failure: StreamFailure | Refusal, now: float) -> None:
        """Report a conversation that brought nothing."""
        dialled = self._dialled.pop(dial)
        newest = self._core.outbox.keys.newest
        if failure is Refusal.DECRYPT and newest not in (None, dialled.key) and not dialled.again:
            # Both halves of a parted cluster may have got the newest key since, and that one alone.
            self._dial(dialled.to, dialled.timeout, now, join=dialled.join, again=newest)
        else:
            self._fail(dialled, failure.value, silent=failure in _SILENT)

    def handle_reply(self, dial: int, message: Message, key: bytes | None, now: float) -> None:
        """Merge the reply to an exchange that we began; `key` is what it was sealed with."""
        dialled = self._dialled.pop(dial)
        other = key is not None and key != dialled.key
        if isinstance(message, ErrorReply) and other and not dialled.again:
            # It could not read us, and has another key of ours: once more, in that one.
            self._dial(dialled.to, dialled.timeout, now, join=dialled.join, again=key)
        elif isinstance(message, ErrorReply):
            self._fail(dialled, f"peer: {message.text[:200]}", silent=False)
        elif not isinstance(message, PushPull):
            self._core.ignore(Ignored.UNEXPECTED)
            self._fail(dialled, Ignored.UNEXPECTED.value, silent=False)
        else:
            self._handle_reply(dialled, message, now)

    def _handle_reply(self, dialled: _Dialled, message: PushPull, now: float) -> None:
        known = frozenset[str]()
        if dialled.join:
            known = frozenset(member.name for member in self._core.table if member.living)
        then = partial(self._finish, dialled, known, self._core.table.own.incarnation)
        if reason := self._merge(message, dialled.to, dialled.began, now, then):
            self._fail(dialled, reason.value, silent=False)

    def _finish(self, dialled: _Dialled, known: frozenset[str], incarnation: int) -> None:
        """All of the reply to an exchange of ours is applied."""
        own = self._core.table.own
        if own.incarnation > incarnation and not self._membership.leaving:
            # It held us dead, and may be dead to us until it hears this: no shout reaches it.
            self._core.outbox.send(dialled.to, own.alive())
        if dialled.join:
            self._introduce(dialled, known)

    def handle_request(
        self, message: PushPull, source: Address, key: bytes | None, now: float
    ) -> Bites[bytes]:
        """Answer a peer's exchange, then merge it: so a joiner never sees itself in the reply."""
        self._membership.defend(message.nodes, now)
        reply = self._core.outbox.reply(self._state(join=message.join), key)
        self._merge(message, dialler(message, source), None, now)
        return reply

    def _state(self, *, join: bool) -> PushPull:
        return PushPull(join, tuple([member.row() for member in self._core.table]))

    def _join(self, now: float, *, again: bool = False) -> None:
        config = self._core.config
        lonely = not self._core.table.living_peers
        # A lonely node gives up a silent seed early: what matters is who answers first.
        timeout = config.tcp_timeout / _LONELY_SHARE if lonely else config.tcp_timeout
        # The raw bytes first: of a large table only the seeds need their text.
        known = {
            member.address
            for member in self._core.table
            if (member.addr in self._seed_addrs or len(member.addr) != IPV4_BYTES) and member.living
        }
        busy = Counter(dialled.to for dialled in self._dialled.values())
        most = _MOST_AGAIN if again else 1
        for seed in self._seeds:
            if busy[seed] < most and (again or seed not in known):
                self._dial(seed, timeout, now, join=True)
        self._retry = self._next_retry(now)

    def _next_retry(self, now: float) -> float | None:
        if not self._seeds:
            return None
        config = self._core.config
        interval = (
            config.rejoin_interval if self._core.table.living_peers else config.lonely_interval
        )
        return now + interval * (1 + _JITTER * self._core.rng.random())

    def watch_loneliness(self, now: float) -> None:
        """Try the seeds soon when the last living peer was lost."""
        if self._seeds and not self._core.table.living_peers and self._retry is not None:
            self._retry = min(self._retry, now + self._core.config.lonely_interval)

    def _exchange_with(self, count: int, now: float, state: State | None = None) -> None:
        def suits(member: Member) -> bool:
            return member.living and not member.own and state in (None, member.state)

        for member in self._core.table.pick(count, suits):
            self._dial(member.address, self._core.config.tcp_timeout, now, join=False)

    def _dial(
        self,
        to: Address,
        timeout: float,
        now: float,
        *,
        join: bool,
        again: bytes | None = None,
    ) -> None:
        key = again or self._core.outbox.keys.of(to)
        dial = self._core.outbox.dial(to, self._state(join=join), timeout, key=key)
        self._dialled[dial] = _Dialled(to, join, now, timeout, key, again is not None)

    def _merge(
        self,
        message: PushPull,
        peer: Address,
        began: float | None,
        now: float,
        then: Callable[[], None] = _do_nothing,
    ) -> Ignored | None:
        """Take a peer's table, `then` the next step; gives the reason where nothing is taken."""
        if not compatible(message.nodes, self._core.table):
            return self._core.ignore(Ignored.INCOMPATIBLE)
        if not self._core.hooks.may_merge(message, peer):
            return self._core.ignore(Ignored.HOOK)
        self._merger.begin(message, peer, began, self._knows_us(message), now, then)
        return None

    def _knows_us(self, message: PushPull) -> bool:
        """Tell whether the peer has us in its table, living, at our address."""
        own = self._core.table.own
        living = (State.ALIVE, State.SUSPECT)
        row = next((row for row in message.nodes if row.name == own.name), None)
        if row is None or row.state not in living or row.port != own.port:
            return False
        return to_text(row.addr) == own.address.ip

    def _introduce(self, dialled: _Dialled, known: frozenset[str]) -> None:
        """Tell those whom a join made us know that we are here, before gossip gets to them."""
        if self._membership.leaving:
            return

        def met(member: Member) -> bool:
            return member.living and member.name not in known and member.address != dialled.to

        self._core.outbox.tell(
            self._core.table.pick(SHOUT_LIMIT, met), self._core.table.own.alive()
        )

    def _fail(self, dialled: _Dialled, reason: str, *, silent: bool) -> None:
        self._core.stats.exchanges_failed += 1
        self._core.events.add(ExchangeFailed(dialled.to, reason, silent, dialled.join))


def dialler(message: PushPull, source: Address) -> Address:
    """Find the dialler's listening address in its own table: it dials from a random port."""
    ports = (row.port for row in message.nodes if to_text(row.addr) == source.ip)
    return Address(source.ip, next(ports, source.port))
