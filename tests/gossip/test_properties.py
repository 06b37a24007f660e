"""Whatever peers say: no exception, no timer that cannot be met, nothing that crashes a Go peer."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossip.config import MAX_UDP, Config
from gossip.io import Address, Datagram, Transmit
from gossip.wire.compound import MAX_PARTS
from gossip.wire.messages import (
    CURRENT_VSN,
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    PushPull,
    State,
    Suspect,
    User,
)

if TYPE_CHECKING:
    from gossip_bench import Bench

names = st.sampled_from(["me", "n2", "n3", "n4", "", "x" * 300])
numbers = st.integers(0, 3) | st.integers(0, 0xFFFFFFFF) | st.just(0xFFFFFFFF)
ports = st.integers(0, 0xFFFF)
raw = st.sampled_from([bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), bytes(16)]) | st.binary(
    max_size=16
)
metas = st.none() | st.binary(max_size=512)
vsns = st.just(CURRENT_VSN) | st.binary(min_size=6, max_size=6)
spoken: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, names, numbers, raw, names, ports),
    st.builds(IndirectPing, st.booleans(), names, ports, numbers, raw, names, ports, raw),
    st.builds(Ack, numbers, metas),
    st.builds(Nack, numbers),
    st.builds(Suspect, names, numbers, names),
    st.builds(Dead, names, numbers, names),
    st.builds(Alive, raw, numbers, metas, names, ports, vsns),
    st.builds(User, st.binary(max_size=64)),
)
rows = st.builds(NodeState, raw, numbers, metas, names, ports, st.sampled_from(State), vsns)
short_vsns = st.builds(
    lambda name, vsn, number, row: (_short_row if row else _short_alive)(name, vsn, number),
    names,
    st.binary(max_size=5),
    numbers,
    st.booleans(),
)
"""What kills Go peers if it is passed on: our own codec would not write it."""
steps = st.one_of(
    spoken,
    short_vsns,
    st.lists(rows, max_size=5),
    st.floats(0, 10),
    st.binary(max_size=200),
    st.sampled_from(["leave", "exchange", "meta", "ack"]),
)


def _short_alive(name: str, vsn: bytes, number: int) -> bytes:
    fields = {
        "Addr": bytes((10, 0, 0, 7)),
        "Incarnation": number,
        "Meta": None,
        "Node": name,
        "Port": 7946,
        "Vsn": vsn,
    }
    return b"\x04" + bytes(msgpack.packb(fields, use_bin_type=False))


def _short_row(name: str, vsn: bytes, number: int) -> tuple[bytes]:
    fields = {"Addr": bytes((10, 0, 0, 7)), "Incarnation": number, "Name": name, "Vsn": vsn}
    header = {"Join": True, "Nodes": 1, "UserStateLen": 0}
    packed = [bytes(msgpack.packb(item, use_bin_type=False)) for item in (header, fields)]
    return (b"\x06" + b"".join(packed),)


def _take(bench: "Bench", step: object) -> None:
    if isinstance(step, float):
        bench.now += step
        bench.swim.handle_timeout(bench.now)
    elif isinstance(step, list):
        bench.merge(*step)
    elif isinstance(step, bytes):
        bench.hear_raw(step)
    elif isinstance(step, tuple):
        bench.swim.handle_stream(step[0], Address("10.0.0.9", 40000), bench.now)
    elif step == "leave":
        bench.swim.leave(bench.now)
    elif step == "exchange":
        bench.swim.exchange(bench.now)
    elif step == "meta":
        bench.swim.set_meta(b"m", bench.now)
    elif step == "ack":
        bench.hear(*_acks(bench))
    else:
        bench.hear(step)  # type: ignore[arg-type]


def _acks(bench: "Bench") -> list[Message]:
    pings = [m for t in bench.swim.transmits() for m in bench.read(t) if isinstance(m, Ping)]
    return [Ack(ping.seq_no) for ping in pings]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(story=st.lists(steps, max_size=25))
def test_no_input_breaks_the_rules(new_bench: Callable[[], "Bench"], story: list[object]) -> None:
    bench = new_bench()
    highest: dict[str, int] = {}
    for step in story:
        _take(bench, step)
        _check_table(bench, highest)
        _check_sent(bench)


def _check_table(bench: "Bench", highest: dict[str, int]) -> None:
    own = [row for row in bench.swim.members() if row.own]
    assert [row.name for row in own] == ["me"]
    assert own[0].state in (State.ALIVE, State.LEFT)
    assert own[0].incarnation >= highest.get("me", 1), "our incarnation never falls"
    highest["me"] = own[0].incarnation
    living = {row.name for row in bench.swim.members() if row.state in (State.ALIVE, State.SUSPECT)}
    assert bench.swim.live() == living
    peers = {row.address.ip for row in bench.swim.members() if not row.own}
    for ip in {"10.0.0.1", "10.0.0.2", "10.0.0.7", "::"} | peers:
        assert bench.swim.knows(ip) == (ip in peers)


def _check_sent(bench: "Bench") -> None:
    for transmit in bench.swim.transmits():
        if isinstance(transmit, Datagram):
            assert transmit.data
            assert len(transmit.data) <= 1400
        for message in bench.read(transmit):
            told = message.nodes if isinstance(message, PushPull) else [message]
            assert all(len(item.vsn) == 6 for item in told if isinstance(item, Alive | NodeState))


def _crowd(count: int, state: State, meta: bytes | None) -> list[NodeState]:
    return [
        NodeState(bytes((10, 2, at >> 8, at & 255)), 9, meta, f"c{at}", 7946, state, CURRENT_VSN)
        for at in range(count)
    ]


crowds = st.builds(
    _crowd, st.sampled_from([1, 30]), st.sampled_from(State), st.sampled_from([None, bytes(512)])
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"udp_buffer_size": 60_000},
        {"udp_buffer_size": 10**8, "retransmit_mult": 10**9},
        {"udp_buffer_size": -5, "indirect_checks": -5},
        {"indirect_checks": 10**9, "suspicion_mult": 1, "gossip_nodes": 10**9},
        {"suspicion_mult": 10**9, "awareness_max_multiplier": 1, "probe_interval": 0.001},
    ],
    ids=str,
)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(story=st.lists(steps | crowds, max_size=8), times=st.integers(1, 2))
def test_no_valid_message_raises_in_a_timer(
    new_bench: Callable[[Config], "Bench"],
    lan_without: Callable[..., Config],
    changes: dict[str, Any],
    story: list[object],
    times: int,
) -> None:
    """Nobody catches what a timer raises: it is the end of probing, for all that peers can see."""
    bench = new_bench(lan_without(**changes))
    for step in (_crowd(MAX_PARTS + 5, State.ALIVE, None), *story):
        _take(bench, step)
        for transmit in _due(bench, times):
            if isinstance(transmit, Datagram):
                # More cannot be sent, and the driver would lose it.
                assert len(transmit.data) <= MAX_UDP
    bench.now += 60
    bench.swim.handle_timeout(bench.now)


def _due(bench: "Bench", times: int) -> list[Transmit]:
    """Fire the timers so often, each as soon as it is due."""
    for _ in range(times):
        bench.now = max(bench.now, bench.swim.deadline() or bench.now)
        bench.swim.handle_timeout(bench.now)
    return bench.swim.transmits()


def test_a_join_of_many_fits_into_large_packets(
    new_bench: Callable[[Config], "Bench"], lan_without: Callable[..., Config]
) -> None:
    bench = new_bench(lan_without(udp_buffer_size=60_000))
    bench.merge(*_crowd(600, State.ALIVE, None))
    bench.run(30)
    assert len(bench.swim.members()) == 601
    assert bench.swim.stats.probes > 1


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(story=st.lists(steps, max_size=25))
def test_no_input_makes_the_timer_spin(
    new_bench: Callable[[], "Bench"], story: list[object]
) -> None:
    bench = new_bench()
    for step in story:
        _take(bench, step)
        bench.swim.handle_timeout(bench.now)
        bench.swim.handle_timeout(bench.now)
        deadline = bench.swim.deadline()
        assert deadline is None or deadline > bench.now
