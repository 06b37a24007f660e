"""`python -m sim.cost`: what a speaker costs while nothing happens, in clusters of several sizes.

Bytes are those of the frames that a node sends, as `netns-lab/lab cost` counts them at a real link:
gossip (encrypted and compressed, as by default), echoes of both roles, ARP. TCP is reckoned with
its handshake and acknowledgements. The processor's time is that of the cores and of the simulator
around them; what a real speaker spends in asyncio and in the kernel comes on top, and hardly grows
with the cluster: so the share at 8 nodes stands beside the real one, and that at 50 beside it.
"""

import time
from dataclasses import dataclass
from math import ceil

import click

from gossip.config import LAN
from ownership.liveness.targets import FAILOVER_AFTER
from sim.run import quiet_collector
from sim.world.machine import Machine
from sim.world.world import Setup, World

QUIET_AFTER = 15.0
"""Seconds of a run until all is told and announced."""
BYTES_LIMIT, CPU_LIMIT = 6 * 1024, 2.0
ETHERNET = 14
TCP_PACKET, TCP_PACKETS, TCP_DATA = 66, 4, 1_448
"""Bytes of a packet without data, packets of a conversation that carry none, data of a full one."""
NEVER = 1e9


@dataclass(frozen=True, slots=True)
class Spent:
    """What a node has sent and handled so far: bytes of frames, events."""

    udp: float
    tcp: float
    echo: float
    arp: float
    events: float

    @classmethod
    def by(cls, machine: Machine) -> "Spent":
        """Look at a node."""
        udp = machine.bytes_sent + machine.packets_sent * ETHERNET
        packets = TCP_PACKETS * machine.streams + ceil(machine.stream_bytes / TCP_DATA)
        process = machine.process
        return cls(
            udp,
            machine.stream_bytes + packets * TCP_PACKET,
            machine.echo_bytes,
            machine.arp_bytes,
            0 if process is None else process.handled,
        )

    def since(self, before: "Spent", seconds: float) -> "Spent":
        """Return the difference, a second."""
        names = self.__slots__
        return Spent(*((getattr(self, name) - getattr(before, name)) / seconds for name in names))

    @property
    def sent(self) -> float:
        """All bytes."""
        return self.udp + self.tcp + self.echo + self.arp


@dataclass(frozen=True, slots=True)
class Cost:
    """What each node spends a second, and its share of a core on average, per cent."""

    nodes: int
    by_node: tuple[Spent, ...]
    cpu: float

    @property
    def most_sent(self) -> float:
        """Bytes a second of the node that sends most."""
        return max(spent.sent for spent in self.by_node)

    @property
    def ok(self) -> bool:
        """Within what a node may cost."""
        return self.most_sent <= BYTES_LIMIT and self.cpu <= CPU_LIMIT

    def row(self) -> str:
        """Make a row of the table below."""
        count = len(self.by_node)
        parts = zip(*((s.udp, s.tcp, s.echo, s.arp, s.sent) for s in self.by_node), strict=True)
        means = " | ".join(f"{sum(part) / count:.0f}" for part in parts)
        events = sum(spent.events for spent in self.by_node) / count
        return f"| {self.nodes} | {means} | {self.most_sent:.0f} | {events:.0f} | {self.cpu:.2f} |"


HEAD = (
    "| nodes | gossip UDP | TCP | echo | ARP | all, mean | most | events/s | CPU, % |",
    "|---|---|---|---|---|---|---|---|---|",
)


def measure(nodes: int, seconds: float, seed: int = 1) -> Cost:
    """Let a cluster with as many service IPs as nodes run for `seconds` of quiet."""
    world = World(
        Setup(
            nodes=nodes,
            seed=seed,
            services=nodes,
            config=LAN,
            secret=b"a secret of the simulator",
            failover_after=FAILOVER_AFTER,
            ask_interval=NEVER,
        )
    )
    world.start([])
    with quiet_collector():
        world.run(QUIET_AFTER)
        machines = list(world.machines.values())
        before, began = [Spent.by(machine) for machine in machines], time.process_time()
        world.run(QUIET_AFTER + seconds)
        cpu = time.process_time() - began
    after = [Spent.by(machine) for machine in machines]
    spent = tuple(now.since(then, seconds) for now, then in zip(after, before, strict=True))
    return Cost(nodes, spent, 100 * cpu / seconds / nodes)


@click.command()
@click.option("--nodes", "sizes", type=click.IntRange(2, 1_000), multiple=True, default=(8, 50))
@click.option("--seconds", type=click.FloatRange(1), default=60.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(sizes: tuple[int, ...], seconds: float, seed: int) -> None:
    """Print bytes, events and processor time a second and node; exit 1 if one costs too much."""
    click.echo("\n".join(HEAD))
    costs = []
    for nodes in sizes:
        costs.append(measure(nodes, seconds, seed))
        click.echo(costs[-1].row())
    raise SystemExit(0 if all(cost.ok for cost in costs) else 1)


if __name__ == "__main__":
    main()
