"""A clock that can be held back, for the program that `python -m netnslab.machines.held` runs.

The program is one of Python's. Where a virtual machine is paused, all its clocks stand still, and
the speaker on it cannot know. The file holds the seconds by which every clock of the program is
behind, as one double.
"""

import mmap
import runpy
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

BEHIND = struct.Struct("d")
NANO = 1_000_000_000
# Those that tell of the time of day or since the start; a process's own use of the CPU is none.
_CLOCKS = (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME)


class HeldClock:
    """The lab's side of one program's clock."""

    def __init__(self, file: Path) -> None:
        """Make the file; the program starts on time. Raises OSError."""
        self._file = file
        file.write_bytes(BEHIND.pack(0.0))

    def command(self) -> list[str]:
        """What to put before the program's own command."""
        return [sys.executable, "-m", "netnslab.machines.held", str(self._file)]

    def hold_back(self, seconds: float) -> None:
        """Set the clock back by so much more; the program sees it at once."""
        (behind,) = BEHIND.unpack(self._file.read_bytes())
        # In place: the program has mapped this very file.
        with self._file.open("r+b") as file:
            file.write(BEHIND.pack(behind + seconds))


def _patch(behind: Callable[[], float]) -> None:
    """Have every clock of this process that others read through `time` go behind."""
    for name in ("monotonic", "time", "perf_counter"):
        setattr(time, name, _later(getattr(time, name), behind))
        setattr(time, f"{name}_ns", _later_ns(getattr(time, f"{name}_ns"), behind))
    of, of_ns = time.clock_gettime, time.clock_gettime_ns

    def clock_gettime(clock: int) -> float:
        return of(clock) - (behind() if clock in _CLOCKS else 0.0)

    def clock_gettime_ns(clock: int) -> int:
        return of_ns(clock) - (round(behind() * NANO) if clock in _CLOCKS else 0)

    time.clock_gettime, time.clock_gettime_ns = clock_gettime, clock_gettime_ns


def _later(clock: Callable[[], float], behind: Callable[[], float]) -> Callable[[], float]:
    return lambda: clock() - behind()


def _later_ns(clock: Callable[[], int], behind: Callable[[], float]) -> Callable[[], int]:
    return lambda: clock() - round(behind() * NANO)


def _become(command: list[str]) -> None:
    """Go on as that program: `python -m MODULE ...`, `python FILE ...` or a script."""
    if Path(command[0]).name.startswith("python"):
        command = command[1:]
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = command
    sys.path[0] = str(Path(command[0]).parent)
    runpy.run_path(command[0], run_name="__main__")


def main() -> None:
    """Map the file, so that a look at the clock costs no call of the kernel."""
    with Path(sys.argv[1]).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), BEHIND.size, prot=mmap.PROT_READ)

    def behind() -> float:
        (seconds,) = BEHIND.unpack_from(mapped)
        return float(seconds)

    _patch(behind)
    _become(sys.argv[2:])


if __name__ == "__main__":
    main()
