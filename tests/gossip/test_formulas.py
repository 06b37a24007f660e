"""The numbers that upstream's own tests pin down, and the timers made of them."""

import random
from typing import Any

import pytest

from gossip.awareness import Awareness
from gossip.broadcast import BroadcastQueue, retransmit_limit
from gossip.config import LAN, LOCAL, WAN, Config
from gossip.member import Member
from gossip.pushpull import push_pull_scale
from gossip.suspicion import (
    Suspicion,
    expected_confirmations,
    remaining_suspicion_time,
    suspicion_timeout,
)
from gossip.table import Table
from gossip.wire.messages import CURRENT_VSN, State


@pytest.mark.parametrize(
    ("nodes", "seconds"),
    [(5, 1.0), (10, 1.0), (50, 1.698), (100, 2.0), (500, 2.698), (1000, 3.0)],
)
def test_formula_suspicion_timeout(nodes: int, seconds: float) -> None:
    assert suspicion_timeout(3, nodes, 1.0) / 3 == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(("nodes", "limit"), [(0, 0), (1, 3), (99, 6)])
def test_formula_retransmit_limit(nodes: int, limit: int) -> None:
    assert retransmit_limit(3, nodes) == limit


@pytest.mark.parametrize(
    ("nodes", "factor"), [(0, 1), (32, 1), (33, 2), (64, 2), (65, 3), (128, 3)]
)
def test_formula_push_pull_scale(nodes: int, factor: int) -> None:
    assert push_pull_scale(1.0, nodes) == factor


@pytest.mark.parametrize(
    ("confirmations", "elapsed", "left"),
    [(0, 0, 30), (1, 2, 14), (2, 3, 4.81), (3, 4, -2), (4, 5, -3), (5, 10, -8)],
)
def test_formula_remaining_suspicion_time(confirmations: int, elapsed: float, left: float) -> None:
    got = remaining_suspicion_time(confirmations, 3, elapsed, 2.0, 30.0)
    assert got == pytest.approx(left, abs=0.005)


@pytest.mark.parametrize(
    ("accusers", "seconds"),
    [
        ([], 2.0),
        (["me"], 2.0),
        (["a"], 1.25),
        (["a", "a", "me"], 1.25),
        (["a", "b"], 0.81),
        (["a", "b", "c"], 0.5),
        (["a", "b", "c", "d"], 0.5),
    ],
)
def test_suspicion_timer_fires(accusers: list[str], seconds: float) -> None:
    timer = Suspicion("me", 3, 0.5, 2.0, 10.0)
    for accuser in accusers:
        timer.confirm(accuser, 10.1)
    assert timer.deadline == pytest.approx(10 + seconds, abs=0.01)


def test_suspicion_timer_counts_only_new_accusers() -> None:
    timer = Suspicion("me", 3, 0.5, 2.0, 0.0)
    told = [timer.confirm(name, 0.0) for name in ("me", "a", "a", "b", "c", "d")]
    assert told == [False, True, False, True, True, False]


def test_suspicion_timer_without_confirmations_uses_the_minimum() -> None:
    assert Suspicion("me", 0, 0.5, 2.0, 0.0).deadline == 0.5


def test_suspicion_timer_already_past_fires_at_once() -> None:
    timer = Suspicion("me", 1, 0.5, 2.0, 0.0)
    assert timer.confirm("a", 1.7)
    assert timer.deadline == 1.7


@pytest.mark.parametrize(
    ("nodes", "confirmations", "seconds"),
    [
        (2, 0, 0.5),
        (3, 0, 0.5),
        (4, 0, 0.5),
        (5, 0, 1.0),
        (6, 0, 1.0),
        (6, 1, 0.75),
        (6, 2, 0.604),
        (6, 3, 0.5),
        (6, 4, 0.5),
    ],
)
def test_dogpile(nodes: int, confirmations: int, seconds: float) -> None:
    minimum = suspicion_timeout(5, nodes, 0.1)
    timer = Suspicion("me", expected_confirmations(5, nodes), minimum, 2 * minimum, 0.0)
    for index in range(confirmations):
        timer.confirm(f"n{index}", 0.0)
    assert timer.deadline == pytest.approx(seconds, abs=0.0015)


def test_awareness_clamps_and_scales() -> None:
    health = Awareness(8)
    seen = []
    for delta in (0, -1, -10, 1, -1, 10, -1, -10, -1):
        health.apply(delta)
        seen.append((health.score, health.scale(1.0)))
    assert seen == [(0, 1), (0, 1), (0, 1), (1, 2), (0, 1), (7, 8), (6, 7), (0, 1), (0, 1)]


def _order(queue: BroadcastQueue) -> list[bytes]:
    return queue.take(0, 10_000, 99)


def test_queue_orders_by_transmits_then_length_then_newest() -> None:
    queue = BroadcastQueue(100)
    for name, part in (("a", b"a"), ("b", b"bb"), ("c", b"c")):
        queue.add(name, part)
    assert _order(queue) == [b"bb", b"c", b"a"]
    queue.add("d", b"d")
    assert _order(queue) == [b"d", b"bb", b"c", b"a"]


def test_queue_replaces_news_of_the_same_name_only() -> None:
    queue = BroadcastQueue(100)
    queue.add("a", b"old")
    queue.add("b", b"other")
    queue.add("a", b"new")
    queue.add(None, b"free")
    queue.add(None, b"free")
    assert sorted(_order(queue)) == [b"free", b"free", b"new", b"other"]


@pytest.mark.parametrize(("overhead", "taken"), [(2, 4), (3, 3)])
def test_queue_keeps_the_budget(overhead: int, taken: int) -> None:
    queue = BroadcastQueue(100)
    for index in range(4):
        queue.add(f"n{index}", b"x" * 18)
    assert len(queue.take(overhead, 80, 10)) == taken


def test_queue_keeps_the_transmit_limit() -> None:
    queue = BroadcastQueue(100)
    for index in range(4):
        queue.add(f"n{index}", b"x" * 18)
    assert [len(queue.take(3, 80, 2)) for _ in range(4)] == [3, 3, 2, 0]
    assert len(queue) == 0


def test_queue_skips_what_does_not_fit() -> None:
    queue = BroadcastQueue(100)
    queue.add("big", b"x" * 90)
    queue.add("small", b"x" * 10)
    assert queue.take(2, 80, 4) == [b"x" * 10]
    assert "big" in queue


def test_queue_prune_drops_the_most_transmitted_first() -> None:
    queue = BroadcastQueue(100)
    queue.add("old", b"old")
    queue.take(0, 100, 4)
    queue.add("new", b"new")
    queue.prune(1)
    assert ("new" in queue, "old" in queue) == (True, False)


def test_queue_is_bounded_and_counts_its_loss() -> None:
    queue = BroadcastQueue(3)
    for index in range(5):
        queue.add(f"n{index}", b"x")
    assert (len(queue), queue.dropped) == (3, 2)


# ---- What a node is made with, and whom it picks


@pytest.mark.parametrize(
    ("vsn", "complaint"),
    [
        (bytes((1, 5, 6, 0, 0, 0)), "version 6 is not in 1..5"),
        (bytes((2, 5, 1, 0, 0, 0)), "version 1 is not in 2..5"),
        (bytes((1, 5, 2, 2, 5, 0)), "version 0 is not in 2..5"),
        (bytes(5), "5 bytes"),
    ],
)
def test_config_refuses_versions_out_of_their_own_limits(vsn: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Config(vsn=vsn)
    assert Config(vsn=bytes((1, 5, 5, 2, 5, 5))).vsn != LAN.vsn


def test_queue_gives_no_more_parts_than_a_compound_holds() -> None:
    queue = BroadcastQueue(1_000)
    for number in range(600):
        queue.add(f"n{number}", b"x" * 40)
    taken = [len(queue.take(2, 60_000, 1, most)) for most in (255, 254, 0, 255)]
    assert taken == [255, 254, 0, 91]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"probe_interval": 1e-9}, "probe_interval"),
        ({"gossip_interval": 0.0009}, "gossip_interval"),
        ({"push_pull_interval": float("inf")}, "push_pull_interval"),
        ({"gossip_to_the_dead_time": float("nan")}, "gossip_to_the_dead_time"),
        ({"tcp_timeout": 1e300}, "tcp_timeout"),
        ({"suspicion_mult": 10**400}, "suspicion_mult"),
        ({"suspicion_max_timeout_mult": 2**31}, "suspicion_max_timeout_mult"),
        ({"retransmit_mult": 10**30}, "retransmit_mult"),
        ({"awareness_max_multiplier": 10**30}, "awareness_max_multiplier"),
        ({"gossip_nodes": 10**30}, "gossip_nodes"),
        ({"gossip_nodes": 0}, "gossip_nodes"),
        ({"indirect_checks": 10**30}, "indirect_checks"),
        ({"indirect_checks": -(10**30)}, "indirect_checks"),
        ({"udp_buffer_size": 10**30}, "udp_buffer_size"),
        ({"udp_buffer_size": -(10**30)}, "udp_buffer_size"),
        ({"port": 65_536}, "port"),
    ],
)
def test_config_refuses_what_no_timer_could_work_with(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        Config(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"indirect_checks": -5}, {"udp_buffer_size": -5}, {"udp_buffer_size": 10**8}],
    ids=str,
)
def test_config_takes_what_memberlist_runs_with(changes: dict[str, Any]) -> None:
    Config(**changes)


@pytest.mark.parametrize("nodes", [4, 40, 400])
def test_random_selection_is_distinct_and_leaves_out_the_filtered(nodes: int) -> None:
    members = [
        Member(f"n{number}", bytes(4), 7946, State.ALIVE, 1, None, CURRENT_VSN, 0.0)
        for number in range(nodes)
    ]
    table = Table(members[0], random.Random(nodes))
    for member in members[1:]:
        table.add(member)
    seen = set()
    for _ in range(20 * nodes):
        picked = [member.name for member in table.pick(3, lambda member: member.name != "n0")]
        assert len(picked) == len(set(picked)) == 3
        seen.update(picked)
    assert seen == {member.name for member in members[1:]}


@pytest.mark.parametrize(
    ("field", "lan", "wan", "local"),
    [
        ("port", 7946, 7946, 7946),
        ("tcp_timeout", 10.0, 30.0, 1.0),
        ("indirect_checks", 3, 3, 1),
        ("retransmit_mult", 4, 4, 2),
        ("suspicion_mult", 4, 6, 3),
        ("suspicion_max_timeout_mult", 6, 6, 6),
        ("push_pull_interval", 30.0, 60.0, 15.0),
        ("probe_interval", 1.0, 5.0, 1.0),
        ("probe_timeout", 0.5, 3.0, 0.2),
        ("awareness_max_multiplier", 8, 8, 8),
        ("gossip_interval", 0.2, 0.5, 0.1),
        ("gossip_nodes", 3, 4, 3),
        ("gossip_to_the_dead_time", 30.0, 60.0, 15.0),
        ("tcp_pings", True, True, True),
        ("udp_buffer_size", 1400, 1400, 1400),
        ("dead_node_reclaim_time", 0.0, 0.0, 0.0),
        ("vsn", CURRENT_VSN, CURRENT_VSN, CURRENT_VSN),
    ],
)
def test_presets_have_memberlists_numbers(
    field: str, lan: object, wan: object, local: object
) -> None:
    assert [getattr(preset, field) for preset in (LAN, WAN, LOCAL)] == [lan, wan, local]
    assert LAN.wire.compress
    assert LAN.wire.verify_incoming
    assert LAN.wire.verify_outgoing
