"""The Ethernet segment that all nodes share. Pure."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address

from sim.world.clock import EventHeap
from sim.world.kernel import Echo, Frame
from sim.world.network import Network

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

    def joins(self, host: str, other: str) -> bool:
        """Tell whether frames get from each of two hosts to the other."""
        both = self._network.connects(host, other) and self._network.connects(other, host)
        return both and self._joined(host, other)

    def _copies(self, source: str, host: str) -> tuple[float, ...]:
        return self._network.copies(source, host) if self._joined(source, host) else ()

    def _joined(self, source: str, host: str) -> bool:
        return not self._cut or not (self._cut[source] or self._cut[host])


def _flood(heard: list[tuple[Receive, Sequence[Frame]]]) -> None:
    for receive, frames in heard:
        receive(frames)
