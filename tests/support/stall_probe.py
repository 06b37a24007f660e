"""Runs a Python module and notes how long its event loop was held: `stall_probe.py FILE -m MODULE`.

A turn is held from the moment the selector gives events until it is asked again: nothing that comes
meanwhile is answered. The file gets a line for each turn that took long: seconds in all, seconds of
CPU, and the callbacks. The CPU is that of the loop's own thread, and that of garbage collections in
any other: they hold the interpreter from the first to the last. Another process, or another thread,
makes the first number the larger one.
"""

import asyncio
import gc
import os
import runpy
import sys
import threading
import time
from pathlib import Path
from selectors import EpollSelector, SelectorKey
from typing import Any

NOTED = 0.002
"""Seconds from which turns are noted."""
NAMED = NOTED / 4
"""Seconds of CPU from which the callbacks of such a turn are named."""


class ProbedSelector(EpollSelector):
    """Times what happens between two calls of `select`."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._began = (0.0, 0.0)
        self.ran: list[str] = []
        self.collected = 0.0
        """Seconds that other threads took for collections in this turn."""

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """As the base class; what went before ends here, and the next turn begins."""
        if self._began[0]:
            cpu = time.thread_time() - self._began[1] + self.collected
            self._note(time.monotonic() - self._began[0], cpu)
        found = super().select(timeout)
        self.ran.clear()
        self.collected = 0.0
        self._began = time.monotonic(), time.thread_time()
        return found

    def _note(self, wall: float, cpu: float) -> None:
        if wall >= NOTED:
            line = f"{wall:.6f} {cpu:.6f} {' '.join(self.ran)}\n"
            with self._file.open("a") as output:
                output.write(line)


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
            return
        took = time.thread_time() - began
        here = threading.current_thread() is threading.main_thread()
        if not here:
            selector.collected += took
        if took >= NAMED:
            where = "" if here else "elsewhere,"
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


def turns(file: Path) -> list[tuple[float, float, str]]:
    """The noted turns: wall and CPU seconds, and what ran; the longest first."""
    lines = [line.split(" ", 2) for line in file.read_text().splitlines()]
    found = [(float(wall), float(cpu), ran) for wall, cpu, ran in lines]
    return sorted(found, reverse=True)


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
