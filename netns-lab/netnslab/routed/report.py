"""Results of the routed network as JSON for machines and as a table for people."""

import dataclasses
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from netnslab.results import report
from netnslab.routed.course import RoutedCourse, RoutedResult
from netnslab.routed.laboratory import RoutedOptions
from netnslab.routed.plan import FLOW_RATE
from netnslab.routed.table import ROUTED, RoutedEntry
from netnslab.routed.verdict import FAMILY_WORDS, RoutedRow

TIMES = ("gone_ms", "back_ms", "margin_ms", "latency_ms", "last_loss_ms")
COUNTS = ("strays", "resets", "sent", "lost", "others_lost", "moved")


def summary(rows: list[RoutedRow]) -> dict[str, float]:
    """Median and worst of each time that was measured, sums of all counts."""
    shown: dict[str, float] = {"faults": len(rows)}
    for name in TIMES:
        values = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        if values:
            worst = min(values) if name == "margin_ms" else max(values)
            shown[f"{name}_p50"], shown[f"{name}_worst"] = round(median(values), 1), worst
    for name in COUNTS:
        shown[name] = sum(getattr(row, name) for row in rows)
    return shown


def circumstances(options: RoutedOptions, course: RoutedCourse, kind: str) -> dict[str, Any]:
    """All that a reader needs to repeat the measurement."""
    return {
        "scenario": course.name,
        "nodes": options.nodes,
        "services": options.services,
        "family": FAMILY_WORDS[options.given.families],
        "runs_asked": course.runs,
        "detection": course.detection,
        "session": kind,
        "routers": options.routers,
        "router": options.router,
        "contestant": options.contestant.__name__,
        "questions_per_second_and_flow": FLOW_RATE,
    }


def as_json(given: dict[str, Any], entry: RoutedEntry, result: RoutedResult) -> str:
    """The whole result as one JSON document: a line for each fault."""
    document = {
        **given,
        "settings": {"bounds": dataclasses.asdict(entry)},
        "machine": report.machine(),
        "commit": report.commit(),
        "summary": summary(result.rows),
        "notes": result.notes,
        "failures": result.failures,
        "ok": result.ok,
        "runs": [dataclasses.asdict(row) for row in result.rows],
    }
    return report.dump(document)


def show(given: dict[str, Any], result: RoutedResult, console: Console) -> None:
    """Print what happened, the table, and every failure."""
    name = given["scenario"]
    console.print(f"{name}: {ROUTED[name].what}", markup=False)
    made = Table(title=f"{name}, {given['detection']}, {given['session']}, {given['family']}")
    made.add_column("node", no_wrap=True)
    for column in (*TIMES, *COUNTS):
        made.add_column(column.replace("_", " "), justify="right")
    for row in result.rows:
        times = (getattr(row, column) for column in TIMES)
        shown = ["-" if value is None else f"{value:.0f}" for value in times]
        made.add_row(row.victim, *shown, *(str(getattr(row, column)) for column in COUNTS))
    console.print(made)
    for failure in result.failures:
        console.print(f"FAILED {failure}", markup=False)
    console.print("ok" if result.ok else "not ok")
