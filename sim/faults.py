"""What can go wrong, as plain data, and how it is done to the world. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from sim.segment import OBSERVER

if TYPE_CHECKING:
    from sim.world import World

SLOW_PERIOD = 0.1
"""The period of Linux' CPU quota, seconds: a slow process stands still for a part of each."""


class Kind(StrEnum):
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
    """SIGTERM: the speaker hands over and exits; its machine goes off half a second later."""
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


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: from `at` (seconds after the start) for `lasts` seconds, None for ever."""

    at: float
    kind: Kind
    nodes: tuple[str, ...] = ()
    lasts: float | None = None
    amount: float = 0.0

    @property
    def ends(self) -> float:
        """When it is over; a fault without end is over as soon as it happened."""
        return self.at + (self.lasts or 0.0)

    def __str__(self) -> str:
        lasts = "" if self.lasts is None else f" for {self.lasts:.3f} s"
        amount = f" {self.amount:.4g}" if self.amount else ""
        return f"{self.kind.value}{amount} {','.join(self.nodes)}{lasts}"


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
        world.machines[name].kill(power=fault.kind is Kind.POWER_OFF)

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
    name = "latency" if fault.kind is Kind.DELAY else fault.kind.value

    def change(by: float) -> None:
        setattr(conditions, name, max(0.0, getattr(conditions, name) + by))

    change(fault.amount)
    return lambda: change(-fault.amount)


def _one_way(world: "World", fault: Fault) -> Undo:
    source, target = fault.nodes
    world.network.block(source, target)
    return lambda: world.network.block(source, target, by=-1)


def _isolate(world: "World", fault: Fault) -> Undo:
    inbound = fault.kind is Kind.DEAF

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
    return None


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


def _carrier_lost(world: "World", fault: Fault) -> Undo:
    world.cut_port(fault.nodes, by=1)
    world.set_carrier(fault.nodes, up=False)

    def undo() -> None:
        world.cut_port(fault.nodes, by=-1)
        world.set_carrier(fault.nodes, up=True)

    return undo


_ACTIONS: dict[Kind, Callable[["World", Fault], Undo]] = {
    Kind.POWER_OFF: _crash,
    Kind.KILL: _crash,
    Kind.PAUSE: _pause,
    Kind.SLOW: _slow,
    Kind.CLOCK_JUMP: _clock_jump,
    Kind.LOSS: _conditions,
    Kind.DUPLICATE: _conditions,
    Kind.REORDER: _conditions,
    Kind.DELAY: _conditions,
    Kind.ONE_WAY: _one_way,
    Kind.DEAF: _isolate,
    Kind.MUTE: _isolate,
    Kind.PARTITION: _partition,
    Kind.STOP: _stop,
    Kind.GOSSIP_CUT: _gossip_cut,
    Kind.SWITCH_PAUSE: _switch_pause,
    Kind.PORT_CUT: _port_cut,
    Kind.CARRIER_LOST: _carrier_lost,
}
