"""Drives the failover core: its clock, its echo sockets, its letters."""

import asyncio
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Any

from link.address import IPAddress
from link.echo_socket import EchoSocket
from ownership.announcing.announcer import Announcer
from ownership.failover import Failover
from ownership.io import EchoRequest, ForeignAnswer
from ownership.letters.courier import Letter
from ownership.letters.mark import Flags
from ownership.liveness.barred import Bars
from speaker.layer2 import Layer2
from speaker.ring.peers import Peers
from speaker.upkeep import RETRY, Part, survive

_ECHO_HINT = "allow ICMP echo between nodes, or its failure is found by gossip alone, seconds later"
FOREIGN_HINT = "there: sysctl net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2"
REPLIES_A_TURN = 64
WORTH_A_TIMER = 0.005
"""Seconds by which a timer may be early; to set another costs less than a call in vain."""
_ADDRESSES = 4_096
_IDENTIFIER = 0xC7A1
"""Echo identifier of all our requests; their random payload is what makes them ours."""


class Witness:
    """Owns the timer and the sockets; `on_change` is called when who may own may have changed."""

    def __init__(
        self,
        core: Failover,
        announcer: Announcer,
        layer2: Layer2,
        peers: Peers,
        clock: Callable[[], float],
        on_change: Callable[[], None],
        log: Any,
    ) -> None:
        self.core = core
        self._announcer = announcer
        self._layer2 = layer2
        self._peers = peers
        self._clock = clock
        self._on_change = on_change
        self._log = log
        self._sockets: dict[tuple[int, int], EchoSocket] = {}
        self._refused: set[tuple[int, int]] = set()
        self._sequence = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._closed = False
        self._settling = False
        self._flags = Flags.NONE
        self._bars = Bars()
        self.on_confirmed: Callable[[float], None] = lambda seconds: None
        """Called with the seconds that a client took to confirm its move."""
        self.on_handed_over: Callable[[frozenset[str]], None] = lambda services: None
        """Called with services of which an IP was taken or given up by itself."""
        self.on_quiet: Callable[[IPAddress], None] = lambda ip: None
        """Called with an IP that is answered for from now on, but not announced."""
        self.on_foreign_answer: Callable[[ForeignAnswer], None] = lambda answer: None
        """Called where another node's kernel answers for an IP of ours, but not its speaker."""
        self.on_put_off: Callable[[frozenset[IPAddress]], None] = lambda ips: None
        """Called with IPs that are contested, or taken over without a word."""
        self.on_void: Callable[[], None] = lambda: None
        """Called where an echo has changed who may own, before the next frame is read."""

    def close(self) -> None:
        """Stop, and close the sockets."""
        if self._timer is not None:
            self._timer.cancel()
        self._closed = True
        for key in list(self._sockets):
            self._close(key)

    # ---- what comes in

    def take_links(self) -> None:
        """The node's links have changed."""
        usable = self._layer2.usable()
        for key in [key for key in self._sockets if key[0] not in usable]:
            self._close(key)
        self._refused.clear()
        self.core.set_interfaces(usable, self._clock())
        self.settle()

    def letter(self, letter: Letter) -> None:
        """A letter has arrived."""
        self.core.letter(letter, self._clock())
        self.settle()

    def frames(self, ifindex: int, now: float) -> None:
        """See `layer2.Listener`."""
        self.core.frames(ifindex, now)

    def is_node(self, mac: bytes) -> bool:
        """See `layer2.Listener`."""
        return self.core.is_node(mac)

    def announced(self, ip: IPAddress, ifindex: int, mac: bytes, now: float) -> None:
        """See `layer2.Listener`."""
        self.core.announced(ip, ifindex, mac, now)
        # Where a node died all its heirs announce at once: then one turn reads many of them.
        if not self._settling:
            self._settling = True
            asyncio.get_running_loop().call_soon(self._settle_once)

    def client_answered(self, ip: IPAddress, ifindex: int, client: IPAddress, now: float) -> None:
        """See `layer2.Listener`."""
        seconds = self._announcer.confirmed(ip, ifindex, client, now)
        if seconds is not None:
            self.on_confirmed(seconds)

    def read_dry(self) -> None:
        """Read the echo replies that wait: after a stall they are there, and nobody is late."""
        for (ifindex, _), used in list(self._sockets.items()):
            self._read(ifindex, used)

    # ---- what goes out

    def _settle_once(self) -> None:
        self._settling = False
        self._try(self.settle)

    def _try(self, call: Callable[[], None]) -> None:
        """Call, and have the timer come again whatever it raises: no watch may end."""
        if self._closed:
            return
        try:
            call()
        except Exception as error:
            survive(Part.FAILOVER, error)
            if self._timer is None:
                self._set_timer(self._clock() + RETRY)

    def settle(self) -> None:
        """Send what the core wants sent, publish our flags, and ask for the next call."""
        for interface, ask in self.core.asks():
            self._layer2.ask(ask.ip, interface.index, ask.mac)
        for request in self.core.requests():
            self._request(request)
        for letter in self.core.letters():
            self._peers.send(letter)
        for address in self.core.calls():
            self._peers.call(address)
        self._tell()
        if self.core.flags != self._flags:
            self._flags = self.core.flags
            self._log.info("flags", flags=_names(self._flags))
            self._peers.set_flags(self._flags)
        before, self._bars = self._bars, self.core.bars()
        if self._bars != before:
            self._report(before)
            self._on_change()
        if put_off := self.core.put_off():
            self.on_put_off(put_off)
        if services := self.core.handed_over():
            self.on_handed_over(services)
            self._on_change()
        self._heed_links()
        self._schedule()

    def _tell(self) -> None:
        """Log what keeps us from an IP, and who answers no echo request though it lives."""
        for name in self.core.filtered():
            self._log.warning("echo_filtered", node=name, hint=_ECHO_HINT)
        for ip in self.core.quiet_takes():
            self.on_quiet(ip)
        for contest, mac in self.core.contests():
            answered = mac.hex(":") if mac else None
            self._log.warning("contested", ip=str(contest.ip), node=contest.by, mac=answered)
        for foreign in self.core.foreign_answers():
            ip_text = str(foreign.ip)
            self._log.warning("foreign_answer", ip=ip_text, node=foreign.node, hint=FOREIGN_HINT)
            self.on_foreign_answer(foreign)

    def _heed_links(self) -> None:
        """A link that came back is held: the daemon has to seek contact."""
        if self.core.disturbed():
            self._on_change()

    def _report(self, before: Bars) -> None:
        bars = self._bars
        for subject in bars.links - before.links:
            self._log.warning("verdict", node=subject.node, link=subject.link, state="gone")
        for subject in before.links - bars.links:
            self._log.info("verdict", node=subject.node, link=subject.link, state="void")
        for node in bars.nodes - before.nodes:
            self._log.warning("barred", node=node)
        for node in before.nodes - bars.nodes:
            self._log.info("not_barred", node=node)

    def _request(self, request: EchoRequest) -> None:
        used = self._socket(request.ifindex, request.ip.version)
        if used is not None:
            self._sequence = (self._sequence + 1) & 0xFFFF
            used.send(_write_ip(request.ip), _IDENTIFIER, self._sequence, request.token)

    def _socket(self, ifindex: int, version: int) -> EchoSocket | None:
        key = ifindex, version
        if key not in self._sockets and key not in self._refused:
            interface = self._layer2.usable().get(ifindex)
            if interface is None:
                return None
            try:
                opened = self._sockets[key] = EchoSocket(interface.name, version)
            except OSError as error:
                self._refused.add(key)
                self._log.warning("echo", interface=interface.name, error=str(error))
                return None
            loop = asyncio.get_running_loop()
            loop.add_reader(opened.fileno(), partial(self._readable, ifindex, opened))
        return self._sockets.get(key)

    def _close(self, key: tuple[int, int]) -> None:
        used = self._sockets.pop(key)
        asyncio.get_running_loop().remove_reader(used.fileno())
        used.close()

    def _readable(self, ifindex: int, used: EchoSocket) -> None:
        self._read(ifindex, used)
        self._try(self._heed_replies)

    def _heed_replies(self) -> None:
        # Thirty answers a second change nothing as a rule: then all that may change is the timer.
        if self.core.bars() != self._bars:
            # Who was taken for gone answers again: what is asked next may be its to answer.
            self.settle()
            self.on_void()
        elif self.core.calling:
            self.settle()
        else:
            self._heed_links()
            self._schedule()

    def _read(self, ifindex: int, used: EchoSocket) -> None:
        now = self._clock()
        try:
            for source, reply in used.receive(REPLIES_A_TURN):
                if reply.identifier == _IDENTIFIER:
                    self.core.echoed(ifindex, _read_ip(source), reply.payload, now)
        except Exception as error:
            # Anybody can send a reply. What waits behind it is read next.
            survive(Part.ECHOES, error)

    # ---- the timer

    def _schedule(self) -> None:
        # What is due at once has a time of its own too: the next look finds its timer set.
        at = max(self.core.deadline(), self._clock())
        if self._timer is not None:
            if self._timer_at <= at < self._timer_at + WORTH_A_TIMER:
                return
            self._timer.cancel()
            self._timer = None
        if at < float("inf") and not self._closed:
            self._set_timer(at)

    def _set_timer(self, at: float) -> None:
        self._timer_at = at
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, at - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        self._try(self._fire)

    def _fire(self) -> None:
        self.read_dry()
        self.core.handle_timeout(self._clock())
        self.settle()


# The same few addresses thirty times a second.
_read_ip = lru_cache(maxsize=_ADDRESSES)(ip_address)
_write_ip = lru_cache(maxsize=_ADDRESSES)(str)


def _names(flags: Flags) -> list[str]:
    return [flag.name.lower() for flag in flags if flag.name]


def links_needed(choices: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    """Unite the interfaces that services are announced on; None: all links."""
    needed: set[str] = set()
    for choice in choices:
        if choice is None:
            return None
        needed |= choice
    return frozenset(needed) if needed else None
