"""Lines through a thread: in order, bounded, and whoever reads them holds nobody up."""

import contextlib
import errno
import fcntl
import json
import os
import threading
import timeit
from collections.abc import Iterator
from typing import Any

import pytest

from process.log_writer import LONGEST_WRITE, MOST_WAITING, LogWriter

HANG = 10.0
"""Seconds after which a test has hung."""
PIPE = 4_096
LINE = "x" * 199 + "\n"


class Pipe:
    """A small pipe that a test reads by itself."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE)

    def read(self, until: str) -> list[str]:
        """Read lines up to one that begins so; a test that waits for ever is ended by its limit.

        A pipe may end in the midst of a line: the rest of the last one is waited for.
        """
        text = ""
        while not text.endswith("\n") or not any(
            line.startswith(until) for line in text.splitlines()
        ):
            text += os.read(self.reader, 65_536).decode()
        return text.splitlines()

    def stop_reading(self) -> None:
        os.close(self.reader)
        self.reader = -1

    def close(self) -> None:
        for end in (self.reader, self.writer):
            with contextlib.suppress(OSError):
                os.close(end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def dropped_line(count: int) -> str:
    return f"dropped {count}\n"


def stall(writer: LogWriter, pipe: Pipe) -> threading.Event:
    """Have the thread wait with one line in its hands, `held`; it says when it takes the next."""
    for _ in range(PIPE // len(LINE)):
        os.write(pipe.writer, LINE.encode())
    taken = threading.Event()
    take = writer._take

    def taking() -> list[str]:
        lines = take()
        taken.set()
        return lines

    writer._take = taking  # type: ignore[method-assign]
    writer.write(f"held {'x' * PIPE}\n")
    assert taken.wait(HANG)
    taken.clear()
    return taken


def fill(writer: LogWriter) -> int:
    """Write until a line is dropped; return how many lines were taken."""
    taken = 0
    while not writer.dropped:
        writer.write(LINE)
        taken += 1
    return taken - 1


def test_lines_of_all_threads_are_written_whole_and_in_order(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, dropped_line)

    def write(name: str) -> None:
        for number in range(200):
            writer.write(f"{name} {number}\n")

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.write("end\n")
    lines = pipe.read("end")
    for name in "ab":
        mine = [line for line in lines if line.startswith(name)]
        assert mine == [f"{name} {number}" for number in range(200)]
    assert writer.dropped == 0


def test_a_reader_that_rests_holds_nobody_up_and_the_newest_lines_are_dropped(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, dropped_line)
    stall(writer, pipe)
    taken = fill(writer)
    for _ in range(9):
        writer.write(LINE)
    assert writer.dropped == 10
    assert taken == MOST_WAITING // len(LINE)
    # All that waited comes first, whole: then the line that says how many are missing.
    lines = pipe.read("dropped")
    assert lines[-taken - 1 :] == [LINE.strip()] * taken + ["dropped 10"]
    writer.write("after\n")
    assert pipe.read("after") == ["after"]


def test_what_was_dropped_is_said_before_the_next_line(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, dropped_line)
    room = stall(writer, pipe)
    fill(writer)
    while not room.is_set():
        os.read(pipe.reader, 1)
    writer.write("after\n")
    assert pipe.read("after")[-2:] == ["dropped 1", "after"]


def test_a_reader_that_goes_away_costs_the_lines_only(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, dropped_line)
    pipe.stop_reading()
    for number in range(3):
        writer.write("nobody reads this\n")
        assert writer.finish(HANG)
        assert writer.dropped == number + 1


def test_a_file_that_takes_lines_again_is_told_what_is_missing(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(pipe.writer, dropped_line)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        writer.write("lost\n")
        assert writer.finish(HANG)
    writer.write("back\n")
    assert pipe.read("dropped") == ["back", "dropped 1"]


def test_no_error_ends_the_thread(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LogWriter(pipe.writer, dropped_line)
    real, failed = os.write, threading.Event()

    def once(descriptor: int, data: bytes) -> int:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("injected")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", once)
    writer.write("lost\n")
    assert writer.finish(HANG)
    writer.write("kept\n")
    assert pipe.read("dropped") == ["kept", "dropped 1"]


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    writer = LogWriter(pipe.writer, dropped_line)
    for _ in range(100):
        writer.write(LINE)
    writer.write("end\n")
    assert pipe.read("end") == [LINE.strip()] * 100 + ["end"]


def test_the_end_waits_for_the_last_lines_but_not_for_ever(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, dropped_line)
    assert writer.finish(0.0)
    for _ in range(2 * PIPE // len(LINE)):
        writer.write(LINE)
    assert not writer.finish(0.05)
    writer.write("last\n")
    assert pipe.read("last")[-1] == "last"
    assert writer.finish(HANG)


def test_a_line_longer_than_one_call_is_written_whole(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, dropped_line)
    long = "y" * (3 * LONGEST_WRITE)
    writer.write(f"{long}\n")
    writer.write("end\n")
    assert pipe.read("end") == [long, "end"]


def test_a_line_costs_the_caller_no_more_than_writing_it(pipe: Pipe) -> None:
    """Both in the same run, with a reader: the least of several rounds each."""
    reading = threading.Thread(target=drain, args=(pipe.reader,), daemon=True)
    reading.start()
    writer = LogWriter(pipe.writer, dropped_line)
    direct = os.fdopen(os.dup(pipe.writer), "w")

    def print_it() -> None:
        print(LINE, end="", file=direct, flush=True)

    def queue_it() -> None:
        writer.write(LINE)

    assert least(queue_it) <= least(print_it)
    direct.close()
    assert writer.finish(HANG)


def least(call: Any) -> float:
    return min(timeit.repeat(call, number=200, repeat=20))


def drain(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 65_536):
            pass


def test_the_notice_is_a_line_like_others() -> None:
    from process.logs import _dropped_line

    line = json.loads(_dropped_line(7))
    assert (line["event"], line["dropped"], line["level"]) == ("log_lines_dropped", 7, "warning")
    assert line["ts"].endswith("Z")
