"""Cgroups for a process, memory or processor, of whichever version the machine has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class MemoryLimit:
    """A group with a limit; `join` is the command prefix that starts a program inside."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._v1 = folder.parent == V1
        folder.mkdir()
        name = "memory.limit_in_bytes" if self._v1 else "memory.max"
        (folder / name).write_text(str(limit))

    @property
    def join(self) -> tuple[str, ...]:
        """Join, then become the program: not a page is counted elsewhere."""
        return ("sh", "-c", f'echo $$ > {self._folder}/cgroup.procs && exec "$@"', "sh")

    def kills(self) -> int:
        """How often the kernel killed for lack of memory."""
        name = "memory.oom_control" if self._v1 else "memory.events"
        lines = (self._folder / name).read_text().splitlines()
        counts = dict(line.split() for line in lines)
        return int(counts.get("oom_kill", 0))

    def close(self) -> None:
        """Remove the group; it must be empty."""
        self._folder.rmdir()


@contextmanager
def memory_limit(limit: int) -> Iterator[MemoryLimit]:
    """A group of `limit` bytes. Raises OSError where we may not make one."""
    base = V1 if V1.is_dir() else V2
    if base == V2:
        control = base / "cgroup.subtree_control"
        if "memory" not in control.read_text():
            control.write_text("+memory")
    group = MemoryLimit(base / f"clarion-test-{os.getpid()}", limit)
    try:
        yield group
    finally:
        group.close()


def resident(pid: int) -> tuple[float, float]:
    """Resident and anonymous memory of a process, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    whole, anonymous = (int(found[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
    return whole, anonymous


class CpuLimit:
    """A group whose processes together get so many thousandths of a processor."""

    def __init__(self, millis: int) -> None:
        """Raises OSError where we may not make one."""
        v1 = V1.is_dir()
        base = Path("/sys/fs/cgroup/cpu") if v1 else V2
        if not v1 and "cpu" not in (base / "cgroup.subtree_control").read_text():
            (base / "cgroup.subtree_control").write_text("+cpu")
        self._folder = base / f"clarion-cpu-{os.getpid()}"
        self._folder.mkdir()
        if v1:
            (self._folder / "cpu.cfs_quota_us").write_text(str(millis * 100))
        else:
            (self._folder / "cpu.max").write_text(f"{millis * 100} 100000")

    @property
    def join(self) -> tuple[str, ...]:
        """Join, then become the program: its start is limited, too."""
        return ("sh", "-c", f'echo $$ > {self._folder}/cgroup.procs && exec "$@"', "sh")

    def take(self, pid: int) -> None:
        """Put a running process in."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def grant_realtime(self, millis: int) -> None:
        """Allow for real-time priority, so many thousandths of a processor. The quota is not heeded
        by whoever has it. Only kernels that share real time out among groups have to be told."""
        name = self._folder / "cpu.rt_runtime_us"
        if name.exists():
            name.write_text(str(millis * 1000))

    def throttled(self) -> int:
        """In how many periods of 100 ms the processes had to wait for the next one."""
        lines = (self._folder / "cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["nr_throttled"])

    def close(self) -> None:
        """Remove the group; it must be empty."""
        self._folder.rmdir()


@contextmanager
def cpu_limit(millis: int) -> Iterator[CpuLimit]:
    """A group for a while; what runs in it must have ended before that."""
    group = CpuLimit(millis)
    try:
        yield group
    finally:
        group.close()
