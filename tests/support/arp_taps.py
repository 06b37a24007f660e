"""Who asks for IPs without a cache, and what a host's link has carried: ARP with kernel stamps."""

import select
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from netns import Host
from netnslab.instruments import arp
from netnslab.instruments.instrument import arrivals, packet_socket
from netnslab.machines.addresses import LINK

_ALL = 0x0003
"""ETH_P_ALL of linux/if_ether.h: what a host sends is shown to no other kind of socket."""
_WAIT = 0.05
_MACS = b"\x02\x00\x05"


@dataclass
class Tap:
    """All ARP frames that went in and out on a host's link, in their order."""

    host: Host
    frames: list[tuple[float, arp.Arp]] = field(default_factory=list)

    def sent(self, operation: int) -> Iterator[tuple[float, arp.Arp]]:
        """Those of the host itself; a request that announces is none."""
        for at, packet in list(self.frames):
            own = packet.sha == self.host.mac and packet.spa != packet.tpa
            if own and packet.operation == operation:
                yield at, packet

    def listen(self, ending: threading.Event) -> None:
        """Note frames until the event."""
        with packet_socket(LINK, _ALL) as raw:
            while not ending.is_set():
                select.select([raw], [], [], _WAIT)
                for at, frame in arrivals(raw):
                    packet = arp.decode(frame)
                    if packet is not None:
                        self.frames.append((at, packet))


@dataclass
class Asker:
    """Asks for each IP every `interval` seconds, by broadcast, each question from a MAC of its own.

    Whoever answers answers to the MAC that asks, so an answer tells which question it belongs to.
    """

    host: Host
    ips: Sequence[str]
    interval: float
    asked: list[tuple[float, str]] = field(default_factory=list)
    """When for which IP, by number; the MAC has room for 16 million."""

    def ask(self, ending: threading.Event) -> None:
        """Ask until the event."""
        with packet_socket(LINK, arp.ETH_P_ARP) as raw:
            due = time.monotonic()
            while not ending.wait(max(0.0, due - time.monotonic())):
                due = max(due + self.interval, time.monotonic())
                for ip in self.ips:
                    mac = _MACS + len(self.asked).to_bytes(3, "big")
                    self.asked.append((time.monotonic(), ip))
                    raw.send(arp.question(mac, self.host.ip, ip))

    def number(self, mac: str) -> int | None:
        """Which question this MAC asked; None where it is none of ours."""
        raw = bytes.fromhex(mac.replace(":", ""))
        return int.from_bytes(raw[3:], "big") if raw[:3] == _MACS else None


@contextmanager
def watched(asker: Asker, taps: Sequence[Tap]) -> Iterator[None]:
    """Ask and listen meanwhile."""
    ending, work = threading.Event(), ExitStack()
    loops = [(asker.host, asker.ask), *((tap.host, tap.listen) for tap in taps)]
    threads = [
        threading.Thread(target=host.namespace.run, args=(loop, ending)) for host, loop in loops
    ]
    with work:
        for thread in threads:
            thread.start()
            work.callback(thread.join)
        work.callback(ending.set)
        yield
