"""Real agents on loopback."""

import asyncio
import contextlib
import errno
import os
import resource
import socket
import struct
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from gossip.agent import MAX_OUTGOING, Agent
from gossip.io import (
    Address,
    Event,
    Exchanged,
    ExchangeFailed,
    Gone,
    StreamFailure,
    UserMessage,
)
from gossip.slots import KNOWN_BYTES, MAX_STREAMS, STRANGER_BYTES, Cut
from gossip.swim import Swim
from gossip.wire.body import encode
from gossip.wire.crypto import Keyring
from gossip.wire.errors import Refusal
from gossip.wire.messages import CURRENT_VSN, MessageType, Nack, NodeState, State
from gossip.wire.packet import PacketCodec, WireConfig
from loopback import FAST, HANG, KEY, Node, Nodes
from loopback import free_port as _free_port
from loopback import of_kind as _of
from loopback import run as _run
from loopback import until as _until


async def _ring(nodes: Nodes) -> tuple[Node, Node, Node]:
    a, b, c = [await nodes.start(f"n{index}", f"127.0.0.{index}") for index in (1, 2, 3)]
    b.join(a)
    c.join(a)
    await _until(lambda: all(len(node.swim.live()) == 3 for node in (a, b, c)))
    return a, b, c


# ---- a ring


def test_ring_joins_encrypted_and_suspects_nobody() -> None:
    async def scenario(nodes: Nodes) -> None:
        ring = await _ring(nodes)
        await asyncio.sleep(1.0)  # five probe intervals of real sockets
        for node in ring:
            assert node.swim.stats.received[MessageType.ACK] >= 2
            assert node.swim.stats.suspicions == node.swim.stats.refusals.total() == 0
            assert node.errors == []

    _run(scenario)


def test_ring_detects_a_killed_node() -> None:
    async def scenario(nodes: Nodes) -> None:
        a, b, c = await _ring(nodes)
        await b.agent.close()
        nodes.all.remove(b)
        await _until(lambda: {a.state("n2"), c.state("n2")} == {State.DEAD})
        assert [event.member.name for event in _of(Gone, a)] == ["n2"]

    _run(scenario)


def test_ring_sees_a_leave_as_left() -> None:
    async def scenario(nodes: Nodes) -> None:
        a, b, c = await _ring(nodes)
        async with asyncio.timeout(FAST.leave_timeout + HANG):
            await c.agent.leave()
        await _until(lambda: {a.state("n3"), b.state("n3")} == {State.LEFT})

    _run(scenario)


def test_ring_over_ipv6() -> None:
    async def scenario(nodes: Nodes) -> None:
        a, b = await nodes.start("n1", "::1"), await nodes.start("n2", "::1")
        b.join(a)
        await _until(lambda: len(a.swim.live()) == len(b.swim.live()) == 2)
        await _until(lambda: a.swim.stats.received[MessageType.ACK] >= 2)
        assert [*a.errors, *b.errors] == []

    _run(scenario)


@pytest.mark.parametrize("key", [b"x" * 32, None])
def test_wrong_key_and_plaintext_are_refused(key: bytes | None) -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1")
        b = await nodes.start("n2", "127.0.0.2", key=key)
        b.join(a)
        await _until(lambda: bool(_of(ExchangeFailed, b)))
        assert a.swim.live() | b.swim.live() == {"n1", "n2"}
        assert not a.swim.live() & b.swim.live()
        assert a.swim.stats.refusals.total() >= 1
        assert not _of(ExchangeFailed, b)[0].silent

    _run(scenario)


def test_label_travels_by_udp_and_tcp() -> None:
    async def scenario(nodes: Nodes) -> None:
        config = replace(FAST, wire=WireConfig(label=b"ring"))
        a = await nodes.start("n1", "127.0.0.1", config)
        b = await nodes.start("n2", "127.0.0.2", config)
        b.join(a)
        await _until(lambda: a.swim.stats.received[MessageType.ACK] >= 1)
        assert _of(Exchanged, a)[0].peer == b.address

    _run(scenario)


# ---- reads before it fires


class _Recorder(Swim):
    """Writes down the order in which its driver calls it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.calls: list[str] = []
        super().__init__(*arguments, **named)

    def handle_datagram(self, data: bytes, source: Address, now: float) -> None:
        self.calls.append("datagram")
        super().handle_datagram(data, source, now)

    def handle_timeout(self, now: float) -> None:
        self.calls.append("timer")
        super().handle_timeout(now)


def test_datagrams_that_waited_are_handled_before_a_due_timer() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1", make=_Recorder)
        await nodes.start("n2", "127.0.0.2")
        await asyncio.sleep(0.05)
        assert isinstance(a.swim, _Recorder)
        a.swim.calls.clear()
        packet = PacketCodec(FAST.wire, Keyring([KEY])).seal(
            [encode(Nack(1))], crc=False, nonce=lambda: os.urandom(12)
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for _ in range(50):
                peer.sendto(packet, a.address)
        time.sleep(0.3)  # noqa: ASYNC251 - the stall itself
        assert (a.swim.deadline() or 0) < time.monotonic(), "a timer is due"
        await _until(lambda: "timer" in _calls(a))
        assert _calls(a)[:51] == ["datagram"] * 50 + ["timer"]

    _run(scenario)


def _calls(node: Node) -> list[str]:
    assert isinstance(node.swim, _Recorder)
    return node.swim.calls


def test_flood_cannot_hold_timers_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossip.agent.MAX_READ_BEFORE_TIMER", 200)

    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1", make=_Recorder)
        stop = threading.Event()

        def flood() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                while not stop.is_set():
                    peer.sendto(b"junk" * 20, a.address)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            await asyncio.sleep(0.3)
            _calls(a).clear()
            await _until(lambda: _calls(a).count("timer") >= 2)
        finally:
            stop.set()
            thread.join()
        assert "datagram" in _calls(a)

    _run(scenario)


# ---- sockets that misbehave


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_port_in_use_is_named(kind: socket.SocketKind) -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1")
        port = _free_port("127.0.0.9")
        with socket.socket(socket.AF_INET, kind) as holder:
            holder.bind(("127.0.0.9", port))
            if kind is socket.SOCK_STREAM:
                holder.listen()
            agent = Agent(a.swim, Address("127.0.0.9", port), time.monotonic, a.events.append)
            with pytest.raises(OSError, match=f"127.0.0.9:{port}") as caught:
                await agent.start()
        assert caught.value.errno == errno.EADDRINUSE

    _run(scenario)


def test_failed_send_takes_no_other_packet_with_it() -> None:
    async def scenario(nodes: Nodes) -> None:
        a, b, _ = await _ring(nodes)
        stranger = NodeState(bytes(15) + b"\x02", 1, None, "six", 7946, State.ALIVE, CURRENT_VSN)
        a.swim.adopt([stranger], time.monotonic())
        for index in range(20):
            assert a.swim.send("six", b"lost")
            assert a.swim.send("n2", b"kept %d" % index)
        a.agent.poke()
        await _until(lambda: len(_of(UserMessage, b)) == 20)
        assert any(isinstance(error, OSError) for error in a.errors)

    _run(scenario)


def test_outgoing_queue_is_bounded_and_counted() -> None:
    async def scenario(nodes: Nodes) -> None:
        a, _, _ = await _ring(nodes)
        await asyncio.sleep(0)
        for _ in range(MAX_OUTGOING + 100):
            a.swim.send("n2", b"x")
        a.agent.poke()
        assert a.agent.outgoing_dropped >= 100

    _run(scenario)


def test_streams_and_their_bytes_are_counted_at_both_ends() -> None:
    async def scenario(nodes: Nodes) -> None:
        counts = [node.agent.streams for node in await _ring(nodes)]
        assert sum(each.dialled for each in counts) > 0

        def agree() -> bool:
            """A piece may be on its way just now."""
            streams = sum(each.dialled - each.accepted for each in counts)
            return streams == sum(each.bytes_sent - each.bytes_received for each in counts) == 0

        await _until(agree)

    _run(scenario)


def test_bytes_of_a_stream_that_never_becomes_whole_are_counted() -> None:
    async def scenario(nodes: Nodes) -> None:
        node = await nodes.start("n1", "127.0.0.1")
        _, writer = await asyncio.open_connection(*node.address)
        writer.write(bytes((MessageType.ENCRYPT, 0, 0, 1, 0)) + b"begun")
        await _until(lambda: node.agent.slots.cuts[Cut.SLOW] == 1)
        assert (node.agent.streams.accepted, node.agent.streams.bytes_received) == (1, 10)
        assert node.agent.streams.bytes_sent == 0
        writer.transport.abort()

    _run(scenario)


def test_failing_application_does_not_stop_gossip() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1", on_event=_fail)
        b = await nodes.start("n2", "127.0.0.2")
        b.join(a)
        await _until(lambda: a.swim.stats.received[MessageType.ACK] >= 2)
        assert {str(error) for error in a.errors} == {"the application's fault"}

    _run(scenario)


def _fail(event: Event) -> None:
    raise RuntimeError("the application's fault")


def test_tcp_junk_is_answered_with_an_error_and_closed() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1")
        reader, writer = await asyncio.open_connection(*a.address)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        reply = await asyncio.wait_for(reader.read(), HANG)
        writer.close()
        await writer.wait_closed()
        assert reply[0] == MessageType.ENCRYPT
        assert a.swim.stats.refusals == {Refusal.UNKNOWN_TYPE: 1}

    _run(scenario)


def test_tcp_peer_that_says_nothing_is_dropped_in_time() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1")
        reader, writer = await asyncio.open_connection(*a.address)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), FAST.tcp_timeout + HANG) == b""
        writer.transport.abort()
        assert time.monotonic() - began > 0.9 * FAST.tcp_timeout
        await _until(lambda: a.agent.slots.cuts == {Cut.SLOW: 1})
        assert a.errors == []

    _run(scenario)


def test_connections_that_are_reset_are_counted_without_a_word() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1")
        for _ in range(10):
            _, writer = await asyncio.open_connection(*a.address)
            writer.write(b"\x0a")
            lingering = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, lingering
            )
            writer.transport.abort()
        await _until(lambda: a.agent.slots.cuts == {Cut.FAILED: 10})
        assert a.errors == []

    _run(scenario)


PATIENT = replace(FAST, tcp_timeout=HANG)


async def _idle(a: Node, count: int, *, source: str = "127.0.1.1") -> list[asyncio.StreamWriter]:
    """Connect so often from one address, and say nothing."""
    return [
        (await asyncio.open_connection(*a.address, local_addr=(source, 0)))[1] for _ in range(count)
    ]


@pytest.mark.parametrize("sources", [1, 50])
def test_a_joiner_gets_in_although_all_streams_are_taken(sources: int) -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1", PATIENT)
        writers = []
        for index in range(sources):
            writers += await _idle(a, 200 // sources, source=f"127.0.1.{index + 1}")
        b = await nodes.start("n2", "127.0.0.2", PATIENT)
        b.join(a)
        await _until(lambda: bool(_of(Exchanged, b)))
        assert not _of(ExchangeFailed, b)
        assert len(a.agent.slots) <= MAX_STREAMS
        for writer in writers:
            writer.transport.abort()

    _run(scenario)


def test_a_strangers_long_frame_is_refused_before_it_is_read() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1", PATIENT)
        reader, writer = await asyncio.open_connection(*a.address, local_addr=("127.0.1.1", 0))
        writer.write(b"\x0a" + (STRANGER_BYTES + 1).to_bytes(4, "big"))
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), HANG) == b""
        writer.transport.abort()
        assert a.agent.slots.cuts == {Cut.STRANGER_LONG: 1}

    _run(scenario)


def test_a_member_may_send_a_long_table() -> None:
    """Longer than a stranger may, and than any buffer on the way."""

    async def scenario(nodes: Nodes) -> None:
        plain = replace(PATIENT, wire=WireConfig(compress=False))
        a, b = [await nodes.start(f"n{last}", f"127.0.0.{last}", plain) for last in (1, 2)]
        b.join(a)
        await _until(lambda: a.state("n2") is State.ALIVE)
        rows = [
            NodeState(
                b"\x7f\1" + index.to_bytes(2, "big"),
                1,
                None,
                f"left-{index}",
                7946,
                State.LEFT,
                CURRENT_VSN,
            )
            for index in range(4_000)
        ]
        b.swim.adopt(rows, time.monotonic())
        before = len(_of(Exchanged, b))
        b.swim.call(a.address, time.monotonic())
        b.agent.poke()
        await _until(lambda: len(_of(Exchanged, b)) > before)
        assert (a.agent.slots.cuts, b.agent.slots.cuts) == ({}, {})

    _run(scenario)


@pytest.mark.parametrize(
    ("words", "reason", "silent"),
    [
        (None, StreamFailure.TIMEOUT, True),
        (b"", StreamFailure.CLOSED, False),
        (b"\xff\xff\xff", Refusal.UNKNOWN_TYPE, False),
        (b"\x0a\0\0\1\0\1", Refusal.TRUNCATED, False),
        (b"\x0a" + (KNOWN_BYTES + 1).to_bytes(4, "big"), StreamFailure.TOO_LONG, False),
    ],
)
def test_dial_tells_why_there_was_no_reply(words: bytes | None, reason: str, silent: bool) -> None:
    async def scenario(nodes: Nodes) -> None:
        held: list[asyncio.StreamWriter] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.append(writer)
            await reader.read(10)
            if words is not None:
                writer.write(words)
                writer.close()

        a = await nodes.start("n1", "127.0.0.1")
        server = await asyncio.start_server(answer, "127.0.0.8", 0)
        port = server.sockets[0].getsockname()[1]
        a.swim.set_seeds([Address("127.0.0.8", port)], time.monotonic())
        a.agent.poke()
        await _until(lambda: bool(_of(ExchangeFailed, a)))
        server.close()
        for writer in held:
            writer.transport.abort()
        failed = _of(ExchangeFailed, a)[0]
        assert (failed.reason, failed.silent) == (reason, silent)

    _run(scenario)


def test_dial_refused_is_silent() -> None:
    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1")
        seed = Address("127.0.0.8", _free_port("127.0.0.8"))
        a.swim.set_seeds([seed], time.monotonic())
        a.agent.poke()
        await _until(lambda: bool(_of(ExchangeFailed, a)))
        failed = _of(ExchangeFailed, a)[0]
        assert (failed.peer, failed.reason, failed.silent) == (seed, StreamFailure.REFUSED, True)

    _run(scenario)


def test_tcp_accept_without_descriptors_waits_and_goes_on() -> None:
    """Upstream backs off in its accept loop; here the loop must neither spin nor stop for good."""

    async def scenario(nodes: Nodes) -> None:
        a = await nodes.start("n1", "127.0.0.1")
        loop, complaints = asyncio.get_running_loop(), list[dict[str, Any]]()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        client = socket.socket()
        client.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
        try:
            await loop.sock_connect(client, tuple(a.address))
            await asyncio.sleep(0.1)
            at_once = len(complaints)
            await asyncio.sleep(0.3)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        # asyncio asks as often as its backlog is long (100), then not for a second.
        assert 1 <= at_once == len(complaints) <= 100
        await loop.sock_sendall(client, b"GET / HTTP/1.0\r\n\r\n")
        assert await asyncio.wait_for(loop.sock_recv(client, 100), HANG)
        client.close()

    _run(scenario)
