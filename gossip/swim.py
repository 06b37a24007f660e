"""One member of a memberlist cluster as a pure state machine.

Bytes and time go in, bytes and events come out; see `docs/architecture.md` for how a driver
treats it. The parts: `Membership` (the rules), `Prober` and `Relays` (failure detection),
`Candidates` (who has to answer first), `Gossiper` (spreading), `Exchanges` (push/pull and joining).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gossip.address import allowed, to_bytes, to_text, unmapped
from gossip.awareness import Awareness
from gossip.calendar import Calendar
from gossip.candidates import Candidates
from gossip.config import Config
from gossip.core import UINT32, Core
from gossip.events import EventQueue
from gossip.gossiper import Gossiper
from gossip.hooks import Hooks
from gossip.io import Address, Event, MemberView, StreamFailure, Transmit, UserMessage
from gossip.member import Member
from gossip.membership import Membership
from gossip.outbox import Outbox
from gossip.probe import Prober
from gossip.pushpull import Exchanges, dialler
from gossip.relay import Relays
from gossip.reunion import Reunion
from gossip.rotation import Rotation, freely
from gossip.stats import Ignored, Stats
from gossip.table import Table
from gossip.wire.bites import Bites, at_once
from gossip.wire.errors import Refusal, WireError
from gossip.wire.messages import (
    TYPES,
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    PushPull,
    State,
    Suspect,
    User,
)
from gossip.wire.stream import StreamMessage

if TYPE_CHECKING:
    from random import Random

    from gossip.wire.crypto import Keyring
    from gossip.wire.stream import StreamCodec

META_LIMIT = 512
ACK_PAYLOAD_LIMIT = 512
"""Bytes; an ack with news behind it must fit into a datagram."""
STALL = 1.0
"""A timer this late, in seconds, means that we stood still and know nothing of the time between."""
GRACE = 1.0
"""What a suspicion that ran out while we stood still gets on top."""

_NO_HOOKS = Hooks()


class Swim:
    """A node of the cluster. Never raises on what peers send."""

    def __init__(  # noqa: PLR0913 - a node's identity and its sources of chance, each named by the caller
        self,
        config: Config,
        *,
        name: str,
        address: Address,
        keyring: "Keyring | None",
        rng: "Random",
        nonce: Callable[[], bytes],
        incarnation: int,
        now: float,
        meta: bytes = b"",
        hooks: Hooks = _NO_HOOKS,
    ) -> None:
        """Start as the only member known.

        `address` is where others reach us. `incarnation` must be above that of our earlier life:
        Unix seconds will do, and are then our clock too (see `set_clock`). `nonce` gives 12 fresh
        bytes. ValueError: no IP address, no name, meta or incarnation out of bounds.
        """
        _check(name, incarnation, meta)
        own = Member(
            name,
            to_bytes(address.ip),
            address.port,
            State.ALIVE,
            incarnation,
            meta or None,
            config.vsn,
            now,
            own=True,
        )
        self._stats = Stats()
        table = Table(own, rng)
        outbox = Outbox(config, keyring, nonce, table, self._stats)
        awareness = Awareness(config.awareness_max_multiplier)
        events = EventQueue(self._stats)
        calendar, sequence = Calendar(incarnation, now), rng.getrandbits(32)
        self._core = Core(
            config, table, outbox, awareness, events, self._stats, rng, hooks, calendar, sequence
        )
        self._membership = Membership(self._core)
        self._candidates = Candidates(self._core, self._membership)
        self._prober = Prober(self._core, self._membership, now)
        self._relays = Relays(self._core)
        self._reunion = Reunion(self._core)
        self._gossiper = Gossiper(self._core, now)
        self._exchanges = Exchanges(self._core, self._membership, self._candidates, now)
        self._rotation = Rotation(self._core, keyring)
        self._deadlines = (
            self._membership.deadline,
            self._candidates.deadline,
            self._prober.deadline,
            self._relays.deadline,
            self._exchanges.deadline,
            self._rotation.deadline,
            self._gossiper.deadline,
        )
        self._pingers = (self._prober, self._relays, self._rotation, self._candidates)
        self._deadline: float | None = None
        self._stale = True
        self._left_by: float | None = None
        self._left = False
        self._membership.announce_self()
        self._after(now)

    # ---- in

    def handle_datagram(self, data: bytes, source: Address, now: float) -> None:
        """Take one UDP packet."""
        self._stats.datagrams_received += 1
        self._stats.bytes_received += len(data)
        if not self._admits(source):
            return
        try:
            opened = self._core.outbox.packets.open(data)
        except WireError as error:
            self._stats.refusals[error.reason] += 1
            return
        if opened.refusals:
            self._stats.refusals.update(opened.refusals)
        self._rotation.note_datagram_key(source, opened.key, now, freely=freely(opened.messages))
        for message in opened.messages:
            self._stats.received[TYPES[type(message)]] += 1
            self._dispatch(message, source, opened.key, now)
        self._after(now)

    def handle_stream(self, data: bytes | memoryview, source: Address, now: float) -> bytes | None:
        """Take one whole request of an accepted TCP stream; give the reply to send, if any.

        All at once: a driver that must not stand still opens it, then calls `handle_request`.
        """
        sealing = self.handle_request(at_once(self.opening_request(data, source)), source, now)
        return None if sealing is None else at_once(sealing)

    def opening_request(
        self, data: bytes | memoryview, source: Address
    ) -> Bites[StreamMessage | Refusal]:
        """Open a whole request in bites, which may be done beside anything else."""
        if not self._admits(source):
            return Refusal.SOURCE
        return (yield from self._opening(data, accepting=True))

    def opening_reply(self, data: bytes | memoryview) -> Bites[StreamMessage | Refusal]:
        """Open the reply to a dial in bites, likewise."""
        return self._opening(data, accepting=False)

    def handle_request(
        self, request: StreamMessage | Refusal, source: Address, now: float
    ) -> Bites[bytes] | None:
        """Take a request that was opened; give the reply to send, if any, which is still to make.

        It says how things are now, whenever it is made.
        """
        if request is Refusal.SOURCE:
            return None
        if isinstance(request, Refusal):
            self._stats.refusals[request] += 1
            return self._core.outbox.reply(ErrorReply(f"refused: {request.value}"))
        message, key = request
        self._count_message(message)
        if self._rotation.active:
            self._note_dialler(message, source, key, now)
        reply = self._answer(message, source, key, now)
        self._after(now)
        return reply

    def handle_reply(
        self, dial_id: int, reply: bytes | StreamMessage | Refusal | StreamFailure, now: float
    ) -> None:
        """Take the whole reply to a `Dial`, opened or not, or why there is none."""
        if isinstance(reply, bytes):
            reply = at_once(self.opening_reply(reply))
        ours = self._exchanges.owns(dial_id)
        if isinstance(reply, StreamFailure):
            if ours:
                self._exchanges.handle_failure(dial_id, reply, now)
        else:
            self._take_reply(dial_id, reply, now)
        self._after(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due. Called very late, it first forgives others the time we stood still."""
        deadline = self.deadline()
        if deadline is not None and now - deadline > STALL:
            self._stats.stalls += 1
            self._prober.forget_stale(now)
            self._membership.postpone(now + GRACE)
        self._membership.handle_timeout(now)
        self._candidates.handle_timeout(now)
        self._prober.handle_timeout(now)
        self._relays.handle_timeout(now)
        self._exchanges.handle_timeout(now)
        self._rotation.handle_timeout(now)
        self._gossiper.note(now)
        self._gossiper.handle_timeout(now)
        self._after(now)

    def set_seeds(self, seeds: Sequence[Address], now: float) -> None:
        """Join through all of `seeds` that are no members, and keep trying."""
        self._exchanges.set_seeds(seeds, now)
        self._after(now)

    def adopt(self, rows: Sequence[NodeState], now: float) -> None:
        """Take a table as known already, without telling anybody: a start in a settled cluster.

        Unlike a merge it trusts the rows; they must be as a member of this cluster gave them.
        """
        self._core.table.adopt([Member.of(row, now) for row in rows])
        self._exchanges.spread(now)
        self._after(now)

    def exchange(self, now: float) -> None:
        """Push/pull now with up to three living peers, with all seeds where there are none."""
        self._exchanges.exchange(now)
        self._after(now)

    def call(self, address: Address, now: float) -> None:
        """Push/pull now with whoever is at this address, a member or one held dead."""
        self._exchanges.call(address, now)
        self._after(now)

    def set_clock(self, unix: float, now: float) -> None:
        """Say what the Unix time is: the clock may have been set right since we started."""
        self._core.calendar.set(unix, now)

    def set_meta(self, meta: bytes, now: float) -> None:
        """Change our meta, at most 512 bytes (ValueError), and tell everybody."""
        _check_meta(meta)
        if not self._membership.leaving:
            self._membership.set_meta(meta, now)
        self._after(now)

    def set_ack_payload(self, payload: bytes) -> None:
        """Put these bytes, at most 512 (ValueError), into our UDP acks: memberlist's ping delegate.

        Those who ping us get them, see `Hooks.pinged`; acks over TCP or through helpers do not.
        """
        if len(payload) > ACK_PAYLOAD_LIMIT:
            raise ValueError(f"ack payload: {len(payload)} bytes, at most {ACK_PAYLOAD_LIMIT}")
        self._core.ack_payload = payload or None

    def rotate(self, key: bytes, now: float) -> None:
        """Accept `key` at once and use it when all can read it; ValueError as `Rotation.begin`."""
        self._rotation.begin(key, now)
        self._after(now)

    def unproved(self) -> tuple[str, ...]:
        """Name the living peers that have not proved that they read a new key."""
        return self._rotation.waiting_for()

    def broadcast(self, data: bytes, now: float) -> None:
        """Gossip an application message to the cluster."""
        self._core.outbox.broadcast(None, User(data))
        self._after(now)

    def send(self, name: str, data: bytes) -> bool:
        """Send an application message straight to one member; false when it is not living."""
        member = self._core.table.get(name)
        if member is None or not member.living or member.own:
            return False
        self._core.outbox.send_to_member(member, User(data))
        return True

    def leave(self, now: float) -> None:
        """Tell everybody that we go. Pings are answered on until the process stops."""
        if self._membership.leaving:
            return
        self._gossiper.hurry = True
        self._membership.leave(now)
        self._left_by = now + self._core.config.leave_timeout
        self._after(now)

    # ---- out

    @property
    def left(self) -> bool:
        """Our leave was sent as often as it should be, or its time ran out."""
        return self._left

    @property
    def stats(self) -> Stats:
        """The counters, with the gauges brought up to date."""
        outbox = self._core.outbox
        self._stats.health = self._core.awareness.score
        self._stats.queued = len(outbox.queue)
        self._stats.broadcasts_dropped = outbox.queue.dropped
        self._stats.members = len(self._core.table)
        return self._stats

    @property
    def config(self) -> Config:
        """The numbers this node runs with."""
        return self._core.config

    @property
    def streams(self) -> "StreamCodec":
        """The TCP codec, by which a driver knows when a message is whole."""
        return self._core.outbox.streams

    def deadline(self) -> float | None:
        """When `handle_timeout` wants to be called next."""
        if self._stale:
            self._deadline, self._stale = self._earliest(), False
        return self._deadline

    def _earliest(self) -> float | None:
        earliest = None if self._left else self._left_by
        for deadline in self._deadlines:
            due = deadline()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def transmits(self) -> list[Transmit]:
        """Drain what is to be sent."""
        return self._core.outbox.drain()

    def events(self) -> list[Event]:
        """Drain what happened."""
        return self._core.events.drain()

    @property
    def version(self) -> int:
        """A number that differs as soon as `members` may say something else than before."""
        return self._core.table.version

    def members(self) -> tuple[MemberView, ...]:
        """Return the whole table: self, dead and left ones included."""
        return tuple(member.view() for member in self._core.table)

    def member(self, name: str) -> MemberView | None:
        """Return one row of the table, self included."""
        member = self._core.table.get(name)
        return None if member is None else member.view()

    def knows(self, ip: str) -> bool:
        """Tell whether a member, dead or living, or a seed has this address."""
        raw = unmapped(to_bytes(ip))
        return self._core.table.has_address(raw) or self._exchanges.seed_at(raw)

    def live(self) -> frozenset[str]:
        """Return the names of the alive and suspect, self included."""
        return frozenset(member.name for member in self._core.table if member.living)

    # ---- messages

    def _admits(self, source: Address) -> bool:
        networks = self._core.config.cidrs_allowed
        if networks is None or allowed(source.ip, networks):
            return True
        self._stats.refusals[Refusal.SOURCE] += 1
        return False

    def _count_message(self, message: Message) -> None:
        self._stats.received[TYPES[type(message)]] += 1
        if isinstance(message, PushPull) and message.refused:
            self._stats.refusals.update(message.refused)

    def _note_dialler(
        self, message: Message, source: Address, key: bytes | None, now: float
    ) -> None:
        """Note which key a peer dials with, where it says at which address it listens."""
        peer = None
        if isinstance(message, PushPull):
            peer = dialler(message, source)
            if message.join:
                self._rotation.forget_proofs(peer, key)
        elif isinstance(message, Ping) and message.source_port:
            # Not the address that it claims: streams can be recorded, too, and played from another.
            peer = Address(source.ip, message.source_port)
        self._rotation.note_stream_key(peer, key, now)

    def _dispatch(self, message: Message, source: Address, key: bytes | None, now: float) -> None:
        match message:
            case Ping():
                self._ping(message, source, key, now)
            case IndirectPing():
                self._indirect_ping(message, source, key, now)
            case Ack():
                self._ack(message, now)
            case Nack():
                if not self._prober.handle_nack(message.seq_no, source):
                    self._core.ignore(Ignored.UNKNOWN_SEQUENCE)
            case Suspect():
                self._suspect(message, source, key, now)
            case Alive():
                self._candidates.handle_alive(message, now)
            case Dead():
                self._candidates.handle_dead(message, now)
            case User():
                self._core.events.add(UserMessage(message.data, source))
            case _:
                self._core.ignore(Ignored.UNEXPECTED)

    def _suspect(self, message: Suspect, source: Address, key: bytes | None, now: float) -> None:
        refused = self._membership.handle_suspect(message, now)
        if message.node == self._core.name and refused is None:
            self._reunion.note_refutation(message.sender, source, key, now)

    def _ping(self, ping: Ping, source: Address, key: bytes | None, now: float) -> None:
        if ping.source_node:
            self._reunion.handle_voice(ping.source_node, _return_address(ping, source), key, now)
        if ping.node and ping.node != self._core.name:
            self._core.ignore(Ignored.WRONG_NAME)
            return
        payload = self._core.ack_payload
        # In the key of the ping: a peer may have that one alone.
        self._core.outbox.send(_return_address(ping, source), Ack(ping.seq_no, payload), key=key)

    def _ack(self, ack: Ack, now: float) -> None:
        for part in self._pingers:
            if part.handle_ack(ack, now):
                return
        self._core.ignore(Ignored.UNKNOWN_SEQUENCE)

    def _indirect_ping(
        self, request: IndirectPing, source: Address, key: bytes | None, now: float
    ) -> None:
        target = to_text(request.target)
        if target is None:
            self._core.ignore(Ignored.BAD_ADDRESS)
        elif not allowed(target, self._core.config.cidrs_allowed):
            self._core.ignore(Ignored.NOT_ALLOWED)
        elif self._relays.full():
            self._core.ignore(Ignored.RELAYS_FULL)
        else:
            address = Address(target, request.port or self._core.config.port)
            self._relays.begin(request, address, _return_address(request, source), key, now)

    def _answer(
        self, message: Message, source: Address, key: bytes | None, now: float
    ) -> Bites[bytes] | None:
        match message:
            case PushPull():
                return self._exchanges.handle_request(message, source, key, now)
            case Ping() if message.node in ("", self._core.name):
                return self._core.outbox.reply(Ack(message.seq_no), key)
            case Ping():
                self._core.ignore(Ignored.WRONG_NAME)
            case User():
                self._core.events.add(UserMessage(message.data, source))
            case _:
                self._core.ignore(Ignored.UNEXPECTED)
        return None

    def _opening(
        self, data: bytes | memoryview, *, accepting: bool
    ) -> Bites[StreamMessage | Refusal]:
        try:
            opened = yield from self._core.outbox.streams.opening(data, accepting=accepting)
        except WireError as error:
            return error.reason
        return opened

    def _take_reply(self, dial: int, reply: StreamMessage | Refusal, now: float) -> None:
        if isinstance(reply, Refusal):
            self._stats.refusals[reply] += 1
            if self._exchanges.owns(dial):
                self._exchanges.handle_failure(dial, reply, now)
            return
        message, key = reply
        self._count_message(message)
        if self._rotation.active:
            self._note_answerer(dial, message, key, now)
        if self._exchanges.owns(dial):
            self._exchanges.handle_reply(dial, message, key, now)
        elif isinstance(message, Ack) and self._prober.expects(dial, message.seq_no):
            self._prober.handle_tcp_ack(dial)
        else:
            self._core.ignore(Ignored.UNKNOWN_DIAL)

    def _note_answerer(self, dial: int, message: Message, key: bytes | None, now: float) -> None:
        """Note which key a peer answers with: in kind, or its own for an error or a foreign one."""
        peer = self._exchanges.peer(dial) or self._prober.peer(dial)
        if peer is not None and isinstance(message, ErrorReply):
            self._rotation.forget_proofs(peer, key)
        self._rotation.note_stream_key(peer, key, now)

    def _after(self, now: float) -> None:
        """End every input: whatever moves a deadline does it before this."""
        self._rotation.use_if_alone(now)
        self._stale = True
        self._membership.settle(now)
        self._gossiper.note(now)
        self._exchanges.watch_loneliness(now)
        if self._left_by is not None and not self._left:
            unsent = self._core.name in self._core.outbox.queue and self._core.table.living_peers
            self._left = not unsent or now >= self._left_by


def _return_address(asked: Ping | IndirectPing, source: Address) -> Address:
    """Answer where the asker says it listens; where it says nothing, whence it came."""
    ip = to_text(asked.source_addr)
    return Address(ip, asked.source_port) if ip and asked.source_port else source


def _check(name: str, incarnation: int, meta: bytes) -> None:
    if not name:
        raise ValueError("name: empty")
    if not 1 <= incarnation <= UINT32:
        raise ValueError(f"incarnation: {incarnation} is no positive 32-bit number")
    _check_meta(meta)


def _check_meta(meta: bytes) -> None:
    if len(meta) > META_LIMIT:
        raise ValueError(f"meta: {len(meta)} bytes, at most {META_LIMIT}")
