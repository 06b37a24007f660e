"""Long streams on real agents: the loop turns while they are opened and made."""

import asyncio
import contextlib
import gc
import os
import random
import socket
import struct
import time
from dataclasses import replace

import pytest

from gossip.config import Config
from gossip.io import Address, Exchanged, ExchangeFailed, StreamFailure, UserMessage
from gossip.slots import Cut
from gossip.stream_turns import StreamTurns
from gossip.swim import Swim
from gossip.wire.bites import Bites, at_once
from gossip.wire.errors import Refusal
from gossip.wire.messages import CURRENT_VSN, Message, NodeState, Ping, State, User
from gossip.wire.stream import StreamMessage
from loopback import FAST, HANG, Node, Nodes, of_kind, run, until

PATIENT = replace(FAST, tcp_timeout=HANG)
ESSENTIAL = 3
"""Tasks of an agent that are no stream's: it reads and sends datagrams, and has a timer."""
LONG = random.Random(1).randbytes(512 * 1024)
"""What does not compress takes the longest."""


class Watch:
    """Measures the processor time of each turn of the loop, without that of collecting garbage."""

    def __init__(self) -> None:
        gc.disable()
        self._costs: list[float] = []
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self._costs.append(time.thread_time() - before)

    async def end(self) -> list[float]:
        """Give what the turns took, the longest first."""
        gc.enable()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        return sorted(self._costs, reverse=True)


def _endless(bites: Bites[StreamMessage | Refusal]) -> Bites[StreamMessage | Refusal]:
    try:
        next(bites)
    except StopIteration as end:
        result: StreamMessage | Refusal = end.value
        return result
    while True:
        yield


class Endless(Swim):
    """Never comes to the end of what is longer than a bite."""

    def opening_request(
        self, data: bytes | memoryview, source: Address
    ) -> Bites[StreamMessage | Refusal]:
        return _endless(super().opening_request(data, source))

    def opening_reply(self, data: bytes | memoryview) -> Bites[StreamMessage | Refusal]:
        return _endless(super().opening_reply(data))


async def pair(nodes: Nodes, config: Config = PATIENT, make: type[Swim] = Swim) -> Node:
    """Start a member that will be dialled, and another one."""
    a = await nodes.start("n1", "127.0.0.1", config, make=make)
    b = await nodes.start("n2", "127.0.0.2", config)
    b.join(a)
    await until(lambda: a.state("n2") is b.state("n1") is State.ALIVE)
    return a


def sealed(a: Node, message: Message, *, dialer: bool = True) -> bytes:
    return a.swim.streams.seal(message, dialer=dialer, nonce=lambda: os.urandom(12))


async def say(a: Node, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Dial a node with a message, from the address of the other member."""
    reader, writer = await asyncio.open_connection(*a.address, local_addr=("127.0.0.2", 0))
    writer.write(data)
    return reader, writer


def reset(writer: asyncio.StreamWriter) -> None:
    lingering = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
    writer.transport.abort()


def is_let_go(a: Node) -> bool:
    slots, busy = a.agent.slots, a.agent.turns.busy
    return not len(slots) and not slots.held() and not busy


def test_a_stream_that_does_not_compress_holds_no_turn_for_long() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await pair(nodes)
        data = sealed(a, User(LONG))
        watch = Watch()
        _, writer = await say(a, data)
        await until(lambda: [event.data for event in of_kind(UserMessage, a)] == [LONG])
        costs = await watch.end()
        assert costs[0] < sum(costs) / 20
        reset(writer)

    run(scenario)


def test_large_tables_hold_no_turn_for_long() -> None:
    """Encoded, compressed, sealed, opened, decompressed and decoded, on both sides."""

    async def scenario(nodes: Nodes) -> None:
        a = await pair(nodes)
        rows = [
            NodeState(
                b"\x7f\1" + index.to_bytes(2, "big"),
                1,
                random.Random(index).randbytes(100),
                f"left-{index}",
                7946,
                State.LEFT,
                CURRENT_VSN,
            )
            for index in range(5_000)
        ]
        a.swim.adopt(rows, time.monotonic())
        b = nodes.all[1]
        before = len(of_kind(Exchanged, b))
        watch = Watch()
        b.swim.call(a.address, time.monotonic())
        b.agent.poke()
        await until(lambda: len(of_kind(Exchanged, b)) > before)
        costs = await watch.end()
        assert costs[0] < sum(costs) / 20

    run(scenario)


def test_a_ping_by_tcp_does_not_wait_behind_a_long_stream() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await pair(nodes, make=Endless)
        _, long = await say(a, sealed(a, User(LONG)))
        await until(lambda: a.agent.turns.busy)
        reader, short = await say(a, sealed(a, Ping("n1", 5)))
        assert await asyncio.wait_for(reader.read(), HANG)
        assert a.agent.turns.busy, "the long one has not ended"
        for writer in (long, short):
            reset(writer)

    run(scenario)


def test_a_stream_that_breaks_while_it_is_opened_is_let_go() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await pair(nodes, make=Endless)
        _, writer = await say(a, sealed(a, User(LONG)))
        await until(lambda: a.agent.turns.busy)
        assert a.agent.slots.held() > len(LONG), "what is being opened counts"
        reset(writer)
        await until(lambda: a.agent.slots.cuts == {Cut.FAILED: 1})
        await until(lambda: is_let_go(a))

    run(scenario)


def test_a_stream_that_takes_too_long_to_open_is_let_go() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await pair(nodes, FAST, Endless)
        _, writer = await say(a, sealed(a, User(LONG)))
        await until(lambda: a.agent.slots.cuts == {Cut.SLOW: 1})
        await until(lambda: is_let_go(a))
        reset(writer)

    run(scenario)


def test_streams_that_wait_for_their_turn_are_cut_like_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever has the most gives way, whether it is still read or waits to be opened."""
    monkeypatch.setattr("gossip.slots.KNOWN_BYTES", 4 * len(LONG))

    async def scenario(nodes: Nodes) -> None:
        a = await pair(nodes, make=Endless)
        writers = []
        for _ in range(4):
            writers.append((await say(a, sealed(a, User(LONG))))[1])
        await until(lambda: a.agent.slots.cuts[Cut.BUDGET] > 0)
        await until(lambda: len(a.agent.slots) == 4 - a.agent.slots.cuts[Cut.BUDGET])
        tasks = len(a.agent.slots) + ESSENTIAL
        await until(lambda: len(a.agent._tasks) == tasks)
        assert a.errors == []
        for writer in writers:
            reset(writer)
        await until(lambda: is_let_go(a))

    run(scenario)


def test_a_reply_that_takes_too_long_to_open_is_no_silence() -> None:
    """Who does not answer in time may own nothing; who has answered may."""

    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1", make=Endless)
        reply = sealed(a, User(LONG[:65_536]), dialer=False)
        held: list[asyncio.StreamWriter] = []

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.append(writer)
            writer.write(reply)

        server = await asyncio.start_server(answer, "127.0.0.8", 0)
        seed = Address("127.0.0.8", server.sockets[0].getsockname()[1])
        a.swim.set_seeds([seed], time.monotonic())
        a.agent.poke()
        await until(lambda: bool(of_kind(ExchangeFailed, a)))
        server.close()
        for writer in held:
            writer.transport.abort()
        failed = of_kind(ExchangeFailed, a)[0]
        assert (failed.reason, failed.silent) == (StreamFailure.TOO_LONG, False)

    run(scenario)


# ---- whose turn it is


def _wanted() -> None:
    return


def _note(done: list[str], name: str, bites: int) -> Bites[str]:
    for _ in range(bites):
        done.append(name)
        yield
    return name


def test_what_is_done_with_its_first_bite_waits_for_nobody() -> None:
    async def course() -> None:
        turns, done = StreamTurns(), list[str]()
        long = asyncio.create_task(
            turns.finish(1, _note(done, "long", 9), known=True, check=_wanted)
        )
        await asyncio.sleep(0)
        assert turns.busy
        short = turns.finish(2, _note(done, "short", 0), known=False, check=_wanted)
        assert await asyncio.wait_for(short, HANG) == "short"
        assert not long.done()
        assert await long == "long"
        assert not turns.busy

    asyncio.run(course())


def test_one_at_a_time_and_members_first() -> None:
    async def course() -> None:
        turns, done = StreamTurns(), list[str]()

        async def finish(number: int, name: str, *, known: bool) -> str:
            return await turns.finish(number, _note(done, name, 4), known=known, check=_wanted)

        names = [("a", False), ("b", False), ("c", False), ("d", True), ("e", True)]
        course = [finish(at, name, known=known) for at, (name, known) in enumerate(names)]
        assert await asyncio.gather(*course) == ["a", "b", "c", "d", "e"]
        assert "".join(done[5:]) == "aaadddeeebbbccc"
        assert not turns.busy

    asyncio.run(course())


@pytest.mark.parametrize("last", [False, True], ids=["waiting", "at work"])
def test_work_that_is_given_up_passes_the_turn_on(last: bool) -> None:
    async def course() -> None:
        turns, done = StreamTurns(), list[str]()
        tasks = [
            asyncio.create_task(turns.finish(at, _note(done, name, 9), known=True, check=_wanted))
            for at, name in enumerate("abc")
        ]
        await asyncio.sleep(0)
        assert turns.busy
        tasks[0 if last else 1].cancel()
        found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), HANG)
        assert sum(isinstance(one, asyncio.CancelledError) for one in found) == 1
        assert {one for one in found if isinstance(one, str)} == set("bc" if last else "ac")
        assert not turns.busy

    asyncio.run(course())


def test_an_error_in_a_bite_passes_the_turn_on() -> None:
    def failing() -> Bites[str]:
        yield
        raise ValueError("the second bite")

    async def course() -> None:
        turns = StreamTurns()
        with pytest.raises(ValueError, match="second bite"):
            await turns.finish(1, failing(), known=True, check=_wanted)
        assert not turns.busy

    asyncio.run(course())


def test_at_once_is_the_same_work() -> None:
    done: list[str] = []
    assert at_once(_note(done, "x", 3)) == "x"
    assert done == ["x"] * 3
