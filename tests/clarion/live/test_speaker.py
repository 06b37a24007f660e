"""Asking the speaker: its rows are values, and whatever goes wrong is one line."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import pytest
import structlog
from click.testing import CliRunner

from clarion.commands.explain import explain
from clarion.commands.log import log
from clarion.commands.owners import owners
from clarion.commands.ring import ring
from clarion.commands.top import top, watch
from clarion.live.board import Board
from clarion.live.command import UNSEEN
from clarion.live.speaker import LiveSpeaker
from clarion.looking import NODE
from process.local.address import address
from process.local.answer import LocalAnswer, LocalLoss, LocalRow
from process.local.protocol import LocalQuestion, LocalRefusal
from process.local.server import LocalServer
from process.told.asking import PROGRAM
from process.told.rows import LiveError, LiveOwner
from speaker.inquiry.owner_rows import COLUMNS
from speaker.inquiry.ring_rows import RING_COLUMNS

WITHIN = 20.0
OWNER = ("192.0.2.1", "ns/web", "a", 1.5, "b", ["eth0"], "owned", None,
         {"from": "b", "reason": "bars", "announced": 1.6, "seconds": 0.1})  # fmt: skip
MEMBER: tuple[Any, ...] = (
    "a\x1b",
    "192.0.2.1:7946",
    "alive",
    7,
    0,
    "clarion",
    [],
    "proved",
    None,
    [],
    ["b"],
)
RECORD = {"number": 3, "at": 0.0, "kind": "missed", "node": "b", "link": "eth0", "witness": "c"}

EXPLAINED: list[dict[str, Any]] = [
    {"kind": "service", "service": "ns/web", "ips": ["192.0.2.1"], "hashed": "192.0.2.1",
     "withheld": None, "interfaces": None, "owner": "a", "since": 1.5, "reason": "bars",
     "next": "b", "contact": None},
    {"kind": "later", "service": "ns/web"},
    {"kind": "bgp", "service": "ns/web", "withheld": None, "draining": False, "engine": "ready",
     "pending": False, "unknown": 1},
    {"kind": "route", "service": "ns/web", "prefix": "192.0.2.1/32", "peer": "tor\x1b",
     "neighbor": "192.0.2.254", "vrf": "default", "session": "established", "offered": True,
     "sent": True, "communities": ["1:2"], "large_communities": [], "local_pref": None, "med": 7},
]  # fmt: skip


@pytest.fixture
def node() -> str:
    return f"live-{os.getpid()}"


def answer(asked: LocalQuestion) -> LocalAnswer | LocalRefusal:
    match asked.verb:
        case "owners":
            return LocalAnswer([LocalRow(OWNER, "")], COLUMNS)
        case "ring":
            suspect = ("b", *MEMBER[1:2], "suspect", *MEMBER[3:])
            return LocalAnswer([LocalRow(MEMBER, ""), LocalRow(suspect, "")], RING_COLUMNS)
        case "explain" if asked.about == "192.0.2.1":
            return LocalAnswer([LocalRow(row, "") for row in EXPLAINED])
        case "log" if asked.follow:
            return LocalAnswer([LocalRow(RECORD, "3"), LocalLoss(7)])
        case "log":
            return LocalAnswer([LocalRow(RECORD | {"about": asked.about}, "3")])
        case _:
            return LocalRefusal.NOT_FOUND


@contextmanager
def serving(node: str, how: Callable[[LocalQuestion], Any] = answer) -> Iterator[None]:
    """Serve in a thread, as commands wait for their answers."""
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        server = LocalServer(PROGRAM, node, how, "later", structlog.get_logger())
        task = loop.create_task(server.run())
        await asyncio.sleep(0)
        loop.call_soon(ready.set)
        with suppress(asyncio.CancelledError):
            await task

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(WITHIN)
    yield
    loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    thread.join()
    loop.close()


def test_rows_come_back_as_values(node: str) -> None:
    with serving(node):
        speaker = LiveSpeaker(node)
        [owner] = speaker.owners()
        me, other = speaker.ring()
        [record] = speaker.log("192.0.2.1")
        followed = list(speaker.follow())
    assert isinstance(owner, LiveOwner)
    assert owner.takeover is not None
    assert (owner.ip, owner.since, owner.takeover.previous) == ("192.0.2.1", 1.5, "b")
    assert (me.name, me.watches, other.state) == ("a\x1b", ["b"], "suspect")
    assert record.details == {"link": "eth0", "witness": "c", "about": "192.0.2.1"}
    assert [getattr(each, "number", each) for each in followed] == [3, 7]


def test_a_refusal_and_an_absence_are_one_line_each(node: str) -> None:
    speaker = LiveSpeaker(node)
    with serving(node), pytest.raises(LiveError, match=r"knows nothing of 192\.0\.2\.9"):
        speaker.explain("192.0.2.9")
    with pytest.raises(LiveError, match=f"no speaker answers on node {node}"):
        speaker.owners()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]\n",
        b'{"schema":1,"columns":["ip"]}\n{"row":["a"]}\n{"end":{"rows":1}}\n',
        b'{"schema":1}\n{"row":5}\n{"end":{"rows":1}}\n',
        b'{"error":"\\u001b]0;"}\n',
    ],
)
def test_an_odd_answer_is_one_line_too(node: str, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(address(PROGRAM, node))
        held.listen()
        held.settimeout(WITHIN)

        def serve() -> None:
            connection, _ = held.accept()
            with connection, suppress(OSError):
                connection.recv(4_096)
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(LiveError) as raised:
            LiveSpeaker(node).owners()
        thread.join()
    assert "\x1b" not in str(raised.value)


def run(command: click.Command, *arguments: str, **variables: str) -> Any:
    return CliRunner().invoke(command, arguments, env=variables)


def test_commands_print_tables_and_json_and_say_whether_all_is_well(node: str) -> None:
    with serving(node):
        table = run(ring, **{NODE: node})
        told = json.loads(run(ring, "--node", node, "-o", "json").stdout)
        lines = run(log, "--node", node, "192.0.2.1").stdout
        followed = run(log, "--node", node, "--follow").stdout.splitlines()
        records = run(log, "--node", node, "-f", "-o", "json").stdout.splitlines()
    # One of them is suspected.
    assert table.exit_code == 1
    assert table.stdout.splitlines()[1].split()[:2] == ["a?", "192.0.2.1:7946"]
    assert (told["kind"], told["well"], told["members"][1]["name"]) == ("Ring", False, "b")
    assert lines == "1970-01-01 00:00:00.000  c misses b's eth0\n"
    assert followed[1] == "... 7 records came too fast to be shown"
    assert [json.loads(text) for text in records][1] == {"lost": 7}


def test_top_shows_one_picture_where_there_is_no_terminal_and_more_on_one(node: str) -> None:
    shown: list[str] = []

    def rest(_: float) -> None:
        if len(shown) == 2:
            raise KeyboardInterrupt
        shown.append("")

    with serving(node):
        once = run(top, "--node", node)
        board = Board(node)
        with pytest.raises(KeyboardInterrupt):
            watch(board, LiveSpeaker(node), 1.0, rest)
    assert once.exit_code == 0
    assert once.stdout.splitlines()[0] == f"node {node}: 1 IPs, 1 owners, 0 not well"
    assert once.stdout.splitlines()[-1] == "1970-01-01 00:00:00.000  c misses b's eth0"
    assert board.newest == 3


def test_owners_and_explain_ask_the_speaker_where_its_node_is_named(
    node: str, tmp_path: Path
) -> None:
    """As in its pod; not where a source is named, or the cluster."""
    (tmp_path / "empty.yaml").write_text("")
    with serving(node):
        table = run(owners, **{NODE: node})
        told = json.loads(run(owners, "--node", node, "-o", "json").stdout)
        why = run(explain, "192.0.2.1", **{NODE: node})
        rows = json.loads(run(explain, "192.0.2.1", "-o", "json", **{NODE: node}).stdout)["rows"]
        dumped = json.loads(
            run(owners, "--from", str(tmp_path), "-o", "json", **{NODE: node}).stdout
        )
        unknown = run(explain, "192.0.2.9", **{NODE: node})
        both = run(owners, "--node", node, "--cluster")
    assert (table.exit_code, why.exit_code, unknown.exit_code, both.exit_code) == (0, 0, 2, 2)
    assert table.stdout.splitlines()[1].split() == [
        *("192.0.2.1", "ns/web", "a", "1970-01-01", "00:00:01", "b", "eth0", "owned"),
        *("from", "b", "(bars,", "0.100", "s)"),
    ]
    assert (told["kind"], told["node"], told["owners"][0]["owner"]) == ("LiveOwners", node, "a")
    assert "owner  a since 1970-01-01 00:00:01 (bars)" in why.stdout
    assert why.stdout.splitlines()[-1].split() == [
        *("192.0.2.1/32", "tor?", "192.0.2.254", "(default)", "established", "yes", "1:2"),
        *("MED", "7"),
    ]
    assert [row["kind"] for row in rows] == ["service", "bgp", "route"]
    assert dumped["kind"] == "Owners"


@pytest.mark.parametrize("command", [ring, log, top])
def test_where_nothing_can_be_looked_at_the_status_is_2(command: click.Command) -> None:
    for variables, said in (
        ({NODE: ""}, "clarion: no node: $METALLB_NODE_NAME is not set, and no --node was given\n"),
        ({NODE: "no\x1bwhere"}, "clarion: no speaker answers on node no?where\n"),
    ):
        done = run(command, **variables)
        assert (done.exit_code, done.stdout, done.stderr) == (UNSEEN, "", said)
