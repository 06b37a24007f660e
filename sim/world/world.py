"""The whole simulation: nodes, wire, faults, and what is noted of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from ownership.election.quorum import QuorumMode
from sim.chance import make_rng
from sim.world.clock import Action, EventHeap
from sim.world.enemy import forgeries
from sim.world.faults import Fault, apply
from sim.world.machine import Identity, Machine, identify
from sim.world.neighbours import Neighbours
from sim.world.network import DATA_RETRY, SYN_RETRY, Network
from sim.world.observer import Observer
from sim.world.process import Process
from sim.world.segment import OBSERVER, OBSERVER_IP, OBSERVER_MAC, Segment
from sim.world.site import make_plans

if TYPE_CHECKING:
    from random import Random

EPOCH = 1_800_000_000.0
"""The time of the start: incarnations are Unix seconds."""
SEEDS = 3
ASK_INTERVAL = 1.0
HAND_OVER_WITHIN, LEAVE_WITHIN, EXIT_POLL, FORWARDS_ON = 0.9, 1.0, 0.01, 0.5
"""Seconds that a stopped speaker may take for its heirs to be heard, and for its goodbye, between
looks whether it is done, and for which its machine goes on after it."""

FLOATING = IPv4Address("10.0.0.1")
"""An address that moves between nodes, below all of theirs."""
RENUMBERED_BY = 0x8000

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
    seeds: int = SEEDS
    uplink: bool = False
    """Gossip has a link of its own, so that a fault of the segment leaves it alone."""
    """So many nodes, the first ones, are those through which all join."""
    secret: bytes | None = None
    """None: gossip in plaintext, for speed, where keys do not matter."""
    quorum: QuorumMode = QuorumMode.OFF
    bites: float = 0.0
    """How likely a speaker has had enough after each piece of work; what arrives meanwhile is read
    between two bites."""


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
        """Return the digest of all lines so far, hex."""
        return self._hash.hexdigest()


class World:
    """Nodes n1, n2, … on one segment. `on_event` sees every member event of every node."""

    def __init__(self, setup: Setup, *, keep_trace: bool = False) -> None:
        self.setup = setup
        self.seed = setup.seed
        self.heap = EventHeap(EPOCH)
        self.network = Network(self.rng("network"))
        self.neighbours = Neighbours(self.rng("neighbours"))
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
        self._by_mac: dict[bytes, Machine] = {}
        self._macs = {OBSERVER_IP: OBSERVER_MAC}
        self.admitted: frozenset[str] | None = None
        """The nodes that may own by the latest configuration; None: all."""
        self.gossip_cut = 0
        """Above 0: port 7946 is dropped between all nodes."""
        for index in range(setup.nodes):
            identity = identify(index)
            if setup.uplink:
                identity = replace(identity, ip=identity.ip.replace("10.0.", "10.9.", 1))
            self._add(identity)
        self.observer = Observer(self.heap, self.segment, self.service_ips, self.forwards)
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
        """Return the nodes whose speaker takes steps."""
        return [machine for machine in self.machines.values() if machine.running]

    def forwards(self, mac: bytes) -> bool:
        """Tell whether the machine with this MAC takes what clients send, and they hear of it."""
        machine = self._by_mac.get(mac)
        return (
            machine is not None and machine.powered and self.segment.joins(OBSERVER, machine.name)
        )

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
            _Exit(self, self.machines[name], process).hand_over()

    def renumber(self, name: str) -> None:
        """Give a node that is down another address; speakers learn of it as of any seed."""
        machine = self.machines[name]
        old = IPv4Address(machine.identity.ip)
        new = old + RENUMBERED_BY
        del self._by_ip[str(old)], self._macs[old]
        machine.renumber(str(new))
        self._by_ip[str(new)], self._macs[new] = machine, machine.identity.mac
        for other in self.machines.values():
            if other.process is not None:
                other.process.set_seeds(self._seeds(), self.now)

    def double(self, name: str) -> None:
        """Start another machine whose speaker has the name of this one's."""
        index = len(self.machines)
        twin = replace(identify(index), name=f"{name}'", node=name)
        self._begin(self._add(twin), ())

    def move_address(self, name: str) -> None:
        """Move the floating address to a node, from whoever has it."""
        for machine in self.machines.values():
            if FLOATING in machine.kernel.ips:
                machine.set_floating(FLOATING, here=False)
        self._macs[FLOATING] = self.machines[name].identity.mac
        self.machines[name].set_floating(FLOATING, here=True)

    def forge(self, name: str, ips: Sequence[IPv4Address]) -> None:
        """Have the nodes hear announcements of IPs that a node did not send, and answers to their
        questions. Clients hear none: nothing that a speaker does saves who believes them."""
        mac = self.machines[name].identity.mac
        for other in self.machines.values():
            if other.name != name:
                ours = IPv4Address(other.identity.link_ip)
                for ip in ips:
                    other.receive_frames(list(forgeries(mac, ip, other.identity.mac, ours)))

    def squat(self, name: str, ips: Sequence[IPv4Address]) -> None:
        """Let a node's kernel answer for service IPs."""
        machine = self.machines[name]
        machine.squat(ips)
        for ip in ips:
            self.observer.seen[ip].squatters.add(machine.identity.mac)

    def admit(self, nodes: frozenset[str], within: float) -> None:
        """Let only these nodes own from now on: each speaker reads it at a time of its own."""
        self.admitted, rng = nodes, self.rng("admit", self.elapsed)
        for name in self.machines:
            self.heap.after(rng.random() * within, partial(self._admit, name, nodes))

    def _admit(self, name: str, nodes: frozenset[str]) -> None:
        process = self.machines[name].process
        if process is not None:
            process.set_candidates(nodes, self.now)

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
        """Return a source of chance of its own for a part of this run."""
        return make_rng(self.seed, *names)

    # ---- what nodes do

    def keyring(self) -> Keyring | None:
        """Return the key ring of a new life of a node."""
        secret = self.setup.secret
        return None if secret is None else Keyring([metallb_key(secret)])

    def mac_of(self, ip: IPv4Address, asker: Machine) -> bytes | None:
        """Return the MAC of a host of the segment, as far as a node's kernel knows it now."""
        mac = self._macs.get(ip)
        target = None if mac is None else self._by_mac.get(mac)
        waits = target is not None and self.neighbour_wait(asker, target)
        return None if waits else mac

    def host_of(self, mac: bytes) -> str:
        """Name the node with this MAC; empty for another host."""
        machine = self._by_mac.get(mac)
        return "" if machine is None else machine.name

    def note_event(self, machine: Machine, event: Event) -> None:
        """Note a member event."""
        if isinstance(event, MemberEvent):
            member = event.member
            what = f"{type(event).__name__} {member.name} {member.state.name} {member.incarnation}"
            self.note(machine.name, what)
            self.on_event(machine, event)

    def send_datagram(self, machine: Machine, datagram: Datagram) -> None:
        """Carry a UDP packet."""
        target = self._by_ip.get(datagram.to.ip)
        if target is None or self.gossip_cut or self.neighbour_wait(machine, target):
            return
        arrive = partial(target.receive_datagram, datagram.data, machine.identity.address)
        heap = self.heap
        for delay in self.network.copies(machine.name, target.name):
            heap.at(heap.now + delay, arrive)

    def neighbour_wait(self, machine: Machine, target: Machine) -> float:
        """Return the seconds until a node's kernel can send to another; see `neighbours`."""
        network, source, to = self.network, machine.name, target.name
        reaches = target.powered and network.connects(source, to) and network.connects(to, source)
        return self.neighbours.wait(source, to, reaches=reaches, now=self.heap.now)

    def dial(self, machine: Machine, dial: Dial, life: int) -> None:
        """Open a conversation: refused by a kernel, accepted by a process even if it is frozen."""
        conversation = _Conversation(self, machine, dial, life)
        self.heap.after(dial.timeout, conversation.give_up)
        conversation.begin()

    def stream_to(self, dial: Dial) -> Machine | None:
        """Return the machine that a conversation is for, if there is one that can take it."""
        target = self._by_ip.get(dial.to.ip)
        return None if self.gossip_cut or target is None or not target.powered else target

    def _add(self, identity: Identity) -> Machine:
        machine = Machine(self, identity, self.setup.config)
        self.machines[machine.name] = self._by_ip[identity.ip] = machine
        self._by_mac[identity.mac] = machine
        self._macs[IPv4Address(identity.link_ip)] = identity.mac
        self.segment.plug(machine.name, identity.mac, machine.receive_frames)
        return machine

    def _seeds(self) -> list[Address]:
        machines = list(self.machines.values())[: self.setup.seeds]
        return [machine.identity.address for machine in machines]

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
        if rows:
            swim.adopt(rows, self.now)
        swim.set_seeds(self._seeds(), self.now)
        if machine.process is not None:
            contact = machine.process.cores.contact
            contact.note_seeking(self.now)
            if rows:
                # The table is what an exchange would have brought.
                contact.handle_exchange(self.now, True, self.now)
            machine.process.start(self.now)


class _Exit:
    """The end of a speaker that was told to go: the steps of `speaker.leaving`, looked at often."""

    def __init__(self, world: World, machine: Machine, process: Process) -> None:
        self._world = world
        self._machine = machine
        self._process = process
        self._until = 0.0

    def hand_over(self) -> None:
        """Answer on until the heirs are heard, or their time is over; first the Clarions."""
        busy = partial(self._process.handing_over, foreign=False)
        self._within(HAND_OVER_WITHIN, busy, self._leave_gossip)

    def _leave_gossip(self) -> None:
        self._process.leave(self._world.now)
        busy = partial(self._process.handing_over, foreign=True)
        self._within(HAND_OVER_WITHIN, busy, self._withdraw)

    def _withdraw(self) -> None:
        self._process.cores.ownership.withdraw_all()
        self._within(LEAVE_WITHIN, lambda: not self._process.swim.left, self._end)

    def _end(self) -> None:
        self._machine.kill(power=False)
        self._world.heap.after(FORWARDS_ON, partial(self._machine.kill, power=True))

    def _within(self, seconds: float, busy: Callable[[], bool], then: Action) -> None:
        self._until = self._world.now + seconds
        self._look(busy, then)

    def _look(self, busy: Callable[[], bool], then: Action) -> None:
        if self._machine.process is not self._process:
            return
        if busy() and self._world.now < self._until:
            self._world.heap.after(EXIT_POLL, partial(self._look, busy, then))
        else:
            then()


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

    def begin(self, wait: float = SYN_RETRY) -> None:
        """Send the SYN; what gets nowhere is sent again, each time after twice as long."""
        target = self._world.stream_to(self._dial)
        if target is not None:
            held_up = self._world.neighbour_wait(self._dialler, target)
            if held_up:
                self._hold(target, held_up, wait)
                return
            delay = self._world.network.round_trip(self._dialler.name, target.name)
            if delay is not None:
                self._world.heap.after(delay, partial(self._reach, target))
                return
        if self._open:
            self._world.heap.after(wait, partial(self.begin, 2 * wait))

    def _hold(self, target: Machine, seconds: float, wait: float) -> None:
        """Keep the SYN until the kernel asks for the MAC again, or learns it before."""
        waiting = [wait]

        def go_on() -> None:
            if waiting:
                self.begin(waiting.pop())

        self._world.neighbours.hold(self._dialler.name, target.name, go_on)
        self._world.heap.after(seconds, go_on)

    def _reach(self, target: Machine) -> None:
        """The SYN has arrived."""
        process = target.process
        if not target.powered:
            return
        if process is None:
            self._finish(StreamFailure.REFUSED)
        else:
            self._carry(self._dialler, target, partial(self._ask, target, process.life))

    def _carry(
        self, source: Machine, target: Machine, then: Action, wait: float = DATA_RETRY
    ) -> None:
        """Carry one direction; where it is cut, data are sent again as the SYN is."""
        delay = None
        if self._world.stream_to(self._dial) is not None:
            delay = self._world.network.stream(source.name, target.name)
        if delay is not None:
            self._world.heap.after(delay, then)
        elif self._open:
            self._world.heap.after(wait, partial(self._carry, source, target, then, 2 * wait))

    def _ask(self, target: Machine, life: int) -> None:
        process = target.process
        if process is not None and process.life == life:
            source = Address(self._dialler.identity.ip, 40_000)
            answer = partial(self._answer, target)
            process.stream(self._dial.data, source, answer, self._world.now)
        elif target.powered:
            self._finish(StreamFailure.CLOSED)

    def _answer(self, target: Machine, data: bytes | None) -> None:
        target.count_stream(data or b"")
        outcome = StreamFailure.CLOSED if data is None else data
        self._carry(target, self._dialler, partial(self._finish, outcome))

    def _finish(self, outcome: bytes | StreamFailure) -> None:
        if self._open:
            self._open = False
            self._dialler.receive_reply(self._life, self._dial.id, outcome)
