"""The Ethernet segment that all nodes share, and a host on it that asks who has each service IP."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address

from arp import packet, responder
from arp.packet import ArpPacket, Operation
from link import frame as ethernet
from link.frame import EthernetFrame, EtherType
from link.mac import BROADCAST, ZERO
from sim.clock import EventHeap
from sim.kernel import Echo, Frame, read_arp
from sim.network import Network

OBSERVER = "observer"
OBSERVER_MAC = b"\x02\x00\x00\x01\x00\x00"
OBSERVER_IP = IPv4Address("10.0.255.254")

Receive = Callable[[Sequence[Frame]], None]


class Segment:
    """Carries frames by MAC; broadcasts reach everybody but the sender."""

    def __init__(self, heap: EventHeap, network: Network) -> None:
        self._heap = heap
        self._network = network
        self._ports: dict[str, Receive] = {}
        self._hosts: dict[bytes, str] = {}
        self._cut: Counter[str] = Counter()

    def cut(self, host: str, by: int) -> None:
        """Drop all frames from and to a host; `by=-1` takes one such fault back."""
        self._cut[host] += by
        self._cut += Counter()

    def plug(self, host: str, mac: bytes, receive: Receive) -> None:
        """Connect a host."""
        self._ports[host] = receive
        self._hosts[mac] = host

    def send(self, source: str, frame: Frame) -> None:
        """Carry a frame from the host `source`."""
        destination = frame.to_mac if isinstance(frame, Echo) else frame[:6]
        if destination[0] & 1:
            self.flood(source, (frame,))
        elif destination in self._hosts:
            host = self._hosts[destination]
            receive = self._ports[host]
            for delay in self._copies(source, host):
                self._heap.after(delay, partial(receive, (frame,)))

    def send_all(self, source: str, frames: Sequence[bytes]) -> None:
        """Carry the answers to questions that came together: mostly all to one host."""
        host = self._hosts.get(frames[0][:6])
        same = all(frame[:6] == frames[0][:6] for frame in frames)
        if host is None or not same or self._network.conditions.rough:
            for frame in frames:
                self.send(source, frame)
            return
        for delay in self._copies(source, host):
            self._heap.after(delay, partial(self._ports[host], frames))

    def flood(self, source: str, frames: Sequence[Frame]) -> None:
        """Carry broadcasts: a bridge has them at all ports at once, so that is one event."""
        heard = []
        for host, receive in self._ports.items():
            if host != source and self._joined(source, host):
                arrived = self._network.passing(source, host, frames)
                if arrived:
                    heard.append((receive, arrived))
        self._heap.after(self._network.conditions.latency, partial(_flood, heard))

    def _copies(self, source: str, host: str) -> tuple[float, ...]:
        return self._network.copies(source, host) if self._joined(source, host) else ()

    def _joined(self, source: str, host: str) -> bool:
        return not self._cut or not (self._cut[source] or self._cut[host])


def _flood(heard: list[tuple[Receive, Sequence[Frame]]]) -> None:
    for receive, frames in heard:
        receive(frames)


@dataclass(slots=True)
class Seen:
    """What a client has seen of one service IP; MACs are 6 raw bytes, times in seconds."""

    silent: float = 0.0
    """The longest time without an answer."""
    dual: int = 0
    """Questions that more than one node answered."""
    dual_run: int = 0
    """The most of them in a row: one alone may have crossed the announcement of a new owner."""
    moves: int = 0
    """How often another MAC alone answered than the one that did so before."""
    believed: bytes | None = None
    """The MAC that was told last."""
    judged: frozenset[bytes] = frozenset()
    """Who answered the last question that was judged."""
    answers: set[bytes] = field(default_factory=set)
    answered_at: float | None = None
    alone: bytes | None = None
    _row: int = 0

    def judge(self, now: float) -> None:
        """Take the answers to a question as all that will come."""
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


class Observer:
    """Asks for every IP by broadcast, and keeps who answered each question: `seen`, by IP."""

    def __init__(self, heap: EventHeap, segment: Segment, ips: list[IPv4Address]) -> None:
        self._heap = heap
        self._segment = segment
        self._questions = [_question(ip) for ip in ips]
        self.seen = {ip: Seen() for ip in ips}
        self.on_change: Callable[[IPv4Address, str], None] = lambda ip, answer: None
        segment.plug(OBSERVER, OBSERVER_MAC, self.receive)

    def ask(self, interval: float) -> None:
        """Judge the answers to the last question, and ask again every `interval` seconds."""
        now = self._heap.now
        for seen in self.seen.values():
            seen.judge(now)
        self._segment.flood(OBSERVER, self._questions)
        self._heap.after(interval, partial(self.ask, interval))

    def answering(self, ip: IPv4Address) -> frozenset[bytes]:
        """Give the MACs that answered the last question that was judged."""
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
        if heard.operation is Operation.REQUEST and heard.target_ip == OBSERVER_IP:
            # Its kernel answers whoever asks for it, an heir that wants to be sure too.
            answer = responder.respond(frame, OBSERVER_MAC, lambda _: None)
            if isinstance(answer, bytes):
                self._segment.send(OBSERVER, answer)
        if seen.believed != heard.sender_mac:
            seen.believed = heard.sender_mac
            self.on_change(heard.sender_ip, heard.sender_mac.hex(":"))
        if heard.operation is Operation.REPLY and frame[:6] == OBSERVER_MAC:
            seen.answers.add(heard.sender_mac)

    def _answer_echo(self, asked: Echo) -> None:
        """It is the nodes' default gateway, whose kernel answers."""
        if asked.request and asked.target == OBSERVER_IP:
            self._segment.send(OBSERVER, asked.reply())


def _question(ip: IPv4Address) -> bytes:
    request = ArpPacket(Operation.REQUEST, OBSERVER_MAC, OBSERVER_IP, ZERO, ip)
    frame = EthernetFrame(BROADCAST, OBSERVER_MAC, EtherType.ARP, packet.encode(request))
    return ethernet.encode(frame)
