"""What processes have used so far, whatever else runs on the machine."""

from collections.abc import Iterable
from pathlib import Path

from bench.client import processor_seconds, resident_mib
from frr_container import FrrContainer


def engine_pids(container: FrrContainer) -> list[int]:
    """Return the daemons and their supervisor."""
    return [container.first, *container.pids().values()]


def seconds(pids: Iterable[int]) -> float:
    """Return the processor seconds of all of them together."""
    return sum(processor_seconds(pid) for pid in pids)


def resident(pids: Iterable[int]) -> float:
    """Return their resident memory in MiB; what they share counts for each."""
    return sum(resident_mib(pid) for pid in pids)


def proportional(pids: Iterable[int]) -> float:
    """Return their memory in MiB; of what several processes share each counts its part."""
    return sum(_pss(pid) for pid in pids) / 1024


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
