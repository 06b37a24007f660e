"""`python -m sim.tables`: the figures of docs/gossip.md, as Markdown. Takes about ten minutes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import click

from gossip.config import LAN, Config
from gossip.wire.packet import WireConfig
from sim.chance import make_rng
from sim.report import Result, percentile
from sim.run import simulate
from sim.world.faults import Fault, FaultKind
from sim.world.world import Setup

BEGIN = 10.0
WATCH = 120.0
"""Virtual seconds of a run in which nobody dies."""
_LARGE = 200
_NAMES = "n{}"
FRESH = "ours"
STOCK = "memberlist's course"


@dataclass(frozen=True, slots=True)
class Case:
    """One row: how many nodes, how many runs, and what is wrong with the network."""

    nodes: int
    runs: int
    died: int = 1
    loss: float = 0.0
    pausing: float = 0.0
    together: bool = True


def config(case: Case) -> Config:
    """Return the settings; large clusters run without compression, which costs only our time."""
    wire = WireConfig(compress=case.nodes < _LARGE)
    return replace(LAN, check_together=case.together, wire=wire)


def faults(case: Case, seed: int, duration: float) -> list[Fault]:
    """Draw who dies and who pauses, from the seed alone: the same for both courses."""
    rng = make_rng(seed, "table", case.nodes, case.died)
    names = [_NAMES.format(number + 1) for number in range(case.nodes)]
    drawn = [Fault(0.0, FaultKind.LOSS, (), None, case.loss)] if case.loss else []
    if case.died:
        victims = tuple(rng.sample(names, case.died))
        drawn.append(Fault(BEGIN + rng.uniform(0, 5), FaultKind.POWER_OFF, victims))
    return drawn + list(_pauses(case, names, seed, duration))


def _pauses(case: Case, names: Sequence[str], seed: int, duration: float) -> Iterator[Fault]:
    """At any time `pausing` of the nodes stand still, for 1 to 5 s each."""
    rng = make_rng(seed, "pauses", case.nodes)
    every = 3.0 / (case.pausing * case.nodes) if case.pausing else float("inf")
    at = 2.0 + rng.random() * every
    while at < duration:
        yield Fault(at, FaultKind.PAUSE, (rng.choice(names),), rng.uniform(1.0, 5.0))
        at += every


def run(case: Case) -> list[Result]:
    """Do all runs of a case."""
    results = []
    for seed in range(case.runs):
        duration = WATCH if not case.died else None
        setup = Setup(nodes=case.nodes, seed=seed, services=0, config=config(case))
        planned = faults(case, seed, duration or 2 * BEGIN)
        results.append(simulate(setup, planned, "table", duration))
    return results


def detection_row(case: Case) -> str:
    """Detection of one crash: first and last survivor."""
    results = run(case)
    first = [after for result in results for after in result.first_detections]
    every = [after for result in results for after in result.detections]
    false = sum(result.false_deaths for result in results)
    cells = (
        case.nodes,
        f"{case.loss:.0%}",
        f"{case.pausing:.0%}",
        case.runs,
        _seconds(first, 0.5),
        _seconds(every, 0.5),
        _seconds(every, 0.99),
        false,
        sum(result.false_suspicions for result in results),
    )
    return _row(cells)


def deaths_row(case: Case) -> str:
    """Several deaths at once, both ways, on the same seeds."""
    cells: list[object] = [case.nodes, case.died, case.runs]
    for together in (False, True):
        results = run(replace(case, together=together))
        whole = [max(result.last_detections) for result in results]
        cells += [_seconds(whole, 0.5), _seconds(whole, 1.0)]
        cells.append(sum(result.false_deaths for result in results))
    return _row(cells)


def calm_row(case: Case) -> str:
    """Nobody dies: false deaths and suspicions, both ways, on the same seeds."""
    cells: list[object] = [case.nodes, f"{case.loss:.0%}", f"{case.pausing:.0%}", case.runs]
    for together in (False, True):
        results = run(replace(case, died=0, together=together))
        cells.append(sum(result.false_deaths for result in results))
        cells.append(sum(result.false_suspicions for result in results))
    return _row(cells)


def traffic_row(case: Case) -> str:
    """What a node sends in quiet."""
    results = run(replace(case, died=0))
    cells = (
        case.nodes,
        f"{results[0].packets_per_second:.2f}",
        f"{results[0].bytes_per_second:.0f}",
        f"{results[0].stream_bytes_per_second:.0f}",
    )
    return _row(cells)


def _seconds(values: list[float], share: float) -> str:
    value = percentile(values, share)
    return "-" if value is None else f"{value:.2f}"


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


Table = tuple[str, tuple[str, ...], Callable[[Case], str], tuple[Case, ...]]

TABLES: dict[str, Table] = {
    "detection": (
        "One node loses power: seconds until the survivors declare it dead",
        ("nodes", "loss", "pausing", "runs", "first, p50", "p50", "p99", "false deaths",
         "false suspicions"),
        detection_row,
        (
            Case(3, 100), Case(10, 60), Case(100, 6), Case(1000, 1),
            Case(10, 60, loss=0.01), Case(10, 60, loss=0.05),
            Case(10, 60, pausing=0.01), Case(10, 60, pausing=0.1),
            Case(100, 3, loss=0.05), Case(100, 3, pausing=0.1),
        ),
    ),
    "deaths": (
        "Several lose power at once: seconds until every survivor knows of every death",
        ("nodes", "died", "runs", f"{STOCK}: p50", "max", "false deaths", f"{FRESH}: p50", "max",
         "false deaths"),
        deaths_row,
        (
            Case(4, 40, 1), Case(4, 40, 2), Case(5, 40, 1), Case(5, 40, 3), Case(5, 40, 4),
            Case(8, 40, 1), Case(8, 40, 5), Case(50, 6, 1), Case(50, 6, 20),
        ),
    ),
    "calm": (
        "Nobody dies for two minutes: who is declared dead or suspected nevertheless",
        ("nodes", "loss", "pausing", "runs", f"{STOCK}: false deaths", "false suspicions",
         f"{FRESH}: false deaths", "false suspicions"),
        calm_row,
        (
            Case(5, 20, loss=0.05), Case(20, 6, loss=0.05), Case(5, 20, loss=0.2),
            Case(5, 20, pausing=0.1), Case(20, 6, pausing=0.1),
            Case(20, 6, loss=0.05, pausing=0.1),
        ),
    ),
    "traffic": (
        "In quiet, per node and second",
        ("nodes", "packets", "UDP bytes with headers", "TCP payload bytes"),
        traffic_row,
        (Case(3, 1), Case(8, 1), Case(50, 1), Case(100, 1), Case(1000, 1)),
    ),
}  # fmt: skip


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*TABLES]))
def main(names: tuple[str, ...]) -> None:
    """Print the tables NAMES, all of them by default."""
    for name in names or TABLES:
        title, heads, row, cases = TABLES[name]
        click.echo(f"\n### {title}\n\n{_row(heads)}\n{_row(['---:'] * len(heads))}")
        for case in cases:
            click.echo(row(case))


if __name__ == "__main__":
    main()
