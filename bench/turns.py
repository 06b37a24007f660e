"""How long the loop is held at most while 1,000 services appear, are read anew and are scraped."""

import shutil
import tempfile
import time
from operator import attrgetter
from pathlib import Path
from typing import Any

import stall_probe
from dualstack import dualstack, manifests
from speakers import speaker, wait_until

TIMES = 3
READING_TAKES = 8.0
"""Seconds: a thread reads at leisure."""


def longest_turns(ips: list[str]) -> dict[str, Any]:
    """Return milliseconds of the loop's own processor time in the longest turn of each phase."""
    with dualstack("client", "node") as machines, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source, probe = manifests(folder / "source", ips[0]), folder / "turns"
        later = manifests(folder / "later", *ips) / "all.yaml"
        probe.touch()
        with speaker(machines["node"].host, source, log=folder / "log", probe=probe) as running:
            running.wait_for("announce")
            time.sleep(1.0)
            probe.write_text("")
            shutil.move(later, source / "all.yaml")
            wait_until(lambda: len(running.events("announce")) == len(ips), "all announced", 60.0)
            time.sleep(1.0)
            result = {"announcing": _longest(probe)}
            for number in range(TIMES):
                _change(source / "all.yaml", number)
                running.get("/metrics")
                time.sleep(READING_TAKES)
            return result | {"reading_and_scraped": _longest(probe)}


def _change(file: Path, number: int) -> None:
    """Rewrite a file with one port changed."""
    new = file.with_name(".new")
    new.write_text(file.read_text().replace("port: 80", f"port: {81 + number}", 1))
    new.rename(file)


def _longest(probe: Path) -> dict[str, Any]:
    """The longest turn since the last call, and what ran in it."""
    found = max(stall_probe.turns(probe), key=attrgetter("cpu"), default=None)
    probe.write_text("")
    return {"ms": round(found.cpu * 1e3, 1), "ran": found.ran} if found else {"ms": 0.0, "ran": ""}
