"""The asyncio driver of `Swim`: one UDP socket, one TCP server, one timer."""

import asyncio
import contextlib
import select
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import asyncio_dgram
from asyncio_dgram.aio import DatagramServer

from gossip.io import Address, Datagram, Dial, Event, StreamFailure
from gossip.slots import STRANGER_SECONDS, Cut, Slots
from gossip.stats import StreamStats
from gossip.stream_turns import StreamTurns
from gossip.swim import Swim
from gossip.wire.bites import Bites
from gossip.wire.errors import Refusal, WireError
from gossip.wire.stream import StreamMessage, StreamReader

T = TypeVar("T")

MAX_OUTGOING = 4096
MAX_DIALS = 128
MAX_READ_BEFORE_TIMER = 4096
RECEIVE_BUFFER = 2 * 1024 * 1024
STREAM_RECEIVE_BUFFER = 32 * 1024
"""Of each accepted stream, in the kernel, which doubles it. asyncio reads as much at once, from all
streams before any of them is judged."""
_QUIET_TURNS = 4
"""Loop turns in which a byte passes from the selector through a task to `Swim`, rounded up."""
_CHUNK = 65_536
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to

FIRST_RETRY = 0.05
"""Seconds until the timer is tried again when it raised an error, doubled each time."""
MAX_RETRIES = 7
"""How often in a row; after some 6 s it has ended for good."""

ErrorHandler = Callable[[str, Exception], None]
EndHandler = Callable[[str, BaseException | None], None]


def _ignore_error(where: str, error: BaseException | None) -> None:
    """Take an error that nobody wants to hear of."""


class _CutError(Exception):
    """The stream was cut; it is counted already."""


class Agent:
    """Runs one `Swim` on real sockets, on the stock asyncio loop.

    `on_event` is called for each event, within the loop; `on_error(where, error)` for socket
    errors, and for what `on_event` or `Swim` raises: it costs the one event, datagram or stream.
    `on_end(where, error)` is called when reading, sending or the timer has ended: then this node
    is none any more, whatever others think of it. All three must return quickly.
    """

    def __init__(
        self,
        swim: Swim,
        bind: Address,
        clock: Callable[[], float],
        on_event: Callable[[Event], None],
        on_error: ErrorHandler = _ignore_error,
        on_end: EndHandler = _ignore_error,
    ) -> None:
        self.swim = swim
        self.unreadable = 0
        """How many datagrams in a row have raised an error: a fault of ours, not of theirs."""
        self.outgoing_dropped = 0
        self.streams = StreamStats()
        self.slots = Slots()
        self.turns = StreamTurns()
        self._bind = bind
        self._clock = clock
        self._on_event = on_event
        self._on_error = on_error
        self._on_end = on_end
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: dict[int, asyncio.StreamWriter] = {}
        """Of the streams that `slots` knows, by its numbers."""
        self._dials = asyncio.Semaphore(MAX_DIALS)
        self._outgoing: deque[Datagram] = deque()
        self._sendable = asyncio.Event()
        self._flushed = asyncio.Event()
        self._earlier = asyncio.Event()
        self._waiting_for = float("inf")
        self._left = asyncio.Event()
        self._handled = 0
        self._draining = False

    async def start(self) -> None:
        """Bind UDP and TCP and begin; OSError names the address that could not be bound."""
        self._udp = await self._bind_udp()
        try:
            self._server = await self._listen()
        except OSError as error:
            self._udp.close()
            raise _bind_error("tcp", self._bind, error) from error
        self._poll = select.poll()
        self._poll.register(self._udp.socket.fileno(), select.POLLIN)
        self._spawn(self._receive(), "udp")
        self._spawn(self._send(), "udp send")
        self._spawn(self._fire_timers(), "timer")
        self.poke()

    async def leave(self) -> None:
        """Say goodbye to the cluster, in the `leave_timeout` of the configuration at most."""
        self.swim.leave(self._clock())
        self.poke()
        await self._left.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._flushed.wait(), timeout=0.1)

    async def close(self) -> None:
        """Stop at once and give back every socket and task."""
        self._closing = True
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers.values():
            writer.transport.abort()
        await self._server.wait_closed()
        self._udp.close()
        await asyncio.sleep(0)

    def poke(self) -> None:
        """Carry out what `Swim` wants; to be called after the owner called a method of it."""
        if self._draining:
            return
        self._draining = True
        try:
            while self._drain_once():
                pass
        finally:
            self._draining = False
        if self.swim.left:
            self._left.set()
        deadline = self.swim.deadline()
        if deadline is not None and deadline < self._waiting_for:
            self._earlier.set()

    def _drain_once(self) -> bool:
        transmits, events = self.swim.transmits(), self.swim.events()
        for transmit in transmits:
            if isinstance(transmit, Datagram):
                self._queue(transmit)
            else:
                self._spawn(self._dial(transmit))
        for event in events:
            # The application's fault must not stop gossip.
            try:
                self._on_event(event)
            except Exception as error:
                self._on_error("on_event", error)
        return bool(transmits or events)

    def _spawn(self, run: Coroutine[Any, Any, None], essential: str | None = None) -> None:
        """Run a task; `essential` names one that ends only with this agent."""
        task = asyncio.get_running_loop().create_task(run)
        self._tasks.add(task)
        task.add_done_callback(partial(self._handle_end_of_task, essential))

    def _handle_end_of_task(self, essential: str | None, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if essential is not None and not self._closing:
            self._on_end(essential, error)
        elif isinstance(error, Exception):
            self._on_error("task", error)

    # ---- the timer

    async def _fire_timers(self) -> None:
        failures = 0
        while True:
            try:
                await self._due()
                await self._read_dry()
                self.swim.handle_timeout(self._clock())
                self.poke()
                failures = 0
            except Exception as error:
                # Once may be an accident; what is due for ever must not take all of the loop.
                self._on_error("timer", error)
                failures += 1
                if failures > MAX_RETRIES:
                    raise
                await asyncio.sleep(FIRST_RETRY * 2 ** (failures - 1))

    async def _due(self) -> None:
        while True:
            deadline = self.swim.deadline()
            delay = None if deadline is None else deadline - self._clock()
            if delay is not None and delay <= 0:
                return
            self._waiting_for = float("inf") if deadline is None else deadline
            self._earlier.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._earlier.wait()

    async def _read_dry(self) -> None:
        """Let what has already arrived be handled before a timer judges by its absence.

        The stock loop reads one datagram a turn, so after a stall a timer would overtake the
        others. Bounded, so that a flood cannot hold the timers up.
        """
        quiet, last = 0, self._handled + MAX_READ_BEFORE_TIMER
        for _ in range(2 * MAX_READ_BEFORE_TIMER):
            if quiet >= _QUIET_TURNS or self._handled >= last:
                return
            before = self._handled
            readable = any(event & select.POLLIN for _, event in self._poll.poll(0))
            await asyncio.sleep(0)
            quiet = 0 if readable or self._handled != before else quiet + 1

    # ---- UDP

    async def _bind_udp(self) -> DatagramServer:
        try:
            udp = await asyncio_dgram.bind(tuple(self._bind))
        except OSError as error:
            raise _bind_error("udp", self._bind, error) from error
        udp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        return udp

    async def _receive(self) -> None:
        while True:
            try:
                data, source = await self._udp.recv()
            except asyncio_dgram.TransportClosed:
                return
            except OSError as error:
                # The error of some earlier send, not of this read.
                self._on_error("udp send", error)
                continue
            self._handled += 1
            try:
                self.swim.handle_datagram(data, _address(source), self._clock())
                self.poke()
                self.unreadable = 0
            except Exception as error:
                # Anybody can send a datagram: none may end the reading of the others.
                self.unreadable += 1
                self._on_error("datagram", error)

    def _queue(self, datagram: Datagram) -> None:
        if len(self._outgoing) >= MAX_OUTGOING:
            self._outgoing.popleft()
            self.outgoing_dropped += 1
        self._outgoing.append(datagram)
        self._flushed.clear()
        self._sendable.set()

    async def _send(self) -> None:
        while True:
            await self._sendable.wait()
            while self._outgoing:
                await self._send_one(self._outgoing.popleft())
            self._sendable.clear()
            self._flushed.set()

    async def _send_one(self, datagram: Datagram) -> None:
        for _ in range(2):
            try:
                await self._udp.send(datagram.data, tuple(datagram.to))
            except asyncio_dgram.TransportClosed:
                return
            except Exception as error:
                # An earlier send's error is raised in place of this send: once more.
                self._on_error("udp send", error)
            else:
                return

    # ---- TCP

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(
            self._handle_connection, *self._bind, start_serving=False
        )
        for listening in server.sockets:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STREAM_RECEIVE_BUFFER)
        await server.start_serving()
        return server

    def _handle_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        source = _address(writer.get_extra_info("peername"))
        known = self.swim.knows(source.ip)
        self.streams.accepted += 1
        number = self.slots.handle_accepted(source.ip, known, self._clock())
        self._writers[number] = writer
        self._cut_evicted()
        longest = self.swim.config.tcp_timeout
        seconds = longest if known else min(longest, STRANGER_SECONDS)
        self._spawn(self._serve(number, seconds, reader, source))

    async def _serve(
        self, number: int, seconds: float, reader: asyncio.StreamReader, source: Address
    ) -> None:
        cut = None
        try:
            async with asyncio.timeout(seconds):
                await self._answer(number, reader, source)
        except _CutError:
            return
        except TimeoutError:
            cut = Cut.SLOW
        except OSError:
            # Anybody can connect and hang up, a thousand times: counted, no line each.
            cut = Cut.FAILED
        finally:
            self._end(number, cut)

    async def _answer(self, number: int, reader: asyncio.StreamReader, source: Address) -> None:
        progress = self.swim.streams.reader(accepting=True)
        await self._read_whole(number, reader, progress)
        if not progress.held:
            return
        request = await self._in_bites(
            number, self.swim.opening_request(progress.gathered(), source)
        )
        del progress
        sealing = self.swim.handle_request(request, source, self._clock())
        del request
        self.slots.handle_piece(number, 0, None, self._clock())
        self.poke()
        writer = self._writers[number]
        if sealing is not None:
            reply = await self._in_bites(number, sealing)
            self.streams.bytes_sent += len(reply)
            writer.write(reply)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def _in_bites(self, number: int, bites: Bites[T]) -> T:
        """Do long work for a stream while the loop turns, as long as it is wanted."""

        def check() -> None:
            if number not in self.slots:
                raise _CutError
            if (writer := self._writers.get(number)) and writer.transport.is_closing():
                raise ConnectionResetError

        known = self.slots.known(number)
        return await self.turns.finish(number, bites, known=known, check=check)

    async def _read_whole(
        self, number: int, reader: asyncio.StreamReader, progress: StreamReader
    ) -> None:
        """Read until there is one whole message, there can never be one, or the peer closes."""
        with contextlib.suppress(WireError):
            while chunk := await reader.read(_CHUNK):
                self.streams.bytes_received += len(chunk)
                whole = progress.feed(chunk)
                kept = self.slots.handle_piece(
                    number, progress.held, progress.length, self._clock()
                )
                self._cut_evicted()
                if not kept:
                    raise _CutError
                if whole:
                    return
        if number not in self.slots:
            # To the reader it looks as if the peer had closed.
            raise _CutError

    def _cut_evicted(self) -> None:
        for number in self.slots.evictions():
            if writer := self._writers.get(number):
                writer.transport.abort()
            self.turns.wake(number)

    def _end(self, number: int, cut: Cut | None = None) -> None:
        self.slots.handle_end(number, cut)
        self._hang_up(number)

    def _hang_up(self, number: int) -> None:
        if writer := self._writers.pop(number, None):
            writer.transport.abort()

    async def _dial(self, dial: Dial) -> None:
        number = self.slots.handle_dialled(dial.to.ip, self._clock())
        try:
            reply = await self._converse(number, dial)
        finally:
            self._end(number)
        self.swim.handle_reply(dial.id, reply, self._clock())
        self.poke()

    async def _converse(self, number: int, dial: Dial) -> StreamMessage | Refusal | StreamFailure:
        """Ask, and open what came of the reply, whole or not."""
        progress = self.swim.streams.reader(accepting=False)
        failure = StreamFailure.CLOSED
        try:
            request = await self._in_bites(number, dial.making())
            failure = StreamFailure.REFUSED
            async with asyncio.timeout(dial.timeout), self._dials:
                reader, writer = await self._connect(dial.to)
                failure = StreamFailure.CLOSED
                self._writers[number] = writer
                self.streams.dialled += 1
                self.streams.bytes_sent += len(request)
                writer.write(request)
                del request
                await self._listen_to(number, dial, reader, progress)
        except _CutError:
            return StreamFailure.TOO_LONG
        except TimeoutError:
            failure = StreamFailure.TIMEOUT
        except Exception as error:
            # Whatever it was: `Swim` waits for the end of each dial before the next one there.
            self._on_error("tcp dial", error)
        # It needs us no more, but what it sent counts until it is opened.
        self._hang_up(number)
        return await self._open(number, progress) if progress.held else failure

    async def _listen_to(
        self, number: int, dial: Dial, reader: asyncio.StreamReader, progress: StreamReader
    ) -> None:
        writer = self._writers[number]
        await writer.drain()
        if dial.reply:
            await self._read_whole(number, reader, progress)
        else:
            writer.close()
            await writer.wait_closed()

    async def _open(
        self, number: int, progress: StreamReader
    ) -> StreamMessage | Refusal | StreamFailure:
        """Open a reply. The time that this takes is ours, not the peer's, and has a limit too."""
        try:
            async with asyncio.timeout(self.swim.config.tcp_timeout):
                return await self._in_bites(number, self.swim.opening_reply(progress.gathered()))
        except (_CutError, TimeoutError):
            return StreamFailure.TOO_LONG
        except Exception as error:
            self._on_error("tcp dial", error)
            return StreamFailure.CLOSED

    async def _connect(self, to: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        local = None if self._bind.ip in _ANYWHERE else (self._bind.ip, 0)
        return await asyncio.open_connection(*to, local_addr=local)


def _address(socket_address: Any) -> Address:
    ip, port = socket_address[:2]
    return Address(str(ip).partition("%")[0], int(port))


def _bind_error(kind: str, bind: Address, error: OSError) -> OSError:
    return OSError(error.errno, f"gossip {kind} {bind.ip}:{bind.port}: {error.strerror}")
