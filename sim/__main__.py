"""`python -m sim`: run one scenario and print what came of it, the digest last."""

import json
import sys
from pathlib import Path

import click
from rich.progress import Progress

from sim.report import Result
from sim.run import plan_faults, plan_setup, simulate
from sim.scenarios import SCENARIOS
from sim.world import World

_TABLES = "tables"


@click.command()
@click.option("--nodes", type=click.IntRange(2, 10_000), default=5, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--scenario", type=click.Choice([*SCENARIOS]), default="random")
@click.option("--services", type=click.IntRange(0, 200), default=4, show_default=True)
@click.option("--duration", type=float, help="Virtual seconds; default: until all has settled.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Result as a file.")
@click.option("--trace", is_flag=True, help="Print every state change.")
def main(
    nodes: int,
    seed: int,
    scenario: str,
    services: int,
    duration: float | None,
    json_file: Path | None,
    trace: bool,
) -> None:
    """Run NODES simulated speakers through a SCENARIO drawn from SEED; exit 1 if a rule broke."""
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


def _print(result: Result, trace: list[str], json_file: Path | None) -> None:
    if json_file is not None:
        json_file.write_text(json.dumps(result.as_json(), indent=1) + "\n")
    for line in [*trace, *result.lines()]:
        click.echo(line)


if __name__ == "__main__":
    main()
