"""`lab demo` and `lab run SCENARIO`."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import click
from rich.console import Console

from netnslab import demo as demonstration
from netnslab import report, sandbox, scenarios
from netnslab.addresses import MOST_NODES, MOST_SERVICES
from netnslab.errors import LabError
from netnslab.laboratory import Lab, Options
from netnslab.node import DEFAULT_SPEAKER

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130
SPEAKER = shlex.join(DEFAULT_SPEAKER)


@click.group()
@click.option("--speaker", default=SPEAKER, hidden=True, help="Another command to start.")
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), help="Keep logs here.")
@click.pass_context
def commands(context: click.Context, speaker: str, logs: Path | None) -> None:
    """Real speakers in network namespaces, faults, and a stopwatch."""
    context.obj = Options(speaker=shlex.split(speaker), logs=logs)


@commands.command()
@click.pass_obj
def demo(options: Options) -> None:
    """Three nodes, four service IPs; cuts one owner's power and shows what happens."""
    sandbox.enter()
    sys.exit(0 if demonstration.play(options) else FAILED)


@commands.command()
@click.argument("scenario", type=click.Choice(list(scenarios.SCENARIOS)))
@click.option("--nodes", type=click.IntRange(2, MOST_NODES), default=3, show_default=True)
@click.option("--services", type=click.IntRange(1, MOST_SERVICES), default=4, show_default=True)
@click.option("--family", type=click.Choice([4, 6]), default=4, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True, help="Faults.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the victims.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Result.")
@click.option("--quiet", is_flag=True, help="Print failures only.")
def run(scenario: str, nodes: int, file: Path | None, quiet: bool, **chosen: Any) -> None:
    """Strikes a cluster RUNS times with SCENARIO; exit 0 only if every limit was kept."""
    sandbox.enter()
    context: Options = click.get_current_context().obj
    services, family, runs, seed = (chosen[k] for k in ("services", "family", "runs", "seed"))
    options = replace(context, nodes=nodes, services=services, family=family)
    given = {**chosen, "speaker": shlex.join(options.speaker)}
    with Lab(options) as lab:
        result = scenarios.run(lab, scenario, runs, Random(seed))  # noqa: S311
    if file is not None:
        file.write_text(report.as_json(scenario, nodes, report.settings(scenario, given), result))
    if not quiet or not result.ok:
        report.show(scenario, result, Console(width=None if sys.stdout.isatty() else 120))
    sys.exit(0 if result.ok else FAILED)


def main() -> None:
    """Entry point: exit 1 where a limit was missed, 2 where the lab could not work."""
    try:
        commands(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(UNUSABLE)
    except (LabError, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(UNUSABLE)
    except (KeyboardInterrupt, click.Abort):
        print("lab: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
