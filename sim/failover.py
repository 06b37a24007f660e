"""`python -m sim.failover`: who answers for service IPs through faults, over many seeds.

Each scenario (`failover_scenarios`) says what clients may notice at most; `judge` holds every run
to it, and to what holds in all of them.
"""

import gc
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

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

from gossip.config import LAN, RECLAIM_AFTER
from gossip.wire.packet import WireConfig
from ownership.election.election import order
from ownership.liveness.targets import FAILOVER_AFTER
from sim.chance import make_rng
from sim.failover_scenarios import BEGIN, DRAWS, SCENARIOS, Cast
from sim.judge import Judge
from sim.record import Record, RecordError, RunOutcome, code_digest, table
from sim.world.world import Setup, World

ASK_INTERVAL = 0.05
MANY = 100_000
"""From so many IPs those of a run are drawn, so that each seed has owners and heirs of its own."""
MOST_SHOWN = 3
"""IPs of a run of which is told what was broken."""
BITTEN, BITES = 4, 0.5
"""One seed in so many has its speakers work in bites, each of which ends so likely after any piece
of work: what waits between two bites is played, too."""
BLOCK = 20
"""Seeds of one scenario before the next one's turn comes, and runs between two saves."""


def play(name: str, seed: int) -> RunOutcome:
    """Run a scenario with one seed."""
    scenario = SCENARIOS[name]
    setup = Setup(
        nodes=scenario.nodes,
        seed=seed,
        services=scenario.services or scenario.nodes + 1,
        first_service=make_rng(seed, "services").randrange(MANY),
        config=replace(LAN, wire=WireConfig(compress=False), dead_node_reclaim_time=RECLAIM_AFTER),
        failover_after=FAILOVER_AFTER,
        ask_interval=ASK_INTERVAL,
        seeds=scenario.nodes,
        uplink=scenario.uplink,
        quorum=scenario.quorum,
        bites=BITES if seed % BITTEN == 0 else 0.0,
    )
    world = World(setup)
    cast = _cast(world)
    faults = DRAWS[name](make_rng(seed, name), cast, scenario)
    judge = Judge(scenario, world, cast, faults)
    world.start(faults)
    world.run(BEGIN)
    judge.begin()
    world.run(max(fault.ends for fault in faults) + scenario.after)
    worst = judge.worst()
    return RunOutcome(
        name, seed, worst.silent, worst.moves, worst.dual, judge.broken(), worst.outage, worst.told
    )


def _cast(world: World) -> Cast:
    orders = {ip: order(world.machines, str(ip)) for ip in world.service_ips}
    owners = {ranking[0] for ranking in orders.values()}
    return Cast(tuple(world.machines), tuple(sorted(owners)), orders)


def _play_pair(pair: tuple[str, int]) -> RunOutcome:
    return play(*pair)


def _still_heap() -> None:
    """Let the collector of a worker not walk what it has imported again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def play_all(wanted: Sequence[tuple[str, int]], workers: int) -> Iterator[RunOutcome]:
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


def over_the_median(record: Record) -> Iterator[str]:
    """Say where clients noticed more than they may as a rule, the median of all seeds."""
    scenario = SCENARIOS[record.scenario]
    silent, dual = record.silent_ms()["p50"] / 1000, record.median_dual()
    if scenario.median is not None and silent > scenario.median:
        yield f"{record.scenario}: silent for {silent:.2f} s, the median of all seeds"
    if scenario.median_dual is not None and dual > scenario.median_dual:
        seconds = dual * ASK_INTERVAL
        yield f"{record.scenario}: two answers for {seconds:.2f} s, the median of all seeds"


def _broken_line(outcome: RunOutcome) -> str:
    shown = list(outcome.broken[:MOST_SHOWN])
    if len(outcome.broken) > MOST_SHOWN:
        shown.append(f"and {len(outcome.broken) - MOST_SHOWN} IPs more")
    return f"BROKEN {outcome.scenario} seed {outcome.seed}: {'; '.join(shown)}"


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
        click.echo(_broken_line(outcome))
    slow = [text for record in records.values() for text in over_the_median(record)]
    for text in slow:
        click.echo(f"BROKEN {text}")
    raise SystemExit(1 if broken or slow else 0)


if __name__ == "__main__":
    main()
