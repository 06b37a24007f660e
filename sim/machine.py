"""One node: its kernel, and the speaker process on it, which may come and go."""

from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING

from gossip import mark
from gossip.config import Config
from gossip.courier import Courier
from gossip.io import Address, Datagram, Dial, Event, StreamFailure
from gossip.mark import Mark
from gossip.swim import Swim
from link.frame import EtherType
from sim.announcing import Announcing, Site
from sim.kernel import ETHERNET, Echo, Kernel, decode_echo, frame_of
from sim.process import Process
from sim.segment import OBSERVER_IP

if TYPE_CHECKING:
    from sim.world import World
    from speaker.election import Move

GOSSIP_PORT = 7946
IP_UDP_HEADERS = 28
PREFIX = 16
"""Of the segment's subnet: all nodes, and the observer, are neighbours."""
_ARP = EtherType.ARP.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a node is."""

    name: str
    ip: str
    mac: bytes

    @property
    def address(self) -> Address:
        """Where it gossips."""
        return Address(self.ip, GOSSIP_PORT)


def identify(index: int) -> Identity:
    """Name the node with this number, from 0."""
    number = index + 1
    low = number.to_bytes(2, "big")
    return Identity(f"n{number}", f"10.0.{low[0]}.{low[1]}", b"\x02\x00\x00\x00" + low)


class Machine:
    """A node: `running` if its speaker takes steps, `powered` if its kernel does."""

    def __init__(self, world: "World", identity: Identity, config: Config) -> None:
        self.identity = identity
        self.name = identity.name
        self.powered = True
        self.process: Process | None = None
        self.lives = 0
        self.bytes_sent = 0
        self.packets_sent = 0
        self.stream_bytes = 0
        self._world = world
        self._heap = world.heap
        self._config = config
        services = [plan.ips[0] for plan in world.plans.values()]
        own = IPv4Address(identity.ip)
        self._packed_ip = IPv4Address(identity.ip).packed
        self.kernel = Kernel(
            identity.mac, own, [ip for ip in services if isinstance(ip, IPv4Address)]
        )

    @property
    def running(self) -> bool:
        """Whether the process is there and not frozen."""
        return self.process is not None and not self.process.frozen

    # ---- life

    def start(self) -> Swim:
        """Start a process, a new life of the node; its incarnation is the time, as always."""
        now, self.powered = self._world.now, True
        self.lives += 1
        rng = self._world.rng(self.name, self.lives)
        fast = self._world.setup.failover_after
        swim = Swim(
            self._config,
            name=self.name,
            address=self.identity.address,
            keyring=None,
            rng=rng,
            nonce=partial(rng.randbytes, 12),
            incarnation=int(now),
            now=now,
            meta=self.meta(self.lives),
        )
        site = Site(
            self.name,
            self.identity.mac,
            IPv4Interface(f"{self.identity.ip}/{PREFIX}"),
            OBSERVER_IP,
            self._world.plans,
            fast,
        )
        announcing = Announcing(site, self._world.rng(self.name, self.lives, "watch"), now)
        courier = Courier(swim, rng, self._start_id(self.lives))
        self.process = Process(swim, courier, announcing, self, self.lives)
        return swim

    def meta(self, life: int) -> bytes:
        """What a life of the node says of itself: our mark, if it has use for it."""
        fast = self._world.setup.failover_after
        return b"" if fast is None else mark.encode(Mark(self._start_id(life)))

    def _start_id(self, life: int) -> int:
        rng = self._world.rng(self.name, life, "start")
        return rng.getrandbits(mark.START_ID_BITS)

    def kill(self, *, power: bool) -> None:
        """End the process at once, with `power` the machine too."""
        self.process = None
        self.powered = self.powered and not power

    # ---- what the process wants

    def wake_at(self, when: float, life: int) -> None:
        """Call the process at that time, if it is still the same."""
        self._heap.at(when, partial(self._wake, when, life))

    def send_datagram(self, datagram: Datagram) -> None:
        """Send by UDP."""
        self.packets_sent += 1
        self.bytes_sent += len(datagram.data) + IP_UDP_HEADERS
        self._world.send_datagram(self, datagram)

    def dial(self, dial: Dial) -> None:
        """Open a TCP conversation."""
        self.stream_bytes += len(dial.data)
        self._world.dial(self, dial, self.lives)

    def send_frame(self, frame: bytes) -> None:
        """Send an Ethernet frame."""
        self._world.segment.send(self.name, frame)

    def send_echo(self, ip: IPv4Address, token: bytes) -> None:
        """Send an echo request, as the kernel does for a raw socket."""
        target = self._world.mac_of(str(ip))
        if target is not None:
            echo = Echo(IPv4Address(self.identity.ip), ip, True, 0, 0, token)
            self.send_frame(frame_of(echo, self.identity.mac, target))

    def happened(self, event: Event) -> None:
        """Note what gossip reported."""
        self._world.happened(self, event)

    def moved(self, move: "Move") -> None:
        """Note what the election reported."""
        self._world.note(self.name, f"owner {move.service} {move.after}")

    # ---- what arrives

    def receive_datagram(self, data: bytes, source: Address) -> None:
        """Take a UDP packet; without a process the kernel's ICMP error is ignored by all."""
        if self.process is not None:
            self.process.datagram(data, source, self._heap.now)

    def receive_reply(self, life: int, dial: int, outcome: bytes | StreamFailure) -> None:
        """Take the outcome of a conversation that the process of that life began."""
        if self.process is not None and self.process.life == life:
            self.process.reply(dial, outcome, self._heap.now)

    def receive_frame(self, frame: bytes) -> None:
        """Take an Ethernet frame: the kernel first, then the speaker's ARP socket."""
        if not self.powered:
            return
        if self.process is not None and not is_arp(frame) and frame[:6] == self.identity.mac:
            echo = decode_echo(frame[ETHERNET:])
            if echo is not None and not echo.request:
                self.process.echo(echo, self._world.now)
                return
        if not is_arp(frame) or asks_for(frame, self._packed_ip):
            answer = self.kernel.receive(frame)
            if answer is not None:
                self.send_frame(answer)
                return
        if self.process is not None and is_arp(frame):
            self.process.frame(frame, self._heap.now)

    def _wake(self, when: float, life: int) -> None:
        if self.process is not None and self.process.life == life:
            self.process.wake(when, self._heap.now)


def is_arp(frame: bytes) -> bool:
    """Tell whether the speaker's packet socket takes a frame."""
    return frame[12:14] == _ARP


def asks_for(frame: bytes, ip: bytes) -> bool:
    """Tell whether an ARP frame is about this IP: a cheap look before the kernel's real one."""
    return frame[38:42] == ip
