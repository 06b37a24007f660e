"""One connection to one of FRR's daemons. A driver.

Several commands go out at once, and their answers come back in order. A daemon is late if for some
time nothing at all came from it: what has arrived while our own process stood still is read first.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from bgp.door.vty import AnswerDecoder, VtyAnswer, VtyError, encode

MOST_ANSWER = 16 << 20
"""Bytes of one answer: a running configuration of 100,000 prefixes has 5 MB."""

LONGEST = 10
"""Times what a silence may last: so long all answers to one bunch of commands may take."""


class DaemonGoneError(Exception):
    """It takes no connection, or has closed the one there was."""


class DaemonLateError(Exception):
    """It has said nothing for too long."""


class VtyConnection(asyncio.Protocol):
    """Asks one bunch of commands at a time."""

    def __init__(self, lost: Callable[[], None]) -> None:
        """`lost` is called once, when the connection has ended, whoever ended it."""
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._decoder = AnswerDecoder(MOST_ANSWER)
        self._answers: list[VtyAnswer] = []
        self._expected = 0
        self._heard = self._asked = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, commands: Sequence[str], within: float) -> list[VtyAnswer]:
        """Return the answers, one a command.

        Raises `DaemonGoneError`, `DaemonLateError` after `within` seconds of silence or `LONGEST`
        times as many in all, `VtyError`.
        """
        if self._transport is None or self._transport.is_closing():
            raise DaemonGoneError
        data = b"".join(map(encode, commands))
        self._answers, self._expected = [], len(commands)
        self._transport.write(data)
        await self._settle(within)
        return self._answers

    async def wait_for_answers(self, within: float) -> None:
        """Wait for what is still owed, after it was late. Raises as `ask` does."""
        if self._transport is None or self._transport.is_closing():
            raise DaemonGoneError
        await self._settle(within)

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _settle(self, within: float) -> None:
        if len(self._answers) >= self._expected:
            return
        loop = asyncio.get_running_loop()
        self._heard = self._asked = loop.time()
        self._waiter = loop.create_future()
        self._timer = loop.call_later(within, self._judge, within)
        try:
            await self._waiter
        finally:
            self._timer.cancel()
            self._waiter = None

    def _judge(self, within: float) -> None:
        loop = asyncio.get_running_loop()
        due = min(self._heard + within, self._asked + LONGEST * within)
        if (left := due - loop.time()) > 0:
            self._timer = loop.call_later(left, self._judge, within)
        else:
            self._fail(DaemonLateError())

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take in what the daemon says."""
        self._heard = asyncio.get_running_loop().time()
        try:
            self._answers += self._decoder.feed(data)
            self._check()
        except VtyError as error:
            self._fail(error)
            self.close()
            return
        if len(self._answers) == self._expected and self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _check(self) -> None:
        """Hold all answers to one bunch of commands to the length of one."""
        if len(self._answers) > self._expected:
            raise VtyError("an answer to no question")
        if sum(len(answer.text) for answer in self._answers) > MOST_ANSWER:
            raise VtyError(f"answers of more than {MOST_ANSWER} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._transport = None
        self._fail(DaemonGoneError())
        self._lost()


async def connect(path: Path, lost: Callable[[], None]) -> VtyConnection:
    """Return a connection. Raises `DaemonGoneError`; `DaemonLateError` if too many wait already."""
    vty = socket.socket(socket.AF_UNIX)
    try:
        vty.setblocking(False)
        # With a UNIX socket this is done at once or not at all.
        vty.connect(str(path))
    except BlockingIOError:
        vty.close()
        raise DaemonLateError from None
    except OSError:
        vty.close()
        raise DaemonGoneError from None
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_unix_connection(lambda: VtyConnection(lost), sock=vty)
    return connection
