"""The whole simulation: nodes, wire, faults, and what is noted of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from gossip.config import LAN, Config
from gossip.io import (
    Address,
    Datagram,
    Dial,
    Event,
    Gone,
    Joined,
    Recovered,
    StreamFailure,
    Suspected,
    Updated,
)
from gossip.wire.crypto import Keyring, metallb_key
from gossip.wire.messages import NodeState, PushPull, State
from gossip.wire.packet import MAX_STREAM
from gossip.wire.streambody import decode_stream, encode_stream
from sim.announcing import make_plans
from sim.chance import make_rng
from sim.clock import EventHeap
from sim.faults import Fault, apply
from sim.machine import Machine, identify
from sim.network import Network
from sim.segment import OBSERVER_IP, OBSERVER_MAC, Observer, Segment
from speaker.quorum import Mode

if TYPE_CHECKING:
    from random import Random

EPOCH = 1_800_000_000.0
"""The time of the start: incarnations are Unix seconds."""
SEEDS = 3
ASK_INTERVAL = 1.0
HAND_OVER_WITHIN, EXIT_POLL, FORWARDS_ON = 0.9, 0.01, 0.5
"""Seconds that a stopped speaker may take, between looks whether it is done, and for which its
machine goes on after it."""

MemberEvent = Joined | Suspected | Recovered | Gone | Updated


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a run begins with."""

    nodes: int
    seed: int
    services: int = 4
    first_service: int = 0
    """The place of the first service IP after FIRST_SERVICE: who owns which follows from it."""
    converged: bool = True
    config: Config = LAN
    failover_after: float | None = None
    """Seconds, with witnesses; None: memberlist's verdicts alone, and a tenth of the events."""
    ask_interval: float = ASK_INTERVAL
    secret: bytes | None = None
    """None: gossip in plaintext, for speed, where keys do not matter."""
    quorum: Mode = Mode.OFF


class Trace:
    """The ordered state changes: their number, their digest, and (if asked for) their text."""

    def __init__(self, *, keep: bool) -> None:
        self.lines: list[str] = []
        self.count = 0
        self._keep = keep
        self._hash = sha256()

    def add(self, line: str) -> None:
        """Append a line."""
        self.count += 1
        self._hash.update(line.encode() + b"\n")
        if self._keep:
            self.lines.append(line)

    def digest(self) -> str:
        """Give the digest of all lines so far, hex."""
        return self._hash.hexdigest()


class World:
    """Nodes n1, n2, … on one segment. `on_event` sees every member event of every node."""

    def __init__(self, setup: Setup, *, keep_trace: bool = False) -> None:
        self.setup = setup
        self.seed = setup.seed
        self.heap = EventHeap(EPOCH)
        self.network = Network(self.rng("network"))
        self.segment = Segment(self.heap, self.network)
        voters = frozenset(identify(index).name for index in range(setup.nodes))
        self.plans = make_plans(setup.services, setup.first_service, voters)
        self.service_ips = [
            ip for plan in self.plans.values() for ip in plan.ips if isinstance(ip, IPv4Address)
        ]
        self.trace = Trace(keep=keep_trace)
        self.on_event: Callable[[Machine, MemberEvent], None] = lambda machine, event: None
        self.machines: dict[str, Machine] = {}
        self._by_ip: dict[str, Machine] = {}
        self._macs = {OBSERVER_IP: OBSERVER_MAC}
        self.gossip_cut = 0
        """Above 0: port 7946 is dropped between all nodes."""
        for index in range(setup.nodes):
            self._add(index)
        self.observer = Observer(self.heap, self.segment, self.service_ips)
        self.observer.on_change = lambda ip, mac: self.note("observer", f"believes {ip} {mac}")

    @property
    def now(self) -> float:
        """The time, seconds; starts at EPOCH."""
        return self.heap.now

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.heap.now - EPOCH

    def start(self, faults: Sequence[Fault]) -> None:
        """Start all nodes and plan the faults."""
        rows = self._rows() if self.setup.converged else ()
        for machine in self.machines.values():
            self._begin(machine, rows)
        for fault in faults:
            self.heap.at(EPOCH + fault.at, partial(apply, self, fault))
        if self.plans:
            self.observer.ask(self.setup.ask_interval)

    def run(self, until: float) -> None:
        """Run up to `until` seconds after the start."""
        self.heap.run_until(EPOCH + until)

    def note(self, who: str, what: str) -> None:
        """Write a state change into the trace."""
        self.trace.add(f"{self.elapsed:.6f} {who} {what}")

    def running(self) -> list[Machine]:
        """Give the nodes whose speaker takes steps."""
        return [machine for machine in self.machines.values() if machine.running]

    # ---- what faults do

    def restart(self, name: str) -> None:
        """Start a node again, if nothing else did."""
        machine = self.machines[name]
        if machine.process is None:
            self._begin(machine, ())

    def freeze(self, name: str) -> bool:
        """Freeze a node's process; false where there is none that runs."""
        process = self.machines[name].process
        if process is None or process.frozen:
            return False
        process.freeze(self.now)
        return True

    def stop(self, name: str) -> None:
        """Tell a node's speaker to go; its machine follows."""
        process = self.machines[name].process
        if process is not None:
            process.stop(self.now)
            self._await_exit(name, process.life, self.now + HAND_OVER_WITHIN)

    def _await_exit(self, name: str, life: int, until: float) -> None:
        machine = self.machines[name]
        process = machine.process
        if process is None or process.life != life:
            return
        if process.handing_over and self.now < until:
            self.heap.after(EXIT_POLL, partial(self._await_exit, name, life, until))
            return
        process.leave(self.now)
        self.heap.after(EXIT_POLL, partial(machine.kill, power=False))
        self.heap.after(FORWARDS_ON, partial(machine.kill, power=True))

    def cut_port(self, names: Sequence[str], by: int) -> None:
        """Drop the nodes' frames at the switch; `by=-1` takes one such fault back."""
        for name in names:
            self.segment.cut(name, by)

    def set_carrier(self, names: Sequence[str], *, up: bool) -> None:
        """Let the nodes see that their announcing link lost its carrier, or has it again."""
        for name in names:
            process = self.machines[name].process
            if process is not None:
                process.set_carrier(up, self.now)

    def thaw(self, name: str) -> None:
        """Let a node's process run again."""
        process = self.machines[name].process
        if process is not None and process.frozen:
            process.thaw(self.now)

    def rng(self, *names: object) -> "Random":
        """Give a part of this run its own source of chance."""
        return make_rng(self.seed, *names)

    # ---- what nodes do

    def keyring(self) -> Keyring | None:
        """Give the key ring of a new life of a node."""
        secret = self.setup.secret
        return None if secret is None else Keyring([metallb_key(secret)])

    def mac_of(self, ip: IPv4Address) -> bytes | None:
        """Give the MAC of a host of the segment."""
        return self._macs.get(ip)

    def happened(self, machine: Machine, event: Event) -> None:
        """Note a member event."""
        if isinstance(event, MemberEvent):
            member = event.member
            what = f"{type(event).__name__} {member.name} {member.state.name} {member.incarnation}"
            self.note(machine.name, what)
            self.on_event(machine, event)

    def send_datagram(self, machine: Machine, datagram: Datagram) -> None:
        """Carry a UDP packet."""
        target = self._by_ip.get(datagram.to.ip)
        if target is None or self.gossip_cut:
            return
        arrive = partial(target.receive_datagram, datagram.data, machine.identity.address)
        heap = self.heap
        for delay in self.network.copies(machine.name, target.name):
            heap.at(heap.now + delay, arrive)

    def dial(self, machine: Machine, dial: Dial, life: int) -> None:
        """Open a conversation: refused by a kernel, accepted by a process even if it is frozen."""
        conversation = _Conversation(self, machine, dial, life)
        self.heap.after(dial.timeout, conversation.give_up)
        target = self._by_ip.get(dial.to.ip)
        if target is None or self.gossip_cut:
            return
        delay = self.network.round_trip(machine.name, target.name)
        if delay is not None:
            self.heap.after(delay, partial(conversation.reach, target))

    def _add(self, index: int) -> None:
        machine = Machine(self, identify(index), self.setup.config)
        self.machines[machine.name] = self._by_ip[machine.identity.ip] = machine
        self._macs[IPv4Address(machine.identity.ip)] = machine.identity.mac
        self.segment.plug(machine.name, machine.identity.mac, machine.receive_frames)

    def _rows(self) -> tuple[NodeState, ...]:
        vsn = self.setup.config.vsn
        rows = tuple(
            NodeState(
                bytes(int(part) for part in machine.identity.ip.split(".")),
                int(self.now),
                machine.meta(1) or None,
                machine.name,
                machine.identity.address.port,
                State.ALIVE,
                vsn,
            )
            for machine in self.machines.values()
        )
        # As one member would have sent them, so that equal rows are one object to everybody.
        told = decode_stream(encode_stream(PushPull(False, rows)), MAX_STREAM)
        return told.nodes if isinstance(told, PushPull) else rows

    def _begin(self, machine: Machine, rows: Sequence[NodeState]) -> None:
        self.note(machine.name, "start")
        swim = machine.start()
        seeds = [other.identity.address for other in self.machines.values()][:SEEDS]
        if rows:
            swim.adopt(rows, self.now)
        swim.set_seeds(seeds, self.now)
        if machine.process is not None:
            contact = machine.process.announcing.contact
            contact.seeking(self.now)
            if rows:
                # The table is what an exchange would have brought.
                contact.exchanged(self.now, self.now)
            machine.process.start(self.now)


class _Conversation:
    """One TCP connection, from the dial to the reply."""

    def __init__(self, world: World, dialler: Machine, dial: Dial, life: int) -> None:
        self._world = world
        self._dialler = dialler
        self._dial = dial
        self._life = life
        self._open = True

    def give_up(self) -> None:
        """The dialler's own deadline."""
        self._finish(StreamFailure.TIMEOUT)

    def reach(self, target: Machine) -> None:
        """The SYN has arrived."""
        process = target.process
        if not target.powered:
            return
        if process is None:
            self._finish(StreamFailure.REFUSED)
            return
        delay = self._world.network.stream(self._dialler.name, target.name)
        if delay is not None:
            self._world.heap.after(delay, partial(self._ask, target, process.life))

    def _ask(self, target: Machine, life: int) -> None:
        process = target.process
        if process is not None and process.life == life:
            source = Address(self._dialler.identity.ip, 40_000)
            answer = partial(self._answer, target)
            process.stream(self._dial.data, source, answer, self._world.now)
        elif target.powered:
            self._finish(StreamFailure.CLOSED)

    def _answer(self, target: Machine, data: bytes | None) -> None:
        delay = self._world.network.stream(target.name, self._dialler.name)
        target.streamed(data or b"")
        if delay is not None:
            outcome = StreamFailure.CLOSED if data is None else data
            self._world.heap.after(delay, partial(self._finish, outcome))

    def _finish(self, outcome: bytes | StreamFailure) -> None:
        if self._open:
            self._open = False
            self._dialler.receive_reply(self._life, self._dial.id, outcome)
