"""The Ethernet segment that all nodes share, and a host on it that asks who has each service IP."""

from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address

from arp import packet
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
            for delay in self._network.copies(source, host):
                self._heap.after(delay, partial(receive, (frame,)))

    def flood(self, source: str, frames: Sequence[Frame]) -> None:
        """Carry broadcasts: a bridge has them at all ports at once, so that is one event."""
        heard = []
        for host, receive in self._ports.items():
            if host != source:
                arrived = self._network.passing(source, host, frames)
                if arrived:
                    heard.append((receive, arrived))
        self._heap.after(self._network.conditions.latency, partial(_flood, heard))


def _flood(heard: list[tuple[Receive, Sequence[Frame]]]) -> None:
    for receive, frames in heard:
        receive(frames)


class Observer:
    """Asks for every IP by broadcast, and keeps who answered each question."""

    def __init__(self, heap: EventHeap, segment: Segment, ips: list[IPv4Address]) -> None:
        self._heap = heap
        self._segment = segment
        self._ips = ips
        self._questions = [_question(ip) for ip in ips]
        self._answers: dict[IPv4Address, set[bytes]] = {ip: set() for ip in ips}
        self._judged: dict[IPv4Address, frozenset[bytes]] = dict.fromkeys(ips, frozenset())
        self._last_answer: dict[IPv4Address, float] = {}
        self.believed: dict[IPv4Address, bytes] = {}
        self.silent = dict.fromkeys(ips, 0.0)
        self.dual = dict.fromkeys(ips, 0)
        self.moves = dict.fromkeys(ips, 0)
        """How often another MAC alone answered than the one that did so before."""
        self._alone: dict[IPv4Address, bytes] = {}
        self.on_change: Callable[[IPv4Address, str], None] = lambda ip, answer: None
        segment.plug(OBSERVER, OBSERVER_MAC, self.receive)

    def ask(self, interval: float) -> None:
        """Judge the answers to the last question, and ask again every `interval` seconds."""
        for ip in self._ips:
            self._judge(ip)
        self._segment.flood(OBSERVER, self._questions)
        self._heap.after(interval, partial(self.ask, interval))

    def answering(self, ip: IPv4Address) -> frozenset[bytes]:
        """Give the MACs that answered the last question that was judged."""
        return self._judged[ip]

    def receive(self, frames: Sequence[Frame]) -> None:
        """Take what a client hears: answers, and announcements, which it believes."""
        for frame in frames:
            if isinstance(frame, Echo):
                self._answer_echo(frame)
            else:
                self._hear(frame)

    def _hear(self, frame: bytes) -> None:
        heard = read_arp(frame)
        if heard is None or heard.sender_ip not in self._answers:
            return
        if self.believed.get(heard.sender_ip) != heard.sender_mac:
            self.believed[heard.sender_ip] = heard.sender_mac
            self.on_change(heard.sender_ip, heard.sender_mac.hex(":"))
        if heard.operation is Operation.REPLY and frame[:6] == OBSERVER_MAC:
            self._answers[heard.sender_ip].add(heard.sender_mac)

    def _answer_echo(self, asked: Echo) -> None:
        """It is the nodes' default gateway, whose kernel answers."""
        if asked.request and asked.target == OBSERVER_IP:
            self._segment.send(OBSERVER, asked.reply())

    def _judge(self, ip: IPv4Address) -> None:
        now, answers = self._heap.now, self._answers[ip]
        if answers:
            self._last_answer[ip] = now
        elif ip in self._last_answer:
            self.silent[ip] = max(self.silent[ip], now - self._last_answer[ip])
        self.dual[ip] += len(answers) > 1
        if len(answers) == 1:
            (mac,) = answers
            self.moves[ip] += self._alone.get(ip, mac) != mac
            self._alone[ip] = mac
        self._judged[ip] = frozenset(answers)
        answers.clear()


def _question(ip: IPv4Address) -> bytes:
    request = ArpPacket(Operation.REQUEST, OBSERVER_MAC, OBSERVER_IP, ZERO, ip)
    frame = EthernetFrame(BROADCAST, OBSERVER_MAC, EtherType.ARP, packet.encode(request))
    return ethernet.encode(frame)
