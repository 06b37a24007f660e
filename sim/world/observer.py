"""A host on the segment that asks who has each service IP, and what it sees. Pure.

It stands for two clients. One asks anew all the time, so it notes who answers. One asks never: its
entry is warm, so it sends to the MAC that was announced last, whoever answers others meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address

from arp import packet, responder
from arp.packet import ArpPacket, Operation
from link import frame as ethernet
from link.frame import EthernetFrame, EtherType
from link.mac import BROADCAST, ZERO
from sim.world.clock import EventHeap
from sim.world.kernel import Echo, Frame, read_arp
from sim.world.segment import OBSERVER, OBSERVER_IP, OBSERVER_MAC, Segment


@dataclass(slots=True)
class Seen:
    """What clients have seen of one service IP; MACs are 6 raw bytes, times in seconds."""

    silent: float = 0.0
    """The longest time without an answer."""
    dual: int = 0
    """Questions that more than one node answered."""
    dual_run: int = 0
    """The most of them in a row: one alone may have crossed the announcement of a new owner."""
    moves: int = 0
    """How often another MAC alone answered than the one that did so before."""
    believed: bytes | None = None
    """The MAC that was told last, by an answer too."""
    judged: frozenset[bytes] = frozenset()
    """Who answered the last question that was judged."""
    answers: set[bytes] = field(default_factory=set)
    answered_at: float | None = None
    alone: bytes | None = None
    squatters: set[bytes] = field(default_factory=set)
    """Kernels that answer for the IP without a speaker: what they say is nobody's answer."""
    warm: bytes | None = None
    """Where a client with a warm entry sends: the MAC that was announced last."""
    told: int = 0
    """How often an announcement moved such a client to another MAC."""
    frames: int = 0
    """Announcements, of all kinds: frames about the IP that nobody asked for."""
    outage: float = 0.0
    """The longest time for which no machine took what such a client sent."""
    _row: int = 0
    _served_at: float | None = None

    def judge(self, now: float, forwards: Callable[[bytes], bool]) -> None:
        """Take the answers to a question as all that will come; `forwards` tells of a MAC whether
        its machine takes what clients send."""
        answers = self.answers
        if len(answers) == 1:
            (mac,) = answers
            self.moves += self.alone not in (None, mac)
            self.alone = mac
        elif answers:
            self.dual += 1
        self._row = self._row + 1 if len(answers) > 1 else 0
        self.dual_run = max(self.dual_run, self._row)
        if answers:
            self.answered_at = now
        elif self.answered_at is not None:
            self.silent = max(self.silent, now - self.answered_at)
        if answers != self.judged:
            self.judged = frozenset(answers)
        answers.clear()
        if self.warm is None or forwards(self.warm):
            self._served_at = now
        elif self._served_at is not None:
            self.outage = max(self.outage, now - self._served_at)

    def handle_announcement(self, mac: bytes) -> None:
        """Take a frame that nobody asked for; what moves an entry moves the warm one."""
        self.frames += 1
        self.told += self.warm not in (None, mac)
        self.warm = mac


class Observer:
    """Asks for every IP by broadcast, and keeps what it sees: `seen`, by IP."""

    def __init__(
        self,
        heap: EventHeap,
        segment: Segment,
        ips: list[IPv4Address],
        forwards: Callable[[bytes], bool],
    ) -> None:
        self._heap = heap
        self._segment = segment
        self._forwards = forwards
        self._questions = [_question(ip) for ip in ips]
        self.seen = {ip: Seen() for ip in ips}
        self.on_change: Callable[[IPv4Address, str], None] = lambda ip, answer: None
        segment.plug(OBSERVER, OBSERVER_MAC, self.receive)

    def ask(self, interval: float) -> None:
        """Judge the answers to the last question, and ask again every `interval` seconds."""
        now = self._heap.now
        for seen in self.seen.values():
            seen.judge(now, self._forwards)
        self._segment.flood(OBSERVER, self._questions)
        self._heap.after(interval, partial(self.ask, interval))

    def answering(self, ip: IPv4Address) -> frozenset[bytes]:
        """Return the MACs that answered the last question that was judged."""
        return self.seen[ip].judged

    def receive(self, frames: Sequence[Frame]) -> None:
        """Take what a client hears: answers, and announcements, which it believes."""
        for frame in frames:
            if isinstance(frame, Echo):
                self._answer_echo(frame)
            else:
                self._hear(frame)

    def _hear(self, frame: bytes) -> None:
        heard = read_arp(frame)
        seen = None if heard is None else self.seen.get(heard.sender_ip)
        if heard is None or seen is None:
            return
        asked_for = heard.operation is Operation.REPLY and frame[:6] == OBSERVER_MAC
        if asked_for and heard.sender_mac in seen.squatters:
            return
        if seen.believed != heard.sender_mac:
            seen.believed = heard.sender_mac
            self.on_change(heard.sender_ip, heard.sender_mac.hex(":"))
        if asked_for:
            seen.answers.add(heard.sender_mac)
            return
        seen.handle_announcement(heard.sender_mac)
        if heard.operation is Operation.REQUEST and heard.target_ip == OBSERVER_IP:
            self._answer(frame)

    def _answer(self, frame: bytes) -> None:
        """Its kernel answers whoever asks for it, an heir that wants to be sure too."""
        answer = responder.respond(frame, OBSERVER_MAC, lambda _: None)
        if isinstance(answer, bytes):
            self._segment.send(OBSERVER, answer)

    def _answer_echo(self, asked: Echo) -> None:
        """It is the nodes' default gateway, whose kernel answers."""
        if asked.request and asked.target == OBSERVER_IP:
            self._segment.send(OBSERVER, asked.reply())


def _question(ip: IPv4Address) -> bytes:
    request = ArpPacket(Operation.REQUEST, OBSERVER_MAC, OBSERVER_IP, ZERO, ip)
    frame = EthernetFrame(BROADCAST, OBSERVER_MAC, EtherType.ARP, packet.encode(request))
    return ethernet.encode(frame)
