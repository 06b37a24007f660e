"""Drives the one core with its one timer: input, settle, drain, send, set the timer again.

Everything that changes (a link, a plan, a member, contact) ends in `settle`, which brings
announcements in line with what is known now. It runs once a turn of the loop, however many changes
came. Echoes and letters are heeded at once: that sends what they ask for, and settles only where
who may own has changed. The sockets are read dry before the core settles or lets a timer fire, so
nothing that has arrived is overtaken, and nothing calls back into a core at work.
"""

import asyncio
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger as Log

from link.address import IPAddress
from link.interface import Interface
from ownership.io import Failed, HandedOver, Lost, OwnershipEvent, Released
from ownership.letters.courier import Letter
from ownership.letters.mark import Flags
from ownership.ownership import Ownership
from process import interpreter
from speaker.configuration import Configuration
from speaker.record.recording import Recording
from speaker.ring.peers import Peers
from speaker.telling import Telling
from speaker.upkeep import RETRY, Part, Retries, survive
from speaker.vitals import Vitals
from speaker.wire.echoes import Echoes
from speaker.wire.layer2 import Layer2

BITE = 0.001
"""Seconds that one turn of the loop may spend on elections and changes."""
SERVICE_RETRY = 5.0
"""Seconds until a service of which announcing failed is tried again."""
WORTH_A_TIMER = 0.005
"""Seconds by which a timer may be early; to set another costs less than a call in vain."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a driver drives besides its core, or is told by, or tells."""

    layer2: Layer2
    peers: Peers
    configuration: Configuration
    telling: Telling
    vitals: Vitals
    recording: Recording


class Driver:
    """Owns the timer and the echo sockets, and listens to layer 2."""

    def __init__(
        self,
        core: Ownership,
        parts: Parts,
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self.core = core
        # See `layer2.Listener`: no methods, as an answer is to cost no call more.
        self.handle_frames, self.is_node = core.handle_frames, core.is_node
        self._layer2 = layer2 = parts.layer2
        self._peers = parts.peers
        self._configuration = parts.configuration
        self._telling = parts.telling
        self._vitals = parts.vitals
        self._recording = parts.recording
        self._clock = clock
        self._log = log
        self._echoes = Echoes(layer2.usable, core.handle_echo, self._heed_echoes, clock, log)
        self._retries = Retries()
        """By the name of a service."""
        self._flags = Flags.NONE
        self._waking: asyncio.Handle | None = None
        self._heeding = False
        """What the loop has been asked to call, once."""
        self._released = False
        """Whether answers flow again somewhere, and what waited is not thrown away yet."""
        self._undone = False
        """Whether the last turn has failed; then the next is not before `_again_at`."""
        self._again_at = float("-inf")
        self._left = self._closed = False
        self.beside: Callable[[], None] | None = None
        """Who looks at the core after whatever came of an input or a timer, if anybody does."""
        self._settled = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._not_before = float("-inf")
        """When watches and takeovers may be tried again that have failed and are due still."""

    def close(self) -> None:
        """Stop, and close the echo sockets."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._echoes.close()

    # ---- what comes in

    def handle_links(self, interfaces: Mapping[int, Interface], own_macs: Container[bytes]) -> None:
        """Take the node's links. Raises PermissionError where CAP_NET_RAW is missing."""
        self._layer2.set_interfaces(interfaces, own_macs)
        usable = self._layer2.usable()
        self._echoes.set_interfaces(usable)
        self.core.set_interfaces(usable, self._clock())
        self._heed()
        announced = self.core.services().values()
        self._telling.publish([item.service for item in announced if item.interfaces is not None])
        self.wake()

    def handle_letter(self, letter: Letter) -> None:
        """Take a letter."""
        now = self._clock()
        self.core.handle_letter(letter, now)
        self._recording.note_letter(letter, now)
        self._heed()

    def tick(self, now: float) -> None:
        """Note that the process runs; before frames are read that have waited for it."""
        if self.core.tick(now):
            # What waited meanwhile was asked of somebody who may not own anything any more.
            self._layer2.discard()
            self.wake()

    def handle_announcement(
        self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool = False
    ) -> None:
        """See `layer2.Listener`."""
        self.core.handle_announcement(ip, ifindex, mac, now, alone)
        # Where a node died all its heirs announce at once: then one turn reads many of them.
        self._heed_soon()

    def handle_client(self, ip: IPAddress, ifindex: int, client: IPAddress, now: float) -> None:
        """See `layer2.Listener`."""
        if self.core.handle_client(ip, ifindex, client, now):
            self._recording.note_client(ip, self._link_name(ifindex), client)
            self._heed_soon()

    def _heed_echoes(self) -> None:
        self._guard(self._look_at_echoes)

    def _look_at_echoes(self) -> None:
        # Thirty answers a second change nothing as a rule: then all that may change is the timer.
        if self.core.voided:
            # Who was taken for gone answers again: what is asked next may be its to answer.
            self._pass_on(self._clock())
            self.settle()
        elif self.core.calling or self.core.disturbed:
            self._heed()
        else:
            self._schedule()

    # ---- the light half of a turn: what is due at once, without a look at the services

    def _heed_soon(self) -> None:
        if not self._heeding:
            self._heeding = True
            asyncio.get_running_loop().call_soon(self._heed_once)

    def _heed_once(self) -> None:
        self._heeding = False
        self._guard(self._heed)

    def _heed(self) -> None:
        """Send what has come of an input, and wake where the services have to be looked at."""
        self._pass_on(self._clock())
        if self.core.disturbed:
            self.wake()
        self._schedule()

    def _guard(self, call: Callable[[], None]) -> None:
        """Call, and have the timer come again whatever it raises: no watch may end."""
        if self._closed:
            return
        try:
            call()
        except Exception as error:
            survive(Part.FAILOVER, error)
            self._not_before = self._clock() + RETRY
            if self._timer is None:
                self._set_timer(self._not_before)

    # ---- a turn

    def wake(self) -> None:
        """Have all that is known brought in line, once in this turn of the loop."""
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_soon(self.settle)

    def settle(self) -> None:
        """Do it now, or as much of it as one bite takes."""
        if self._waking is not None:
            # It may be called out of turn: two chains would make two bites of one turn.
            self._waking.cancel()
            self._waking = None
        if self._left or self._closed:
            return
        self._undone = False
        try:
            self._turn(self._clock())
        except Exception as error:
            survive(Part.TURN, error)
            self._undone, self._again_at = True, self._clock() + RETRY
            self._schedule()
        finally:
            self._settled.set()

    def _turn(self, now: float) -> None:
        self.tick(now)
        self._seek(now)
        self._take_members(now)
        # What waits was sent before what follows from all that is known: to whoever owned till now.
        self._layer2.read_dry()
        self._echoes.read_dry()
        # In a storm of questions the reading takes as long as a bite, which is not to shrink by it.
        until = self._clock() + BITE
        self.core.settle(now, lambda: self._clock() >= until)
        self._pass_on(now)
        self._layer2.flush()
        if self._released:
            # What waited was asked before our announcement, so of whoever owned meanwhile.
            self._released = False
            self._layer2.discard()
        self._vitals.note()
        self._schedule()
        if self.core.busy:
            interpreter.tidy()
            self.wake()
        elif self._vitals.ready:
            self._telling.activate()

    def _seek(self, now: float) -> None:
        if self.core.seeks(now):
            self._peers.exchange()

    def _take_members(self, now: float) -> None:
        living = self._peers.live()
        if living is None:
            # Without gossip whoever there is counts as alive.
            living = self._configuration.nodes() | {self.core.node}
        self.core.set_living(living)
        if self.core.wants_members:
            self.core.set_peers(self._peers.others(), now)

    # ---- what goes out

    def _pass_on(self, now: float) -> None:
        """Tell what was decided, and send what is to be sent now."""
        for event in self.core.events():
            try:
                self._recording.note_event(event, now)
                self._heed_event(event)
                self._telling.tell(event, now)
            except Exception as error:
                survive(Part.SERVICE, error)
        self._send(now)
        if self.beside is not None:
            self.beside()

    def _heed_event(self, event: OwnershipEvent) -> None:
        match event:
            case Released():
                self._released = True
            case HandedOver():
                self.wake()
            case Lost(action):
                self._configuration.note_loss(action.service)
            case Failed(service, reason, error):
                survive(Part.SERVICE, error, service=service)
                self._retries.later(service, SERVICE_RETRY, self._look_again, service, reason)

    def _send(self, now: float) -> None:
        for interface, ask in self.core.asks():
            self._layer2.ask(ask.ip, interface.index, ask.mac)
            self._recording.note_ask(interface.name, ask, now)
        for request in self.core.echo_requests():
            self._echoes.send(request)
        for letter in self.core.letters():
            self._peers.send(letter)
            self._recording.note_sent(letter, now)
        for address in self.core.calls():
            self._peers.call(address)
        if self.core.flags != self._flags:
            self._flags = self.core.flags
            self._recording.note_flags(self._flags, now)
            self._log.info("flags", flags=[flag.name.lower() for flag in self._flags if flag.name])
            self._peers.set_flags(self._flags)

    def _link_name(self, ifindex: int) -> str:
        interface = self._layer2.usable().get(ifindex)
        return "" if interface is None else interface.name

    def _look_again(self, service: str, reason: str) -> None:
        self.core.look_again(service, reason)
        self.wake()

    # ---- the end

    def leave(self) -> None:
        """Let others own what is ours; `wait_for_winners` ends when they do."""
        self.core.leave(self._clock())
        self._pass_on(self._clock())
        self.settle()

    def review_members(self) -> None:
        """We leave gossip from now on: look at the others once more."""
        self.core.review_members()
        self.settle()

    async def wait_for_winners(self, *, foreign: bool) -> None:
        """Wait until the winners of all our IPs were heard; without `foreign`, Clarions alone."""
        while self.core.unfinished or self.core.handing_over(foreign=foreign):
            self._settled.clear()
            await self._settled.wait()

    def withdraw_everything(self) -> None:
        """Answer for nothing, and decide nothing any more."""
        self._left = True
        self.core.withdraw_all()

    # ---- the timer

    def _schedule(self) -> None:
        # What is due at once has a time of its own too: the next look finds its timer set.
        now, due = self._clock(), min(self.core.deadline(), self._vitals.beats_at)
        at = max(due, self._not_before, now)
        if self._undone:
            # What that turn was to do may be due all the time.
            at = max(min(at, self._again_at), now + WORTH_A_TIMER)
        if self._timer is not None:
            if self._timer_at <= at < self._timer_at + WORTH_A_TIMER:
                return
            self._timer.cancel()
        self._set_timer(at)

    def _set_timer(self, at: float) -> None:
        if self._closed:
            return
        # What was due already is not late by that: the loop is judged by what it was asked for.
        now = self._clock()
        self._timer_at = max(at, now)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timer_at - now, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._closed:
            return
        try:
            self._fire(self._clock())
        except Exception as error:
            survive(Part.TIMER, error)
        finally:
            # It is what everything else is woken by.
            if self._timer is None:
                self._set_timer(self._clock() + RETRY)

    def _fire(self, now: float) -> None:
        """Look up first: mostly a heartbeat of contact, or an echo request, is all that was due."""
        self._vitals.beat(now, now - self._timer_at)
        self.tick(now)
        self._seek(now)
        self._guard(self._handle_due)
        if self._waking is None and self._wants_a_turn(self._clock()):
            self.settle()
        else:
            self._schedule()

    def _wants_a_turn(self, now: float) -> bool:
        return now >= self._again_at if self._undone else self.core.is_due(now)

    def _handle_due(self) -> None:
        now = self._clock()
        if self.core.wants_members:
            self._take_members(now)
        self._echoes.read_dry()
        if self.core.handle_timeout(self._clock()):
            self._pass_on(now)
