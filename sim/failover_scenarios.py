"""The scenarios of `sim.failover`: faults drawn from a seed, and what clients may notice. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from sim.faults import Fault, Kind
from speaker.quorum import Mode

if TYPE_CHECKING:
    from random import Random

BEGIN = 3.0
"""Seconds of quiet first: links are told, kernels have answered."""
AFTER = 8.0
"""Seconds that a run goes on after the last fault: memberlist's own verdict falls within them."""
SPREAD = 1.0
LOSS = 0.0975
"""One way: 5 % at each of two ports."""
HEALED_WITHIN = 40
"""Questions in 2 s: for so long two sides of a cut that is over may both answer."""
HEAVY = 1.0
"""Announcements a second and IP, over a fault in which nothing is to move, that are too many."""
PARTED = (20.0, 70.0)
"""Seconds that groups are parted for, from within gossip's memory of its dead to beyond it."""
READ_WITHIN = 0.8
"""Seconds in which every speaker has read a new configuration."""


class Cast(NamedTuple):
    """The nodes; those of them that own an IP, as a fault of another is not felt; and by IP all
    nodes in the order of the hash, the owner first and its heir next."""

    names: tuple[str, ...]
    owners: tuple[str, ...]
    orders: Mapping[IPv4Address, Sequence[str]]


Draw = Callable[["Random", Cast], list[Fault]]


@dataclass(frozen=True, slots=True)
class FailoverScenario:
    """`faults` draws them; `silent` in seconds, `moves` an IP, are what clients may notice of the
    nodes that are struck. Of the others they may notice nothing (see `judge`).

    `dual`: how many questions may get two answers, `row` of them in a row. An answer of the old
    owner may cross the announcement of the new one on the wire, where both are alive.
    """

    nodes: int
    faults: Draw
    silent: float
    moves: int
    dual: int = 0
    row: int = 1
    uplink: bool = False
    """Gossip has a link of its own."""
    quorum: Mode = Mode.OFF
    everyone: bool = False
    """All IPs are struck, whoever owns them."""
    services: int | None = None
    """One more than nodes where None."""
    after: float = AFTER
    """Seconds that a run goes on after the last fault."""
    heals: bool = False
    """Whether nodes that owned the same meet again: bystanders may have two answers then, too."""
    frames: float = float("inf")
    """Announcements a second and IP, at most."""


def _when(rng: "Random") -> float:
    return BEGIN + rng.random() * SPREAD


def _one(kind: Kind, lasts: float | None = None, amount: float = 0.0) -> Draw:
    def draw(rng: "Random", cast: Cast) -> list[Fault]:
        return [Fault(_when(rng), kind, (rng.choice(cast.owners),), lasts, amount)]

    return draw


def _all(kind: Kind, lasts: float, amount: float = 0.0) -> Draw:
    def draw(rng: "Random", _cast: Cast) -> list[Fault]:
        return [Fault(_when(rng), kind, (), lasts, amount)]

    return draw


def _several(count: int) -> Draw:
    def draw(rng: "Random", cast: Cast) -> list[Fault]:
        return [Fault(_when(rng), Kind.POWER_OFF, tuple(rng.sample(cast.names, count)))]

    return draw


def _rolling(rng: "Random", cast: Cast) -> list[Fault]:
    """All but the last, one after another: in the simulator nobody starts them again."""
    first = _when(rng)
    return [
        Fault(first + 3.0 * turn, Kind.STOP, (name,)) for turn, name in enumerate(cast.names[:-1])
    ]


def _uplink(rng: "Random", cast: Cast) -> list[Fault]:
    """The announcing link of one node goes and comes back, seen by it and not, in quick turn."""
    node, first = (rng.choice(cast.owners),), _when(rng)
    kinds = (Kind.CARRIER_LOST, Kind.PORT_CUT, Kind.CARRIER_LOST)
    return [Fault(first + 6.0 * turn, kind, node, 3.0) for turn, kind in enumerate(kinds)]


def _heir_stopped(rng: "Random", cast: Cast) -> list[Fault]:
    """A speaker dies; the heir of one of its IPs is stopped in a planned way some seconds later."""
    first, victim = _when(rng), rng.choice(cast.owners)
    heir = cast.orders[rng.choice(_owned(cast, victim))][1]
    return [
        Fault(first, Kind.KILL, (victim,)),
        Fault(first + rng.uniform(4.0, 8.0), Kind.STOP, (heir,)),
    ]


def _one_way(rng: "Random", cast: Cast) -> list[Fault]:
    return [Fault(_when(rng), Kind.ONE_WAY, tuple(rng.sample(cast.names, 2)), 90.0)]


def _echo_filtered_one(rng: "Random", cast: Cast) -> list[Fault]:
    """A firewall on one node drops echo requests, or the replies to its own."""
    node = (rng.choice(cast.owners),)
    kind = rng.choice((Kind.ECHO_LIMITED, Kind.ECHO_REPLIES_LOST))
    return [Fault(_when(rng), kind, node, 90.0)]


def _parted(*sizes: int) -> Draw:
    """Groups of these sizes are cut off from each other; the observer is with one of them."""

    def draw(rng: "Random", cast: Cast) -> list[Fault]:
        names, groups = rng.sample(cast.names, len(cast.names)), list[tuple[str, ...]]()
        for size in rng.sample(sizes, len(sizes)):
            groups.append(tuple(names[:size]))
            names = names[size:]
        first, lasts = _when(rng), rng.uniform(*PARTED)
        return [Fault(first, Kind.PARTITION, group, lasts) for group in groups[1:]]

    return draw


def _paused_vm(rng: "Random", cast: Cast) -> list[Fault]:
    lasts = rng.uniform(*rng.choice(((10.0, 15.0), (60.0, 120.0))))
    return [Fault(_when(rng), Kind.VM_PAUSE, (rng.choice(cast.owners),), lasts)]


def _in_turn(rng: "Random", cast: Cast) -> list[Fault]:
    """One node after another, each judged once: neither flaps, whatever it tells of the other."""
    first, names = _when(rng), rng.sample(cast.names, 2)
    return [
        Fault(first + 20.0 * turn, Kind.PARTITION, (name,), 8.0) for turn, name in enumerate(names)
    ]


def _gossip_later(rng: "Random", cast: Cast) -> list[Fault]:
    """A node is back on the wire while port 7946 is still closed, as behind a firewall that has yet
    to learn the flows again."""
    first, lasts = _when(rng), 60.0
    later = Fault(first + lasts - 5.0, Kind.GOSSIP_CUT, (), 5.0 + rng.uniform(0.5, 8.0))
    return [Fault(first, Kind.PARTITION, (rng.choice(cast.owners),), lasts), later]


def _flap(rng: "Random", cast: Cast) -> list[Fault]:
    node, first = (rng.choice(cast.owners),), _when(rng)
    return [Fault(first + 3.0 * turn, Kind.PARTITION, node, 1.5) for turn in range(40)]


def _floating_address(rng: "Random", cast: Cast) -> list[Fault]:
    """As with keepalived: the address is elsewhere before anybody has missed its node."""
    first, victim = _when(rng), rng.choice(cast.owners)
    next_one = rng.choice([name for name in cast.names if name != victim])
    return [
        Fault(0.5, Kind.FLOATING_ADDRESS, (victim,)),
        Fault(first, Kind.POWER_OFF, (victim,)),
        Fault(first + 0.15, Kind.FLOATING_ADDRESS, (next_one,)),
    ]


def _foreign_kernel(rng: "Random", cast: Cast) -> list[Fault]:
    """As with IPVS without strictARP on a node that is neither owner nor heir."""
    victim = rng.choice(cast.owners)
    owned = _owned(cast, victim)
    holder = rng.choice(cast.orders[rng.choice(owned)][2:])
    ips = tuple(ip for ip in owned if cast.orders[ip][1] != holder)
    return [
        Fault(1.0, Kind.FOREIGN_KERNEL, (holder,), ips=ips),
        Fault(_when(rng), Kind.POWER_OFF, (victim,)),
    ]


def _forged(rng: "Random", cast: Cast) -> list[Fault]:
    """A node loses power, and a host without a key keeps saying that its IPs are at its MAC."""
    first, victim = _when(rng), rng.choice(cast.owners)
    ips = tuple(_owned(cast, victim))
    return [
        Fault(first, Kind.POWER_OFF, (victim,)),
        Fault(first - rng.uniform(0.0, 1.0), Kind.FORGED, (victim,), 40.0, ips=ips),
    ]


def _forged_unanswered(rng: "Random", cast: Cast) -> list[Fault]:
    """The same where no echo request is answered, so that memberlist's verdict has to do."""
    return [Fault(1.0, Kind.ECHO_LIMITED, (), 60.0), *_forged(rng, cast)]


def _plan_edit(rng: "Random", cast: Cast) -> list[Fault]:
    """A node may own no more, and again some seconds later."""
    node, first = (rng.choice(cast.owners),), _when(rng)
    return [
        Fault(first, Kind.NOT_ADMITTED, node, amount=READ_WITHIN),
        Fault(first + 8.0, Kind.NOT_ADMITTED, (), amount=READ_WITHIN),
    ]


def _owned(cast: Cast, node: str) -> list[IPv4Address]:
    return [ip for ip, ranking in cast.orders.items() if ranking[0] == node]


_HEALS = (HEALED_WITHIN, HEALED_WITHIN)

SCENARIOS = {
    "power-off": FailoverScenario(3, _one(Kind.POWER_OFF), 1.0, 1),
    "power-off-8": FailoverScenario(8, _one(Kind.POWER_OFF), 1.0, 1),
    "cable-switch": FailoverScenario(3, _one(Kind.PARTITION), 1.0, 1),
    "uplink": FailoverScenario(3, _uplink, 1.0, 6, dual=6, uplink=True),
    "half": FailoverScenario(5, _several(2), 2.0, 2),
    "all-but-one": FailoverScenario(5, _several(4), 2.0, 2),
    "kill": FailoverScenario(3, _one(Kind.KILL), 2.0, 1),
    "kill-and-back": FailoverScenario(3, _one(Kind.KILL, 5.0), 2.0, 2, dual=1),
    "freeze": FailoverScenario(3, _one(Kind.PAUSE, 10.0), 2.0, 2, dual=1),
    "stop": FailoverScenario(3, _one(Kind.STOP), 0.1, 1, dual=1),
    "rolling": FailoverScenario(4, _rolling, 0.1, 3, dual=3),
    "blink-100": FailoverScenario(3, _one(Kind.PARTITION, 0.1), 0.3, 0),
    "blink-250": FailoverScenario(3, _one(Kind.PARTITION, 0.25), 0.6, 0),
    "blink-500": FailoverScenario(3, _one(Kind.PARTITION, 0.5), 1.0, 2, dual=1),
    "blink-1000": FailoverScenario(3, _one(Kind.PARTITION, 1.0), 1.0, 2, dual=1),
    "switch-pause-500": FailoverScenario(5, _all(Kind.SWITCH_PAUSE, 0.5), 0.9, 0),
    "switch-pause-2000": FailoverScenario(5, _all(Kind.SWITCH_PAUSE, 2.0), 2.5, 0),
    "gossip-cut": FailoverScenario(3, _all(Kind.GOSSIP_CUT, 30.0), 0.3, 0),
    # Nobody hears the heirs, as they own nothing: what is known of them must not run out.
    "gossip-cut-1-ip": FailoverScenario(3, _all(Kind.GOSSIP_CUT, 30.0), 0.3, 0, services=1),
    "thaw": FailoverScenario(3, _one(Kind.PAUSE, 15.0), 2.0, 2, dual=1),
    "freeze-1s": FailoverScenario(3, _one(Kind.PAUSE, 1.0), 1.2, 0),
    "loss": FailoverScenario(3, _all(Kind.LOSS, 20.0, LOSS), 0.5, 0),
    "slow": FailoverScenario(5, _one(Kind.SLOW, 20.0, 0.8), 0.5, 0),
    # From here on what lasts longer than gossip remembers its dead, and what comes back.
    "gossip-cut-120": FailoverScenario(3, _all(Kind.GOSSIP_CUT, 120.0), 0.3, 0, frames=HEAVY),
    "kill-120": FailoverScenario(3, _one(Kind.KILL, 120.0), 2.0, 2, dual=2, row=2),
    "heir-stopped": FailoverScenario(4, _heir_stopped, 2.0, 2, dual=2, row=2, after=90.0),
    "deaf": FailoverScenario(3, _one(Kind.DEAF, 40.0), 1.0, 2, dual=2, row=2),
    "mute": FailoverScenario(3, _one(Kind.MUTE, 40.0), 1.0, 2, dual=2, row=2),
    "one-way": FailoverScenario(3, _one_way, 0.3, 0, frames=HEAVY),
    "echo-filtered": FailoverScenario(3, _all(Kind.ECHO_LIMITED, 90.0), 0.3, 0, frames=HEAVY),
    "echo-filtered-one": FailoverScenario(3, _echo_filtered_one, 0.3, 0, frames=HEAVY),
    "echo-limited": FailoverScenario(4, _one(Kind.ECHO_LIMITED, 90.0, 10.0), 0.3, 0, frames=HEAVY),
    "silent-8": FailoverScenario(3, _one(Kind.PARTITION, 8.0), 1.0, 2, dual=2, row=2),
    "silent-in-turn": FailoverScenario(3, _in_turn, 1.0, 2, dual=2, row=2),
    "silent-60": FailoverScenario(3, _one(Kind.PARTITION, 60.0), 1.0, 2, dual=2, row=2),
    "silent-60-gossip-later": FailoverScenario(3, _gossip_later, 1.0, 2, dual=2, row=2),
    "switch-pause-60": FailoverScenario(
        5, _all(Kind.SWITCH_PAUSE, 60.0), 62.0, 2, *_HEALS, heals=True
    ),
    "partition-2-2": FailoverScenario(4, _parted(2, 2), 2.0, 2, *_HEALS, heals=True),
    "partition-2-3": FailoverScenario(5, _parted(2, 3), 2.0, 2, *_HEALS, heals=True),
    "partition-2-2-2": FailoverScenario(6, _parted(2, 2, 2), 2.0, 2, *_HEALS, heals=True),
    # Of two sides one falls silent at most, and it has done so when they meet.
    "partition-quorum": FailoverScenario(
        5, _parted(2, 3), 75.0, 4, dual=2, row=2, heals=True, quorum=Mode.MAJORITY, everyone=True
    ),
    # It cannot know: it answers until it is found, by a question every eighth of a second.
    "paused-vm": FailoverScenario(3, _paused_vm, 1.0, 2, dual=4, row=4),
    # Its peers refuse it until they have forgotten its old address: half a minute.
    "new-address": FailoverScenario(
        3, _one(Kind.NEW_ADDRESS, 8.0), 1.0, 2, dual=2, row=2, after=68.0
    ),
    "same-name": FailoverScenario(3, _one(Kind.SAME_NAME), 0.1, 0, after=90.0),
    "flap": FailoverScenario(3, _flap, 1.0, 12, dual=12, row=2),
    "floating-address": FailoverScenario(4, _floating_address, 1.0, 1),
    "foreign-kernel": FailoverScenario(4, _foreign_kernel, 1.0, 1, after=15.0),
    "forged": FailoverScenario(3, _forged, 1.0, 1),
    # Memberlist's verdict takes 5 to 7 s; a frame can put off the takeover by a second.
    "forged-echo-filtered": FailoverScenario(3, _forged_unanswered, 9.0, 2, everyone=True),
    "plan-edit": FailoverScenario(4, _plan_edit, 0.1, 2, dual=4, row=2),
}
