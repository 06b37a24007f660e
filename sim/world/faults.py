"""What can go wrong, as plain data, and how it is done to the world. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from sim.world.segment import OBSERVER

if TYPE_CHECKING:
    from sim.world.world import World

SLOW_PERIOD = 0.1
"""The period of Linux' CPU quota, seconds: a slow process stands still for a part of each."""


class FaultKind(StrEnum):
    """The faults. `amount` and `lasts` of a `Fault` mean what stands behind them."""

    POWER_OFF = "power_off"
    """Machine dead; back after `lasts` (None: never), with a new process."""
    KILL = "kill"
    """Process dead, kernel alive: TCP is refused; `lasts` as above."""
    PAUSE = "pause"
    """Process frozen for `lasts`."""
    SLOW = "slow"
    """Process frozen for the share `amount` of every 100 ms."""
    CLOCK_JUMP = "clock_jump"
    """Its clock goes forward by `amount` seconds."""
    LOSS = "loss"
    """Every packet of the network is lost with probability `amount`."""
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    """Packets are held back by up to 20 ms with probability `amount`."""
    DELAY = "delay"
    """`amount` seconds on top of every packet's way."""
    ONE_WAY = "one_way"
    """Nothing gets from the first node to the second."""
    DEAF = "deaf"
    MUTE = "mute"
    STOP = "stop"
    """SIGTERM: the speaker hands over and exits; its machine goes off half a second later. Both are
    back after `lasts`, which has to be longer than that (None: never)."""
    GOSSIP_CUT = "gossip_cut"
    """Port 7946 is dropped between all nodes; frames pass."""
    SWITCH_PAUSE = "switch_pause"
    """The switch forwards nothing."""
    PORT_CUT = "port_cut"
    """The switch drops all frames of the nodes, which do not see it; gossip has another link."""
    CARRIER_LOST = "carrier_lost"
    """The same, and the nodes see it."""
    PARTITION = "partition"
    """The named nodes are cut off from all others."""
    ECHO_LIMITED = "echo_limited"
    """The nodes' kernels (none named: all) answer `amount` echo requests a second, 0: none."""
    ECHO_REPLIES_LOST = "echo_replies_lost"
    """The nodes' kernels drop the echo replies that come in; they answer requests."""
    VM_PAUSE = "vm_pause"
    """Process and kernel stand still, and so does their clock: it never learns of `lasts`."""
    NEW_ADDRESS = "new_address"
    """As POWER_OFF, but the machine comes back with another IP."""
    SAME_NAME = "same_name"
    """Another machine starts whose speaker has the node's name."""
    FLOATING_ADDRESS = "floating_address"
    """An address below all others moves to the node, from whoever had it."""
    FOREIGN_KERNEL = "foreign_kernel"
    """The node's kernel answers ARP for `ips`, whatever its speaker does."""
    FORGED = "forged"
    """A host without a key tells all nodes ten times a second that `ips` are at the node's MAC."""
    NOT_ADMITTED = "not_admitted"
    """The nodes may own nothing by a new configuration, which each speaker reads at a time of its
    own within `amount` seconds."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: from `at` (seconds after the start) for `lasts` seconds, None for ever."""

    at: float
    kind: FaultKind
    nodes: tuple[str, ...] = ()
    lasts: float | None = None
    amount: float = 0.0
    ips: tuple[IPv4Address, ...] = ()

    @property
    def ends(self) -> float:
        """When it is over; a fault without end is over as soon as it happened."""
        return self.at + (self.lasts or 0.0)

    def __str__(self) -> str:
        lasts = "" if self.lasts is None else f" for {self.lasts:.3f} s"
        amount = f" {self.amount:.4g}" if self.amount else ""
        return f"{self.kind.value}{amount} {','.join(self.nodes)}{lasts}"


FORGED_EVERY = 0.1

Undo = Callable[[], None] | None


def apply(world: "World", fault: Fault) -> None:
    """Do a fault to the world now, and plan its end."""
    world.note("-", f"begin {fault}")
    undo = _ACTIONS[fault.kind](world, fault)
    if fault.lasts is not None and undo is not None:
        world.heap.after(fault.lasts, partial(_end, world, fault, undo))


def _end(world: "World", fault: Fault, undo: Callable[[], None]) -> None:
    world.note("-", f"end {fault}")
    undo()


def _crash(world: "World", fault: Fault) -> Undo:
    for name in fault.nodes:
        world.machines[name].kill(power=fault.kind is FaultKind.POWER_OFF)

    def undo() -> None:
        for name in fault.nodes:
            world.restart(name)

    return undo


def _pause(world: "World", fault: Fault) -> Undo:
    for name in fault.nodes:
        world.freeze(name)

    def undo() -> None:
        for name in fault.nodes:
            world.thaw(name)

    return undo


def _slow(world: "World", fault: Fault) -> Undo:
    end = world.now + (fault.lasts or 0.0)

    def period(name: str) -> None:
        if world.now < end and world.freeze(name):
            world.heap.after(SLOW_PERIOD * fault.amount, lambda: world.thaw(name))
        if world.now < end:
            world.heap.after(SLOW_PERIOD, partial(period, name))

    for name in fault.nodes:
        period(name)
    return lambda: None


def _clock_jump(world: "World", fault: Fault) -> Undo:
    for name in fault.nodes:
        process = world.machines[name].process
        if process is not None:
            process.jump(fault.amount, world.now)
    return None


def _conditions(world: "World", fault: Fault) -> Undo:
    conditions = world.network.conditions
    name = "latency" if fault.kind is FaultKind.DELAY else fault.kind.value

    def change(by: float) -> None:
        setattr(conditions, name, max(0.0, getattr(conditions, name) + by))

    change(fault.amount)
    return lambda: change(-fault.amount)


def _one_way(world: "World", fault: Fault) -> Undo:
    source, target = fault.nodes
    world.network.block(source, target)
    return lambda: world.network.block(source, target, by=-1)


def _isolate(world: "World", fault: Fault) -> Undo:
    inbound = fault.kind is FaultKind.DEAF

    def change(by: int) -> None:
        for name in fault.nodes:
            world.network.isolate(name, inbound=inbound, by=by)

    change(1)
    return lambda: change(-1)


def _partition(world: "World", fault: Fault) -> Undo:
    island = world.network.part(fault.nodes)
    return lambda: world.network.heal(island)


def _stop(world: "World", fault: Fault) -> Undo:
    for name in fault.nodes:
        world.stop(name)

    def undo() -> None:
        for name in fault.nodes:
            world.restart(name)

    return undo


def _gossip_cut(world: "World", _fault: Fault) -> Undo:
    world.gossip_cut += 1

    def undo() -> None:
        world.gossip_cut -= 1

    return undo


def _switch_pause(world: "World", _fault: Fault) -> Undo:
    names = [*world.machines, OBSERVER]
    islands = [world.network.part([name]) for name in names]

    def undo() -> None:
        for island in islands:
            world.network.heal(island)

    return undo


def _port_cut(world: "World", fault: Fault) -> Undo:
    world.cut_port(fault.nodes, by=1)
    return lambda: world.cut_port(fault.nodes, by=-1)


def _lose_carrier(world: "World", fault: Fault) -> Undo:
    world.cut_port(fault.nodes, by=1)
    world.set_carrier(fault.nodes, up=False)

    def undo() -> None:
        world.cut_port(fault.nodes, by=-1)
        world.set_carrier(fault.nodes, up=True)

    return undo


def _limit_echoes(world: "World", fault: Fault) -> Undo:
    kernels = [world.machines[name].kernel for name in fault.nodes or world.machines]

    def limit(rate: float | None) -> None:
        for kernel in kernels:
            kernel.limit_echoes(rate)

    limit(fault.amount)
    return lambda: limit(None)


def _lose_echo_replies(world: "World", fault: Fault) -> Undo:
    def change(by: int) -> None:
        for name in fault.nodes:
            world.machines[name].echo_deaf += by

    change(1)
    return lambda: change(-1)


def _vm_pause(world: "World", fault: Fault) -> Undo:
    for name in fault.nodes:
        world.machines[name].pause()

    def undo() -> None:
        for name in fault.nodes:
            world.machines[name].resume(fault.lasts or 0.0)

    return undo


def _new_address(world: "World", fault: Fault) -> Undo:
    for name in fault.nodes:
        world.machines[name].kill(power=True)

    def undo() -> None:
        for name in fault.nodes:
            world.renumber(name)
            world.restart(name)

    return undo


def _same_name(world: "World", fault: Fault) -> Undo:
    for name in fault.nodes:
        world.double(name)
    return None


def _floating_address(world: "World", fault: Fault) -> Undo:
    (name,) = fault.nodes
    world.move_address(name)
    return None


def _foreign_kernel(world: "World", fault: Fault) -> Undo:
    (name,) = fault.nodes
    world.squat(name, fault.ips)
    return None


def _forge(world: "World", fault: Fault) -> Undo:
    (name,) = fault.nodes
    going_on = [True]

    def forge() -> None:
        if going_on:
            world.forge(name, fault.ips)
            world.heap.after(FORGED_EVERY, forge)

    forge()
    return going_on.clear


def _admit_others(world: "World", fault: Fault) -> Undo:
    world.admit(frozenset(world.machines) - frozenset(fault.nodes), fault.amount)
    return None


_ACTIONS: dict[FaultKind, Callable[["World", Fault], Undo]] = {
    FaultKind.POWER_OFF: _crash,
    FaultKind.KILL: _crash,
    FaultKind.PAUSE: _pause,
    FaultKind.SLOW: _slow,
    FaultKind.CLOCK_JUMP: _clock_jump,
    FaultKind.LOSS: _conditions,
    FaultKind.DUPLICATE: _conditions,
    FaultKind.REORDER: _conditions,
    FaultKind.DELAY: _conditions,
    FaultKind.ONE_WAY: _one_way,
    FaultKind.DEAF: _isolate,
    FaultKind.MUTE: _isolate,
    FaultKind.PARTITION: _partition,
    FaultKind.STOP: _stop,
    FaultKind.GOSSIP_CUT: _gossip_cut,
    FaultKind.SWITCH_PAUSE: _switch_pause,
    FaultKind.PORT_CUT: _port_cut,
    FaultKind.CARRIER_LOST: _lose_carrier,
    FaultKind.ECHO_LIMITED: _limit_echoes,
    FaultKind.ECHO_REPLIES_LOST: _lose_echo_replies,
    FaultKind.VM_PAUSE: _vm_pause,
    FaultKind.NEW_ADDRESS: _new_address,
    FaultKind.SAME_NAME: _same_name,
    FaultKind.FLOATING_ADDRESS: _floating_address,
    FaultKind.FOREIGN_KERNEL: _foreign_kernel,
    FaultKind.FORGED: _forge,
    FaultKind.NOT_ADMITTED: _admit_others,
}
