"""The rules by which alive, suspect and dead messages change the member table.

SWIM orders what is said about a node by incarnation: a higher one wins, only the node itself
raises it, and at the same incarnation dead beats suspect beats alive.
"""

from collections.abc import Sequence

from gossip.address import allowed, to_text
from gossip.calendar import MAX_STEPS
from gossip.config import VSN_LENGTH
from gossip.core import UINT32, Core
from gossip.io import Address, Gone, Joined, NameConflict, Recovered, Suspected, Updated
from gossip.member import Member
from gossip.stats import Ignored
from gossip.suspicion import Suspicion, Suspicions, expected_confirmations, suspicion_timeout
from gossip.wire.messages import Alive, Dead, NodeState, State, Suspect

MAX_NAME = 255
"""Bytes of a node name; those of Kubernetes have 253 at most. See `MAX_MEMBERS`."""


class Membership:
    """Applies what is said about nodes, and runs the timers of the suspected ones."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._table = core.table
        self._timers = Suspicions()
        self._recount = False
        self.leaving = False

    def deadline(self) -> float | None:
        """When the next suspicion runs out."""
        return self._timers.deadline()

    def handle_timeout(self, now: float) -> None:
        """Declare dead whose suspicion ran out."""
        for name in self._timers.due(now):
            member, timer = self._table.get(name), self._timers.get(name)
            if member is not None and timer is not None:
                self._core.stats.deaths += 1
                self._run_out(member, timer, now)
            self._timers.stop(name)
            self._recount = True

    def settle(self, now: float) -> None:
        """End an input: tell the timers how many members there are who could still accuse.

        Once for all that a packet or a bite of a table says, as there may be thousands of timers.
        """
        if not (self._recount and self._core.config.check_together):
            return
        self._recount = False
        most = max(0, self._core.config.suspicion_mult - 2)
        self._timers.expect_at_most(min(self._table.alive_peers, most), now)

    def wants_our_word(self, name: str) -> bool:
        """Tell whether it would matter that we accuse this node: nobody does, or too few do."""
        member = self._table.get(name)
        if member is None or member.own or not member.living:
            return False
        timer = self._timers.get(name)
        return timer is None or timer.wants(self._core.name)

    def accusations(self) -> list[Suspect]:
        """Return what we ourselves say of those who are suspected now."""
        name = self._core.name
        return [
            Suspect(name, member.incarnation, member.name)
            for member in map(self._table.get, self._timers)
            if member is not None and self._timers.accused_by(member.name, name)
        ]

    def postpone(self, until: float) -> None:
        """Let no suspicion run out before `until`: we stood still, and heard nobody."""
        self._timers.postpone(until)

    def handle_alive(
        self, message: Alive, now: float, *, first_hand: bool = False
    ) -> Ignored | None:
        """Apply an alive message; gives the reason where it changes nothing.

        `first_hand`: the node itself says so, in a conversation over TCP with that address.
        """
        reason = self._refuse_alive(message) or self._apply_alive(message, now, first_hand)
        self._recount = self._recount or reason is None
        return self._core.ignore(reason) if reason else None

    def unproved(self, message: Alive, now: float, *, first_hand: bool = False) -> bool:
        """Tell whether an alive message would bring in a name, or a dead one at another address, or
        claims our own name: what a recording can do however low its incarnation is."""
        if not first_hand and self._ahead(message.node, message.incarnation, message.meta, now):
            return False
        member = self._table.get(message.node)
        if member is None:
            buried = self._table.buried(message.node)
            fresh = message.incarnation > buried and not self._table.full
        else:
            port = message.port or self._core.config.port
            moved = (member.addr, member.port) != (message.addr, port)
            fresh = moved and (member.own or self._may_move(member, now))
        return fresh and self._refuse_alive(message) is None

    def handle_suspect(self, message: Suspect, now: float) -> Ignored | None:
        """Apply an accusation; gives the reason where it changes nothing."""
        reason = self._apply_suspect(message, now)
        self._recount = self._recount or reason is None
        return self._core.ignore(reason) if reason else None

    def handle_dead(self, message: Dead, now: float) -> Ignored | None:
        """Apply a death or a leave; gives the reason where it changes nothing."""
        reason = self._apply_dead(message, now)
        return self._core.ignore(reason) if reason else None

    def news(self, rows: Sequence[NodeState]) -> list[NodeState]:
        """Return the rows that the rules have to judge; in a settled cluster hardly any.

        The others say of living peers what the table has, and mostly are the very objects that
        said so before, since equal rows are decoded once.
        """
        get = self._table.get
        news = []
        for row in rows:
            member = get(row.name)
            if member is None or (member.told is not row and not _says_so(row, member)):
                news.append(row)
        return news

    def defend(self, rows: Sequence[NodeState], now: float) -> None:
        """Answer what a peer's table says against us, before it gets ours: so one exchange mends
        what a cut has broken."""
        own = self._table.own
        for row in rows:
            accused = row.name == own.name and row.state in (State.DEAD, State.SUSPECT)
            if not accused or row.incarnation < own.incarnation or self.leaving:
                continue
            if not self._ahead(row.name, row.incarnation, None, now):
                self._refute(row.incarnation, now)

    def announce_self(self) -> None:
        """Queue our own alive."""
        own = self._table.own
        self._core.outbox.broadcast(own.name, own.alive())

    def set_meta(self, meta: bytes, now: float) -> None:
        """Change our own meta: a new incarnation, told to everybody."""
        self._table.own.meta = meta or None
        self._raise_incarnation(self._table.own.incarnation)
        self._tell_self(now, always=True)

    def leave(self, now: float) -> None:
        """Declare ourselves left, to everybody at once."""
        own = self._table.own
        self.leaving = True
        message = Dead(own.name, own.incarnation, own.name)
        self.handle_dead(message, now)
        self._core.outbox.shout(message, now, always=True)

    # ---- alive

    def _refuse_alive(self, message: Alive) -> Ignored | None:
        if self.leaving and message.node == self._core.name:
            return Ignored.LEAVING
        # A row without six version bytes would make every push/pull of the cluster fail, and
        # crash Go peers that we would send it on to.
        if len(message.vsn) != VSN_LENGTH or not _plausible(message.vsn):
            return Ignored.BAD_VSN
        if (address := to_text(message.addr)) is None:
            return Ignored.BAD_ADDRESS
        if not allowed(address, self._core.config.cidrs_allowed):
            return Ignored.NOT_ALLOWED
        if not 1 <= len(message.node.encode()) <= MAX_NAME:
            return Ignored.BAD_NAME
        return None if self._core.hooks.may_live(message) else Ignored.HOOK

    def _ahead(self, name: str, incarnation: int, meta: bytes | None, now: float) -> bool:
        """Tell whether an incarnation of a node of our kind is one that it cannot have yet.

        Of our kind: ourselves, and whose Meta says so, or did when it was last known.
        """
        if incarnation <= self._core.calendar.latest(now):
            return False
        member = self._table.get(name)
        if member is None:
            return self._of_our_kind(meta) or self._table.buried(name) > 0
        if incarnation <= member.incarnation + MAX_STEPS:
            return False
        return member.own or self._of_our_kind(member.meta) or self._of_our_kind(meta)

    def _of_our_kind(self, meta: bytes | None) -> bool:
        return self._core.hooks.of_our_kind(meta or b"")

    def _apply_alive(self, message: Alive, now: float, first_hand: bool) -> Ignored | None:
        port = message.port or self._core.config.port
        member = self._table.get(message.node)
        if member is None:
            return self._add(message, port, now, first_hand)
        moved = (member.addr, member.port) != (message.addr, port)
        if moved and not self._may_move(member, now):
            claimed = Address(to_text(message.addr) or "", port)
            self._core.events.add(NameConflict(member.view(), claimed, message.incarnation))
            return Ignored.NAME_CONFLICT
        ahead = self._ahead(message.node, message.incarnation, message.meta, now)
        if ahead and (member.own or not first_hand):
            return Ignored.INCARNATION_AHEAD
        if member.own:
            return self._alive_about_self(message, now)
        if message.incarnation <= member.incarnation and not moved:
            return Ignored.OLD_INCARNATION
        self._revive(member, message, port, now)
        return None

    def _may_move(self, member: Member, now: float) -> bool:
        reclaim = self._core.config.dead_node_reclaim_time
        if member.state is State.DEAD:
            return 0 < reclaim < now - member.since
        return member.state is State.LEFT

    def _add(self, message: Alive, port: int, now: float, first_hand: bool) -> Ignored | None:
        if message.incarnation < 1:
            return Ignored.OLD_INCARNATION
        if not first_hand and self._ahead(message.node, message.incarnation, message.meta, now):
            # A node whose clock is wrong is believed as soon as it says so itself.
            return Ignored.INCARNATION_AHEAD
        if self._table.full:
            return Ignored.TABLE_FULL
        if message.incarnation <= (buried := self._table.buried(message.node)):
            self._challenge(message, port, buried)
            return Ignored.BURIED
        member = Member(
            message.node, message.addr, port, State.DEAD, 0, message.meta, message.vsn, now
        )
        self._table.add(member)
        self._revive(member, message, port, now)
        return None

    def _challenge(self, message: Alive, port: int, buried: int) -> None:
        """A forgotten node speaks as of before its death: a recording, or itself after a long cut.

        Only itself can answer an accusation with a higher incarnation.
        """
        accusation = Suspect(self._core.name, buried, message.node)
        self._core.outbox.send(Address(to_text(message.addr) or "", port), accusation)

    def _alive_about_self(self, message: Alive, now: float) -> Ignored | None:
        own = self._table.own
        if message.incarnation < own.incarnation:
            return Ignored.OLD_INCARNATION
        same = (message.meta or b"", message.vsn) == (own.meta or b"", own.vsn)
        if message.incarnation == own.incarnation and same:
            return Ignored.REPEATED
        return self._refute(message.incarnation, now)

    def _revive(self, member: Member, message: Alive, port: int, now: float) -> None:
        self._timers.stop(member.name)
        before, meta = member.state, member.meta
        member.told = None
        self._table.move(member, message.addr, port)
        member.vsn = message.vsn
        member.incarnation, member.meta = message.incarnation, message.meta
        self._table.set_state(member, State.ALIVE, now)
        self._core.outbox.broadcast(member.name, member.alive())
        if before in (State.DEAD, State.LEFT):
            self._core.events.add(Joined(member.view()))
            return
        if before is State.SUSPECT:
            self._core.events.add(Recovered(member.view()))
        if (meta or b"") != (message.meta or b""):
            self._core.events.add(Updated(member.view()))

    # ---- suspect

    def _apply_suspect(self, message: Suspect, now: float) -> Ignored | None:
        member = self._table.get(message.node)
        if member is None:
            return Ignored.UNKNOWN_NODE
        if message.incarnation < member.incarnation:
            return self._answer_outdated(member, now)
        if self._ahead(message.node, message.incarnation, None, now):
            return Ignored.INCARNATION_AHEAD
        if self._timers.get(member.name) is not None:
            return self._confirm(message, now)
        if member.state is not State.ALIVE:
            return Ignored.NOT_ALIVE
        if member.own:
            return self._refute(message.incarnation, now)
        self._core.outbox.broadcast(member.name, message)
        member.incarnation = message.incarnation
        self._table.set_state(member, State.SUSPECT, now)
        self._timers.start(member.name, self._suspicion(message.sender, now), now)
        self._core.stats.suspicions += 1
        self._core.events.add(Suspected(member.view()))
        return None

    def _confirm(self, message: Suspect, now: float) -> Ignored | None:
        if not self._timers.confirm(message.node, message.sender, now):
            return Ignored.REPEATED
        self._core.outbox.broadcast(message.node, message)
        return None

    def _suspicion(self, accuser: str, now: float) -> Suspicion:
        config, nodes = self._core.config, len(self._table)
        minimum = suspicion_timeout(config.suspicion_mult, nodes, config.probe_interval)
        maximum = config.suspicion_max_timeout_mult * minimum
        expected = expected_confirmations(config.suspicion_mult, nodes)
        return Suspicion(accuser, expected, minimum, maximum, now)

    def _run_out(self, member: Member, timer: Suspicion, now: float) -> None:
        if not timer.unheard:
            self.handle_dead(Dead(self._core.name, member.incarnation, member.name), now)
            return
        # We hear nobody: all are dead, or only we are deaf. So this is for ourselves alone.
        self._table.set_state(member, State.DEAD, now)
        self._core.events.add(Gone(member.view()))

    # ---- dead

    def _apply_dead(self, message: Dead, now: float) -> Ignored | None:
        member = self._table.get(message.node)
        if member is None:
            return Ignored.UNKNOWN_NODE
        if message.incarnation < member.incarnation:
            return self._answer_outdated(member, now)
        if self._ahead(message.node, message.incarnation, None, now):
            return Ignored.INCARNATION_AHEAD
        self._timers.stop(member.name)
        if not member.living:
            return Ignored.NOT_ALIVE
        if member.own and not self.leaving:
            return self._refute(message.incarnation, now)
        self._core.outbox.broadcast(member.name, message)
        member.incarnation = message.incarnation
        left = message.sender == message.node
        self._table.set_state(member, State.LEFT if left else State.DEAD, now)
        if not member.own:
            self._core.events.add(Gone(member.view()))
        return None

    # ---- self

    def _refute(self, incarnation: int, now: float) -> Ignored | None:
        if incarnation >= UINT32:
            # Nothing can outrank it, and a wrapped incarnation would be ignored by everybody.
            return Ignored.INCARNATION_SPENT
        self._raise_incarnation(incarnation)
        self._core.awareness.apply(1)
        self._core.stats.refutations += 1
        self._tell_self(now)
        return None

    def _answer_outdated(self, accused: Member, now: float) -> Ignored:
        """Somebody has missed our refutation, say in a cut: tell it once more, not every time."""
        own = accused.own and not self.leaving
        if (
            own
            and self._core.config.check_together
            and self._core.name not in self._core.outbox.queue
        ):
            self._tell_self(now)
        return Ignored.OLD_INCARNATION

    def _raise_incarnation(self, above: int) -> None:
        own = self._table.own
        own.incarnation = min(UINT32, max(own.incarnation, above) + 1)
        self._table.version += 1

    def _tell_self(self, now: float, *, always: bool = False) -> None:
        self.announce_self()
        self._core.outbox.shout(self._table.own.alive(), now, always=always)


def _plausible(vsn: bytes) -> bool:
    low, high = vsn[0], vsn[1]
    return 0 < low <= high


def _says_so(row: NodeState, member: Member) -> bool:
    """Tell whether an alive row says what the table has, and note it there.

    It stays so until the member is revived: incarnations never fall.
    """
    known = (
        row.state is State.ALIVE
        and row.incarnation <= member.incarnation
        and not member.own
        and row.addr == member.addr
        and row.port == member.port
        and row.vsn == member.vsn
    )
    if known:
        member.told = row
    return known
