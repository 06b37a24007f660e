"""`python -m sim`: run one scenario and print what came of it, the digest last."""

import json
import sys
from hashlib import sha256
from pathlib import Path

import click
from rich.progress import Progress

from sim.report import Result
from sim.run import plan_faults, plan_setup, simulate
from sim.scenarios import SCENARIOS
from sim.soak import soak
from sim.world.world import World


@click.command()
@click.option("--nodes", type=click.IntRange(2, 10_000), default=5, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--scenario", type=click.Choice([*SCENARIOS]), default="random")
@click.option("--services", type=click.IntRange(0, 200), default=4, show_default=True)
@click.option("--duration", type=float, help="Virtual seconds; default: until all has settled.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Result as a file.")
@click.option("--seeds", type=click.IntRange(1), help="That many random runs from SEED on.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--trace", is_flag=True, help="Print every state change.")
def main(  # noqa: PLR0913 - one argument an option
    nodes: int,
    seed: int,
    scenario: str,
    services: int,
    duration: float | None,
    json_file: Path | None,
    seeds: int | None,
    processes: int,
    trace: bool,
) -> None:
    """Run NODES simulated speakers through a SCENARIO drawn from SEED; exit 1 if a rule broke.

    With --seeds the number of nodes is drawn as well, from 5 to 50.
    """
    if seeds is not None:
        sys.exit(_soak(seed, seeds, processes))
    setup = plan_setup(nodes, seed, services)
    world = World(setup, keep_trace=trace)
    faults = plan_faults(nodes, seed, scenario)
    with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(scenario, total=None)

        def progress(done: float, whole: float) -> None:
            bar.update(task, completed=done, total=whole)

        result = simulate(setup, faults, scenario, duration, progress, world)
    _print(result, world.trace.lines, json_file)
    sys.exit(0 if result.ok else 1)


def _soak(first: int, seeds: int, processes: int) -> int:
    """Run many seeds; the last line is the digest of their digests."""
    failed, digests = 0, sha256()
    with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
        for result in bar.track(soak(first, seeds, processes), total=seeds):
            digests.update(result.digest.encode())
            if not result.ok:
                failed += 1
                click.echo("\n".join(result.lines()))
    click.echo(f"{seeds} runs, {failed} broke a rule")
    click.echo(digests.hexdigest())
    return 1 if failed else 0


def _print(result: Result, trace: list[str], json_file: Path | None) -> None:
    if json_file is not None:
        json_file.write_text(json.dumps(result.as_json(), indent=1) + "\n")
    for line in [*trace, *result.lines()]:
        click.echo(line)


if __name__ == "__main__":
    main()
