"""`python -m bench.bgp [PART ...]`: what BGP costs, as one JSON object; a part alone by its name.

Needs root and FRR. Processor figures are of the processes' own time, so that other work on the
machine adds to them what cold caches cost, and no more; times on the clock are the machine's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "netns-lab"), str(ROOT / "tests" / "support"), str(ROOT)]

from bench.bgp import engine_cost, quota, speaker_cost, times  # noqa: E402
from machine import slowness  # noqa: E402


def _local_rolling() -> dict[str, Any]:
    """In a process of its own, as the lab locks itself in."""
    command = [sys.executable, "-m", "bench.bgp.local_rolling"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    return dict(json.loads(done.stdout))


def _parts(given: argparse.Namespace, folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    return {
        "change": lambda: speaker_cost.of_a_change(folder),
        "memory": lambda: speaker_cost.of_memory(folder, given.before),
        "engine": lambda: engine_cost.measure(folder),
        "cold": lambda: times.of_a_cold_start(folder),
        "metric": lambda: times.of_the_metric(folder),
        "local": _local_rolling,
        "quota": lambda: quota.measure(folder, given.seconds, realtime=False),
        "realtime": lambda: quota.measure(folder, given.seconds, realtime=True),
    }


def main() -> None:
    """Measure what is asked for, or all, and print each part as soon as it is done."""
    parser = argparse.ArgumentParser(prog="python -m bench.bgp", description=__doc__)
    parser.add_argument("part", nargs="*")
    parser.add_argument("--before", type=Path, help="a checkout from before there was BGP")
    parser.add_argument("--seconds", type=float, default=300.0, help="of the storm, with a quota")
    given = parser.parse_args()
    for name in given.part or _parts(given, Path()):
        with tempfile.TemporaryDirectory(prefix="bench-bgp-") as folder:
            parts = _parts(given, Path(folder))
            if name not in parts:
                parser.error(f"{name} is none of {', '.join(parts)}")
            found = parts[name]()
        around = {"load": os.getloadavg()[0], "slowness": slowness()}
        print(json.dumps({name: found, **around}), flush=True)


if __name__ == "__main__":
    main()
