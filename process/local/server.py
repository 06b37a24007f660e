"""Answers on a local socket: few clients, short questions, bounded answers, and no long turn.

An answer is an iterator of rows. It is asked for one row after the other, for half a millisecond
in one turn of the loop, so that whoever answers builds only as fast as it is read; one that has
long work before it says None in between. What is followed has rows without end, and says None where
there is nothing new. Nothing waits for a slow reader but the iterator, which knows what is lost.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from structlog.typing import FilteringBoundLogger as Log

from process.local.address import address, is_trusted, uid_of
from process.local.answer import Answerer, LocalAnswer, LocalLoss, LocalRow
from process.local.protocol import (
    LONGEST_ANSWER,
    LONGEST_QUESTION,
    SCHEMA,
    LocalEnd,
    LocalLine,
    LocalProtocolError,
    LocalQuestion,
    LocalRefusal,
    decode_question,
    encode,
    encode_row,
)
from process.survival import survive

MOST_CLIENTS = 8
MOST_FOLLOWERS = 4
"""Of these, how many may follow: the others find a place."""
ASK_WITHIN = 1.0
ANSWER_WITHIN = 5.0
"""Seconds for a whole question, and for a whole answer."""
STUCK = 30.0
"""Seconds after which a follower that reads nothing is let go."""
BITE = 0.0005
"""Seconds that one turn of the loop may spend on an answer."""
LULL = 0.1
"""Seconds between two looks for what is new, for who follows."""
CHUNK = 32 * 1024
"""Bytes that are handed to the system at once, and of an answer that wait in this process."""
RETRY = 30.0
"""Seconds until a name that another process holds is tried again."""
BACKLOG = 4
"""Connections accepted in one turn of the loop: any user of the machine may open them."""


class _Pause(Enum):
    """Why an iterator is not asked for more just now."""

    TIME = auto()
    """The turn has lasted long enough, or enough waits for the reader."""
    REST = auto()
    """It says so itself."""
    END = auto()


@dataclass(slots=True)
class _Delivery:
    """An answer on its way."""

    writer: asyncio.StreamWriter
    rows: Iterator[LocalRow | LocalLoss | None]
    waiting: bytearray = field(default_factory=bytearray)
    sent: int = 0
    """Bytes so far, with those that wait."""
    count: int = 0
    place: str = ""
    """Of the last row."""
    failed: bool = False

    def add(self, line: bytes) -> None:
        """Have a line sent with the next ones."""
        self.waiting += line
        self.sent += len(line)

    def take(self, item: LocalRow | LocalLoss) -> None:
        """Have a row sent, or the word that there were more of them."""
        if isinstance(item, LocalLoss):
            self.add(encode(LocalLine(lost=item.count)))
            return
        self.add(encode_row(item.value))
        self.count += 1
        self.place = item.place

    async def flush(self) -> None:
        """Hand over what waits, and wait until all but a chunk of it is taken."""
        if self.waiting:
            self.writer.write(bytes(self.waiting))
            self.waiting.clear()
        await self.writer.drain()

    async def finish(self) -> None:
        """Do so, and wait until all of it is taken."""
        self.writer.transport.set_write_buffer_limits(0)
        await self.flush()


class LocalServer:
    """Listens in the name of one program on one node."""

    def __init__(self, program: str, node: str, answer: Answerer, part: str, log: Log) -> None:
        """`part` is the part of the program that is named where an answer raises an error."""
        self._address, self._node = address(program, node), node
        self._answer = answer
        self._part = part
        self._log = log
        self._clients = self._followers = 0
        self._turn = asyncio.Lock()
        """Held from a piece of work on an answer to the next turn of the loop: all who ask share
        what one turn may spend."""

    async def run(self) -> None:
        """Listen until cancelled; as long as that is impossible, try again now and then."""
        complained = False
        while True:
            try:
                server = await asyncio.start_unix_server(
                    self._serve, self._address, limit=LONGEST_QUESTION, backlog=BACKLOG
                )
            except OSError as error:
                if not complained:
                    self._log.warning(
                        "local_socket",
                        error=os.strerror(error.errno) if error.errno else str(error),
                        message="another process has its address: nobody can ask this one",
                        retry=RETRY,
                    )
                complained = True
                await asyncio.sleep(RETRY)
                continue
            if complained:
                self._log.info("local_socket", state="listening")
            async with server:
                await server.serve_forever()

    # ---- one client

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError):
                # Who may not ask has no place here, and takes none away.
                if is_trusted(uid_of(writer.get_extra_info("socket"))):
                    await self._seat(reader, writer)
        except Exception as error:
            survive(self._part, error)
        finally:
            # What waits for a reader that does not read is thrown away.
            writer.transport.abort() if _stuck(writer) else writer.close()

    async def _seat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._clients >= MOST_CLIENTS:
            await self._refuse(writer, LocalRefusal.CROWDED)
            return
        self._clients += 1
        try:
            writer.transport.set_write_buffer_limits(CHUNK)
            await self._converse(reader, writer)
        finally:
            self._clients -= 1

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await _question(reader)
        if isinstance(asked, LocalRefusal):
            await self._refuse(writer, asked)
            return
        async with self._turn:
            answer = self._ask(asked)
            await asyncio.sleep(0)
        if isinstance(answer, LocalRefusal):
            await self._refuse(writer, answer)
            return
        delivery = _Delivery(writer, iter(answer.rows))
        columns = tuple(answer.columns)
        head = LocalLine(schema=SCHEMA, node=self._node, verb=asked.verb, columns=columns)
        delivery.add(encode(head))
        if asked.follow:
            await self._follow(reader, delivery)
        else:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._deliver(delivery)

    def _ask(self, asked: LocalQuestion) -> LocalAnswer | LocalRefusal:
        if asked.follow and self._followers >= MOST_FOLLOWERS:
            return LocalRefusal.CROWDED
        try:
            return self._answer(asked)
        except Exception as error:
            survive(self._part, error)
            return LocalRefusal.FAILED

    async def _refuse(self, writer: asyncio.StreamWriter, why: LocalRefusal) -> None:
        async with asyncio.timeout(ASK_WITHIN):
            delivery = _Delivery(writer, iter(()))
            delivery.add(encode(LocalLine(error=why.value)))
            await delivery.finish()

    # ---- one answer

    async def _deliver(self, delivery: _Delivery) -> None:
        """Send all rows, or as many as fit."""
        rest = ""
        while await self._work(delivery) is not _Pause.END:
            if delivery.sent > LONGEST_ANSWER - 2 * CHUNK:
                rest = delivery.place
                break
            await delivery.flush()
        if not delivery.failed:
            delivery.add(encode(LocalLine(end=LocalEnd(delivery.count, rest))))
        await delivery.finish()

    async def _follow(self, reader: asyncio.StreamReader, delivery: _Delivery) -> None:
        """Send what comes, until the client hangs up, or says anything more."""
        self._followers += 1
        try:
            while (pause := await self._work(delivery)) is not _Pause.END:
                async with asyncio.timeout(STUCK):
                    await delivery.flush()
                if pause is _Pause.REST and await _says_anything(reader):
                    return
            await delivery.finish()
        finally:
            self._followers -= 1

    async def _work(self, delivery: _Delivery) -> _Pause:
        """Take a bite, and leave the rest of this turn of the loop to others."""
        async with self._turn:
            pause = self._bite(delivery)
            await asyncio.sleep(0)
        return pause

    def _bite(self, delivery: _Delivery) -> _Pause:
        """Take rows for a moment, or until there is nothing new."""
        until = time.monotonic() + BITE
        try:
            for item in delivery.rows:
                if item is None:
                    return _Pause.REST
                delivery.take(item)
                if time.monotonic() >= until or len(delivery.waiting) >= CHUNK:
                    return _Pause.TIME
        except Exception as error:
            survive(self._part, error)
            delivery.add(encode(LocalLine(error=LocalRefusal.FAILED.value)))
            delivery.failed = True
        return _Pause.END


async def _question(reader: asyncio.StreamReader) -> LocalQuestion | LocalRefusal:
    try:
        async with asyncio.timeout(ASK_WITHIN):
            return decode_question(await reader.readuntil(b"\n"))
    except TimeoutError:
        return LocalRefusal.TOO_SLOW
    except asyncio.LimitOverrunError:
        return LocalRefusal.TOO_LONG
    except asyncio.IncompleteReadError:
        return LocalRefusal.MALFORMED
    except LocalProtocolError as error:
        return error.refusal


async def _says_anything(reader: asyncio.StreamReader) -> bool:
    """Wait a lull; true where the client has hung up meanwhile, or said what nobody asked for."""
    try:
        async with asyncio.timeout(LULL):
            await reader.read(1)
    except TimeoutError:
        return False
    return True


def _stuck(writer: asyncio.StreamWriter) -> bool:
    return bool(writer.transport.get_write_buffer_size())
