"""Results as JSON for machines and as a table for people."""

import dataclasses
import json
import os
import platform
import shlex
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from netnslab.course.faults import CourseResult
from netnslab.course.limits import Limits
from netnslab.course.scenario_table import TABLE
from netnslab.instruments.observer import INTERVAL
from netnslab.results import measure, verdict
from netnslab.results.verdict import Bystanders, Row

ROOT = Path(__file__).resolve().parents[3]
# Whatever can change a result: documents and tests cannot.
MEASURED = (
    *("speaker", "ownership", "bgp", "plan", "gossip", "arp", "ndp", "link", "kube", "process"),
    *("netns-lab", "requirements"),
    *("scenarios.toml", "bgp.toml"),
    ":(exclude,glob)**/*.md",
)
COLUMNS = (
    "sent",
    "lost",
    "outage ms",
    "takeover ms",
    "silent ms",
    "dual ms",
    "moves",
    "tcp failed",
    "tcp reset",
)


def _git(*arguments: str) -> str:
    # Under sudo or as root of a user namespace the clone belongs to somebody else.
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit() -> str:
    """The last commit that changed what is measured, `-dirty` where files differ from it."""
    try:
        dirty = _git("status", "--porcelain", "--untracked-files=no", "--", *MEASURED)
        return _git("log", "-1", "--format=%H", "--", *MEASURED) + ("-dirty" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def command_line(speaker: list[str]) -> str:
    """The command as anybody may repeat it, without the place of this checkout."""
    return shlex.join(part.removeprefix(f"{ROOT}/") for part in speaker)


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_at_the_end": round(os.getloadavg()[0], 1),
    }


def summary(rows: list[Row]) -> dict[str, float]:
    """What a table shows of a whole scenario; ms but for counts."""
    if not rows:
        return {}
    shown: dict[str, float] = {"faults": len({row.run for row in rows})}
    for name in ("outage_ms", "silent_ms"):
        worst = verdict.worst(rows, name)
        shown[f"{name}_p50"] = round(median(worst), 1)
        shown[f"{name}_p99"] = measure.percentile(worst, 0.99)
    for name in ("sent", "lost", "tcp_connects", "tcp_failed", "tcp_reset"):
        shown[name] = sum(getattr(row, name) for row in rows)
    for name in ("moves", "claimants", "dual_answer_ms", "answer_ms", "late_share", "busiest"):
        shown[f"{name}_most"] = max(getattr(row, name) for row in rows)
    for name in ("handover_ms", "exit_ms"):
        values = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        if values:
            shown[f"{name}_most"] = max(values)
    return shown


def as_json(given: dict[str, Any], limits: Limits, result: CourseResult) -> str:
    """The whole result as one JSON document: a line for each IP of each fault."""
    document = {
        **given,
        "settings": {
            "limits": {k: v for k, v in dataclasses.asdict(limits).items() if v is not None},
            "question_interval_ms": 1000 * INTERVAL,
            "client": "entries confirmed just before each fault",
        },
        "machine": machine(),
        "commit": commit(),
        "summary": summary(result.rows),
        "bystanders": dataclasses.asdict(result.bystanders),
        "notes": result.notes,
        "failures": result.failures,
        "ok": result.ok,
        "runs": [dataclasses.asdict(row) for row in result.rows],
    }
    return dump(document)


def dump(document: dict[str, Any]) -> str:
    """The document as JSON, each row of its runs on a line of its own."""
    rest = {name: value for name, value in document.items() if name != "runs"}
    head = json.dumps(rest, indent=2).removesuffix("\n}")
    rows = ",\n    ".join(json.dumps(row) for row in document["runs"])
    return f'{head},\n  "runs": [\n    {rows}\n  ]\n}}\n'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def table(rows: list[Row], title: str) -> Table:
    """The rows as a person reads them."""
    made = Table(title=title)
    made.add_column("IP", no_wrap=True)
    made.add_column("old owner")
    made.add_column("new owner")
    for name in COLUMNS:
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
            f"{row.tcp_failed}/{row.tcp_connects}",
            str(row.tcp_reset),
        )
    return made


def bystanders_line(seen: Bystanders) -> str:
    """All other IPs in one line."""
    return (
        f"bystanders: {seen.ips} IPs, {seen.lost} lost, {seen.moves} moves, "
        f"{seen.silent_ms:.0f} ms silent, {seen.late} answers late, {seen.claimants} claimants, "
        f"{seen.tcp_reset} resets, {seen.astray} entries astray; answers after "
        f"{seen.answer_ms:.1f} ms, {seen.busiest} frames/s unasked"
    )


def show(scenario: str, result: CourseResult, console: Console) -> None:
    """Print what happened, the table, the bystanders, and every failure."""
    console.print(f"{scenario}: {TABLE[scenario].what}", markup=False)
    console.print(table(result.rows, scenario))
    console.print(bystanders_line(result.bystanders))
    for note in result.notes:
        console.print(note, markup=False)
    late = max((row.prober_gap_ms for row in result.rows), default=0.0)
    if late:
        console.print(f"the prober itself stood still for {late:.0f} ms: the machine was busy")
    for failure in result.failures:
        console.print(f"FAILED {failure}", markup=False)
    console.print("ok" if result.ok else "not ok")
