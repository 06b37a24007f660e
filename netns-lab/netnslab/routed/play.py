"""`lab run bgp-...`: from the words of the command line to a result."""

import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import click
from rich.console import Console

from netnslab.machines import sandbox
from netnslab.routed import course, report
from netnslab.routed.contestants import CONTESTANTS, contestant
from netnslab.routed.course import RoutedCourse
from netnslab.routed.laboratory import RoutedLab, RoutedOptions
from netnslab.routed.routers import ROUTERS
from netnslab.routed.sessions import DETECTIONS, KINDS, agreement
from netnslab.routed.table import ROUTED

OWN = {
    "detection": click.option("--detection", type=click.Choice(list(DETECTIONS)), help="BGP only."),
    "session": click.option("--session", type=click.Choice(list(KINDS)), help="BGP only."),
    "router": click.option("--router", type=click.Choice(list(ROUTERS)), help="BGP only."),
    "contestant": click.option(
        "--contestant", help=f"BGP only: {', '.join(CONTESTANTS)}, or module:Class."
    ),
}
"""Options of `lab run` that only these scenarios have."""


def play(name: str, chosen: dict[str, Any], converge: float, logs: Path | None) -> bool:
    """Measure, write the file, print; return whether every bound was kept. Raises LabError."""
    entry = ROUTED[name]
    kind = chosen["session"] or "ebgp"
    detection = chosen["detection"] or entry.detections[0]
    if detection not in entry.detections:
        raise click.UsageError(f"{name} has bounds for {', '.join(entry.detections)} only")
    if chosen["duration"] is not None:
        entry = replace(entry, lasts=chosen["duration"])
    sandbox.enter()
    given = agreement(detection, kind, str(chosen["family"]), entry.graceful)
    options = RoutedOptions(
        nodes=chosen["nodes"] or entry.nodes,
        routers=entry.routers,
        services=chosen["services"] or RoutedOptions.services,
        given=given,
        router=chosen["router"] or "frr",
        contestant=contestant(chosen["contestant"] or "plain"),
        converges_within=converge,
        logs=logs,
    )
    planned = RoutedCourse(name, detection, chosen["runs"], entry)
    with RoutedLab(options) as lab:
        result = course.run(lab, planned, Random(chosen["seed"]))  # noqa: S311
    shown = report.circumstances(options, planned, kind)
    if chosen["file"] is not None:
        chosen["file"].write_text(report.as_json(shown, entry, result))
    if not chosen["quiet"] or not result.ok:
        report.show(shown, result, Console(width=None if sys.stdout.isatty() else 150))
    return result.ok
