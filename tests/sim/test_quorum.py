"""Partition by choice in the simulator: the minority announces nothing, and half is a minority."""

from ipaddress import IPv4Address

import pytest

from ownership.election.quorum import QuorumMode
from sim.world.faults import Fault, FaultKind
from sim.world.world import Setup, World

PARTED, FOR = 10.0, 60.0
KNOWN = 40.0
"""Seconds after which each side has given the other up, also the last of many deaths."""
HEALED = 110.0
"""Seconds after the end: a side may first meet the other at a tick of a minute."""


def owners(world: World, ip: IPv4Address) -> set[str]:
    """The nodes that would answer for it."""
    return {
        name
        for name, machine in world.machines.items()
        if machine.process is not None and machine.process.cores.announcer.answers(ip, 1) is None
    }


@pytest.mark.parametrize("failover_after", [None, 0.35])
@pytest.mark.parametrize(
    ("nodes", "island", "side"),
    [(5, "12", "345"), (3, "1", "23"), (4, "12", ""), (2, "1", "")],
    ids=["2+3", "1+2", "2+2", "1+1"],
)
def test_only_a_majority_announces_while_the_cluster_is_parted(
    nodes: int, island: str, side: str, failover_after: float | None
) -> None:
    setup = Setup(nodes=nodes, seed=1, quorum=QuorumMode.MAJORITY, failover_after=failover_after)
    world = World(setup)
    world.start([Fault(PARTED, FaultKind.PARTITION, tuple(f"n{n}" for n in island), FOR)])
    majority = {f"n{n}" for n in side}
    world.run(PARTED - 1.0)
    assert all(len(owners(world, ip)) == 1 for ip in world.service_ips)
    world.run(PARTED + KNOWN)
    for ip in world.service_ips:
        assert owners(world, ip) <= majority
        assert len(owners(world, ip)) == bool(majority)
    world.run(PARTED + FOR + HEALED)
    assert all(len(owners(world, ip)) == 1 for ip in world.service_ips)


def test_without_the_choice_each_side_announces_all() -> None:
    """So the instrument sees what the choice takes away."""
    world = World(Setup(nodes=4, seed=1))
    world.start([Fault(PARTED, FaultKind.PARTITION, ("n1", "n2"), FOR)])
    world.run(PARTED + KNOWN)
    assert all(len(owners(world, ip)) == 2 for ip in world.service_ips)
