"""`python -m sim.failover`: who answers for service IPs through faults, over many seeds.

Each scenario says what clients may notice at most. Two things are judged in every run: from the
bound on somebody answers, and nowhere do two nodes answer the same question, so that there is at
most one that clients would believe.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import click

from gossip.config import LAN
from gossip.wire.packet import WireConfig
from sim.chance import make_rng
from sim.faults import Fault, Kind
from sim.report import percentile
from sim.world import Setup, World
from speaker.election import order

if TYPE_CHECKING:
    from random import Random

FAILOVER_AFTER = 0.35
ASK_INTERVAL = 0.05
BEGIN = 3.0
"""Seconds of quiet first: links are told, kernels have answered."""
AFTER = 8.0
"""Seconds that a run goes on after the last fault: memberlist's own verdict falls within them."""
SPREAD = 1.0
MANY = 100_000
"""From so many IPs those of a run are drawn, so that each seed has owners and heirs of its own."""
LOSS = 0.0975
"""One way: 5 % at each of two ports."""


class Cast(NamedTuple):
    """The nodes, and those of them that own an IP: a fault of another is not felt."""

    names: tuple[str, ...]
    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`faults` draws them; `silent` in seconds, `moves` an IP, are what clients may notice."""

    nodes: int
    faults: Callable[["Random", Cast], list[Fault]]
    silent: float
    moves: int
    dual: int = 0
    services: int | None = None
    """One more than nodes where None."""


def _when(rng: "Random") -> float:
    return BEGIN + rng.random() * SPREAD


def _one(kind: Kind, lasts: float | None = None, amount: float = 0.0) -> Callable[..., list[Fault]]:
    def draw(rng: "Random", cast: Cast) -> list[Fault]:
        return [Fault(_when(rng), kind, (rng.choice(cast.owners),), lasts, amount)]

    return draw


def _all(kind: Kind, lasts: float, amount: float = 0.0) -> Callable[..., list[Fault]]:
    def draw(rng: "Random", _cast: Cast) -> list[Fault]:
        return [Fault(_when(rng), kind, (), lasts, amount)]

    return draw


def _several(count: int) -> Callable[..., list[Fault]]:
    def draw(rng: "Random", cast: Cast) -> list[Fault]:
        return [Fault(_when(rng), Kind.POWER_OFF, tuple(rng.sample(cast.names, count)))]

    return draw


def _rolling(rng: "Random", cast: Cast) -> list[Fault]:
    """All but the last, one after another: in the simulator nobody starts them again."""
    first = _when(rng)
    return [
        Fault(first + 3.0 * turn, Kind.STOP, (name,)) for turn, name in enumerate(cast.names[:-1])
    ]


SCENARIOS = {
    "power-off": Scenario(3, _one(Kind.POWER_OFF), 1.0, 1),
    "power-off-8": Scenario(8, _one(Kind.POWER_OFF), 1.0, 1),
    "cable-switch": Scenario(3, _one(Kind.PARTITION), 1.0, 1),
    "half": Scenario(5, _several(2), 2.0, 2),
    "all-but-one": Scenario(5, _several(4), 2.0, 2),
    "kill": Scenario(3, _one(Kind.KILL), 2.0, 1),
    "kill-and-back": Scenario(3, _one(Kind.KILL, 5.0), 2.0, 2),
    "freeze": Scenario(3, _one(Kind.PAUSE, 10.0), 2.0, 2),
    # An answer may cross the announcement of the new owner on the wire: one question each.
    "stop": Scenario(3, _one(Kind.STOP), 0.1, 1, dual=1),
    "rolling": Scenario(4, _rolling, 0.1, 3, dual=1),
    "blink-100": Scenario(3, _one(Kind.PARTITION, 0.1), 0.3, 0),
    "blink-250": Scenario(3, _one(Kind.PARTITION, 0.25), 0.6, 0),
    "blink-500": Scenario(3, _one(Kind.PARTITION, 0.5), 1.0, 2),
    "blink-1000": Scenario(3, _one(Kind.PARTITION, 1.0), 1.0, 2),
    "switch-pause-500": Scenario(5, _all(Kind.SWITCH_PAUSE, 0.5), 0.9, 0),
    "switch-pause-2000": Scenario(5, _all(Kind.SWITCH_PAUSE, 2.0), 2.5, 0),
    "gossip-cut": Scenario(3, _all(Kind.GOSSIP_CUT, 30.0), 0.3, 0),
    # Nobody hears the heirs, as they own nothing: what is known of them must not run out.
    "gossip-cut-1-ip": Scenario(3, _all(Kind.GOSSIP_CUT, 30.0), 0.3, 0, services=1),
    "thaw": Scenario(3, _one(Kind.PAUSE, 15.0), 2.0, 2),
    "freeze-1s": Scenario(3, _one(Kind.PAUSE, 1.0), 1.2, 0),
    "loss": Scenario(3, _all(Kind.LOSS, 20.0, LOSS), 0.5, 0),
    "slow": Scenario(5, _one(Kind.SLOW, 20.0, 0.8), 0.5, 0),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: the worst IP's figures, and what was broken."""

    scenario: str
    seed: int
    silent: float
    moves: int
    dual: int
    broken: tuple[str, ...]


def play(name: str, seed: int) -> Outcome:
    """Run a scenario with one seed."""
    scenario = SCENARIOS[name]
    setup = Setup(
        nodes=scenario.nodes,
        seed=seed,
        services=scenario.services or scenario.nodes + 1,
        first_service=make_rng(seed, "services").randrange(MANY),
        config=replace(LAN, wire=WireConfig(compress=False)),
        failover_after=FAILOVER_AFTER,
        ask_interval=ASK_INTERVAL,
    )
    world = World(setup)
    faults = scenario.faults(make_rng(seed, name), _cast(world))
    world.start(faults)
    world.run(max(fault.ends for fault in faults) + AFTER)
    return _judge(name, seed, world)


def _cast(world: World) -> Cast:
    owners = {order(world.machines, str(ip))[0] for ip in world.service_ips}
    return Cast(tuple(world.machines), tuple(sorted(owners)))


def _judge(name: str, seed: int, world: World) -> Outcome:
    scenario, observer = SCENARIOS[name], world.observer
    seen = observer.seen.values()
    worst = [max(one.silent for one in seen), max(one.moves for one in seen)]
    worst.append(max(one.dual for one in seen))
    limits = (("silent", scenario.silent), ("moves", scenario.moves), ("dual", scenario.dual))
    broken = [
        f"{what} {value:.3g} is over {limit:g}"
        for value, (what, limit) in zip(worst, limits, strict=True)
        if value > limit
    ]
    broken += [
        f"{ip} is answered by {len(observer.answering(ip))} nodes in the end"
        for ip in world.service_ips
        if len(observer.answering(ip)) != 1
    ]
    silent, moves, dual = worst
    return Outcome(name, seed, silent, int(moves), int(dual), tuple(broken))


def _play_pair(pair: tuple[str, int]) -> Outcome:
    return play(*pair)


def play_all(names: Sequence[str], seeds: range, workers: int) -> Iterator[Outcome]:
    """Run every scenario with every seed, on several processors."""
    wanted = [(name, seed) for name in names for seed in seeds]
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_play_pair, wanted, chunksize=4)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Summarize by scenario, as a Markdown table."""
    lines = [
        "| scenario | runs | silent p50 / p99 / max, ms | limit | moves, most | dual | broken |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(outcome.scenario for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.scenario == name]
        silent = [1000 * outcome.silent for outcome in mine]
        shown = " / ".join(f"{percentile(silent, share) or 0:.0f}" for share in (0.5, 0.99, 1.0))
        limit = 1000 * SCENARIOS[name].silent
        moves, dual = max(o.moves for o in mine), max(o.dual for o in mine)
        broken = sum(bool(outcome.broken) for outcome in mine)
        lines.append(
            f"| {name} | {len(mine)} | {shown} | {limit:.0f} | {moves} | {dual} | {broken} |"
        )
    return lines


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)))
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True)
@click.option("--first", type=int, default=1, show_default=True, help="The first seed.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
def main(names: tuple[str, ...], seeds: int, first: int, workers: int) -> None:
    """Play scenarios (all by default) over SEEDS seeds; exit 1 where a limit was missed."""
    chosen = names or tuple(SCENARIOS)
    runs = play_all(chosen, range(first, first + seeds), workers)
    with click.progressbar(runs, length=len(chosen) * seeds, label="runs") as bar:
        outcomes = list(bar)
    for line in table(outcomes):
        click.echo(line)
    broken = [outcome for outcome in outcomes if outcome.broken]
    for outcome in broken:
        click.echo(f"BROKEN {outcome.scenario} seed {outcome.seed}: {'; '.join(outcome.broken)}")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
