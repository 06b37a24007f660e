"""Asks a process of ours on the same machine: a socket that waits, for commands that people run.

What answers may be anybody, and may say anything, so all of it is bounded: whose it is, how long
a line is, how long all of it takes, and how often an answer goes on.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from process.local.address import UntrustedError, address, is_trusted, uid_of
from process.local.protocol import (
    LONGEST_ANSWER,
    LocalLine,
    LocalProtocolError,
    LocalQuestion,
    LocalRefusal,
    decode_line,
    encode,
)

TIMEOUT = 5.0
"""Seconds for a whole answer; for who follows, until the head is there."""
CROWDED_WAIT = 0.01
"""Seconds until a connection is tried again for which there was no room."""
MOST_PAGES = 64
"""Answers that belong together: 64 MiB, far more than a speaker knows."""
LONGEST_LINE = 256 * 1024
"""Bytes of one line."""


def converse(program: str, node: str, question: LocalQuestion) -> Iterator[LocalLine]:
    """Ask; yield the lines of the answer, the head first.

    Ends with the end that the answer names, or in a `follow` with the program. Raises OSError where
    nobody answers in time, UntrustedError where another user's process does, LocalProtocolError
    where what it says makes no sense or is a refusal.
    """
    with connect(program, node) as connection:
        with suppress(BrokenPipeError):
            # Whoever has no place for us says so before it has read anything.
            connection.sendall(encode(question))
        yield from _lines(connection, question.follow)


def connect(program: str, node: str) -> socket.socket:
    """Return a connection to a trusted process; raise OSError or UntrustedError."""
    end = time.monotonic() + TIMEOUT
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(TIMEOUT)
        while True:
            try:
                connection.connect(address(program, node))
                break
            except BlockingIOError:
                # unix(7): so many wait to be accepted that there is no room for one more.
                if time.monotonic() >= end:
                    raise
                time.sleep(CROWDED_WAIT)
        if not is_trusted(uid := uid_of(connection)):
            raise UntrustedError(uid)
    except BaseException:
        connection.close()
        raise
    return connection


def _lines(connection: socket.socket, follow: bool) -> Iterator[LocalLine]:
    end, most = time.monotonic() + TIMEOUT, LONGEST_ANSWER + LONGEST_LINE
    waiting, total, headed = bytearray(), 0, False
    while chunk := connection.recv(65_536):
        waiting += chunk
        total += len(chunk)
        *whole, rest = waiting.split(b"\n")
        for text in whole:
            line = decode_line(bytes(text))
            if line.error:
                raise LocalProtocolError(_refusal(line.error))
            headed = True
            yield line
            if line.end is not None:
                return
        waiting = bytearray(rest)
        if len(waiting) > LONGEST_LINE or (total > most and not follow):
            raise LocalProtocolError(LocalRefusal.TOO_LONG)
        _set_patience(connection, None if follow and headed else end - time.monotonic())
    if not (follow and headed):
        raise LocalProtocolError(LocalRefusal.FAILED if headed else LocalRefusal.MALFORMED)


def _set_patience(connection: socket.socket, seconds: float | None) -> None:
    if seconds is not None and seconds <= 0:
        raise TimeoutError
    connection.settimeout(seconds)


def _refusal(text: str) -> LocalRefusal:
    try:
        return LocalRefusal(text)
    except ValueError:
        return LocalRefusal.FAILED


def gather(program: str, node: str, question: LocalQuestion) -> Iterator[LocalLine]:
    """Ask, and ask again for what did not fit; yield the head of the first answer, and all rows.

    Raises what `converse` raises.
    """
    for page in range(MOST_PAGES):
        rest = ""
        for line in converse(program, node, question):
            if line.end is not None:
                rest = line.end.next
            elif line.row is not None or not page:
                yield line
        if not rest:
            return
        question = msgspec.structs.replace(question, after=rest)
    raise LocalProtocolError(LocalRefusal.TOO_LONG)
