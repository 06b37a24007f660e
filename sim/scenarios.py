"""Named courses of faults; where and when they strike is drawn from the seed. Pure."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sim.world.faults import Fault, FaultKind

if TYPE_CHECKING:
    from random import Random

BEGIN = 10.0
"""Seconds of quiet before the first fault, so that a joined cluster has settled."""
_SPAN = 30.0
_MOST_FAULTS = 6

Names = Sequence[str]
Scenario = Callable[["Random", Names], list[Fault]]


def _when(rng: "Random") -> float:
    return BEGIN + rng.uniform(0.0, 5.0)


def steady(_rng: "Random", _names: Names) -> list[Fault]:
    """Nothing happens."""
    return []


def _one(
    kind: FaultKind, lasts: tuple[float, float] | None = None, amount: float = 0.0
) -> Scenario:
    def scenario(rng: "Random", names: Names) -> list[Fault]:
        for_seconds = None if lasts is None else rng.uniform(*lasts)
        return [Fault(_when(rng), kind, (rng.choice(names),), for_seconds, amount)]

    return scenario


def _all(kind: FaultKind, lasts: float, amount: float) -> Scenario:
    def scenario(rng: "Random", _names: Names) -> list[Fault]:
        return [Fault(_when(rng), kind, (), lasts, amount)]

    return scenario


def _die_together(share: Callable[[int], int]) -> Scenario:
    def scenario(rng: "Random", names: Names) -> list[Fault]:
        victims = rng.sample(list(names), share(len(names)))
        return [Fault(_when(rng), FaultKind.POWER_OFF, tuple(victims))]

    return scenario


def partition(rng: "Random", names: Names) -> list[Fault]:
    """Split the cluster in two for 30 to 90 s."""
    island = rng.sample(list(names), rng.randint(1, len(names) - 1))
    return [Fault(_when(rng), FaultKind.PARTITION, tuple(island), rng.uniform(30.0, 90.0))]


def one_way(rng: "Random", names: Names) -> list[Fault]:
    """Lose one direction between two nodes for 20 to 60 s; others still reach both."""
    pair = rng.sample(list(names), 2)
    return [Fault(_when(rng), FaultKind.ONE_WAY, tuple(pair), rng.uniform(20.0, 60.0))]


def pauses(rng: "Random", names: Names) -> list[Fault]:
    """Freeze a tenth of the nodes, at least one, for 1 to 5 s each, at its own time."""
    victims = rng.sample(list(names), max(1, len(names) // 10))
    return [
        Fault(BEGIN + rng.uniform(0, _SPAN), FaultKind.PAUSE, (name,), rng.uniform(1.0, 5.0))
        for name in victims
    ]


def crash_under_loss(rng: "Random", names: Names) -> list[Fault]:
    """Cut the power of one node while 5 % of all packets are lost."""
    loss = Fault(5.0, FaultKind.LOSS, (), 120.0, 0.05)
    return [loss, *_one(FaultKind.POWER_OFF)(rng, names)]


def draw(rng: "Random", names: Names) -> list[Fault]:
    """Draw up to six faults of any kind that may overlap; at least two nodes live through it."""
    weather = [_weather(rng) for _ in range(rng.randint(0, 2))]
    victims = rng.sample(list(names), min(len(names) - 2, rng.randint(1, _MOST_FAULTS)))
    faults = weather + [_misfortune(rng, name, names) for name in victims]
    return sorted(faults, key=lambda fault: (fault.at, str(fault)))


def _weather(rng: "Random") -> Fault:
    kind, most = rng.choice(
        [
            (FaultKind.LOSS, 0.05),
            (FaultKind.DUPLICATE, 0.2),
            (FaultKind.REORDER, 0.3),
            (FaultKind.DELAY, 0.05),
        ]
    )
    at = BEGIN + rng.uniform(0, _SPAN)
    return Fault(at, kind, (), rng.uniform(5.0, 60.0), rng.uniform(0.0, most))


def _misfortune(rng: "Random", name: str, names: Names) -> Fault:
    at = BEGIN + rng.uniform(0, _SPAN)
    kind = rng.choice(_MISFORTUNES)
    lasts: float | None = rng.uniform(0.5, 20.0)
    amount = 0.0
    nodes: tuple[str, ...] = (name,)
    if kind in (FaultKind.POWER_OFF, FaultKind.KILL):
        lasts = rng.choice([None, lasts])
    elif kind is FaultKind.SLOW:
        amount = rng.uniform(0.2, 0.9)
    elif kind is FaultKind.CLOCK_JUMP:
        lasts, amount = None, rng.uniform(0.1, 30.0)
    elif kind is FaultKind.ONE_WAY:
        nodes = (name, rng.choice([other for other in names if other != name]))
    elif kind is FaultKind.PARTITION:
        nodes = tuple(rng.sample(list(names), rng.randint(1, len(names) - 1)))
    return Fault(at, kind, nodes, lasts, amount)


_MISFORTUNES = (
    FaultKind.POWER_OFF,
    FaultKind.KILL,
    FaultKind.PAUSE,
    FaultKind.SLOW,
    FaultKind.CLOCK_JUMP,
    FaultKind.ONE_WAY,
    FaultKind.DEAF,
    FaultKind.MUTE,
    FaultKind.PARTITION,
)

SCENARIOS: dict[str, Scenario] = {
    "steady": steady,
    "crash": _one(FaultKind.POWER_OFF),
    "kill": _one(FaultKind.KILL),
    "restart": _one(FaultKind.KILL, (0.5, 30.0)),
    "pause": _one(FaultKind.PAUSE, (1.0, 5.0)),
    "pauses": pauses,
    "freeze": _one(FaultKind.PAUSE, (10.0, 60.0)),
    "slow": _one(FaultKind.SLOW, (30.0, 30.0), 0.8),
    "clock-jump": _one(FaultKind.CLOCK_JUMP, None, 5.0),
    "loss": _all(FaultKind.LOSS, 60.0, 0.05),
    "duplicate": _all(FaultKind.DUPLICATE, 30.0, 0.2),
    "reorder": _all(FaultKind.REORDER, 30.0, 0.3),
    "delay": _all(FaultKind.DELAY, 30.0, 0.05),
    "one-way": one_way,
    "deaf": _one(FaultKind.DEAF, (5.0, 60.0)),
    "mute": _one(FaultKind.MUTE, (5.0, 60.0)),
    "partition": partition,
    "half": _die_together(lambda nodes: nodes // 2),
    "most": _die_together(lambda nodes: nodes - 2),
    "all-but-one": _die_together(lambda nodes: nodes - 1),
    "crash-under-loss": crash_under_loss,
    "random": draw,
}
