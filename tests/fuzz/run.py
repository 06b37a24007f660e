"""Runs the fuzz targets, each in a process of its own, and prints a table of what they did.

    python tests/fuzz/run.py gossip --runs 10000000
    python tests/fuzz/run.py swim stream --runs 50000 --seed 7
    python tests/fuzz/run.py arp-frame --input crash-0123

A find is an input for which a target raises, takes a second, or takes much memory. Its bytes are
left in the folder `--finds`; the exit code is 1.
"""

import argparse
import contextlib
import io
import os
import re
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

PACKAGES = [
    *("arp", "bgp", "controller", "gossip", "kube", "link", "ndp", "ownership", "plan", "process"),
    "speaker",
]
BARE = ["gossip.wire.lzw"]
"""Modules whose inner loop would run at a quarter of its speed in targets that are about others."""

# It tells each module that it instruments.
with (
    contextlib.redirect_stderr(io.StringIO()),
    atheris.instrument_imports(include=PACKAGES, exclude=BARE),
):
    from targets import TARGETS

if TYPE_CHECKING:
    from targets import Target

SLOWEST = 1.0
"""Seconds of processor time that one input may take."""
HANG = 20
"""Seconds after which libFuzzer ends a run, wherever it is."""
MOST_GROWTH = 64 * 1024
"""KiB by which one input may raise the most memory ever used by its process."""
MOST_MEMORY = 1024
"""MiB of a process, at which libFuzzer ends it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one target's process did. `find` is empty where there was none."""

    name: str
    inputs: int
    coverage: int
    seconds: float
    find: str

    def row(self) -> str:
        """Write the line of the table."""
        rate = self.inputs / self.seconds
        return (
            f"{self.name:18} {self.inputs:>11,} {self.coverage:>9,} {self.seconds:>9.1f} "
            f"{rate:>9,.0f}  {self.find or '-'}"
        )


def guarded(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Watch the processor time and the memory that each input takes."""

    def watched(data: bytes) -> None:
        memory, began = _peak(), time.process_time()
        run(data)
        took, grew = time.process_time() - began, _peak() - memory
        assert took < SLOWEST, f"took {took:.1f} s"
        assert grew < MOST_GROWTH, f"took {grew} KiB"

    return watched


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fuzz(name: str, runs: int, seed: int, folder: Path) -> Outcome:
    """Run one target in a child process; `folder` takes its inputs, log and finds."""
    corpus, log = folder / name, folder / f"{name}.log"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number:04}").write_bytes(data)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _fuzz_here(TARGETS[name], runs, seed, corpus, log)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return _outcome(name, log.read_text(errors="replace"), time.monotonic() - began, status)


def _fuzz_here(target: "Target", runs: int, seed: int, corpus: Path, log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    flags = [
        f"-runs={runs}",
        f"-seed={seed}",
        f"-max_len={target.longest}",
        f"-timeout={HANG}",
        f"-rss_limit_mb={MOST_MEMORY}",
        f"-artifact_prefix={corpus.parent}/{corpus.name}-",
        "-print_final_stats=1",
    ]
    for function in target.guides:
        atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], *flags, str(corpus)], guarded(target.run))
    atheris.Fuzz()
    os._exit(0)


def _outcome(name: str, log: str, seconds: float, status: int) -> Outcome:
    inputs = re.findall(r"number_of_executed_units: (\d+)", log) or re.findall(
        r"^#(\d+)", log, re.M
    )
    coverage = re.findall(r"cov: (\d+)", log)
    find = ""
    if status:
        artifact = re.findall(r"Test unit written to (\S+)", log)
        find = artifact[-1] if artifact else f"exit {status}"
    return Outcome(name, int((inputs or ["0"])[-1]), int((coverage or ["0"])[-1]), seconds, find)


def shares(names: list[str], runs: int) -> dict[str, int]:
    """Divide the inputs among the targets."""
    whole = sum(TARGETS[name].share for name in names)
    return {name: -(-runs * TARGETS[name].share // whole) for name in names}


def chosen(words: list[str]) -> list[str]:
    """Give the targets meant by names, groups, or `all`."""
    return [
        name
        for name, target in TARGETS.items()
        if name in words or (target.group and ({"all", target.group} & set(words)))
    ]


def replay(name: str, path: Path) -> int:
    """Run one input, in this process and with its traceback."""
    try:
        guarded(TARGETS[name].run)(path.read_bytes())
    except Exception:
        traceback.print_exc()
        return 1
    print(f"{name}: no find")
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Fuzz the decoders.")
    parser.add_argument("targets", nargs="+", help="targets, groups (gossip frames ...) or all")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs, of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--finds", type=Path, help="where logs, inputs and finds are kept")
    parser.add_argument("--input", type=Path, help="run this one input only")
    return parser.parse_args()


def main() -> int:
    """Run what the command line asks for; 1 where there is a find."""
    options = arguments()
    names = chosen(options.targets)
    if not names:
        sys.exit(f"no such target: {' '.join(options.targets)}; there are {', '.join(TARGETS)}")
    if options.input:
        return replay(names[0], options.input)
    folder = options.finds or Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"{'target':18} {'inputs':>11} {'coverage':>9} {'seconds':>9} {'inputs/s':>9}  find")
    outcomes: list[Outcome] = []
    for name, runs in shares(names, options.runs).items():
        outcomes.append(fuzz(name, runs, options.seed, folder))
        print(outcomes[-1].row(), flush=True)
    found = [outcome for outcome in outcomes if outcome.find]
    inputs, seconds = sum(o.inputs for o in outcomes), sum(o.seconds for o in outcomes)
    print(Outcome("in all", inputs, 0, seconds, f"{len(found)} finds" if found else "").row())
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
