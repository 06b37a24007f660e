"""One speaker process: the cores, and the dull loop that drives them. Pure.

As the real driver does, it reads all that has arrived before it lets a timer fire.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from typing import Protocol

from gossip.io import Address, Datagram, Dial, Event, StreamFailure, UserMessage
from gossip.swim import Swim
from link.drop import DropReason
from ownership.io import Move, Moved
from ownership.letters import mark
from ownership.letters.courier import Courier, Letter
from ownership.letters.mark import Flags, Mark
from ownership.liveness.roster import Peer
from sim.world.cores import Cores
from sim.world.kernel import Echo

RECEIVE_BUFFER = 212_992
"""Linux' default and usual maximum for a socket's receive buffer, bytes."""
PACKET_OVERHEAD = 704
"""What Linux charges the buffer for a small packet, besides its bytes."""
BACKLOG = 100
"""Accepted connections that wait for a frozen process."""
MAX_FRAMES = 256
_SOON = 1e-6

Reply = Callable[[bytes | None], None]


class Outside(Protocol):
    """What a process reaches of the world around it."""

    def wake_at(self, when: float, life: int) -> None:
        """Call `Machine.wake` at that time."""

    def send_datagram(self, datagram: Datagram) -> None:
        """Send by UDP."""

    def dial(self, dial: Dial) -> None:
        """Open a TCP conversation."""

    def send_frame(self, frame: bytes) -> None:
        """Send an Ethernet frame."""

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """Send Ethernet frames, one behind the other."""

    def send_echo(self, ip: IPv4Address, token: bytes) -> None:
        """Let the kernel send an echo request."""

    def note_event(self, event: Event) -> None:
        """Note what gossip reported."""

    def note_move(self, move: Move) -> None:
        """Note what the election reported."""


@dataclass(slots=True)
class Inbox:
    """What waits for a process that does not run."""

    datagrams: deque[tuple[bytes, Address]] = field(default_factory=deque)
    streams: deque[tuple[bytes, Address, Reply]] = field(default_factory=deque)
    replies: deque[tuple[int, bytes | StreamFailure]] = field(default_factory=deque)
    frames: deque[bytes] = field(default_factory=deque)
    echoes: deque[Echo] = field(default_factory=lambda: deque(maxlen=MAX_FRAMES))
    used: int = 0
    lost: int = 0

    def add_datagram(self, data: bytes, source: Address) -> None:
        """Keep a datagram, or drop it where the buffer is full."""
        size = len(data) + PACKET_OVERHEAD
        if self.used + size > RECEIVE_BUFFER:
            self.lost += 1
            return
        self.used += size
        self.datagrams.append((data, source))

    def add_stream(self, data: bytes, source: Address, reply: Reply) -> None:
        """Keep a connection; beyond the backlog it stays unanswered."""
        if len(self.streams) >= BACKLOG:
            self.lost += 1
            return
        self.streams.append((data, source, reply))

    def add_frame(self, frame: bytes) -> None:
        """Keep a frame, or drop it where the buffer is full."""
        if len(self.frames) >= MAX_FRAMES:
            self.lost += 1
            return
        self.frames.append(frame)


class Process:
    """A speaker from its start to its end; `offset` is what its clock is ahead of ours, s."""

    def __init__(
        self,
        swim: Swim,
        courier: Courier,
        cores: Cores,
        outside: Outside,
        life: int,
    ) -> None:
        self.swim = swim
        self._courier = courier
        self._flags = Flags.NONE
        self.cores = cores
        self.life = life
        self.frozen = False
        self.handled = 0
        """Events so far: packets, frames, replies, timers."""
        self.offset = 0.0
        self.inbox = Inbox()
        self._outside = outside
        self._wake_at = float("inf")
        self._gossip_due = self._due = float("inf")
        self._own_due = float("-inf")

    # ---- in

    def datagram(self, data: bytes, source: Address, now: float) -> None:
        """Take a UDP packet."""
        if self.frozen:
            self.inbox.add_datagram(data, source)
            return
        clock = self._tick(now)
        self.swim.handle_datagram(data, source, clock)
        self._drain(now)

    def stream(self, data: bytes, source: Address, reply: Reply, now: float) -> None:
        """Take an accepted connection with its whole request."""
        if self.frozen:
            self.inbox.add_stream(data, source, reply)
            return
        clock = self._tick(now)
        reply(self.swim.handle_stream(data, source, clock))
        self._drain(now)

    def reply(self, dial: int, data: bytes | StreamFailure, now: float) -> None:
        """Take the outcome of a conversation of ours."""
        if self.frozen:
            self.inbox.replies.append((dial, data))
            return
        clock = self._tick(now)
        self.swim.handle_reply(dial, data, clock)
        self._drain(now)

    def frames(self, frames: Iterable[bytes], now: float) -> None:
        """Take ARP frames."""
        if self.frozen:
            for frame in frames:
                self.inbox.add_frame(frame)
            return
        self._tick(now)
        self._answer(frames, now)
        if self.cores.stirred:
            self._drain(now)

    def echo(self, echo: Echo, now: float) -> None:
        """Take an echo reply."""
        if self.frozen:
            self.inbox.echoes.append(echo)
            return
        self.cores.handle_echo(echo.source, echo.payload, self._tick(now))
        # Else the next deadline is later at most: it is asked for when the timer fires.
        if self.cores.stirred:
            self._drain(now)

    def set_carrier(self, up: bool, now: float) -> None:
        """Hear from the kernel whether the announcing link has carrier."""
        self.cores.responder.set_carrier(up, self._tick(now))
        self._drain(now)

    def set_floating(self, addresses: frozenset[IPv4Interface], now: float) -> None:
        """Hear from the kernel which further addresses the link has."""
        self.cores.responder.set_floating(addresses, self._tick(now))
        self._drain(now)

    def set_candidates(self, nodes: frozenset[str], now: float) -> None:
        """Read a change of the configuration: these nodes may own, and no others."""
        self._tick(now)
        self.cores.set_candidates(nodes)
        self._drain(now)

    def set_seeds(self, seeds: Sequence[Address], now: float) -> None:
        """Learn where there are speakers to join through."""
        self.swim.set_seeds(seeds, self._tick(now))
        self._drain(now)

    def stop(self, now: float) -> None:
        """Begin to leave, as after SIGTERM; `handing_over` tells when that is done."""
        if not self.frozen:
            self.cores.ownership.leave(self._tick(now))
            self._drain(now)

    def leave(self, now: float) -> None:
        """Leave gossip, all IPs being handed over; the process ends after that."""
        if not self.frozen:
            self.swim.leave(self._tick(now))
            self.cores.ownership.review_members()
            self._drain(now)

    def handing_over(self, *, foreign: bool) -> bool:
        """Tell whether IPs still wait for their heirs; without `foreign`, for Clarions."""
        return self.cores.ownership.handing_over(foreign=foreign) > 0

    def wake(self, when: float, now: float) -> None:
        """Let the timers fire that are due; `when` is the time this was asked for."""
        if self.frozen or when != self._wake_at:
            return
        self._wake_at = float("inf")
        if self._due > now:
            # Put off since, as the timer of a probe is by its ack.
            self._ask_to_wake(self._due)
            return
        clock = self._tick(now)
        if self._gossip_due <= clock:
            self.swim.handle_timeout(clock)
        self._drain(now)

    def start(self, now: float) -> None:
        """Begin to run."""
        self._drain(now)

    def freeze(self, now: float) -> None:
        """Stand still; the kernel goes on receiving for us."""
        self.cores.run_up_to(now + self.offset)
        self.cores.tick(now + self.offset)
        self.frozen = True

    def thaw(self, now: float) -> None:
        """Run again: read what waited, then let the timers fire."""
        self.frozen = False
        inbox, self.inbox = self.inbox, Inbox()
        clock = now + self.offset
        self.cores.tick(clock)
        for data, source in inbox.datagrams:
            self.swim.handle_datagram(data, source, clock)
        for dial, outcome in inbox.replies:
            self.swim.handle_reply(dial, outcome, clock)
        for data, source, reply in inbox.streams:
            reply(self.swim.handle_stream(data, source, clock))
        # Only a process that stood still for long throws waiting frames away, as `Layer2` does.
        if inbox.frames and not self.cores.contact.held:
            self._answer(inbox.frames, now)
        for echo in inbox.echoes:
            self.cores.handle_echo(echo.source, echo.payload, clock)
        deadline = self.swim.deadline()
        if deadline is not None and deadline <= clock:
            self.swim.handle_timeout(clock)
        self._wake_at = float("inf")
        self._drain(now)

    def hold_back(self, seconds: float) -> None:
        """Let the clock know nothing of that time, which the process has stood still for."""
        self.offset -= seconds

    def jump(self, seconds: float, now: float) -> None:
        """Put the clock forward."""
        self.cores.run_up_to(now + self.offset)
        self.cores.tick(now + self.offset)
        self.offset += seconds
        self.cores.tick(now + self.offset)
        self._wake_at = float("inf")
        self._schedule(now, self.cores.ownership.due())

    # ---- out

    def _tick(self, now: float) -> float:
        self.handled += 1
        clock = now + self.offset
        self.cores.run_up_to(clock)
        return clock

    def _answer(self, frames: Iterable[bytes], now: float) -> None:
        clock, cores, answers = now + self.offset, self.cores, list[bytes]()
        cores.responder.hear(clock)
        for frame in frames:
            found = cores.responder.answer(frame, clock)
            if isinstance(found, bytes):
                answers.append(found)
            elif found is DropReason.ANNOUNCEMENT and cores.ownership.voided:
                # A question that waits behind this frame is for who was taken for gone.
                self._drain(now)
        if answers:
            self._outside.send_frames(answers)

    def _drain(self, now: float) -> None:
        clock = now + self.offset
        self._drain_gossip(clock)
        ownership = self.cores.ownership
        if ownership.handle_timeout(clock):
            self._send(clock)
        # Where nobody is watched nothing is due earlier than before unless the core was stirred.
        due = ownership.due() if self.cores.watched else self._own_due
        if due <= clock or self.cores.stirred:
            self._settle(clock)
            due = ownership.due()
        self._own_due = due
        deadline = self.swim.deadline()
        self._gossip_due = float("inf") if deadline is None else deadline
        self._schedule(now, due)

    def _drain_gossip(self, clock: float) -> None:
        for transmit in self.swim.transmits():
            if isinstance(transmit, Datagram):
                self._outside.send_datagram(transmit)
            else:
                self._outside.dial(transmit)
        for event in self.swim.events():
            self._outside.note_event(event)
            if isinstance(event, UserMessage):
                letter = self._courier.take(event.data)
                if isinstance(letter, Letter):
                    self.cores.ownership.handle_letter(letter, clock)
            else:
                self.cores.ownership.handle_gossip(event, clock)

    def _settle(self, clock: float) -> None:
        cores, ownership = self.cores, self.cores.ownership
        if ownership.wants_members:
            ownership.set_living(self.swim.live())
            ownership.set_peers(self._peers() if cores.watched else (), clock)
        ownership.handle_timeout(clock)
        cores.settle(clock)
        for event in ownership.events():
            if isinstance(event, Moved):
                self._outside.note_move(event.move)
        self._send(clock)
        if cores.contact.seeks(clock):
            self.swim.exchange(clock)
            self._drain_gossip(clock)

    def _send(self, clock: float) -> None:
        for frame in self.cores.responder.frames():
            self._outside.send_frame(frame)
        if self.cores.watched:
            self._send_own(clock)

    def _send_own(self, clock: float) -> None:
        """Send what the core wants sent, in an order that no hash of a set decides."""
        core = self.cores.ownership
        for address in core.calls():
            self.swim.call(address, clock)
        for request in sorted(core.echo_requests(), key=lambda request: str(request.ip)):
            if isinstance(request.ip, IPv4Address):
                self._outside.send_echo(request.ip, request.token)
        for letter in sorted(core.letters(), key=repr):
            about = self.swim.member(letter.about)
            its = None if about is None else mark.decode(about.meta)
            if about is None or its is None:
                continue
            what = (int(letter.kind), its.start_id, about.incarnation, letter.payload)
            if letter.to is None:
                self._courier.straight(*what)
            else:
                self._courier.to(letter.to, *what)
        if core.flags != self._flags:
            self._flags = core.flags
            self.swim.set_meta(mark.encode(Mark(self._courier.start_id, self._flags)), clock)
        self._drain_gossip(clock)

    def _peers(self) -> list[Peer]:
        found = []
        for member in self.swim.members():
            if not member.own:
                its = mark.decode(member.meta)
                start_id, flags = (None, Flags.NONE) if its is None else (its.start_id, its.flags)
                found.append(Peer(member.name, start_id, flags, member.state, member.address))
        return found

    def _schedule(self, now: float, due: float) -> None:
        own = min(due, self.cores.restless_at)
        at = min(own, self._gossip_due)
        # A jumped clock rounds: never ask for the very instant in which nothing was due yet.
        self._due = max(at - self.offset, now + _SOON)
        self._ask_to_wake(self._due)

    def _ask_to_wake(self, at: float) -> None:
        if at < self._wake_at:
            self._wake_at = at
            self._outside.wake_at(at, self.life)
