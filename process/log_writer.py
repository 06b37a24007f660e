"""Writes lines from a thread: who reads them may rest or go away, and nobody here waits for it."""

import os
import select
from collections import deque
from collections.abc import Callable
from threading import Event, Lock, Thread

MOST_WAITING = 2 * 1024 * 1024
"""Characters of lines that wait to be written: three lines for each of 3,000 service IPs."""
LONGEST_WRITE = select.PIPE_BUF
"""Bytes of whole lines in one call: so many reach a pipe in one piece, beside other writers."""
GATHER = 0.02
"""Seconds for which the thread gathers lines: to wake it costs the loop more than to add a line."""


class LogWriter:
    """Takes whole lines, in the order in which they are to be written; any thread may call it.

    Where too much waits, the newest lines are dropped and counted, and a line says so as soon as
    there is room. A file that cannot be written to costs the lines, not the process.
    """

    def __init__(self, descriptor: int, notice: Callable[[int], str]) -> None:
        """`notice` makes the line that says how many were dropped."""
        self.dropped = 0
        self._descriptor = descriptor
        self._notice = notice
        self._lines: deque[str] = deque()
        self._size = 0
        self._unsaid = 0
        self._broken = False
        self._asleep = True
        self._lock = Lock()
        self._ready = Event()
        self._hurry = Event()
        self._idle = Event()
        self._idle.set()
        Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: str) -> None:
        """Take one line, its end included."""
        with self._lock:
            if self._size + len(line) > MOST_WAITING:
                self._drop(1)
                return
            self._say_dropped()
            self._add(line)
            asleep, self._asleep = self._asleep, False
        if asleep:
            self._ready.set()

    def flush(self) -> None:
        """Nothing to do for each line; see `finish`."""

    def finish(self, within: float) -> bool:
        """Wait until all is written, so many seconds at most; tell whether it is."""
        self._hurry.set()
        return self._idle.wait(within)

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line)
        self._idle.clear()

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._unsaid += count

    def _say_dropped(self) -> None:
        # Not to a file that has just refused lines: that notice would be the next to be dropped.
        if self._unsaid and not self._broken:
            count, self._unsaid = self._unsaid, 0
            self._add(self._notice(count))

    # ---- in the thread

    def _run(self) -> None:
        while True:
            self._ready.wait()
            self._ready.clear()
            self._hurry.wait(GATHER)
            while lines := self._take():
                self._put(lines)

    def _take(self) -> list[str]:
        """Return the next lines that fit into one call, none where nothing waits."""
        with self._lock:
            if not self._lines:
                self._say_dropped()
            lines: list[str] = []
            length = 0
            while self._lines and (not lines or length + len(self._lines[0]) <= LONGEST_WRITE):
                lines.append(self._lines.popleft())
                length += len(lines[-1])
            self._size -= length
            if not lines:
                self._asleep = True
                self._idle.set()
            return lines

    def _put(self, lines: list[str]) -> None:
        try:
            self._write_all("".join(lines).encode())
        except Exception:
            # The reader is gone, the disk is full: nothing that is worth the process.
            with self._lock:
                self._drop(len(lines))
                self._broken = True
        else:
            self._broken = False

    def _write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Whoever shares the pipe may have made it so.
                select.select([], [self._descriptor], [])


def standard_output() -> int:
    """Return a descriptor of our own; where there is no standard output, of the null device.

    The number 1 itself may by then be that of a socket.
    """
    try:
        return os.dup(1)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)
