"""The scenarios of `sim.failover`: how each fault of scenarios.toml is drawn from a seed. Pure."""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from sim.scenario_table import FILE, FailoverScenario, ScenarioTableError, load
from sim.world.faults import Fault, FaultKind

if TYPE_CHECKING:
    from random import Random

BEGIN = 3.0
"""Seconds of quiet first: links are told, kernels have answered."""
SPREAD = 1.0
TURN = 6.0
"""Seconds from one stop of `rolling` to the next: the node is back, and has its IPs again."""
STANDS = ((10.0, 15.0), (60.0, 120.0))
"""Seconds for which a virtual machine may stand still: a little longer than gossip takes to believe
that it is dead, or beyond gossip's memory of its dead."""


class Cast(NamedTuple):
    """The nodes; those of them that own an IP, as a fault of another is not felt; and by IP all
    nodes in the order of the hash, the owner first and its heir next."""

    names: tuple[str, ...]
    owners: tuple[str, ...]
    orders: Mapping[IPv4Address, Sequence[str]]


Draw = Callable[["Random", Cast, FailoverScenario], list[Fault]]


def _when(rng: "Random") -> float:
    return BEGIN + rng.random() * SPREAD


def _victims(rng: "Random", cast: Cast, scenario: FailoverScenario) -> tuple[str, ...]:
    """Draw whom it hits; none named: all. A single one owns an IP, or nobody would feel it."""
    if scenario.victims is None:
        return ()
    if scenario.victims == 1:
        return (rng.choice(cast.owners),)
    return tuple(rng.sample(cast.names, scenario.victims))


def _strike(kind: FaultKind) -> Draw:
    """Strike all victims at one moment, in one way."""

    def draw(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
        first, victims = _when(rng), _victims(rng, cast, scenario)
        return [Fault(first, kind, victims, scenario.seconds(rng), scenario.amount)]

    return draw


def _loss(rng: "Random", _cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    """A packet goes by two ports."""
    both = scenario.amount * (2 - scenario.amount)
    return [Fault(_when(rng), FaultKind.LOSS, (), scenario.seconds(rng), both)]


def _rolling(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    first, lasts = _when(rng), scenario.seconds(rng)
    return [
        Fault(first + TURN * turn, FaultKind.STOP, (name,), lasts)
        for turn, name in enumerate(cast.names)
    ]


def _stop_in_turn(rng: "Random", cast: Cast, _scenario: FailoverScenario) -> list[Fault]:
    first = _when(rng)
    return [
        Fault(first + 3.0 * turn, FaultKind.STOP, (name,))
        for turn, name in enumerate(cast.names[:-1])
    ]


def _uplink(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    """The announcing link of one node goes and comes back, seen by it and not, in quick turn."""
    node, first = (rng.choice(cast.owners),), _when(rng)
    kinds, lasts = (
        (FaultKind.CARRIER_LOST, FaultKind.PORT_CUT, FaultKind.CARRIER_LOST),
        scenario.seconds(rng),
    )
    return [Fault(first + 6.0 * turn, kind, node, lasts) for turn, kind in enumerate(kinds)]


def _stop_of_the_heir(rng: "Random", cast: Cast, _scenario: FailoverScenario) -> list[Fault]:
    """A speaker dies; the heir of one of its IPs is stopped in a planned way some seconds later."""
    first, victim = _when(rng), rng.choice(cast.owners)
    heir = cast.orders[rng.choice(_ips_of(cast, victim))][1]
    return [
        Fault(first, FaultKind.KILL, (victim,)),
        Fault(first + rng.uniform(4.0, 8.0), FaultKind.STOP, (heir,)),
    ]


def _echo_filtered_one(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    """It drops echo requests, or the replies to the node's own."""
    node = (rng.choice(cast.owners),)
    kind = rng.choice((FaultKind.ECHO_LIMITED, FaultKind.ECHO_REPLIES_LOST))
    return [Fault(_when(rng), kind, node, scenario.seconds(rng))]


def _partition(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    """The groups are cut off from each other; the observer is with one of them."""
    names, groups = rng.sample(cast.names, len(cast.names)), list[tuple[str, ...]]()
    for size in rng.sample(scenario.groups, len(scenario.groups)):
        groups.append(tuple(names[:size]))
        names = names[size:]
    first, lasts = _when(rng), scenario.seconds(rng)
    return [Fault(first, FaultKind.PARTITION, group, lasts) for group in groups[1:]]


def _vm_pause(rng: "Random", cast: Cast, _scenario: FailoverScenario) -> list[Fault]:
    lasts = rng.uniform(*rng.choice(STANDS))
    return [Fault(_when(rng), FaultKind.VM_PAUSE, (rng.choice(cast.owners),), lasts)]


def _silent_in_turn(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    """Each is judged once, whatever it tells of the other."""
    first, names, lasts = _when(rng), _victims(rng, cast, scenario), scenario.seconds(rng)
    return [
        Fault(first + 20.0 * turn, FaultKind.PARTITION, (name,), lasts)
        for turn, name in enumerate(names)
    ]


def _gossip_later(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    """As behind a firewall that has yet to learn the flows again."""
    first, lasts = _when(rng), scenario.seconds(rng) or 0.0
    later = Fault(first + lasts - 5.0, FaultKind.GOSSIP_CUT, (), 5.0 + rng.uniform(0.5, 8.0))
    return [Fault(first, FaultKind.PARTITION, (rng.choice(cast.owners),), lasts), later]


def _starvation(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    """When all hold each other dead by gossip, echo is all that they have."""
    first, lasts = _when(rng), scenario.seconds(rng) or 0.0
    starves = first + rng.uniform(20.0, lasts - 20.0)
    return [
        Fault(first, FaultKind.GOSSIP_CUT, (), lasts),
        Fault(starves, FaultKind.ECHO_LIMITED, (rng.choice(cast.owners),), scenario.amount),
    ]


def _flap(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    node, first = (rng.choice(cast.owners),), _when(rng)
    period, times = scenario.amount, int((scenario.seconds(rng) or 0.0) / scenario.amount)
    return [
        Fault(first + period * turn, FaultKind.PARTITION, node, period / 2) for turn in range(times)
    ]


def _floating_address(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    """As with keepalived: the address is elsewhere before anybody has missed its node."""
    first, victim = _when(rng), rng.choice(cast.owners)
    next_one = rng.choice([name for name in cast.names if name != victim])
    return [
        Fault(0.5, FaultKind.FLOATING_ADDRESS, (victim,)),
        Fault(first, FaultKind.POWER_OFF, (victim,)),
        Fault(first + scenario.amount, FaultKind.FLOATING_ADDRESS, (next_one,)),
    ]


def _foreign_kernel(rng: "Random", cast: Cast, _scenario: FailoverScenario) -> list[Fault]:
    """As with IPVS without strictARP on a node that is neither owner nor heir."""
    victim = rng.choice(cast.owners)
    owned = _ips_of(cast, victim)
    holder = rng.choice(cast.orders[rng.choice(owned)][2:])
    ips = tuple(ip for ip in owned if cast.orders[ip][1] != holder)
    return [
        Fault(1.0, FaultKind.FOREIGN_KERNEL, (holder,), ips=ips),
        Fault(_when(rng), FaultKind.POWER_OFF, (victim,)),
    ]


def _forgery(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    first, victim = _when(rng), rng.choice(cast.owners)
    began, lasts = first - rng.uniform(0.0, 1.0), scenario.seconds(rng)
    return [
        Fault(first, FaultKind.POWER_OFF, (victim,)),
        Fault(began, FaultKind.FORGED, (victim,), lasts, ips=tuple(_ips_of(cast, victim))),
    ]


def _unanswered_forgery(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    return [Fault(1.0, FaultKind.ECHO_LIMITED, (), 60.0), *_forgery(rng, cast, scenario)]


def _plan_edit(rng: "Random", cast: Cast, scenario: FailoverScenario) -> list[Fault]:
    """When it is over the node may own again."""
    node, first = (rng.choice(cast.owners),), _when(rng)
    lasts = scenario.seconds(rng) or 0.0
    return [
        Fault(first, FaultKind.NOT_ADMITTED, node, amount=scenario.amount),
        Fault(first + lasts, FaultKind.NOT_ADMITTED, (), amount=scenario.amount),
    ]


def _ips_of(cast: Cast, node: str) -> list[IPv4Address]:
    return [ip for ip, ranking in cast.orders.items() if ranking[0] == node]


DRAWS: dict[str, Draw] = {
    "power-off": _strike(FaultKind.POWER_OFF),
    "power-off-8": _strike(FaultKind.POWER_OFF),
    "cable-switch": _strike(FaultKind.PARTITION),
    "uplink": _uplink,
    "half": _strike(FaultKind.POWER_OFF),
    "all-but-one": _strike(FaultKind.POWER_OFF),
    "kill": _strike(FaultKind.KILL),
    "restart": _strike(FaultKind.KILL),
    "freeze": _strike(FaultKind.PAUSE),
    "stop": _strike(FaultKind.STOP),
    "rolling": _rolling,
    "stop-in-turn": _stop_in_turn,
    "blink-100": _strike(FaultKind.PARTITION),
    "blink-250": _strike(FaultKind.PARTITION),
    "blink-500": _strike(FaultKind.PARTITION),
    "blink-1000": _strike(FaultKind.PARTITION),
    "switch-pause-500": _strike(FaultKind.SWITCH_PAUSE),
    "switch-pause-2000": _strike(FaultKind.SWITCH_PAUSE),
    "gossip-cut": _strike(FaultKind.GOSSIP_CUT),
    "gossip-cut-1-ip": _strike(FaultKind.GOSSIP_CUT),
    "thaw": _strike(FaultKind.PAUSE),
    "freeze-1s": _strike(FaultKind.PAUSE),
    "loss": _loss,
    "slow": _strike(FaultKind.SLOW),
    "gossip-cut-120": _strike(FaultKind.GOSSIP_CUT),
    "gossip-cut-starved": _starvation,
    "kill-120": _strike(FaultKind.KILL),
    "heir-stopped": _stop_of_the_heir,
    "deaf": _strike(FaultKind.DEAF),
    "mute": _strike(FaultKind.MUTE),
    "one-way": _strike(FaultKind.ONE_WAY),
    "echo-filtered": _strike(FaultKind.ECHO_LIMITED),
    "echo-filtered-one": _echo_filtered_one,
    "echo-limited": _strike(FaultKind.ECHO_LIMITED),
    "echo-limited-one": _strike(FaultKind.ECHO_LIMITED),
    "silent-8": _strike(FaultKind.PARTITION),
    "silent-in-turn": _silent_in_turn,
    "silent-60": _strike(FaultKind.PARTITION),
    "silent-60-gossip-later": _gossip_later,
    "switch-pause-60": _strike(FaultKind.SWITCH_PAUSE),
    "partition-2-2": _partition,
    "partition-2-3": _partition,
    "partition-2-2-2": _partition,
    "partition-quorum": _partition,
    "paused-vm": _vm_pause,
    "new-address": _strike(FaultKind.NEW_ADDRESS),
    "same-name": _strike(FaultKind.SAME_NAME),
    "flap": _flap,
    "floating-address": _floating_address,
    "foreign-kernel": _foreign_kernel,
    "forged": _forgery,
    "forged-echo-filtered": _unanswered_forgery,
    "plan-edit": _plan_edit,
}
"""How each fault of the table that the simulator plays is done."""


def _check(scenarios: dict[str, FailoverScenario]) -> dict[str, FailoverScenario]:
    """Refuse a scenario that is in the table only, or here only."""
    for name in scenarios.keys() ^ DRAWS.keys():
        raise ScenarioTableError(f"{FILE}: {name}: not in the table and in DRAWS alike")
    return scenarios


SCENARIOS = _check(load())
