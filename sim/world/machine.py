"""One node: its kernel, and the speaker process on it, which may come and go."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING

from gossip.config import Config
from gossip.hooks import Hooks
from gossip.io import Address, Datagram, Dial, Event, StreamFailure
from gossip.swim import Swim
from link.frame import MINIMUM_LENGTH
from ownership.letters import mark
from ownership.letters.courier import Courier
from ownership.letters.mark import Mark
from sim.world.cores import Cores
from sim.world.kernel import Echo, Frame, Kernel
from sim.world.process import Process
from sim.world.segment import OBSERVER_IP
from sim.world.site import Site

if TYPE_CHECKING:
    from random import Random

    from ownership.io import Move
    from sim.world.world import World

GOSSIP_PORT = 7946
IP_UDP_HEADERS = 28
_TARGET_IP = slice(38, 42)
"""Where an ARP frame has the IP that it is about: a cheap look before the kernel's real one."""
PREFIX = 16
"""Of the segment's subnet: all nodes, and the observer, are neighbours."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a node is: `name` is its host's, the only one of that name; `node` is what its speaker
    calls itself."""

    name: str
    ip: str
    mac: bytes
    node: str
    link_ip: str = ""
    """Its address on the segment, where that is not the one by which it gossips."""

    @property
    def address(self) -> Address:
        """Where it gossips."""
        return Address(self.ip, GOSSIP_PORT)


def identify(index: int) -> Identity:
    """Name the node with this number, from 0."""
    number = index + 1
    low = number.to_bytes(2, "big")
    name = f"n{number}"
    ip = f"10.0.{low[0] + 1}.{low[1]}"
    return Identity(name, ip, b"\x02\x00\x00\x00" + low, name, ip)


class Machine:
    """A node: `running` if its speaker takes steps, `powered` if its kernel does."""

    def __init__(self, world: "World", identity: Identity, config: Config) -> None:
        self.identity = identity
        self.name = identity.name
        self.powered = True
        self.echo_deaf = 0
        """Above 0: a filter drops the echo replies that come in."""
        self.process: Process | None = None
        self.lives = 0
        self.bytes_sent = 0
        self.packets_sent = 0
        self.stream_bytes = 0
        self.streams = 0
        self.echo_bytes = 0
        self.arp_bytes = 0
        self._world = world
        self._heap = world.heap
        self._config = config
        services = [plan.ips[0] for plan in world.plans.values()]
        self._services = [ip for ip in services if isinstance(ip, IPv4Address)]
        self._ip = IPv4Address(identity.link_ip)
        self.kernel = Kernel(identity.mac, self._ip, self._services)
        self._squatted: frozenset[bytes] = frozenset()

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
            name=self.identity.node,
            address=self.identity.address,
            keyring=self._world.keyring(),
            rng=rng,
            nonce=partial(rng.randbytes, 12),
            incarnation=int(now),
            now=now,
            meta=self.meta(self.lives),
            hooks=Hooks(of_our_kind=mark.is_marked),
        )
        site = Site(
            self.identity.node,
            self.identity.mac,
            IPv4Interface(f"{self.identity.link_ip}/{PREFIX}"),
            OBSERVER_IP,
            self._world.plans,
            fast,
            self._world.setup.quorum,
            self._world.setup.bites,
        )
        cores = Cores(site, self._rng("watch"), self._rng("bites"), now)
        courier = Courier(swim, rng, self._start_id(self.lives))
        self.process = Process(swim, courier, cores, self, self.lives)
        return swim

    def _rng(self, purpose: str) -> "Random":
        return self._world.rng(self.name, self.lives, purpose)

    def meta(self, life: int) -> bytes:
        """What a life of the node says of itself: our mark, if it has use for it."""
        fast = self._world.setup.failover_after
        return b"" if fast is None else mark.encode(Mark(self._start_id(life)))

    def _start_id(self, life: int) -> int:
        rng = self._world.rng(self.name, life, "start")
        return rng.getrandbits(mark.START_ID_BITS)

    def renumber(self, ip: str) -> None:
        """Have another address from the next start on."""
        self.identity = replace(self.identity, ip=ip, link_ip=ip)
        self._ip = IPv4Address(ip)
        self.kernel = Kernel(self.identity.mac, self._ip, self._services)

    def set_floating(self, ip: IPv4Address, *, here: bool) -> None:
        """Take an address that moves between nodes, or give it up: a /32, as with VRRP."""
        if here:
            self.kernel.add_address(ip)
        else:
            self.kernel.remove_address(ip)
        if self.process is not None:
            floating = frozenset({IPv4Interface(ip)}) if here else frozenset[IPv4Interface]()
            self.process.set_floating(floating, self._world.now)

    def squat(self, ips: Sequence[IPv4Address]) -> None:
        """Let the kernel answer for service IPs, as one does that has them on another link; the
        speaker hears the questions all the same."""
        for ip in ips:
            self.kernel.add_address(ip)
        self._squatted = frozenset(ip.packed for ip in ips)

    def pause(self) -> None:
        """Stand still with everything, as a virtual machine does."""
        self.powered = False
        if self.process is not None:
            self.process.freeze(self._world.now)

    def resume(self, seconds: float) -> None:
        """Go on after so many seconds, of which the machine's clock knows nothing."""
        self.powered = True
        if self.process is not None:
            self.process.hold_back(seconds)
            self.process.thaw(self._world.now)

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
        self.count_stream(dial.data)
        self._world.dial(self, dial, self.lives)

    def count_stream(self, data: bytes) -> None:
        """Count one side of a TCP conversation."""
        self.streams += 1
        self.stream_bytes += len(data)

    def send_frame(self, frame: Frame) -> None:
        """Send an Ethernet frame."""
        if isinstance(frame, Echo):
            self.echo_bytes += MINIMUM_LENGTH
        else:
            self.arp_bytes += len(frame)
        self._world.segment.send(self.name, frame)

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """Send Ethernet frames, one behind the other."""
        self.arp_bytes += sum(map(len, frames))
        self._world.segment.send_all(self.name, frames)

    def send_echo(self, ip: IPv4Address, token: bytes) -> None:
        """Send an echo request, as the kernel does for a raw socket."""
        target = self._world.mac_of(ip, self)
        if target is not None:
            self.send_frame(Echo(target, self.identity.mac, self._ip, ip, True, token))

    def note_event(self, event: Event) -> None:
        """Note what gossip reported."""
        self._world.note_event(self, event)

    def note_move(self, move: "Move") -> None:
        """Note what the election reported."""
        self._world.note(self.name, f"owner {move.service} {move.after}")

    # ---- what arrives

    def receive_datagram(self, data: bytes, source: Address) -> None:
        """Take a UDP packet; without a process the kernel's ICMP error is ignored by all."""
        if self.process is not None and self.powered:
            self.process.datagram(data, source, self._heap.now)

    def receive_reply(self, life: int, dial: int, outcome: bytes | StreamFailure) -> None:
        """Take the outcome of a conversation that the process of that life began."""
        if self.process is not None and self.process.life == life:
            self.process.reply(dial, outcome, self._heap.now)

    def receive_frames(self, frames: Sequence[Frame]) -> None:
        """Take Ethernet frames: the kernel first, then the speaker's ARP socket."""
        if not self.powered:
            return
        heard = []
        for frame in frames:
            if isinstance(frame, Echo):
                self._receive_echo(frame)
                continue
            target = frame[_TARGET_IP]
            own = target in self.kernel.packed and self._answer(frame)
            if not own or target in self._squatted:
                heard.append(frame)
        if heard and self.process is not None:
            self.process.frames(heard, self._heap.now)

    def _answer(self, frame: bytes) -> bool:
        answer = self.kernel.answer_arp(frame)
        if answer is not None:
            self._world.neighbours.introduce(self._world.host_of(answer[:6]), self.name)
            self.send_frame(answer)
        return answer is not None

    def _receive_echo(self, echo: Echo) -> None:
        if echo.request:
            answer = self.kernel.answer_echo(echo, self._heap.now)
            if answer is not None:
                self.send_frame(answer)
        elif self.process is not None and echo.to_mac == self.identity.mac and not self.echo_deaf:
            self.process.echo(echo, self._heap.now)

    def _wake(self, when: float, life: int) -> None:
        if self.process is not None and self.process.life == life:
            self.process.wake(when, self._heap.now)
