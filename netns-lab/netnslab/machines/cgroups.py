"""Limits for each speaker, as a pod has: CPU and memory, by cgroup v1 or v2, whichever there is."""

import contextlib
import os
from pathlib import Path

from netnslab.errors import LabError

V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
# Of v1 each controller has a tree of its own; of v2 one folder holds all of a group.
V1_MEMORY = Path("/sys/fs/cgroup/memory")
PREFIX = "clarion-lab-"
PERIOD_US = 100_000


class Group:
    """One group; `join` is the command prefix that starts a program inside it."""

    def __init__(self, name: str, cores: float, mebibytes: int = 0) -> None:
        """Make the group with a quota of that many cores, and perhaps of memory.

        Raises LabError.
        """
        base = V1 if (V1 / "cpu.cfs_quota_us").exists() else V2
        # The name tells nothing about who runs: inside the lab every process number is small.
        own = f"{PREFIX}{os.stat('/proc/self/ns/net').st_ino}-{name}"
        self.folder = base / own
        self.memory = self.folder if base == V2 else V1_MEMORY / own
        self._folders = list(dict.fromkeys([self.folder, *([self.memory] if mebibytes else [])]))
        try:
            if base == V2:
                _delegate(base, ["cpu", *(["memory"] if mebibytes else [])])
            for folder in self._folders:
                folder.mkdir()
            _limit(self.folder, base, round(cores * PERIOD_US))
            if mebibytes:
                _limit_memory(self.memory, base, mebibytes << 20)
        except OSError as error:
            self.close()
            raise LabError(f"no right to limit the speakers: {error}") from None

    @property
    def join(self) -> list[str]:
        """Join first, then become the program: not a cycle is counted elsewhere."""
        joins = " && ".join(f"echo 0 > {folder}/cgroup.procs" for folder in self._folders)
        return ["sh", "-c", f'{joins} && exec "$@"', "sh"]

    def throttled_periods(self) -> tuple[int, int]:
        """How many periods were cut short, of how many."""
        counts = _counts(self.folder / "cpu.stat")
        return counts.get("nr_throttled", 0), counts.get("nr_periods", 0)

    def kills(self) -> int:
        """How many processes of it the kernel has killed for lack of memory."""
        v1, v2 = self.memory / "memory.oom_control", self.memory / "memory.events"
        return _counts(v1 if v1.exists() else v2).get("oom_kill", 0)

    def peak(self) -> int:
        """The most bytes that it has held, 0 where the kernel does not tell."""
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            if (self.memory / name).exists():
                return int((self.memory / name).read_text())
        return 0

    def close(self) -> None:
        """Remove the group, which its last process has left."""
        for folder in self._folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _counts(file: Path) -> dict[str, int]:
    """A file of the kernel's with a name and a number in each line."""
    lines = (line.split()[:2] for line in file.read_text().splitlines())
    return {name: int(count) for name, count in lines}


def _delegate(base: Path, controllers: list[str]) -> None:
    control = base / "cgroup.subtree_control"
    for name in controllers:
        if name not in control.read_text().split():
            control.write_text(f"+{name}")


def _limit(folder: Path, base: Path, quota: int) -> None:
    if base == V1:
        (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (folder / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")


def _limit_memory(folder: Path, base: Path, most: int) -> None:
    """Swap would only put the end off, and is not what a pod has."""
    if base == V1:
        (folder / "memory.limit_in_bytes").write_text(str(most))
        swap = folder / "memory.memsw.limit_in_bytes"
    else:
        (folder / "memory.max").write_text(str(most))
        most, swap = 0, folder / "memory.swap.max"
    if swap.exists():
        swap.write_text(str(most))


def sweep() -> None:
    """Remove what a killed lab has left; the kernel refuses where a group is in use."""
    for base in (V1, V1_MEMORY, V2):
        for folder in base.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                folder.rmdir()
