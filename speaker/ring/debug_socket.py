"""`speaker --memberlist-debug`: asks the running speaker on this node for its member table.

It listens on an abstract UNIX socket named after the node, so that no file system is needed. Such
a name has no owner: any process in the machine's network namespace can take it, and listen or
connect. So only root and the speaker's own user get an answer, whoever asks looks who answers, and
a speaker whose name is taken goes on without: it is a convenience. Nothing that is sent to it is
read.
"""

import asyncio
import contextlib
import hashlib
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import click
from structlog.typing import FilteringBoundLogger as Log

from speaker.ring.member_table import (
    LONGEST_ANSWER,
    MemberRow,
    MemberTableError,
    decode,
    encode,
    lines,
)

_CREDENTIALS = struct.Struct("3i")
TIMEOUT = 5.0
"""Seconds for a whole answer, on either side."""
RETRY = 30.0
"""Seconds until a name that another process holds is tried again."""
BACKLOG = 4
"""Connections accepted in one turn of the loop: any user of the machine may open them."""
LONGEST_NAME = 107
"""Bytes of an address of the kernel's, less one; a Node's name may have 253."""


class UntrustedError(Exception):
    """Another user's process answers; `uid` says whose."""

    def __init__(self, uid: int) -> None:
        super().__init__(uid)
        self.uid = uid


def address(node: str) -> str:
    """Return the abstract address (it begins with a NUL byte)."""
    name = f"\0clarion/memberlist-debug/{node}"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return f"\0clarion/memberlist-debug/{hashlib.sha256(node.encode()).hexdigest()}"


class DebugServer:
    """Answers each connection with the table as JSON, and closes it."""

    def __init__(self, node: str, rows: Callable[[], list[MemberRow]], log: Log) -> None:
        self._node = node
        self._rows = rows
        self._log = log

    async def run(self) -> None:
        """Listen until cancelled; as long as that is impossible, try again now and then."""
        complained = False
        while True:
            try:
                server = await asyncio.start_unix_server(
                    self._answer, address(self._node), backlog=BACKLOG
                )
            except OSError as error:
                if not complained:
                    self._log.warning(
                        "memberlist_debug",
                        error=os.strerror(error.errno) if error.errno else str(error),
                        message="another process has its address: --memberlist-debug shows nothing",
                        retry=RETRY,
                    )
                complained = True
                await asyncio.sleep(RETRY)
                continue
            if complained:
                self._log.info("memberlist_debug", state="listening")
            async with server:
                await server.serve_forever()

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if _trusted(_uid(writer.get_extra_info("socket"))):
                writer.write(encode(self._rows()))
                await asyncio.wait_for(writer.drain(), TIMEOUT)
        writer.close()


def _uid(connection: Any) -> int:
    """Return who is at the other end: who connected, or who began to listen."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def _trusted(uid: int) -> bool:
    return uid in (0, os.geteuid())


def ask(node: str) -> list[MemberRow]:
    """Return the table of the running speaker.

    Raises OSError where none answers in time, UntrustedError where another user's process does,
    and TableError where what it says is no table.
    """
    end = time.monotonic() + TIMEOUT
    answer = bytearray()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(address(node))
        if not _trusted(uid := _uid(connection)):
            raise UntrustedError(uid)
        while chunk := connection.recv(65_536):
            answer += chunk
            if len(answer) > LONGEST_ANSWER:
                raise MemberTableError("the answer is too long")
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
    return decode(answer)


def show(node: str) -> int:
    """Print the table; return the exit status."""
    try:
        rows = ask(node)
    except UntrustedError as error:
        return _fail(f"user {error.uid} listens in the place of the speaker on node {node}")
    except MemberTableError:
        return _fail(f"what answers on node {node} is no speaker: its answer makes no sense")
    except OSError:
        return _fail(f"no speaker answers on node {node}")
    for line in lines(rows):
        click.echo(line)
    return 0


def _fail(why: str) -> int:
    click.echo(f"speaker: {why}", err=True)
    return 1
