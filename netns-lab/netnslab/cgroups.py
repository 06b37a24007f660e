"""A CPU limit for each speaker, as a pod has: cgroup v1 or v2, whichever the machine has."""

import contextlib
import os
from pathlib import Path

from netnslab.errors import LabError

V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
PREFIX = "clarion-lab-"
PERIOD_US = 100_000


class CpuGroup:
    """One group; `join` is the command prefix that starts a program inside it."""

    def __init__(self, name: str, cores: float) -> None:
        """Makes the group with a quota of that many cores. Raises LabError."""
        base = V1 if (V1 / "cpu.cfs_quota_us").exists() else V2
        # The name tells nothing about who runs: inside the lab every process number is small.
        self.folder = base / f"{PREFIX}{os.stat('/proc/self/ns/net').st_ino}-{name}"
        try:
            if base == V2:
                _delegate(base)
            self.folder.mkdir()
            _limit(self.folder, base, round(cores * PERIOD_US))
        except OSError as error:
            raise LabError(f"no right to limit the speakers' CPU: {error}") from None

    @property
    def join(self) -> list[str]:
        """Joins first, then becomes the program: not a cycle is counted elsewhere."""
        return ["sh", "-c", f'echo 0 > {self.folder}/cgroup.procs && exec "$@"', "sh"]

    def throttled(self) -> tuple[int, int]:
        """How many periods were cut short, of how many."""
        lines = (self.folder / "cpu.stat").read_text().splitlines()
        counts = dict(line.split()[:2] for line in lines)
        return int(counts.get("nr_throttled", 0)), int(counts.get("nr_periods", 0))

    def close(self) -> None:
        """Removes the group, which its last process has left."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def _delegate(base: Path) -> None:
    control = base / "cgroup.subtree_control"
    if "cpu" not in control.read_text().split():
        control.write_text("+cpu")


def _limit(folder: Path, base: Path, quota: int) -> None:
    if base == V1:
        (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (folder / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")


def sweep() -> None:
    """Removes what a killed lab has left; the kernel refuses where a group is in use."""
    for base in (V1, V2):
        for folder in base.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                folder.rmdir()
