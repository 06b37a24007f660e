"""`--memberlist-debug`: what is asked, and what is made of any answer."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import structlog

from process.local import client
from process.local.address import address
from process.local.answer import LocalAnswer, LocalRow
from process.local.protocol import LONGEST_ANSWER, LocalProtocolError, LocalQuestion
from process.local.server import LocalServer
from process.told.asking import PROGRAM
from speaker.inquiry.ring_rows import MEMBER_COLUMNS
from speaker.ring.member_debug import ask, show

WITHIN = 20.0
"""Seconds after which a test hangs."""
ROW = ("\x1b[2J", "10.0.0.1:7946", "alive", 7, 0)


@pytest.fixture
def node() -> str:
    """A name of this process: abstract addresses are shared by all in the network namespace."""
    return f"test-{os.getpid()}"


@contextmanager
def answering(node: str, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Somebody of our own user who holds the address, and answers one question so."""
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(address(PROGRAM, node))
        held.listen()
        held.settimeout(WITHIN)

        def serve() -> None:
            connection, _ = held.accept()
            with connection, suppress(OSError):
                connection.recv(4_096)
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def test_the_table_is_asked_for_and_shown(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def answer(question: LocalQuestion) -> LocalAnswer:
        asked.append(question.verb)
        return LocalAnswer([LocalRow(ROW, "")], MEMBER_COLUMNS)

    async def run() -> int:
        server = LocalServer(PROGRAM, node, answer, "later", structlog.get_logger())
        serving = asyncio.create_task(server.run())
        await asyncio.sleep(0)
        status = await asyncio.to_thread(show, node)
        serving.cancel()
        return status

    assert asyncio.run(run()) == 0
    assert asked == ["members"]
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == [r"\x1b[2J", "10.0.0.1:7946"]


HEAD = b'{"schema":1,"node":"a","verb":"members","columns":["name"]}\n'


@pytest.mark.parametrize(
    "answer",
    [
        b"[{}]\n",
        b"5\n",
        b"[" * 200_000 + b"\n",
        b"\x1b]0;x\x07\n",
        HEAD,
        HEAD + b'{"row":["a"]}\n',
        HEAD + b'{"row":5}\n{"end":{"rows":1}}\n',
        HEAD + b'{"row":["a","b","c","d",1]}\n{"end":{"rows":1}}\n',
        b'{"error":"\\u001b]0;"}\n',
    ],
    ids=range(9),
)
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


def test_a_speaker_that_is_asked_by_too_many_says_so(
    node: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(node, lambda connection: connection.sendall(b'{"error":"crowded"}\n')):
        assert show(node) == 1
    assert capsys.readouterr().err == f"speaker: too many ask the speaker on node {node} now\n"


@pytest.mark.parametrize(
    "flood", [b" " * 65_536, json.dumps({"row": ["a" * 65_000, "b", "c", 1, 0]}).encode() + b"\n"]
)
def test_an_answer_without_end_is_given_up(node: str, flood: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        while True:
            connection.sendall(flood)

    with answering(node, answer), pytest.raises(LocalProtocolError, match="too_long"):
        ask(node)
    assert LONGEST_ANSWER < 1 << 23


def test_an_answer_that_trickles_is_given_up(
    node: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit is of the whole: one of each read had no end."""
    monkeypatch.setattr(client, "TIMEOUT", 0.1)

    def trickle(connection: socket.socket) -> None:
        pause = threading.Event()
        while True:
            connection.sendall(b" ")
            pause.wait(0.005)

    with answering(node, trickle):
        assert show(node) == 1
    assert capsys.readouterr().err == f"speaker: no speaker answers on node {node}\n"


def test_an_answer_that_goes_on_for_ever_is_given_up(node: str) -> None:
    """Each page names a next one."""
    answers = [HEAD + b'{"end":{"rows":0,"next":"b"}}\n']

    with socket.socket(socket.AF_UNIX) as held:
        held.bind(address(PROGRAM, node))
        held.listen()
        held.settimeout(WITHIN)

        def serve() -> None:
            for _ in range(client.MOST_PAGES):
                connection, _ = held.accept()
                with connection, suppress(OSError):
                    connection.recv(4_096)
                    connection.sendall(answers[0])

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(LocalProtocolError, match="too_long"):
            ask(node)
        thread.join()
