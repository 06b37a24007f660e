"""The socket of `--memberlist-debug`: who asks whom, and for how long."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import pytest
import structlog

from speaker.ring import debug_socket
from speaker.ring.debug_socket import DebugServer, UntrustedError, address, ask, show
from speaker.ring.member_table import LONGEST_ANSWER, MemberRow, MemberTableError

WITHIN = 20.0
"""Seconds after which a test hangs."""
ROWS = [MemberRow("\x1b[2J", "10.0.0.1:7946", "alive", 7, 0)]


@pytest.fixture
def node() -> str:
    """A name of this process: abstract addresses are shared by all in the network namespace."""
    return f"test-{os.getpid()}"


@contextmanager
def answering(node: str, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Somebody of our own user who holds the address, and answers one question so."""
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(address(node))
        held.listen()
        held.settimeout(WITHIN)

        def serve() -> None:
            connection, _ = held.accept()
            with connection, suppress(OSError):
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def test_the_table_is_asked_for_and_shown(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> int:
        serving = asyncio.create_task(DebugServer(node, lambda: ROWS, structlog.get_logger()).run())
        await asyncio.sleep(0)
        status = await asyncio.to_thread(show, node)
        serving.cancel()
        return status

    assert asyncio.run(run()) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == [r"\x1b[2J", "10.0.0.1:7946"]


class Log:
    """Takes lines, and tells of each level when it comes."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, object]] = []
        self.warned, self.told = asyncio.Event(), asyncio.Event()

    def warning(self, _: str, **fields: object) -> None:
        self.lines.append(("warning", fields["error"]))
        self.warned.set()

    def info(self, _: str, **fields: object) -> None:
        self.lines.append(("info", fields["state"]))
        self.told.set()


def test_an_address_that_is_taken_is_said_once_and_listened_on_when_it_is_free(
    node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug_socket, "RETRY", 0.001)

    async def run() -> None:
        log = Log()
        server = DebugServer(node, lambda: ROWS, cast(Any, log))
        with socket.socket(socket.AF_UNIX) as held:
            held.bind(address(node))
            serving = asyncio.create_task(server.run())
            await asyncio.wait_for(log.warned.wait(), WITHIN)
            await asyncio.sleep(10 * debug_socket.RETRY)
        await asyncio.wait_for(log.told.wait(), WITHIN)
        assert await asyncio.to_thread(ask, node) == ROWS
        assert log.lines == [("warning", "Address already in use"), ("info", "listening")]
        serving.cancel()

    asyncio.run(run())


_ASK_AS_NOBODY = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(20)
    connection.connect("\\0" + sys.argv[1][1:])
    print(len(connection.recv(1)))
"""


@pytest.mark.root
def test_another_user_gets_nothing(node: str) -> None:
    async def run() -> str:
        serving = asyncio.create_task(DebugServer(node, lambda: ROWS, structlog.get_logger()).run())
        await asyncio.sleep(0)
        # The system's interpreter: nobody may read one below a private home.
        command = ["/usr/bin/python3", "-c", _ASK_AS_NOBODY, "@" + address(node)[1:]]
        asked = await asyncio.create_subprocess_exec(
            *command, user=65_534, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(asked.communicate(), WITHIN)
        serving.cancel()
        return out.decode().strip()

    assert asyncio.run(run()) == "0"


def test_another_users_answer_is_not_read(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_socket, "_uid", lambda _: 65_534)
    asked = []
    with (
        answering(node, lambda connection: asked.append(connection.recv(1))),
        pytest.raises(UntrustedError),
    ):
        ask(node)
    assert asked == [b""]


@pytest.mark.parametrize("answer", [b"[{}]", b"[1]", b"5", b"[" * 200_000, b"\x1b]0;x\x07"])
def test_an_odd_answer_is_one_line(
    node: str, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(node, lambda connection: connection.sendall(answer)):
        assert show(node) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"speaker: what answers on node {node} is no speaker: its answer makes no sense\n"
    )


def test_an_answer_without_end_is_given_up(node: str) -> None:
    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall(b" " * 65_536)

    with answering(node, flood), pytest.raises(MemberTableError, match="too long"):
        ask(node)
    assert LONGEST_ANSWER < 1 << 23


def test_an_answer_that_trickles_is_given_up(
    node: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit is of the whole: one of each read had no end."""
    monkeypatch.setattr(debug_socket, "TIMEOUT", 0.1)

    def trickle(connection: socket.socket) -> None:
        pause = threading.Event()
        while True:
            connection.sendall(b" ")
            pause.wait(0.005)

    with answering(node, trickle):
        assert show(node) == 1
    assert capsys.readouterr().err == f"speaker: no speaker answers on node {node}\n"


def test_the_longest_name_of_a_node_has_an_address() -> None:
    """It was an error at the start, which ended the speaker."""
    one, two = ("a" * 252 + last for last in "bc")
    assert address(one) != address(two)
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(address(one))
