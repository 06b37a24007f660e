"""One connection to a daemon that behaves as FRR never did yet: late, torn, endless, or mad."""

import asyncio
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bgp.door import connection as module
from bgp.door.connection import DaemonGoneError, DaemonLateError, VtyConnection, connect
from bgp.door.engine_states import EngineState
from bgp.door.frr import IN_A_THREAD, DoorTiming, Engine, Query, TypingOutcome
from bgp.door.shared_folder import SharedFolder
from bgp.door.vty import VtyError

Daemon = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GOOD = b"\0\0\0\0"
NEVER = 60.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, as the name of a UNIX socket has to be."""
    path = Path(tempfile.mkdtemp(prefix="vty-"))
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def served(folder: Path, daemon: Daemon) -> AsyncIterator[None]:
    """A daemon that talks; it is through with everybody at the end."""
    talks: list[asyncio.Task[None]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.append(task)
        with suppress(ConnectionError):
            await daemon(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_unix_server(talk, folder / "bgpd.vty"):
        yield
        await asyncio.gather(*talks)


@asynccontextmanager
async def talking(
    folder: Path, daemon: Daemon, lost: Callable[[], None] = lambda: None
) -> AsyncIterator[VtyConnection]:
    async with served(folder, daemon):
        connection = await connect(folder / "bgpd.vty", lost)
        yield connection
        connection.close()


def saying(data: bytes) -> Daemon:
    """A daemon that says this to the first command, and then nothing."""

    async def daemon(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        writer.write(data)
        await reader.read()

    return daemon


async def ending(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A daemon that ends in the middle of its answer."""
    await reader.readuntil(b"\0")
    writer.write(b"half of an")


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError):
        while True:
            writer.write((await reader.readuntil(b"\0"))[:-1] + GOOD)


def test_answers_come_in_the_order_of_the_commands(folder: Path) -> None:
    async def body() -> None:
        async with talking(folder, answering) as connection:
            asked = ["b", "a", "c"]
            assert [each.text for each in await connection.ask(asked, NEVER)] == asked
            assert await connection.ask([], NEVER) == []

    asyncio.run(body())


@pytest.mark.parametrize(
    ("daemon", "error"),
    [
        (saying(b"no end"), DaemonLateError),
        (saying(b""), DaemonLateError),
        (saying(b"a\0b" + GOOD), VtyError),
        (saying(GOOD + GOOD), VtyError),
        (ending, DaemonGoneError),
    ],
    ids=["torn", "silent", "mad", "one too many", "ending"],
)
def test_what_is_no_answer(folder: Path, daemon: Daemon, error: type[Exception]) -> None:
    async def body() -> None:
        lost = asyncio.Event()
        async with talking(folder, daemon, lost.set) as connection:
            with pytest.raises(error):
                await connection.ask(["show version"], 0.05)
            if error is not DaemonLateError:
                with pytest.raises(DaemonGoneError):
                    await connection.ask(["show version"], NEVER)
            connection.close()
            await lost.wait()

    asyncio.run(body())


def test_an_answer_without_end_is_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ANSWER", 100_000)

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async def body() -> None:
        async with talking(folder, endless) as connection:
            with pytest.raises(VtyError):
                await connection.ask(["show version"], NEVER)

    asyncio.run(body())


def test_many_answers_are_held_to_the_length_of_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ANSWER", 100_000)

    async def body() -> None:
        async with talking(folder, saying((b"x" * 60_000 + GOOD) * 2)) as connection:
            with pytest.raises(VtyError):
                await connection.ask(["a", "b"], NEVER)

    asyncio.run(body())


def test_a_slow_answer_is_not_late_while_it_comes(folder: Path) -> None:
    """Ten bytes, each after half of what a silence may last."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        for byte in b"0123456" + GOOD[:3]:
            await asyncio.sleep(0.1)
            writer.write(bytes([byte]))
        writer.write(GOOD[3:])
        await reader.read()

    async def body() -> None:
        async with talking(folder, slow) as connection:
            (answer,) = await connection.ask(["show version"], 0.5)
            assert answer.text == "0123456"

    asyncio.run(body())


def test_an_answer_in_drops_is_late_one_day(folder: Path) -> None:
    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.001)

    async def body() -> None:
        async with talking(folder, dripping) as connection:
            with pytest.raises(DaemonLateError):
                await connection.ask(["show version"], 0.05)

    asyncio.run(body())


def test_an_answer_that_came_while_we_stood_still_is_not_late(folder: Path) -> None:
    """It is there before the loop turns again, and so is the due timer: what came is read first."""
    silence = 0.1

    async def body() -> None:
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.bind(str(folder / "bgpd.vty"))
            daemon.listen(1)
            connection = await connect(folder / "bgpd.vty", lambda: None)
            with daemon.accept()[0] as vty:
                task = asyncio.create_task(connection.ask(["show version"], silence))
                await asyncio.sleep(0)
                assert vty.recv(100) == b"show version\0"
                vty.sendall(b"here" + GOOD)
                time.sleep(2 * silence)  # noqa: ASYNC251 - a loop that stands still is the matter
                (answer,) = await task
                assert answer.text == "here"
            connection.close()

    asyncio.run(body())


@pytest.mark.parametrize("path", ["bgpd.vty", "x" * 200])
def test_nobody_there(folder: Path, path: str) -> None:
    async def body() -> None:
        with pytest.raises(DaemonGoneError):
            await connect(folder / path, lambda: None)

    asyncio.run(body())


def test_so_many_wait_already_that_none_more_may(folder: Path) -> None:
    """A daemon that hangs takes connections until its queue is full."""
    full = 1

    async def body() -> None:
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.bind(str(folder / "bgpd.vty"))
            daemon.listen(full)
            # Linux lets one more wait than it was told.
            waiting = [await connect(folder / "bgpd.vty", lambda: None) for _ in range(full + 1)]
            with pytest.raises(DaemonLateError):
                await connect(folder / "bgpd.vty", lambda: None)
            for each in waiting:
                each.close()

    asyncio.run(body())


@pytest.mark.parametrize("data", [b"a\0b" + GOOD, GOOD + GOOD], ids=["mad", "one too many"])
def test_the_door_says_hung_to_a_mad_daemon(folder: Path, data: bytes) -> None:
    async def body() -> None:
        states: list[EngineState] = []
        hung = asyncio.Event()

        def changed(state: EngineState) -> None:
            states.append(state)
            if state is EngineState.HUNG:
                hung.set()

        def nothing(*_: Any) -> None: ...

        async with served(folder, saying(data)):
            door = Engine(
                SharedFolder(folder), ready=nothing, changed=changed, read=nothing,
                daemons=["bgpd"], timing=DoorTiming(answer=NEVER),
            )  # fmt: skip
            door.start()
            await hung.wait()
            assert (await door.type("bgpd", ["exit"])).outcome is TypingOutcome.NOT_READY
            await door.close()
        assert states[0] is EngineState.CONNECTING
        assert EngineState.READY not in states or data == GOOD + GOOD

    asyncio.run(body())


def test_files_of_the_shared_folder(folder: Path) -> None:
    shared = SharedFolder(folder)
    assert shared.daemons() == ()
    (folder / "daemons").write_text("bfdd\nbgpd\nrm -rf\nzebra\n../x\n")
    assert shared.daemons() == ("zebra", "bgpd", "bfdd")
    (folder / "daemons").write_bytes(b"\xff" * 4096 + b"\nbgpd")
    assert shared.daemons() == ()
    assert shared.tell_drained()
    assert shared.want(True)
    assert sorted(path.name for path in folder.iterdir()) == ["daemons", "wanted"]
    assert shared.want(False)
    assert shared.want(False)
    missing = SharedFolder(folder / "missing")
    assert (missing.want(True), missing.tell_drained(), missing.daemons()) == (False, False, ())


@pytest.mark.parametrize(("length", "beside"), [(100, False), (IN_A_THREAD, True)])
def test_what_takes_long_to_decode_is_decoded_beside_the_loop(
    folder: Path, length: int, beside: bool
) -> None:
    threads: list[int] = []
    read = asyncio.Event()

    async def daemon(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                command = await reader.readuntil(b"\0")
                writer.write(b"x" * length * command.startswith(b"show") + GOOD)

    def decode(text: str) -> int:
        threads.append(threading.get_ident())
        return len(text)

    async def body() -> None:
        readings: list[int] = []

        def got(_: Query, reading: Any) -> None:
            readings.append(reading)
            read.set()

        def nothing(*_: Any) -> None: ...

        async with served(folder, daemon):
            door = Engine(
                SharedFolder(folder), ready=nothing, changed=nothing, read=got,
                queries=[Query("bgpd", "show it", decode)], daemons=["bgpd"],
                timing=DoorTiming(answer=NEVER, read=NEVER),
            )  # fmt: skip
            door.start()
            await read.wait()
            await door.close()
        assert readings == [length]
        assert (threads != [threading.get_ident()]) is beside

    asyncio.run(body())
