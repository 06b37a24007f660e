"""The local socket: who is answered, how much of it, and that nobody holds anything up."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import pytest
import structlog

from process.local import server as server_module
from process.local.address import UntrustedError, address
from process.local.answer import Answerer, LocalAnswer, LocalLoss, LocalRow
from process.local.client import connect, converse, gather
from process.local.protocol import (
    LONGEST_ANSWER,
    LONGEST_QUESTION,
    LocalLine,
    LocalProtocolError,
    LocalQuestion,
    LocalRefusal,
    decode_line,
    encode,
)
from process.local.server import MOST_CLIENTS, MOST_FOLLOWERS, LocalServer

WITHIN = 30.0
"""Seconds after which a test hangs."""
PROGRAM = "test"
LATE = 0.05
"""Seconds by which a timer of the loop may be late, on a busy machine, where nothing holds it."""


@pytest.fixture
def node() -> str:
    """A name of this process: abstract addresses are shared by all in the network namespace."""
    return f"test-{os.getpid()}"


def numbers(asked: LocalQuestion) -> LocalAnswer | LocalRefusal:
    """Answer with as many rows as is asked for, or none at all, or without end."""
    match asked.verb:
        case "count":
            after, most = int(asked.after or 0), int(asked.about)
            rows = (LocalRow([n, "x" * 100], str(n)) for n in range(after + 1, most + 1))
            return LocalAnswer(rows, ("number", "text"))
        case "endless":
            return LocalAnswer(endless())
        case "quiet":
            return LocalAnswer(quiet())
        case "odd":
            return LocalAnswer([LocalRow(["a\ud800b"], "")])
        case "broken":
            return LocalAnswer(1 / (3 - n) for n in range(5))  # type: ignore[misc]
        case "wrong":
            raise RuntimeError
        case _:
            return LocalRefusal.UNKNOWN_VERB


def endless() -> Iterator[LocalRow | LocalLoss | None]:
    number = 0
    while True:
        number += 1
        yield LocalRow({"number": number, "text": "x" * 1_000}, str(number))


def quiet() -> Iterator[LocalRow | LocalLoss | None]:
    yield LocalRow({"number": 1}, "1")
    while True:
        yield None


@asynccontextmanager
async def serving(node: str, answer: Answerer = numbers) -> AsyncIterator[LocalServer]:
    server = LocalServer(PROGRAM, node, answer, "later", structlog.get_logger())
    task = asyncio.create_task(server.run())
    while True:
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            try:
                probe.connect(address(PROGRAM, node))
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0)
    yield server
    task.cancel()
    await asyncio.wait([task])


def run(node: str, test: Callable[[], Any], answer: Answerer = numbers) -> Any:
    """Serve, and have a test run beside it."""

    async def both() -> Any:
        async with serving(node, answer):
            return await asyncio.wait_for(test(), WITHIN)

    return asyncio.run(both())


def asked(node: str, verb: str, about: str = "", **more: Any) -> list[LocalLine]:
    return list(converse(PROGRAM, node, LocalQuestion(verb=verb, about=about, **more)))


async def raw(node: str, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    # asyncio takes a connection for made for which there was no room yet.
    connection = await asyncio.to_thread(connect, PROGRAM, node)
    reader, writer = await asyncio.open_unix_connection(sock=connection, limit=1 << 24)
    writer.write(data)
    return reader, writer


async def said(node: str, data: bytes) -> list[LocalLine]:
    """Send these bytes as they are; return all that is answered."""
    answer = bytearray()

    def talk() -> None:
        with connect(PROGRAM, node) as connection, suppress(BrokenPipeError, ConnectionResetError):
            with suppress(BrokenPipeError):
                connection.sendall(data)
            connection.settimeout(WITHIN)
            while chunk := connection.recv(65_536):
                answer.extend(chunk)

    await asyncio.to_thread(talk)
    return [decode_line(line) for line in bytes(answer).splitlines()]


def refused(node: str, data: bytes) -> list[str]:
    lines: list[LocalLine] = run(node, lambda: said(node, data))
    return [line.error for line in lines]


async def until_seated(node: str) -> int:
    """Ask until there is a place; return how many lines the answer has."""
    while True:
        lines = await said(node, encode(LocalQuestion(verb="count", about="1")))
        if [line.error for line in lines] != ["crowded"]:
            return len(lines)


async def in_thread(call: Callable[..., Any], *about: Any) -> Any:
    return await asyncio.to_thread(call, *about)


# ---- questions


def test_a_question_is_answered_by_a_head_rows_and_an_end(node: str) -> None:
    head, *rows, end = run(node, lambda: in_thread(asked, node, "count", "3"))
    assert (head.schema, head.node, head.verb) == (1, node, "count")
    assert head.columns == ("number", "text")
    assert [row.row[0] for row in rows] == [1, 2, 3]
    assert (end.end.rows, end.end.next) == (3, "")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\n", "malformed"),
        (b"[1]\n", "malformed"),
        (b'{"verb":5}\n', "malformed"),
        (b"[" * 4_000 + b"\n", "malformed"),
        (b'{"verb":"\xff"}\n', "malformed"),
        (b'{"schema":2,"verb":"count"}\n', "schema"),
        (b'{"verb":"%s"}\n' % (b"a" * 600), "too_long"),
        (b'{"verb":"no"}\n', "unknown_verb"),
        (b'{"verb":"wrong"}\n', "failed"),
    ],
)
def test_what_is_no_question_is_refused_by_name(node: str, data: bytes, why: str) -> None:
    assert refused(node, data) == [why]


def test_who_asks_nothing_is_told_so_in_a_second_and_has_no_place_any_more(node: str) -> None:
    async def test() -> tuple[list[LocalLine], float]:
        began = time.monotonic()
        crowd = [said(node, b"") for _ in range(MOST_CLIENTS)]
        answers = await asyncio.gather(*crowd)
        took = time.monotonic() - began
        return [*answers[0], *await in_thread(asked, node, "count", "1")], took

    [refusal, *answer], took = run(node, test)
    assert refusal.error == "too_slow"
    assert len(answer) == 3
    assert took >= server_module.ASK_WITHIN * 0.9


def test_who_asks_letter_by_letter_has_a_second_for_all_of_it(
    node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "ASK_WITHIN", 0.2)

    def talk() -> bytes:
        answer = bytearray()
        with connect(PROGRAM, node) as connection, suppress(ConnectionResetError):
            connection.settimeout(0.02)
            while True:
                with suppress(BrokenPipeError):
                    connection.send(b" ")
                with suppress(TimeoutError):
                    if not (chunk := connection.recv(4_096)):
                        break
                    answer += chunk
        return bytes(answer)

    assert decode_line(run(node, lambda: in_thread(talk))).error == "too_slow"


def test_the_limits_are_those_that_are_promised() -> None:
    assert (MOST_CLIENTS, MOST_FOLLOWERS) == (8, 4)
    assert (server_module.ASK_WITHIN, LONGEST_ANSWER) == (1.0, 1024 * 1024)
    assert server_module.BITE <= 0.001


def test_ten_megabytes_of_question_are_not_read(node: str) -> None:
    """They are refused after the first few kilobytes, and the connection is closed."""

    async def test() -> tuple[int, list[LocalLine]]:
        _, writer = await raw(node, b"")
        taken = 0
        with closing(writer):
            try:
                for _ in range(160):
                    writer.write(b"x" * 65_536)
                    await writer.drain()
                    taken += 65_536
            except OSError:
                pass
        return taken, await in_thread(asked, node, "count", "1")

    taken, answer = run(node, test)
    # What the kernel holds of a socket, on either side, is all that was taken.
    assert taken < 2_000_000
    assert len(answer) == 3


def test_a_question_just_too_long_is_refused(node: str) -> None:
    assert set(refused(node, b" " * (2 * LONGEST_QUESTION) + b"\n")) <= {"too_long"}


# ---- how many


def test_the_ninth_client_is_refused_and_finds_a_place_when_one_goes(node: str) -> None:
    async def test() -> tuple[list[str], int]:
        waiting = [await raw(node, b"") for _ in range(MOST_CLIENTS)]
        # All eight are seated once one more is turned away.
        while True:
            answer = await said(node, encode(LocalQuestion(verb="count", about="1")))
            if len(answer) == 1:
                break
        for _, writer in waiting:
            writer.close()
        return [answer[0].error], await until_seated(node)

    assert run(node, test) == (["crowded"], 3)


def test_those_who_follow_leave_places_to_those_who_ask(node: str) -> None:
    async def test() -> tuple[list[LocalLine], list[LocalLine]]:
        follow = encode(LocalQuestion(verb="quiet", follow=True))
        followers = [await raw(node, follow) for _ in range(MOST_FOLLOWERS)]
        for reader, _ in followers:
            await reader.readline()
        one_more = await said(node, follow)
        answer = await in_thread(asked, node, "count", "1")
        for _, writer in followers:
            writer.close()
        return one_more, answer

    one_more, answer = run(node, test)
    assert [line.error for line in one_more] == ["crowded"]
    assert len(answer) == 3


_ASK_AS_NOBODY = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(20)
    connection.connect("\\0" + sys.argv[1][1:])
    try:
        connection.sendall(b'{"verb":"count","about":"1"}\\n')
        print(len(connection.recv(1)))
    except OSError:
        print(0)
"""


@pytest.mark.root
def test_another_user_gets_nothing_and_takes_no_place(node: str) -> None:
    async def test() -> tuple[set[str], int]:
        # The system's interpreter: nobody may read one below a private home.
        command = ["/usr/bin/python3", "-c", _ASK_AS_NOBODY, "@" + address(PROGRAM, node)[1:]]
        outs = set()
        for _ in range(MOST_CLIENTS + 1):
            process = await asyncio.create_subprocess_exec(
                *command, user=65_534, stdout=asyncio.subprocess.PIPE
            )
            outs.add((await process.communicate())[0].decode().strip())
        return outs, len(await in_thread(asked, node, "count", "1"))

    assert run(node, test) == ({"0"}, 3)


def test_another_users_answer_is_not_read(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("process.local.client.uid_of", lambda _: 65_534)

    async def test() -> None:
        with pytest.raises(UntrustedError):
            await in_thread(asked, node, "count", "1")

    run(node, test)


# ---- answers


def test_an_answer_is_a_mebibyte_at_most_and_goes_on_where_it_ended(node: str) -> None:
    async def test() -> tuple[int, str, list[int]]:
        reader, writer = await raw(node, encode(LocalQuestion(verb="count", about="20000")))
        with closing(writer):
            answer = await reader.read(-1)
        end = decode_line(answer.splitlines()[-1]).end
        assert end is not None
        question = LocalQuestion(verb="count", about="20000")
        lines = await in_thread(lambda: list(gather(PROGRAM, node, question)))
        return len(answer), end.next, [line.row[0] for line in lines if line.row is not None]

    length, rest, rows = run(node, test)
    assert 0.8 * LONGEST_ANSWER < length <= LONGEST_ANSWER
    assert 1 < int(rest) < 20_000
    assert rows == list(range(1, 20_001))


def test_an_answer_that_breaks_off_says_so(node: str) -> None:
    async def test() -> None:
        with pytest.raises(LocalProtocolError) as raised:
            await in_thread(asked, node, "broken")
        assert raised.value.refusal is LocalRefusal.FAILED

    def fail_later(question: LocalQuestion) -> LocalAnswer | LocalRefusal:
        def rows() -> Iterable[LocalRow]:
            yield LocalRow(1, "")
            raise RuntimeError

        return LocalAnswer(rows())

    with pytest.MonkeyPatch.context() as patch:
        told: list[str] = []
        patch.setattr(server_module, "survive", lambda part, error: told.append(part))
        run(node, test, fail_later)
        assert told == ["later"]


def test_half_a_character_is_spelled_out(node: str) -> None:
    _, row, _ = run(node, lambda: in_thread(asked, node, "odd"))
    assert row.row == [r"a\ud800b"]


def test_who_never_reads_holds_neither_loop_nor_place(
    node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are answered all the while, and its answer is thrown away when its time is up."""
    monkeypatch.setattr(server_module, "ANSWER_WITHIN", 0.3)

    async def test() -> tuple[int, float]:
        question = encode(LocalQuestion(verb="count", about="1000000"))
        deaf = [socket.socket(socket.AF_UNIX) for _ in range(MOST_CLIENTS - 1)]
        for connection in deaf:
            await in_thread(connection.connect, address(PROGRAM, node))
            connection.sendall(question)
        longest = 0.0
        for _ in range(20):
            began = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - began)
        answer = await in_thread(asked, node, "count", "10")
        await until_seated(node)
        for connection in deaf:
            connection.close()
        return len(answer), longest

    answered, longest = run(node, test)
    assert answered == 12
    assert longest < server_module.BITE + LATE


def test_all_who_ask_share_one_bite_of_a_turn(node: str) -> None:
    """Six of them together took 5 ms of one turn, each but a bite."""
    turns = list[int]()

    def rows() -> Iterator[LocalRow | LocalLoss | None]:
        for _ in range(20):
            turns.append(turn[0])
            yield None

    turn = [0]

    def count() -> None:
        turn[0] += 1
        asyncio.get_running_loop().call_soon(count)

    async def test() -> None:
        count()
        await asyncio.gather(*(in_thread(asked, node, "any") for _ in range(MOST_CLIENTS - 1)))

    run(node, test, lambda asked: LocalAnswer(rows()))
    assert len(turns) == 20 * (MOST_CLIENTS - 1)
    assert len(set(turns)) == len(turns)


# ---- those who follow


def test_who_follows_hears_what_comes_and_is_let_go_when_it_hangs_up(node: str) -> None:
    news: list[LocalRow | LocalLoss | None] = [LocalRow({"number": 1}, "1"), None]

    def rows() -> Iterator[LocalRow | LocalLoss | None]:
        while True:
            yield news.pop(0) if news else None

    async def test() -> list[bytes]:
        reader, writer = await raw(node, encode(LocalQuestion(verb="any", follow=True)))
        lines = [await reader.readline() for _ in range(2)]
        news.extend([LocalLoss(7), LocalRow({"number": 9}, "9")])
        lines += [await reader.readline() for _ in range(2)]
        writer.close()
        return lines

    _, first, loss, last = map(decode_line, run(node, test, lambda asked: LocalAnswer(rows())))
    assert (first.row, loss.lost, last.row) == ({"number": 1}, 7, {"number": 9})


def test_who_follows_and_never_reads_is_let_go(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept for it but one chunk: its rows are not asked for meanwhile."""
    monkeypatch.setattr(server_module, "STUCK", 0.2)
    made = [0]

    def rows() -> Iterator[LocalRow | LocalLoss | None]:
        for row in endless():
            made[0] += 1
            yield row

    async def test() -> int:
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(address(PROGRAM, node))
            deaf.sendall(encode(LocalQuestion(verb="any", follow=True)))
            before = -1
            while made[0] != before:
                before = made[0]
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.3)
            deaf.settimeout(WITHIN)
            size = 0
            while data := await in_thread(deaf.recv, 65_536):
                size += len(data)
        return size

    size = run(node, test, lambda asked: LocalAnswer(rows()))
    # What was made and not taken by the kernel was thrown away.
    assert made[0] * 1_000 - size < 4 * server_module.CHUNK
    assert size < 4_000_000


# ---- the name


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
    monkeypatch.setattr(server_module, "RETRY", 0.001)

    async def test() -> None:
        log: Any = Log()
        server = LocalServer(PROGRAM, node, numbers, "later", log)
        with socket.socket(socket.AF_UNIX) as held:
            held.bind(address(PROGRAM, node))
            task = asyncio.create_task(server.run())
            await asyncio.wait_for(log.warned.wait(), WITHIN)
            await asyncio.sleep(10 * server_module.RETRY)
        await asyncio.wait_for(log.told.wait(), WITHIN)
        assert len(await in_thread(asked, node, "count", "1")) == 3
        assert log.lines == [("warning", "Address already in use"), ("info", "listening")]
        task.cancel()

    asyncio.run(test())


def test_the_longest_name_of_a_node_has_an_address() -> None:
    """It was an error at the start, which ended the speaker."""
    one, two = (address(PROGRAM, "a" * 252 + last) for last in "bc")
    assert one != two
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(one)
