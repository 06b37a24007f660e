"""Probing, answering, relaying and the health score: one node, fed by hand."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gossip.io import Address, Datagram, Dial
from gossip.relay import MAX_RELAYS
from gossip.stats import Ignored
from gossip.wire.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Message,
    Nack,
    Ping,
    PushPull,
    State,
    Suspect,
    User,
)

if TYPE_CHECKING:
    from gossip_bench import Bench

N2, N3 = Address("10.0.0.2", 7946), Address("10.0.0.3", 7946)
CALM = {"push_pull_interval": 1e6}
N3_RAW = bytes((10, 0, 0, 3))
OWN = bytes((10, 0, 0, 1))


@pytest.fixture
def pair(
    new_bench: Callable[..., "Bench"],
    alive: Callable[..., Alive],
    lan_without: Callable[..., Any],
) -> "Bench":
    """A node that knows n2 and does no push/pull."""
    bench = new_bench(lan_without(**CALM))
    bench.hear(alive("n2"))
    return bench


def _probe(bench: "Bench") -> Ping:
    ping, _ = bench.until_sent(Ping)
    assert isinstance(ping, Ping)
    return ping


def _messages(bench: "Bench", seconds: float) -> list[tuple[Address, Message]]:
    return [(sent.to, message) for _, sent in bench.run(seconds) for message in bench.read(sent)]


# ---- Probing


def test_probe_pings_with_name_and_return_address(pair: "Bench") -> None:
    ping, to = pair.until_sent(Ping)
    assert isinstance(ping, Ping)
    assert (to, ping.node, ping.source_node) == (N2, "n2", "me")
    assert (ping.source_addr, ping.source_port) == (OWN, 7946)


def test_probe_starts_at_a_random_sequence_number(pair: "Bench") -> None:
    assert _probe(pair).seq_no > 1000


def test_probe_unreachable_becomes_suspect_after_the_interval(pair: "Bench") -> None:
    _probe(pair)
    pair.run(0.99)
    assert pair.state("n2") is State.ALIVE
    pair.run(0.02)
    assert pair.state("n2") is State.SUSPECT


def test_probe_answered_keeps_alive(pair: "Bench") -> None:
    for _ in range(20):
        pair.hear(Ack(_probe(pair).seq_no))
    assert pair.state("n2") is State.ALIVE
    assert pair.swim.stats.probes_failed == 0


def test_probe_skips_no_tick_in_a_tiny_cluster(pair: "Bench") -> None:
    start = pair.now
    for _ in range(20):
        pair.hear(Ack(_probe(pair).seq_no))
    assert pair.now - start <= 20


def test_probe_asks_helpers_and_tcp_when_udp_is_silent(
    pair: "Bench", alive: Callable[..., Alive]
) -> None:
    pair.hear(*(alive(f"n{index}") for index in (3, 4, 5, 6, 7)))
    ping, target = pair.until_sent(Ping)
    assert isinstance(ping, Ping)
    pair.run(0.49)
    sent = _messages(pair, 0.02)
    asked = [(to, message) for to, message in sent if isinstance(message, IndirectPing)]
    helpers = {to for to, _ in asked}
    assert len(asked) == len(helpers) == 3
    assert target not in helpers
    assert {message.seq_no for _, message in asked} == {ping.seq_no}
    assert all(message.nack and message.node == ping.node for _, message in asked)
    assert [message for to, message in sent if to == target and isinstance(message, Ping)] == [ping]


def test_probe_saved_by_a_relayed_ack(pair: "Bench") -> None:
    ping = _probe(pair)
    pair.run(0.7)
    pair.hear(Ack(ping.seq_no), source="10.0.0.3")
    pair.run(0.2)
    assert pair.state("n2") is State.ALIVE
    assert pair.swim.stats.probes_failed == 0


def test_probe_of_a_suspect_tells_it_what_is_said(
    pair: "Bench", alive: Callable[..., Alive]
) -> None:
    pair.hear(Suspect("n9", 1, "n2"))
    pair.run(0)
    packet = _next_packet_with(pair, Ping)
    assert [type(message) for message in pair.read(packet)] == [Ping, Suspect]
    assert packet.data[0] == 12, "with a CRC, as to any known member"


def _next_packet_with(bench: "Bench", kind: type[Message]) -> Datagram:
    for _ in range(1000):
        for _, sent in bench.run(0.01):
            if isinstance(sent, Datagram) and any(isinstance(m, kind) for m in bench.read(sent)):
                return sent
    raise AssertionError(f"no {kind.__name__}")


def _dial(bench: "Bench", seconds: float = 0.6) -> Dial | None:
    return next((sent for _, sent in bench.run(seconds) if isinstance(sent, Dial)), None)


def test_probe_tcp_fallback_rescues(pair: "Bench") -> None:
    ping = _probe(pair)
    dial = _dial(pair)
    assert dial is not None
    assert dial.to == N2
    assert dial.timeout == pytest.approx(0.5)
    answer = pair.swim.streams.seal(Ack(ping.seq_no), dialer=False, nonce=lambda: bytes(12))
    pair.swim.handle_reply(dial.id, answer, pair.now)
    pair.run(0.5)
    assert pair.state("n2") is State.ALIVE
    assert pair.swim.stats.tcp_fallbacks == 1


@pytest.mark.parametrize("reply", [Ack(1), PushPull(False, ()), Nack(1)])
def test_probe_tcp_fallback_with_a_wrong_reply_is_no_rescue(reply: Message, pair: "Bench") -> None:
    _probe(pair)
    dial = _dial(pair)
    assert dial is not None
    try:
        answer = pair.swim.streams.seal(reply, dialer=False, nonce=lambda: bytes(12))
    except ValueError:
        answer = b"\x0b\x81\xa5SeqNo\x01"
    pair.swim.handle_reply(dial.id, answer, pair.now)
    pair.run(0.5)
    assert pair.state("n2") is State.SUSPECT


def test_probe_tcp_fallback_disabled_by_config(
    new_bench: Callable[..., "Bench"],
    alive: Callable[..., Alive],
    lan_without: Callable[..., Any],
) -> None:
    bench = new_bench(lan_without(tcp_pings=False, **CALM))
    bench.hear(alive("n2"))
    _probe(bench)
    assert _dial(bench) is None


@pytest.mark.parametrize(("protocol_max", "dials"), [(2, False), (3, True)])
def test_probe_tcp_fallback_only_for_peers_that_know_it(
    protocol_max: int,
    dials: bool,
    new_bench: Callable[..., "Bench"],
    alive: Callable[..., Alive],
    lan_without: Callable[..., Any],
) -> None:
    bench = new_bench(lan_without(**CALM))
    bench.hear(alive("n2", vsn=bytes((1, protocol_max, 2, 0, 0, 0))))
    _probe(bench)
    assert (_dial(bench) is not None) is dials


def test_probe_forgets_the_dead_after_gossip_to_the_dead_time(pair: "Bench") -> None:
    pair.hear(Dead("n9", 1, "n2"))
    pair.run(29)
    assert pair.state("n2") is State.DEAD
    pair.run(3)
    assert pair.state("n2") is None


def test_probe_order_visits_everybody_once_a_round(
    pair: "Bench", alive: Callable[..., Alive]
) -> None:
    others = [f"n{index}" for index in range(2, 8)]
    pair.hear(*(alive(name) for name in others[1:]))
    rounds = []
    for _ in range(4):
        names = []
        for _ in others:
            ping = _probe(pair)
            names.append(ping.node)
            pair.hear(Ack(ping.seq_no))
        rounds.append(names)
    assert all(sorted(names) == others for names in rounds[1:])
    assert rounds[1] != rounds[2] or rounds[2] != rounds[3]


# ---- Ack plumbing


def test_ack_counts_once(pair: "Bench") -> None:
    ping = _probe(pair)
    pair.hear(Ack(ping.seq_no), Ack(ping.seq_no))
    assert pair.swim.stats.ignored[Ignored.UNKNOWN_SEQUENCE] == 1


def test_ack_after_the_deadline_is_too_late(pair: "Bench") -> None:
    ping = _probe(pair)
    pair.run(1.01)
    pair.hear(Ack(ping.seq_no))
    assert pair.state("n2") is State.SUSPECT


def test_ack_of_an_unknown_number_is_ignored(pair: "Bench") -> None:
    ping = _probe(pair)
    pair.hear(Ack(ping.seq_no + 1))
    pair.run(1.01)
    assert pair.state("n2") is State.SUSPECT


def test_nack_does_not_consume_the_ack(pair: "Bench") -> None:
    ping = _probe(pair)
    pair.hear(Nack(ping.seq_no))
    pair.hear(Ack(ping.seq_no))
    assert pair.swim.stats.probes_failed == 0
    assert pair.swim.stats.ignored[Ignored.UNKNOWN_SEQUENCE] == 0


# ---- Awareness


@pytest.fixture
def trio(pair: "Bench", alive: Callable[..., Alive]) -> "Bench":
    """A node with three peers that nack."""
    pair.hear(alive("n3"), alive("n4"))
    return pair


def _fail_probe(bench: "Bench", nacks: int) -> None:
    ping = _probe(bench)
    helpers = [name for name in ("n2", "n3", "n4") if name != ping.node]
    bench.run(0.9)
    for helper in helpers[:nacks]:
        bench.hear(Nack(ping.seq_no), source=f"10.0.0.{helper[1]}")
    bench.run(0.11)


@pytest.mark.parametrize(("nacks", "score"), [(2, 0), (1, 1), (0, 2)])
def test_awareness_counts_missing_nacks(nacks: int, score: int, trio: "Bench") -> None:
    _fail_probe(trio, nacks)
    assert trio.swim.stats.suspicions == 1
    assert trio.swim.stats.health == score


def test_awareness_counts_a_nack_once_a_helper(trio: "Bench") -> None:
    ping = _probe(trio)
    trio.run(0.9)
    trio.hear(*[Nack(ping.seq_no)] * 5, source="10.0.0.3")
    trio.run(0.11)
    assert trio.swim.stats.health == 1


def test_awareness_degraded_doubles_the_probe_and_stays_with_all_nacks(trio: "Bench") -> None:
    trio.hear(Suspect("n9", 1, "me"))
    assert trio.swim.stats.health == 1
    ping = _probe(trio)
    trio.run(1.9)
    assert trio.swim.stats.suspicions == 0
    for helper in ("10.0.0.2", "10.0.0.3", "10.0.0.4"):
        trio.hear(Nack(ping.seq_no), source=helper)
    trio.run(0.11)
    assert (trio.swim.stats.suspicions, trio.swim.stats.health) == (1, 1)


def test_awareness_improves_with_a_good_probe(trio: "Bench") -> None:
    trio.hear(Suspect("n9", 1, "me"))
    trio.hear(Ack(_probe(trio).seq_no))
    assert trio.swim.stats.health == 0


def test_awareness_of_peers_without_nacks_rises_by_one(
    new_bench: Callable[..., "Bench"],
    alive: Callable[..., Alive],
    lan_without: Callable[..., Any],
) -> None:
    bench = new_bench(lan_without(**CALM))
    old = bytes((1, 3, 2, 0, 0, 0))
    bench.hear(*(alive(f"n{index}", vsn=old) for index in (2, 3, 4)))
    _probe(bench)
    asked = [m for _, m in _messages(bench, 0.9) if isinstance(m, IndirectPing)]
    assert [message.nack for message in asked] == [False, False]
    bench.run(0.11)
    assert bench.swim.stats.health == 1


# ---- Net: answering


def test_net_ping_is_answered_to_its_return_address(bench: "Bench") -> None:
    bench.hear(Ping("me", 42, bytes((10, 0, 0, 3)), "n3", 7000))
    assert (Address("10.0.0.3", 7000), Ack(42)) in bench.sent()


@pytest.mark.parametrize("ping", [Ping("me", 42), Ping("", 42), Ping("me", 42, b"\x01", "x", 7)])
def test_net_ping_without_return_address_is_answered_to_its_source(
    ping: Ping, bench: "Bench"
) -> None:
    bench.hear(ping, source="10.0.0.5")
    assert (Address("10.0.0.5", 7946), Ack(42)) in bench.sent()


def test_net_ping_for_another_name_is_not_answered(bench: "Bench") -> None:
    bench.hear(Ping("you", 42))
    assert bench.sent() == []
    assert bench.swim.stats.ignored[Ignored.WRONG_NAME] == 1


def test_net_ping_is_answered_while_leaving(pair: "Bench") -> None:
    pair.swim.leave(pair.now)
    pair.run(5)
    assert pair.swim.left
    pair.hear(Ping("me", 42))
    assert [message for _, message in pair.sent()] == [Ack(42)]


def test_net_leaving_node_probes_nobody(pair: "Bench") -> None:
    pair.swim.leave(pair.now)
    assert not [message for _, message in _messages(pair, 10) if isinstance(message, Ping)]


def test_net_pings_in_a_compound_are_all_answered(bench: "Bench") -> None:
    bench.hear_compound(Ping("me", 1), Ping("me", 2), Ping("me", 3))
    assert {m.seq_no for _, m in bench.sent() if isinstance(m, Ack)} == {1, 2, 3}


def test_net_answers_carry_news_within_the_buffer_size(
    bench: "Bench", alive: Callable[..., Alive]
) -> None:
    bench.hear(*(alive(f"n{index}", meta=bytes(400)) for index in range(2, 12)))
    bench.swim.transmits()
    bench.hear(Ping("me", 1))
    [packet] = bench.swim.transmits()
    assert isinstance(packet, Datagram)
    kinds = [type(message) for message in bench.read(packet)]
    assert kinds[0] is Ack
    assert 2 <= kinds.count(Alive) <= 3
    assert packet.data[0] != 12, "no CRC: memberlist knows no version of whom it answers"


def test_net_pings_carry_news(bench: "Bench", alive: Callable[..., Alive]) -> None:
    bench.hear(*(alive(f"n{index}", meta=bytes(400)) for index in range(2, 12)))
    kinds = [type(message) for _, message in _first_ping_packet(bench)]
    assert kinds[0] is Ping
    assert Alive in kinds


def _first_ping_packet(bench: "Bench") -> list[tuple[Address, Message]]:
    for _, packet in bench.run(1.1):
        messages = [(packet.to, message) for message in bench.read(packet)]
        if isinstance(messages[0][1], Ping):
            return messages
    raise AssertionError("no ping")


@pytest.mark.parametrize(("protocol_max", "first"), [(4, 4), (5, 12)])
def test_net_crc_only_for_peers_that_know_it(
    protocol_max: int, first: int, bench: "Bench", alive: Callable[..., Alive]
) -> None:
    bench.run(1)
    bench.hear(alive("n2", vsn=bytes((1, protocol_max, 2, 0, 0, 0))))
    packets = [s for _, s in bench.run(0.1) if isinstance(s, Datagram) and s.to == N2]
    assert {packet.data[0] for packet in packets if len(packet.data) < 100} <= {first, 7, 9, 12}
    assert any(packet.data[0] == 12 for packet in packets) is (protocol_max == 5)


@pytest.mark.parametrize("data", [b"", b"\x0c\0\0\0\0\x0b", b"\xff", b"\x07", bytes(100)])
def test_net_hostile_packet_is_refused_and_counted(data: bytes, bench: "Bench") -> None:
    bench.hear_raw(data)
    stats = bench.swim.stats
    assert stats.refusals.total() + stats.ignored.total() + stats.received.total() >= 1


def test_net_tcp_ping_is_answered(bench: "Bench") -> None:
    codec = bench.swim.streams
    request = codec.seal(Ping("me", 9), dialer=True, nonce=lambda: bytes(12))
    reply = bench.swim.handle_stream(request, N2, bench.now)
    assert reply is not None
    assert codec.open(reply, accepting=False) == Ack(9)


def test_net_tcp_ping_for_another_name_is_closed(bench: "Bench") -> None:
    request = bench.swim.streams.seal(Ping("you", 9), dialer=True, nonce=lambda: bytes(12))
    assert bench.swim.handle_stream(request, N2, bench.now) is None


def test_net_push_pull_reply_precedes_the_merge(bench: "Bench", row: Callable[..., Any]) -> None:
    reply = bench.merge(row("n2", State.ALIVE), join=True)
    assert reply is not None
    message = bench.swim.streams.open(reply, accepting=False)
    assert isinstance(message, PushPull)
    assert [(node.name, message.join) for node in message.nodes] == [("me", True)]
    assert bench.state("n2") is State.ALIVE


def test_net_user_message_by_udp_and_tcp(bench: "Bench") -> None:
    bench.hear(User(b"by udp"))
    request = bench.swim.streams.seal(User(b"by tcp"), dialer=True, nonce=lambda: bytes(12))
    assert bench.swim.handle_stream(request, N2, bench.now) is None
    assert [getattr(event, "data", b"") for event in bench.swim.events()] == [b"by udp", b"by tcp"]


def test_net_user_message_straight_and_as_gossip(pair: "Bench") -> None:
    pair.run(3)
    assert pair.swim.send("n2", b"hello")
    assert not pair.swim.send("n7", b"hello")
    assert (N2, User(b"hello")) in pair.sent()
    pair.swim.broadcast(b"all", pair.now)
    assert (N2, User(b"all")) in _messages(pair, 0.1)


# ---- Relays


def _request(sequence: int = 7, *, nack: bool = True) -> IndirectPing:
    return IndirectPing(nack, "n3", 7946, sequence, bytes((10, 0, 0, 2)), "n2", 7946, N3_RAW)


def test_relay_pings_and_passes_the_ack_on(bench: "Bench") -> None:
    bench.hear(_request())
    ping, to = bench.until_sent(Ping)
    assert isinstance(ping, Ping)
    assert (to, ping.node, ping.seq_no == 7) == (N3, "n3", False)
    bench.hear(Ack(ping.seq_no, b"payload"))
    assert (N2, Ack(7)) in bench.sent()


def test_relay_nacks_before_the_askers_deadline(bench: "Bench") -> None:
    bench.run(1)
    bench.hear(_request())
    start = bench.now
    nacks = [at for at, sent in bench.run(2) if Nack(7) in bench.read(sent) and sent.to == N2]
    assert nacks == [pytest.approx(start + 0.4)]


def test_relay_passes_an_ack_on_after_its_nack(bench: "Bench") -> None:
    bench.hear(_request())
    ping, _ = bench.until_sent(Ping)
    assert isinstance(ping, Ping)
    bench.run(0.45)
    bench.hear(Ack(ping.seq_no))
    assert (N2, Ack(7)) in bench.sent()


def test_relay_without_nack_is_silent(bench: "Bench") -> None:
    bench.hear(_request(nack=False))
    assert not [m for _, m in _messages(bench, 2) if isinstance(m, Nack)]


def test_relays_are_bounded(bench: "Bench") -> None:
    bench.hear(*(_request(sequence) for sequence in range(MAX_RELAYS + 10)))
    assert bench.swim.stats.ignored[Ignored.RELAYS_FULL] == 10
    bench.run(1)
    bench.swim.transmits()
    bench.hear(_request())
    assert bench.until_sent(Ping)


def test_relay_to_a_strange_address_is_refused(bench: "Bench") -> None:
    bench.hear(IndirectPing(True, "n3", 1, 1, b"", "n2", 1, b"abc"))
    assert bench.sent() == []
    assert bench.swim.stats.ignored[Ignored.BAD_ADDRESS] == 1
