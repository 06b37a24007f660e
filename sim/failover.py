"""`python -m sim.failover`: who answers for service IPs through faults, over many seeds.

Each scenario says what clients may notice at most. Two things are judged in every run: from the
bound on somebody answers, and nowhere do two nodes answer the same question, so that there is at
most one that clients would believe.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gossip.config import LAN
from gossip.wire.packet import WireConfig
from sim.chance import make_rng
from sim.faults import Fault, Kind
from sim.record import Outcome, Record, RecordError, code_digest, table
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
BLOCK = 20
"""Seeds of one scenario before the next one's turn comes, and runs between two saves."""
LOSS = 0.0975
"""One way: 5 % at each of two ports."""


class Cast(NamedTuple):
    """The nodes, and those of them that own an IP: a fault of another is not felt."""

    names: tuple[str, ...]
    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`faults` draws them; `silent` in seconds, `moves` an IP, are what clients may notice.

    `dual`: how often an IP goes from one living node to another. An answer of the old owner may
    cross the announcement of the new one on the wire, which is one question with two answers.
    """

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


def _uplink(rng: "Random", cast: Cast) -> list[Fault]:
    """The announcing link of one node goes and comes back, seen by it and not, in quick turn."""
    node, first = (rng.choice(cast.owners),), _when(rng)
    kinds = (Kind.CARRIER_LOST, Kind.PORT_CUT, Kind.CARRIER_LOST)
    return [Fault(first + 6.0 * turn, kind, node, 3.0) for turn, kind in enumerate(kinds)]


SCENARIOS = {
    "power-off": Scenario(3, _one(Kind.POWER_OFF), 1.0, 1),
    "power-off-8": Scenario(8, _one(Kind.POWER_OFF), 1.0, 1),
    "cable-switch": Scenario(3, _one(Kind.PARTITION), 1.0, 1),
    "uplink": Scenario(3, _uplink, 1.0, 6, dual=6),
    "half": Scenario(5, _several(2), 2.0, 2),
    "all-but-one": Scenario(5, _several(4), 2.0, 2),
    "kill": Scenario(3, _one(Kind.KILL), 2.0, 1),
    "kill-and-back": Scenario(3, _one(Kind.KILL, 5.0), 2.0, 2, dual=1),
    "freeze": Scenario(3, _one(Kind.PAUSE, 10.0), 2.0, 2, dual=1),
    "stop": Scenario(3, _one(Kind.STOP), 0.1, 1, dual=1),
    "rolling": Scenario(4, _rolling, 0.1, 3, dual=3),
    "blink-100": Scenario(3, _one(Kind.PARTITION, 0.1), 0.3, 0),
    "blink-250": Scenario(3, _one(Kind.PARTITION, 0.25), 0.6, 0),
    "blink-500": Scenario(3, _one(Kind.PARTITION, 0.5), 1.0, 2, dual=1),
    "blink-1000": Scenario(3, _one(Kind.PARTITION, 1.0), 1.0, 2, dual=1),
    "switch-pause-500": Scenario(5, _all(Kind.SWITCH_PAUSE, 0.5), 0.9, 0),
    "switch-pause-2000": Scenario(5, _all(Kind.SWITCH_PAUSE, 2.0), 2.5, 0),
    "gossip-cut": Scenario(3, _all(Kind.GOSSIP_CUT, 30.0), 0.3, 0),
    # Nobody hears the heirs, as they own nothing: what is known of them must not run out.
    "gossip-cut-1-ip": Scenario(3, _all(Kind.GOSSIP_CUT, 30.0), 0.3, 0, services=1),
    "thaw": Scenario(3, _one(Kind.PAUSE, 15.0), 2.0, 2, dual=1),
    "freeze-1s": Scenario(3, _one(Kind.PAUSE, 1.0), 1.2, 0),
    "loss": Scenario(3, _all(Kind.LOSS, 20.0, LOSS), 0.5, 0),
    "slow": Scenario(5, _one(Kind.SLOW, 20.0, 0.8), 0.5, 0),
}


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
        f"{ip} was answered by two nodes {one.dual_run} times in a row"
        for ip, one in observer.seen.items()
        if one.dual_run > 1
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


def _still_heap() -> None:
    """Let the collector of a worker not walk what it has imported again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def play_all(wanted: Sequence[tuple[str, int]], workers: int) -> Iterator[Outcome]:
    """Run these scenarios with these seeds, on several processors."""
    if workers == 1:
        _still_heap()
        yield from map(_play_pair, wanted)
        return
    with ProcessPoolExecutor(workers, initializer=_still_heap) as pool:
        yield from pool.map(_play_pair, wanted, chunksize=4)


def missing(records: Mapping[str, Record], seeds: range) -> list[tuple[str, int]]:
    """List what is still to be run: some seeds of every scenario, then the next of every one."""
    return [
        (name, seed)
        for begin in range(seeds.start, seeds.stop, BLOCK)
        for name, record in records.items()
        for seed in range(begin, min(begin + BLOCK, seeds.stop))
        if seed not in record.outcomes
    ]


def _run(records: Mapping[str, Record], wanted: Sequence[tuple[str, int]], workers: int) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(stderr=True)) as bar:
        task = bar.add_task("runs", total=len(wanted))
        try:
            for number, outcome in enumerate(play_all(wanted, workers), 1):
                records[outcome.scenario].add(outcome)
                bar.update(task, advance=1, description=outcome.scenario)
                if number % BLOCK == 0:
                    _save(records)
        finally:
            _save(records)


def _save(records: Mapping[str, Record]) -> None:
    for record in records.values():
        record.save()


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)))
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True)
@click.option("--first", type=int, default=1, show_default=True, help="The first seed.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Go on there.")
def main(
    names: tuple[str, ...], seeds: int, first: int, workers: int, results: Path | None
) -> None:
    """Play scenarios (all by default) over SEEDS seeds; exit 1 where a limit was missed.

    With --results every run is kept in that folder, and those of the same code are not repeated.
    """
    code = code_digest()
    try:
        records = {name: Record.open(name, code, results) for name in names or SCENARIOS}
    except RecordError as error:
        raise click.ClickException(str(error)) from None
    _run(records, missing(records, range(first, first + seeds)), workers)
    limits = {name: scenario.silent for name, scenario in SCENARIOS.items()}
    broken = [outcome for record in records.values() for outcome in record.broken()]
    click.echo("\n".join(table(records.values(), limits)))
    for outcome in broken:
        click.echo(f"BROKEN {outcome.scenario} seed {outcome.seed}: {'; '.join(outcome.broken)}")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
