"""Results as JSON for machines and as a table for people."""

import dataclasses
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from netnslab import verdict
from netnslab.observer import INTERVAL
from netnslab.scenarios import Result
from netnslab.verdict import Bystanders, Row

ROOT = Path(__file__).resolve().parents[2]


def _git(*arguments: str) -> str:
    # Under sudo or as root of a user namespace the clone belongs to somebody else.
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit() -> str:
    """The commit that is being measured, `-dirty` where files differ from it."""
    try:
        dirty = _git("status", "--porcelain", "--untracked-files=no")
        return _git("rev-parse", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def settings(scenario: str, options: dict[str, Any]) -> dict[str, Any]:
    """All that a reader needs to repeat the measurement."""
    return {
        **options,
        "limits": dataclasses.asdict(verdict.LIMITS[scenario]),
        "question_interval_ms": INTERVAL * 1000,
        "client": "entries confirmed just before each fault",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }


def as_json(scenario: str, nodes: int, given: dict[str, Any], result: Result) -> str:
    """The whole result as one JSON document."""
    document = {
        "scenario": scenario,
        "nodes": nodes,
        "settings": given,
        "commit": commit(),
        "runs": [dataclasses.asdict(row) for row in result.rows],
        "bystanders": dataclasses.asdict(result.bystanders),
        "failures": result.failures,
        "ok": result.ok,
    }
    return json.dumps(document, indent=2) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def table(rows: list[Row], title: str) -> Table:
    """The rows as a person reads them."""
    made = Table(title=title)
    made.add_column("IP")
    made.add_column("old owner")
    made.add_column("new owner")
    for name in ("sent", "lost", "outage ms", "takeover ms", "silent ms", "dual ms", "moves"):
        made.add_column(name, justify="right")
    for row in rows:
        made.add_row(
            row.ip,
            row.owner_before or "nobody",
            row.owner_after or "nobody",
            str(row.sent),
            str(row.lost),
            *map(_number, (row.outage_ms, row.takeover_ms, row.silent_ms, row.dual_answer_ms)),
            str(row.moves),
        )
    return made


def bystanders_line(seen: Bystanders) -> str:
    """All other IPs in one line."""
    return (
        f"bystanders: {seen.ips} IPs, {seen.lost} lost, {seen.moves} moves, "
        f"{seen.silent_ms:.0f} ms silent, {seen.late} answers late"
    )


def show(scenario: str, result: Result, console: Console) -> None:
    """Prints the table, the bystanders, and every failure."""
    console.print(table(result.rows, scenario))
    console.print(bystanders_line(result.bystanders))
    late = max((row.prober_gap_ms for row in result.rows), default=0.0)
    if late:
        console.print(f"the prober itself stood still for {late:.0f} ms: the machine was busy")
    for failure in result.failures:
        console.print(f"FAILED {failure}", markup=False)
    console.print("ok" if result.ok else "not ok")
