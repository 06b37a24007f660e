"""`lab demo`, `lab run SCENARIO`, `lab matrix` and `lab report`."""

import shlex
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import click
from rich.console import Console

from netnslab import demo as demonstration
from netnslab.course import faults
from netnslab.course.faults import Course, CourseResult
from netnslab.course.limits import TABLES, Limits
from netnslab.course.scenarios import SCENARIOS
from netnslab.errors import LabError
from netnslab.instruments.probe import usual_rate
from netnslab.machines import sandbox
from netnslab.machines.addresses import MOST_NODES, MOST_SERVICES
from netnslab.machines.allocation import DEFAULT_CONTROLLER
from netnslab.machines.laboratory import CONVERGE_WITHIN, SETTLE_WITHIN, Lab, LabOptions
from netnslab.machines.node import DEFAULT_SPEAKER
from netnslab.results import cost, matrix, report, tables
from netnslab.routed import play
from netnslab.routed.table import ROUTED

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130
RESULTS, SHORT_RESULTS = report.ROOT / "docs/failover", report.ROOT / "build/lab"
PAGE = report.ROOT / "docs/failover.md"
FOLDER = click.Path(file_okay=False, path_type=Path)
SPEAKER, CONTROLLER = shlex.join(DEFAULT_SPEAKER), shlex.join(DEFAULT_CONTROLLER)


@click.group()
@click.option("--speaker", default=SPEAKER, hidden=True, help="Another command to start.")
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), help="Keep logs here.")
@click.option("--converge", default=CONVERGE_WITHIN, hidden=True, help="Seconds to get healthy.")
@click.option("--settle", default=SETTLE_WITHIN, hidden=True, help="Seconds after a fault.")
@click.option("--watch", default=inf, hidden=True, help="Seconds to watch at most after a fault.")
@click.pass_context
def commands(context: click.Context, /, speaker: str, logs: Path | None, **most: float) -> None:
    """Real speakers in network namespaces, faults, and a stopwatch."""
    context.obj = LabOptions(
        speaker=shlex.split(speaker),
        logs=logs,
        converge_within=most["converge"],
        settle_within=most["settle"],
        watch_at_most=most["watch"],
    )


@commands.command()
@click.option("--controller", default=CONTROLLER, hidden=True, help="Another command to start.")
@click.pass_obj
def demo(options: LabOptions, /, controller: str) -> None:
    """Three nodes, four services; gives them IPs, cuts one owner's power, shows what happens."""
    sandbox.enter()
    options = replace(options, controller=shlex.split(controller))
    sys.exit(0 if demonstration.play(options) else FAILED)


@commands.command()
@click.argument("scenario", type=click.Choice([*SCENARIOS, *ROUTED]))
@click.option("--nodes", type=click.IntRange(2, MOST_NODES), help="Default: the scenario's.")
@click.option("--services", type=click.IntRange(1, MOST_SERVICES), help="Default: the scenario's.")
@click.option("--family", type=click.Choice([4, 6, "dual"]), default=4, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True, help="Faults.")
@click.option("--duration", type=click.FloatRange(0), help="Seconds that each fault lasts.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the victims.")
@click.option("--limits", type=click.Choice(list(TABLES)), default="failover", show_default=True)
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Result.")
@click.option("--quiet", is_flag=True, help="Print failures only.")
@play.OWN["detection"]
@play.OWN["session"]
@play.OWN["router"]
@play.OWN["contestant"]
@click.pass_obj
def run(options: LabOptions, /, scenario: str, **chosen: Any) -> None:
    """Strike a cluster RUNS times with SCENARIO; exit 0 only if every limit was kept."""
    if scenario in ROUTED:
        kept = play.play(scenario, chosen, options.converge_within, options.logs)
        sys.exit(0 if kept else FAILED)
    if chosen["family"] == "dual" or any(chosen[name] for name in play.OWN):
        raise click.UsageError(f"{scenario} has no routers: it has neither these nor two families")
    sandbox.enter()
    plan = SCENARIOS[scenario]
    limits = TABLES[chosen["limits"]][scenario]
    duration = plan.duration if chosen["duration"] is None else chosen["duration"]
    options = replace(
        options,
        nodes=chosen["nodes"] or plan.nodes,
        services=chosen["services"] or plan.services,
        family=chosen["family"],
        rate=plan.rate,
        uplink=plan.uplink,
        cpu=plan.cpu,
        memory=plan.memory,
        flags=plan.flags,
        objects=plan.objects,
        spares=plan.spares,
        held=plan.held,
        recorded=plan.recorded,
    )
    random = Random(chosen["seed"])  # noqa: S311
    course = Course(scenario, chosen["runs"], limits, duration)
    with Lab(options) as lab:
        result = faults.run(lab, course, random)
    _hand_in(
        scenario, {**_circumstances(options, course), **_table_note(chosen)}, limits, result, chosen
    )
    sys.exit(0 if result.ok else FAILED)


@commands.command("cost")
@click.option("--nodes", type=click.IntRange(2, MOST_NODES), default=8, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=30.0, show_default=True)
@click.pass_obj
def show_cost(options: LabOptions, nodes: int, seconds: float) -> None:
    """What each speaker costs while nothing happens; exit 1 if one costs too much."""
    sandbox.enter()
    with Lab(replace(options, nodes=nodes, services=nodes)) as lab:
        costs = cost.measure(lab, seconds)
    for item in costs:
        click.echo(f"{item.node}: {item.cpu:.2f} % of a core, {item.sent:.0f} bytes/s sent")
    sys.exit(0 if all(item.ok for item in costs) else FAILED)


def _circumstances(options: LabOptions, course: Course) -> dict[str, Any]:
    """All that a reader needs to repeat the measurement."""
    return {
        "scenario": course.name,
        "nodes": options.nodes,
        "services": options.services,
        "family": options.family,
        "runs_asked": course.runs,
        "duration": course.duration,
        "speaker": report.command_line(options.speaker),
        "questions_per_second_and_ip": options.rate or usual_rate(options.services),
    }


def _table_note(chosen: dict[str, Any]) -> dict[str, Any]:
    return {"seed": chosen["seed"], "limits_table": chosen["limits"]}


def _hand_in(
    scenario: str,
    given: dict[str, Any],
    limits: Limits,
    result: CourseResult,
    chosen: dict[str, Any],
) -> None:
    """Write the file and print what a person asked to see."""
    if chosen["file"] is not None:
        chosen["file"].write_text(report.as_json(given, limits, result))
    if not chosen["quiet"] or not result.ok:
        report.show(scenario, result, Console(width=None if sys.stdout.isatty() else 150))


@commands.command("matrix")
@click.option("--short", is_flag=True, help="What CI runs: a quarter of an hour.")
@click.option("--only", default="*", show_default=True, help="Cells, as in 'power-off*-ipv6'.")
@click.option("--results", "folder", type=FOLDER, help="Default: docs/failover, short: build/lab.")
@click.option("--retries", type=click.IntRange(0), default=0, help="Repeat a failed cell so often.")
@click.pass_obj
def run_matrix(
    options: LabOptions, /, short: bool, only: str, folder: Path | None, retries: int
) -> None:
    """Run every scenario that has no result of this commit yet; may be interrupted."""
    folder = folder or (SHORT_RESULTS if short else RESULTS)
    good = matrix.run(options, matrix.Plan(short, only, folder, retries))
    sys.exit(0 if good else FAILED)


@commands.command("report")
@click.option("--results", "folder", type=FOLDER, default=RESULTS, help="Result files.")
@click.option("--page", type=click.Path(path_type=Path), default=PAGE, help="Where the table goes.")
def make_report(folder: Path, page: Path) -> None:
    """Make the table of docs/failover.md from the result files."""
    print(f"{page}: {tables.write(folder, page)} results")


def main() -> None:
    """Entry point: exit 1 where a limit was missed, 2 where the lab could not work."""
    try:
        commands(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(UNUSABLE)
    except (LabError, OSError, ValueError) as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(UNUSABLE)
    except (KeyboardInterrupt, click.Abort):
        print("lab: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
