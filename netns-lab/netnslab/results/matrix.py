"""`lab matrix`: every scenario, a result file for each cell; goes on where it ended."""

import dataclasses
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from netnslab.machines.laboratory import LabOptions
from netnslab.results import report

UNUSABLE = 2
# Characters that a result file keeps of a lab that could not work.
MOST_OUTPUT = 2000


@dataclass(frozen=True)
class Cell:
    """One scenario in one setting; 0 leaves nodes, services and duration to the scenario."""

    scenario: str
    runs: int = 1
    family: int = 4
    nodes: int = 0
    services: int = 0
    duration: float = 0.0

    @property
    def name(self) -> str:
        """What its file is called."""
        size = f"-{self.nodes}x{self.services}" if self.nodes else ""
        return f"{self.scenario}{size}-ipv{self.family}"

    def arguments(self) -> list[str]:
        """For `lab run`."""
        given = {"nodes": self.nodes, "services": self.services, "duration": self.duration}
        chosen = [f"--{name}={value}" for name, value in given.items() if value]
        return [self.scenario, f"--runs={self.runs}", f"--family={self.family}", *chosen]


# Each strikes in another phase of gossip's and the witnesses' timers.
_HEALS = (
    *("silent-8", "partition-2-2", "partition-2-3", "partition-2-2-2"),
    *("paused-vm", "floating-address", "foreign-kernel", "plan-edit"),
)
_LASTING = (
    *("gossip-cut-120", "kill-120", "heir-stopped", "deaf", "mute", "one-way"),
    *("echo-filtered", "echo-filtered-one", "echo-limited", "silent-60", "switch-pause-60"),
    *("new-address", "same-name", "flap", "partition-quorum", "guide-scenario-3"),
)
# Faults of a long run; of IPv6 fewer, as the same engine decides: 3.5 hours in all.
FULL = (
    Cell("power-off", 100),
    Cell("power-off", 20, nodes=8, services=200),
    *(Cell(name, 20) for name in ("cable-node", "cable-switch", "uplink", "stop")),
    *(Cell(name, 10) for name in ("half", "all-but-one")),
    *(Cell(name, 5) for name in ("kill", "freeze", "restart", "stop-twice", "rejoin")),
    *(Cell(name, 3) for name in ("thaw", "rolling")),
    *(Cell(name, 10) for name in ("blink-100", "blink-250", "blink-500", "blink-1000")),
    *(Cell(name, 5) for name in ("switch-pause-500", "switch-pause-2000", "freeze-1s")),
    *(Cell(name) for name in ("gossip-cut", "loss", "quota", "attacked")),
    *(Cell(name, 5) for name in _HEALS),
    *(Cell(name) for name in _LASTING),
    Cell("power-off", 30, 6),
    Cell("power-off", 5, 6, nodes=8, services=200),
    *(Cell(name, 5, 6) for name in ("cable-node", "cable-switch", "uplink", "stop")),
    *(Cell(name, 3, 6) for name in ("half", "all-but-one", "kill", "freeze", "restart")),
    *(Cell(name, 1, 6) for name in ("stop-twice", "rejoin", "thaw", "rolling", "gossip-cut")),
    *(Cell(name, 3, 6) for name in ("blink-100", "blink-250", "blink-500", "blink-1000")),
    *(Cell(name, 3, 6) for name in ("switch-pause-500", "switch-pause-2000", "freeze-1s")),
    Cell("loss", 1, 6, duration=300.0),
    Cell("quota", 1, 6, duration=300.0),
    Cell("attacked", 1, 6),
    *(Cell(name, 1, 6) for name in (*_HEALS, *_LASTING)),
)
# What a change must not break, in a quarter of an hour.
SHORT = (
    Cell("power-off", 2),
    *(Cell(name) for name in ("cable-switch", "all-but-one", "kill", "stop", "stop-twice")),
    Cell("uplink", 2),
    *(Cell(name) for name in ("rejoin", "rolling", "blink-250", "blink-1000", "freeze-1s")),
    Cell("switch-pause-2000"),
    *(Cell(name, duration=5.0) for name in ("freeze", "restart", "thaw")),
    *(Cell(name, duration=15.0) for name in ("loss", "quota")),
    # Longer than gossip remembers its dead.
    Cell("gossip-cut-120", duration=50.0),
    Cell("kill-120", duration=60.0),
    # Longer than gossip takes to believe it.
    *(Cell(name, duration=12.0) for name in ("partition-2-2", "deaf")),
    Cell("silent-8", 2),
    *(Cell(name, duration=8.0) for name in ("echo-filtered", "same-name")),
    *(Cell(name) for name in ("foreign-kernel", "attacked")),
    *(Cell(name, 1, 6) for name in ("power-off", "kill", "stop")),
)


def done(file: Path, commit: str) -> bool:
    """Whether the cell has a result of just this commit; of a changed tree nobody can tell."""
    try:
        return bool(json.loads(file.read_text())["commit"] == commit) and "-" not in commit
    except (OSError, ValueError, KeyError):
        return False


@dataclass(frozen=True)
class Plan:
    """What a person chose: which cells, where the files go, how often a failed cell is repeated."""

    short: bool
    only: str
    folder: Path
    retries: int = 0

    def cells(self) -> list[Cell]:
        """Those that the pattern names."""
        return [cell for cell in (SHORT if self.short else FULL) if fnmatch(cell.name, self.only)]


@dataclass(frozen=True)
class Attempt:
    """`ok`, `failed` or `unusable`, every way in which it failed, and what the lab said of it."""

    outcome: str
    failures: tuple[str, ...] = ()
    output: str = ""


def _attempt(cell: Cell, options: LabOptions, file: Path) -> Attempt:
    """Run one cell as a process of its own.

    The file appears only when it is whole, so that an interrupted cell is repeated.
    """
    partial = file.with_suffix(".partial")
    command = [sys.executable, "-m", "netnslab", "--speaker", shlex.join(options.speaker)]
    if options.logs is not None:
        command += ["--logs", str(options.logs / cell.name)]
    command += ["run", *cell.arguments(), "--json", str(partial), "--quiet"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if not partial.exists():
            output = ended.stdout + ended.stderr
            sys.stderr.write(output)
            return Attempt("unusable", output=output[-MOST_OUTPUT:])
        partial.replace(file)
        if ended.returncode == 0:
            return Attempt("ok")
        return Attempt("failed", tuple(json.loads(file.read_text())["failures"]))
    finally:
        partial.unlink(missing_ok=True)


def tries(
    cell: Cell,
    options: LabOptions,
    plan: Plan,
    attempt_it: Callable[[Cell, LabOptions, Path], Attempt] = _attempt,
) -> Iterator[Attempt]:
    """Attempts until the first good one; the last result tells what came of those before it."""
    file = plan.folder / f"{cell.name}.json"
    earlier: list[Attempt] = []
    for _ in range(1 + plan.retries):
        attempt = attempt_it(cell, options, file)
        if earlier and attempt.outcome != "unusable":
            remember(file, earlier)
        yield attempt
        if attempt.outcome == "ok":
            return
        earlier.append(attempt)


def remember(file: Path, earlier: list[Attempt]) -> None:
    """Write into a result what came out of the attempts before it; nothing where it has none."""
    if file.exists():
        document = json.loads(file.read_text())
        document["earlier_attempts"] = [dataclasses.asdict(attempt) for attempt in earlier]
        file.write_text(report.dump(document))


def _say(console: Console, name: str, attempts: list[Attempt], seconds: float) -> None:
    """One line a cell; and what was wrong, also where a repetition was right."""
    outcomes = ", then ".join(attempt.outcome for attempt in attempts)
    console.print(f"{name}: {outcomes}, {seconds:.0f} s", markup=False)
    for attempt in attempts:
        for failure in attempt.failures:
            console.print(f"  {failure}", markup=False)


def run(options: LabOptions, plan: Plan) -> bool:
    """Run every cell that has no result of this commit; whether all cells are ok."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 150)
    commit, good = report.commit(), True
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("matrix", total=len(plan.cells()))
        for cell in plan.cells():
            file = plan.folder / f"{cell.name}.json"
            progress.update(task, description=cell.name)
            if not done(file, commit):
                began = time.monotonic()
                attempts = list(tries(cell, options, plan))
                _say(console, cell.name, attempts, time.monotonic() - began)
            good &= file.exists() and json.loads(file.read_text())["ok"]
            progress.advance(task)
    return good
