"""What many runs of `sim.failover` gave, kept in files so that an interrupted campaign goes on.

One JSON file a scenario: which code ran (the commit, and a digest of the packages that the
simulator runs and of the table of scenarios), every seed with its figures, percentiles, and what
was broken with its seed.
"""

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from sim.report import percentile

PACKAGES = (
    *("arp", "gossip", "kube", "link", "ndp", "ownership", "plan", "process", "sim", "speaker"),
)
TABLE = "scenarios.toml"
_ROOT = Path(__file__).parent.parent
_DIGITS = 12
_PERCENTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """One run: the worst IP's figures, `silent` in seconds, and what was broken."""

    scenario: str
    seed: int
    silent: float
    moves: int
    dual: int
    broken: tuple[str, ...]
    outage: float = 0.0
    """Seconds for which what a client with a warm entry sent got nowhere."""
    told: int = 0
    """How often an announcement moved such a client."""


class RecordError(Exception):
    """A results file that cannot be gone on with; the text names it and says why."""


def code_digest(root: Path = _ROOT) -> str:
    """Return a digest of what a run depends on, the code and the table, 12 hex digits."""
    digest = sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    digest.update((root / TABLE).read_bytes())
    return digest.hexdigest()[:_DIGITS]


def commit() -> str:
    """Name the last commit of that code, for people; empty outside a checkout."""
    command = ("git", "log", "-1", "--format=%H", "--", *PACKAGES, TABLE)
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    except OSError:
        return ""
    return done.stdout[:_DIGITS]


@dataclass(slots=True)
class Record:
    """The results of one scenario, by seed; written to `path` unless that is None."""

    scenario: str
    code: str
    path: Path | None = None
    outcomes: dict[int, RunOutcome] = field(default_factory=dict)
    changed: bool = False

    @classmethod
    def open(cls, scenario: str, code: str, folder: Path | None) -> "Record":
        """Go on with the file in `folder`, if there is one; RecordError: of other code, or none."""
        path = None if folder is None else folder / f"{scenario}.json"
        record = cls(scenario, code, path)
        if path is not None and path.exists():
            record._read(path)
        return record

    def add(self, outcome: RunOutcome) -> None:
        """Take the outcome of a run."""
        self.outcomes[outcome.seed] = outcome
        self.changed = True

    def save(self) -> None:
        """Write the file, so that it is whole at any time."""
        if self.path is None or not self.changed:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self._as_json()) + "\n")
        new.replace(self.path)
        self.changed = False

    def silent_ms(self) -> dict[str, float]:
        """Return percentiles over all runs of the longest wait for an answer, milliseconds."""
        silent = [1000 * outcome.silent for outcome in self.outcomes.values()]
        return {name: round(percentile(silent, at) or 0.0) for name, at in _PERCENTILES.items()}

    def median_dual(self) -> float:
        """Return the median over all runs of the questions that got two answers."""
        return percentile([outcome.dual for outcome in self.outcomes.values()], 0.5) or 0.0

    def broken(self) -> list[RunOutcome]:
        """Return the runs in which a rule was broken, by seed."""
        return [outcome for _, outcome in sorted(self.outcomes.items()) if outcome.broken]

    def _as_json(self) -> dict[str, Any]:
        runs = [
            (o.seed, round(o.silent, 6), o.moves, o.dual, round(o.outage, 6), o.told)
            for o in self.outcomes.values()
        ]
        return {
            "scenario": self.scenario,
            "code": self.code,
            "commit": commit(),
            "seeds": len(runs),
            "silent_ms": self.silent_ms(),
            "broken": {str(outcome.seed): outcome.broken for outcome in self.broken()},
            "runs": sorted(runs),
        }

    def _read(self, path: Path) -> None:
        try:
            known = json.loads(path.read_text())
            if known["code"] != self.code:
                why = f"{path}: of other code ({known['commit']}): choose another folder"
                raise RecordError(why)
            for seed, silent, moves, dual, outage, told in known["runs"]:
                broken = tuple(known["broken"].get(str(seed), ()))
                self.outcomes[seed] = RunOutcome(
                    self.scenario, seed, silent, moves, dual, broken, outage, told
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}: no results: {error}") from None


def table(records: Iterable[Record], limits: dict[str, float]) -> list[str]:
    """Summarize by scenario, as a Markdown table; `limits` of silence in seconds."""
    lines = [
        "| scenario | runs | silent p50 / p99 / max, ms | limit | outage, most | moves, most "
        "| told, most | dual p50 / max | broken |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return lines + [_row(item, limits[item.scenario]) for item in records if item.outcomes]


def _row(record: Record, limit: float) -> str:
    outcomes: Sequence[RunOutcome] = list(record.outcomes.values())
    silent = " / ".join(f"{value:.0f}" for value in record.silent_ms().values())
    cells = (
        record.scenario,
        len(outcomes),
        silent,
        f"{1000 * limit:.0f}",
        f"{1000 * max(o.outage for o in outcomes):.0f}",
        max(o.moves for o in outcomes),
        max(o.told for o in outcomes),
        f"{record.median_dual():.0f} / {max(o.dual for o in outcomes)}",
        len(record.broken()),
    )
    return f"| {' | '.join(map(str, cells))} |"
