"""The engine's door: types lines into FRR's daemons and reads what they say. A driver.

One connection for each daemon. While all of them answer the engine is ready; if one of them ends
or does not answer, all connections end, and the door tries anew. Each time the engine gets ready,
it may be another one that knows nothing, so `ready` has the caller type everything. Nothing here
raises into the caller. Ending the door leaves the engine as it is.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import Any, TypeVar

from bgp.door.connection import DaemonGoneError, DaemonLateError, VtyConnection, connect
from bgp.door.engine_states import TABLE, EngineEvent, EngineState, delays
from bgp.door.shared_folder import SPARE, SharedFolder
from bgp.door.vty import VtyAnswer, VtyError, encode
from process.survival import LOOP, survive

BUNCH = 128
"""Lines that go out at once: as many are typed in 3 ms."""
MOST_REFUSALS = 100
"""That are told one by one; all are counted."""
MOST_JOBS = 64
"""That may wait for one daemon."""
IN_A_THREAD = 16 << 10
"""Characters from which on an answer is not decoded in the loop: a tenth of a millisecond."""
LET_GO_AFTER = 30.0
"""Seconds after which one that hangs is asked anew, on another connection."""
HIDDEN = "password "
ENTER, LEAVE = "configure terminal", "end"
CLIMBING = frozenset({"exit", "quit", "end"})
"""Lines that would lead out of the configuration, and further on out of the connection, where the
line that led into their context was refused."""


@dataclass(frozen=True, slots=True)
class DoorTiming:
    """How long the door waits, in seconds."""

    answer: float = 3.0
    """Of a daemon's silence, before it hangs."""
    read: float = 1.0
    """Between two readings of its state."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a daemon again and again, and how the answer is read."""

    daemon: str
    command: str
    decode: Callable[[str], Any]
    """Pure, for a thread. What it raises makes the reading None."""


class LineStatus(StrEnum):
    """What has become of a line."""

    TAKEN = auto()
    UNKNOWN = auto()
    """The daemon knows no such command, there at least."""
    REFUSED = auto()
    """It knows the command, and does not want what it says."""
    ODD = auto()
    """Any other status."""
    UNFIT = auto()
    """It was not sent: it is no single line."""


_STATUS = {0: LineStatus.TAKEN, 2: LineStatus.UNKNOWN, 13: LineStatus.REFUSED}


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that a daemon did not take: its place among those typed; and itself, no password."""

    index: int
    status: LineStatus
    line: str


class TypingOutcome(StrEnum):
    """What has become of all the lines together."""

    TYPED = auto()
    """Each was either taken or refused."""
    NOT_READY = auto()
    """Nothing was typed. They have to be typed when the engine is ready."""
    LOST = auto()
    """The engine went while they were typed. The same."""
    BUSY = auto()
    """Nothing was typed, as too much waits already."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What has become of lines."""

    outcome: TypingOutcome
    refused: Sequence[RefusedLine] = ()
    """The first ones."""
    refusals: int = 0


T = TypeVar("T")
_Work = Coroutine[Any, Any, T]


@dataclass(slots=True)
class _Job:
    """What is done on a connection, and who waits for it."""

    work: Callable[[VtyConnection], _Work[Any]] = field(repr=False)
    done: asyncio.Future[Any] = field(repr=False)

    def end(self, result: Any) -> None:
        """Tell who waits; only the first time counts, and nobody may be waiting any more."""
        if not self.done.done():
            self.done.set_result(result)


@dataclass(slots=True)
class _Line:
    """The way to one daemon, while the engine is ready."""

    connection: VtyConnection
    jobs: asyncio.Queue[_Job]


class Engine:
    """FRR in a folder. All methods are the loop's; `start` it, and `close` it at the end."""

    def __init__(
        self,
        folder: SharedFolder,
        *,
        ready: Callable[[], None],
        changed: Callable[[EngineState], None],
        read: Callable[[Query, Any], None],
        queries: Sequence[Query] = (),
        daemons: Sequence[str] = (),
        timing: DoorTiming | None = None,
    ) -> None:
        """`ready`: type everything now. `changed`: another state. `read`: a reading, or None.

        `daemons`: who has to be there; empty: those that the folder names. What the callbacks raise
        goes to the loop's exception handler.
        """
        self.folder, self.state = folder, EngineState.ABSENT
        self._ready, self._changed, self._read = ready, changed, read
        self._queries, self._daemons = queries, tuple(daemons)
        self._timing = timing or DoorTiming()
        self._lines: dict[str, _Line] = {}
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def daemons(self) -> frozenset[str]:
        """Return the daemons that the door is connected to; none but while it is ready."""
        return frozenset(self._lines)

    def start(self) -> None:
        """Look for the engine from now on."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End all connections; the engine goes on as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._happened(EngineEvent.CLOSE)

    async def type(self, daemon: str, lines: Sequence[str]) -> Typed:
        """Type lines of configuration, from the top level on; return what has become of them.

        Lines that are zebra's go to mgmtd where there is one.
        """
        spare = SPARE.get(daemon, daemon)
        to = spare if spare in self._lines else daemon
        done = await self._do(to, lambda connection: self._typed(connection, lines))
        return Typed(done) if isinstance(done, TypingOutcome) else done

    async def show(self, daemon: str, command: str) -> str | None:
        """Return what the daemon prints; None if it is not there or does not know the command.

        A running configuration holds passwords.
        """
        if not _is_fit(command):
            return None
        done = await self._do(daemon, lambda connection: self._asked(connection, [command]))
        if isinstance(done, TypingOutcome) or not done[0].ok:
            return None
        return done[0].text

    # ---- the jobs of one daemon

    async def _do(
        self, daemon: str, work: Callable[[VtyConnection], _Work[T]]
    ) -> T | TypingOutcome:
        line = self._lines.get(daemon)
        if line is None:
            return TypingOutcome.NOT_READY
        done: asyncio.Future[T | TypingOutcome] = asyncio.get_running_loop().create_future()
        try:
            line.jobs.put_nowait(_Job(work, done))
        except asyncio.QueueFull:
            return TypingOutcome.BUSY
        return await done

    async def _work(self, line: _Line) -> None:
        """Do one job after the other, until the connection is of no use."""
        while True:
            job = await line.jobs.get()
            try:
                job.end(await job.work(line.connection))
            finally:
                job.end(TypingOutcome.LOST)

    async def _asked(self, connection: VtyConnection, commands: Sequence[str]) -> list[VtyAnswer]:
        return await connection.ask(commands, self._timing.answer)

    async def _typed(self, connection: VtyConnection, lines: Sequence[str]) -> Typed:
        """Type in bunches: between two of them the loop can do something else."""
        found: list[RefusedLine] = []
        refusals = 0
        await self._asked(connection, [ENTER])
        for begin in range(0, len(lines), BUNCH):
            bunch = lines[begin : begin + BUNCH]
            for place, status in enumerate(await self._statuses(connection, bunch)):
                if status is not LineStatus.TAKEN:
                    refusals += 1
                    refused = RefusedLine(begin + place, status, shown(bunch[place]))
                    found += [refused][: MOST_REFUSALS - len(found)]
        await self._asked(connection, [LEAVE])
        return Typed(TypingOutcome.TYPED, found, refusals)

    async def _statuses(
        self, connection: VtyConnection, bunch: Sequence[str]
    ) -> Sequence[LineStatus]:
        """Return what has become of each line."""
        statuses = [LineStatus.UNFIT] * len(bunch)
        commands = list(_with_ways_back(bunch))
        answers = await self._asked(connection, [command for command, _ in commands])
        for (_, place), answer in zip(commands, answers, strict=True):
            if place is not None:
                statuses[place] = _STATUS.get(answer.status, LineStatus.ODD)
        return statuses

    # ---- the engine's life

    async def _run(self) -> None:
        waits = delays()
        while True:
            connections: dict[str, VtyConnection] = {}
            try:
                await self._enter(connections)
                waits = delays()
                await self._serve(connections)
            except DaemonGoneError:
                self._happened(EngineEvent.GONE)
            except DaemonLateError:
                self._happened(EngineEvent.LATE)
                await self._wait_for_late_answers(connections)
            except VtyError:
                self._happened(EngineEvent.GARBLED)
            except Exception as error:
                survive(LOOP, error)
                self._happened(EngineEvent.GARBLED)
            finally:
                for connection in connections.values():
                    connection.close()
            await asyncio.sleep(next(waits))

    async def _enter(self, connections: dict[str, VtyConnection]) -> None:
        """Fill in a connection for each daemon, on which it has answered."""
        names = self._daemons or self.folder.daemons()
        if not names:
            raise DaemonGoneError
        self._ended = asyncio.Event()
        for name in names:
            connections[name] = await connect(self.folder.socket(name), self._ended.set)
        self._happened(EngineEvent.ACCEPTED)
        asked = [each.ask(["enable"], self._timing.answer) for each in connections.values()]
        await _all(asked)

    async def _serve(self, connections: dict[str, VtyConnection]) -> None:
        """Let the caller type and read, until one daemon ends or hangs. Always raises."""
        self._lines = {
            name: _Line(connection, asyncio.Queue(MOST_JOBS))
            for name, connection in connections.items()
        }
        parts = [self._work(line) for line in self._lines.values()]
        try:
            self._happened(EngineEvent.ANSWERED)
            _call(self._ready)
            await _all([*parts, self._watch(), self._poll()])
        finally:
            lines, self._lines = self._lines, {}
            for line in lines.values():
                _drop(line.jobs)

    async def _watch(self) -> None:
        await self._ended.wait()
        raise DaemonGoneError

    async def _poll(self) -> None:
        """Ask each daemon once a second, those without a query too: so it shows that they live."""
        asked = {query.daemon for query in self._queries}
        others = [name for name in self._lines if name not in asked]
        while True:
            for query in self._queries:
                if query.daemon in self._lines:
                    await self._ask(query)
            for name in others:
                await self.show(name, "enable")
            await asyncio.sleep(self._timing.read)

    async def _ask(self, query: Query) -> None:
        text = await self.show(query.daemon, query.command)
        if text is None:
            reading = None
        elif len(text) < IN_A_THREAD:
            reading = _decoded(query, text)
        else:
            reading = await asyncio.to_thread(_decoded, query, text)
        _call(self._read, query, reading)

    async def _wait_for_late_answers(self, connections: dict[str, VtyConnection]) -> None:
        """Hold the connections of one that hangs: each new one would wait in its queue, too."""
        waiting = [each.wait_for_answers(LET_GO_AFTER) for each in connections.values()]
        try:
            await _all(waiting)
        except (DaemonGoneError, DaemonLateError, VtyError):
            return

    def _happened(self, event: EngineEvent) -> None:
        before, self.state = self.state, TABLE[self.state][event]
        if self.state is not before:
            _call(self._changed, self.state)


def _with_ways_back(bunch: Sequence[str]) -> Iterator[tuple[str, int | None]]:
    """Yield what is sent for lines, each with its place; None for what is ours.

    Within the configuration `configure terminal` is an unknown command, and does nothing.
    """
    for place, line in enumerate(bunch):
        if _is_fit(line):
            yield line, place
            if line.strip() in CLIMBING:
                yield ENTER, None


def _is_fit(line: str) -> bool:
    """Return whether this is one line, which can mean no second one."""
    try:
        encode(line)
    except VtyError:
        return False
    return True


def shown(line: str) -> str:
    """Return the line for people: without its password, and without what a terminal would obey."""
    visible = "".join(char if char.isprintable() else "?" for char in line[:200])
    head, found, _ = visible.partition(HIDDEN)
    return f"{head}{found}***" if found else visible


def _decoded(query: Query, text: str) -> Any:
    try:
        return query.decode(text)
    except Exception:
        return None


def _drop(jobs: asyncio.Queue[_Job]) -> None:
    while not jobs.empty():
        jobs.get_nowait().end(TypingOutcome.LOST)


def _call(function: Callable[..., None], *arguments: Any) -> None:
    """Call back, and let the loop's handler hear of what is raised."""
    try:
        function(*arguments)
    except Exception as error:
        survive(LOOP, error)


async def _all(parts: Sequence[Any]) -> None:
    """Await all; the first that raises ends the others, and its exception is raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
