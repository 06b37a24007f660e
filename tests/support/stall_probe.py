"""Runs a Python module and notes how long its event loop was held: `stall_probe.py FILE -m MODULE`.

A turn is held from the moment the selector gives events until it is asked again: nothing that comes
meanwhile is answered. The file gets a line for each turn that took long: see `Turn`.
"""

import asyncio
import gc
import os
import runpy
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from selectors import EpollSelector, SelectorKey
from typing import Any

NOTED = 0.002
"""Seconds from which turns are noted."""
NAMED = NOTED / 4
"""Seconds of CPU from which the callbacks of such a turn are named."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds that one turn took, and the callbacks that took most of its CPU."""

    wall: float
    """In all."""
    held: float
    """Without the time for which other processes had every processor: our own work, that of the
    kernel for us, and what the loop waited for other threads of ours."""
    cpu: float
    """Work of the loop's own thread alone."""
    ran: str = ""


class ProbedSelector(EpollSelector):
    """Times what happens between two calls of `select`."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._began = (0.0, 0.0, 0.0)
        self._waits = _open_waits()
        self.ran: list[str] = []

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """As the base class; what went before ends here, and the next turn begins."""
        if self._began[0]:
            # The clock last here and first below: what is lost in between counts as held.
            cpu, waited = time.thread_time(), self._waited()
            now = time.monotonic(), waited, cpu
            self._note(*(end - begin for begin, end in zip(self._began, now, strict=True)))
        found = super().select(timeout)
        self.ran.clear()
        self._began = time.monotonic(), self._waited(), time.thread_time()
        return found

    def _waited(self) -> float:
        """Seconds for which this thread was ready to run and had no processor."""
        return int(os.pread(self._waits, 64, 0).split()[1]) / 1e9 if self._waits >= 0 else 0.0

    def _note(self, wall: float, waited: float, cpu: float) -> None:
        if wall >= NOTED:
            line = f"{wall:.6f} {wall - waited:.6f} {cpu:.6f} {' '.join(self.ran)}\n"
            with self._file.open("a") as output:
                output.write(line)


def _open_waits() -> int:
    """The kernel's file on how this thread is scheduled; -1 where it keeps none."""
    try:
        return os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        return -1


def _policy(selector: ProbedSelector) -> asyncio.AbstractEventLoopPolicy:
    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            here = threading.current_thread() is threading.main_thread()
            return asyncio.SelectorEventLoop(selector if here else None)

    return Policy()


def _note_collections(selector: ProbedSelector) -> None:
    began = 0.0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.thread_time()
        elif (took := time.thread_time() - began) >= NAMED:
            where = "" if threading.current_thread() is threading.main_thread() else "elsewhere,"
            selector.ran.append(f"(gc{info['generation']}:{where}{took * 1000:.1f}ms)")

    gc.callbacks.append(note)


def _name_callbacks(selector: ProbedSelector) -> None:
    """Have each callback note who it is and how long it took, where that is worth it."""
    run = asyncio.Handle._run

    def timed(self: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            run(self)
            return
        callback, began = self._callback, time.thread_time()
        run(self)
        took = time.thread_time() - began
        if took >= NAMED:
            owner = getattr(callback, "__self__", None)
            coroutine = owner.get_coro() if isinstance(owner, asyncio.Task) else callback
            name = getattr(coroutine, "__qualname__", repr(callback)[:60]).replace(" ", "_")
            selector.ran.append(f"{name}:{took * 1000:.1f}ms")

    asyncio.Handle._run = timed  # type: ignore[method-assign]


def turns(file: Path) -> list[Turn]:
    """The noted turns."""
    lines = [line.split(" ", 3) for line in file.read_text().splitlines()]
    return [Turn(float(wall), float(held), float(cpu), ran) for wall, held, cpu, ran in lines]


def main() -> None:
    """Run the module under the probe."""
    file, flag, module, *arguments = sys.argv[1:]
    assert flag == "-m", sys.argv
    selector = ProbedSelector(Path(file))
    asyncio.set_event_loop_policy(_policy(selector))
    _name_callbacks(selector)
    _note_collections(selector)
    sys.argv = [module, *arguments]
    sys.path.insert(0, os.getcwd())
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
