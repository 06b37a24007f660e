"""Several nodes on a network in virtual time."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gossip.io import (
    Address,
    Datagram,
    Dial,
    Event,
    Exchanged,
    ExchangeFailed,
    Gone,
    Joined,
    Suspected,
    Transmit,
    Updated,
    UserMessage,
)
from gossip.merge import BITE, MAX_WAITING
from gossip.stats import Ignored
from gossip.wire.crypto import Keyring
from gossip.wire.errors import Refusal
from gossip.wire.messages import Ack, MessageType, NodeState, Ping, State
from gossip.wire.packet import WireConfig

if TYPE_CHECKING:
    from gossip_bench import Network

NewNetwork = Callable[..., "Network"]


def _of(kind: type[Any], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def _detected(network: "Network", victim: str, survivors: list[str], bound: float) -> float:
    """Run until all survivors hold the victim for dead; gives the seconds it took."""
    start = network.now
    while network.now - start < bound:
        network.run(0.1)
        if all(network.states(name)[victim] is State.DEAD for name in survivors):
            return network.now - start
    raise AssertionError(f"{victim} not detected in {bound} s")


# ---- Join


@pytest.mark.parametrize("size", [2, 3, 8, 20])
def test_join_through_one_makes_all_known_to_all(size: int, network: "Network") -> None:
    swims = network.cluster(size)
    assert all(len(swim.live()) == size for swim in swims)
    for events in network.events.values():
        assert len(_of(Joined, events)) == size - 1


def test_join_is_seen_by_everybody_at_once(network: "Network") -> None:
    network.cluster(6)
    late = network.add("late")
    late.set_seeds([network.address("n1")], network.now)
    network.run(0.05)
    assert all("late" in swim.live() for swim in network.nodes.values())
    told = [(at, to) for at, source, to, sent in network.carried if _told_by(source, sent)]
    # n1 was asked itself, and has asked whether it lives.
    told = [(at, to) for at, to in told if to != "n1"]
    first = told[0][0]
    assert {to for at, to in told if at == first} == {"n2", "n3", "n4", "n5", "n6"}


def _told_by(source: str, sent: Transmit) -> bool:
    return source == "late" and isinstance(sent, Datagram)


def test_join_dials_all_seeds_at_once_but_not_itself(network: "Network") -> None:
    swim = network.add("n1")
    seeds = [Address(f"10.0.0.{host}", 7946) for host in (1, 2, 3, 4, 2)]
    swim.set_seeds(seeds, network.now)
    dialled = [transmit.to for transmit in swim.transmits() if isinstance(transmit, Dial)]
    assert dialled == seeds[1:4]


def test_join_failure_is_reported_as_silent(network: "Network") -> None:
    swim = network.add("n1")
    network.add("n2")
    network.dead.add("n2")
    swim.set_seeds([network.address("n2")], network.now)
    network.run(0.1)
    [failed] = _of(ExchangeFailed, network.events["n1"])
    assert (failed.peer, failed.silent, failed.join) == (network.address("n2"), True, True)


def test_lonely_node_tries_its_seeds_every_second(network: "Network") -> None:
    swim = network.add("n1")
    network.add("n2")
    network.dead.add("n2")
    swim.set_seeds([network.address("n2")], network.now)
    network.run(10)
    assert 8 <= len(_of(ExchangeFailed, network.events["n1"])) <= 11
    network.add("n2", network.address("n2").ip)
    network.run(1.3)
    assert "n2" in swim.live()


def test_missing_seed_is_tried_every_five_seconds(network: "Network") -> None:
    network.cluster(2)
    network.add("n3")
    network.dead.add("n3")
    seeds = [network.address(name) for name in ("n1", "n2", "n3")]
    network.nodes["n1"].set_seeds(seeds, network.now)
    network.run(61)
    tries = [event.peer for event in _of(ExchangeFailed, network.events["n1"]) if event.join]
    assert set(tries) == {network.address("n3")}
    assert 61 / 6 <= len(tries) <= 61 / 5 + 1
    network.add("n3", network.address("n3").ip)
    network.run(6.5)
    assert "n3" in network.nodes["n1"].live()


def test_survivor_that_lost_all_finds_them_again(network: "Network") -> None:
    a, b = network.cluster(2)
    a.set_seeds([network.address("n2")], network.now)
    network.lost = lambda source, to, transmit: True
    network.run(40)
    assert a.live() == {"n1"}
    network.lost = lambda source, to, transmit: False
    network.run(5)
    assert a.live() == b.live() == {"n1", "n2"}


def test_join_of_the_other_half_mends_a_split(network: "Network") -> None:
    network.cluster(2)
    for name in ("n3", "n4"):
        network.add(name)
    network.nodes["n4"].set_seeds([network.address("n3")], network.now)
    network.run(1)
    network.nodes["n4"].set_seeds([network.address("n1")], network.now)
    network.run(1)
    assert all(len(swim.live()) == 4 for swim in network.nodes.values())


def test_join_over_ipv6(network: "Network") -> None:
    one, two = network.add("n1", "fd00::1"), network.add("n2", "fd00::2")
    one.set_seeds([Address("fd00::2", 7946)], network.now)
    network.run(10)
    assert one.live() == two.live() == {"n1", "n2"}
    assert Address("fd00::1", 7946) in {row.address for row in two.members()}
    assert one.stats.probes_failed == 0


# ---- Failure detection


@pytest.mark.parametrize(("size", "bound"), [(2, 7.0), (3, 7.0), (8, 8.0)])
def test_dead_node_is_detected_everywhere(size: int, bound: float, network: "Network") -> None:
    network.cluster(size)
    survivors = [f"n{index}" for index in range(2, size + 1)]
    network.dead.add("n1")
    assert _detected(network, "n1", survivors, bound) > 4.9
    for name in survivors:
        assert [event.member.name for event in _of(Gone, network.events[name])] == ["n1"]


def test_calm_cluster_suspects_nobody(network: "Network") -> None:
    swims = network.cluster(5)
    network.run(120)
    assert sum(swim.stats.suspicions + swim.stats.probes_failed for swim in swims) == 0


def test_calm_cluster_sends_pings_and_acks_only(network: "Network") -> None:
    swims = network.cluster(5)
    network.run(30)
    before = sum(swim.stats.datagrams_sent for swim in swims)
    network.carried.clear()
    network.run(100)
    sent = sum(swim.stats.datagrams_sent for swim in swims) - before
    assert sent == pytest.approx(5 * 2 * 100, rel=0.02)
    dials = [carried for carried in network.carried if isinstance(carried[3], Dial)]
    assert 10 <= len(dials) <= 20


def test_frozen_node_is_suspected_and_refutes(network: "Network") -> None:
    network.cluster(4)
    network.freeze("n2")
    network.run(3.5)
    assert network.states("n1")["n2"] is State.SUSPECT
    network.thaw("n2")
    network.run(2)
    assert all(network.states(name)["n2"] is State.ALIVE for name in ("n1", "n3", "n4"))
    assert not any(_of(Gone, events) for events in network.events.values())


def test_indirect_ping_saves_whom_one_link_loses(network: "Network") -> None:
    network.cluster(4)
    network.lost = lambda source, to, transmit: {source, to} == {"n1", "n2"}
    network.run(30)
    assert all(swim.stats.suspicions == 0 for swim in network.nodes.values())


def test_tcp_fallback_saves_whom_udp_loses(network: "Network") -> None:
    network.cluster(2)

    def udp(source: str, to: str, transmit: Transmit) -> bool:
        return isinstance(transmit, Datagram)

    network.lost = udp
    network.run(10)
    assert all(swim.stats.suspicions == 0 for swim in network.nodes.values())
    assert network.nodes["n1"].stats.tcp_fallbacks >= 8


@pytest.mark.parametrize("seed", range(5))
def test_loss_kills_nobody(seed: int, new_network: NewNetwork) -> None:
    network = new_network(seed=seed)
    network.cluster(5)
    every = iter(range(10**9))
    network.lost = lambda source, to, transmit: (
        isinstance(transmit, Datagram) and next(every) * 7919 % 20 == seed
    )
    network.run(120)
    assert not any(_of(Gone, events) for events in network.events.values())


def test_old_incarnation_of_a_restarted_node_is_outranked(network: "Network") -> None:
    """It restarts within the same second, or with a clock set back."""
    network.cluster(3)
    network.dead.add("n2")
    network.run(2)
    again = network.add("n2", "10.0.0.2", incarnation=1, meta=b"second life")
    again.set_seeds([network.address("n1")], network.now)
    network.run(1)
    for name in ("n1", "n3"):
        [row] = [row for row in network.nodes[name].members() if row.name == "n2"]
        assert (row.state, row.meta) == (State.ALIVE, b"second life")


def test_dead_get_gossip_for_a_while(network: "Network") -> None:
    network.cluster(3)
    network.lost = lambda source, to, transmit: "n3" in (source, to)
    network.run(10)
    assert network.states("n1")["n3"] is State.DEAD
    network.lost = lambda source, to, transmit: False
    network.nodes["n1"].set_meta(b"x", network.now)
    network.carried.clear()
    network.run(1)
    assert "n3" in {to for _, source, to, _ in network.carried if source == "n1"}


# ---- A stall of our own


def test_stall_makes_no_suspicion_of_a_probe_in_flight(network: "Network") -> None:
    network.cluster(3)
    network.lost = lambda source, to, transmit: to == "n1" and isinstance(transmit, Datagram)
    while not any(source == "n1" for _, source, _, _ in network.carried[-1:]):
        network.run(0.01)
    network.freeze("n1")
    network.run(5)
    network.lost = lambda source, to, transmit: False
    network.thaw("n1")
    network.run(3)
    assert network.nodes["n1"].stats.suspicions == 0
    assert network.nodes["n1"].stats.stalls == 1


def test_stall_gives_the_suspected_another_second(network: "Network") -> None:
    network.cluster(3)
    network.dead.add("n3")
    while network.states("n1")["n3"] is not State.SUSPECT:
        network.run(0.05)
    network.run(0.5)
    network.freeze("n1")
    # The others would tell it the outcome; here it has to judge by itself.
    network.lost = lambda source, to, transmit: to == "n1"
    network.run(8)
    thawed = network.now
    network.thaw("n1")
    network.run(0.9)
    assert network.states("n1")["n3"] is State.SUSPECT
    network.run(0.2)
    assert network.states("n1")["n3"] is State.DEAD
    [gone] = [event for event in _of(Gone, network.events["n1"]) if event.member.name == "n3"]
    assert gone.member.state is State.DEAD
    assert network.now - thawed < 1.2


def test_punctual_timers_are_no_stall(network: "Network") -> None:
    network.cluster(3)
    network.run(60)
    assert all(swim.stats.stalls == 0 for swim in network.nodes.values())


def test_exchange_after_a_stall_asks_three_peers(network: "Network") -> None:
    network.cluster(6)
    swim = network.nodes["n1"]
    swim.exchange(network.now)
    dials = [transmit.to for transmit in swim.transmits() if isinstance(transmit, Dial)]
    assert len(set(dials)) == 3


def test_exchange_of_a_lonely_node_asks_all_seeds(network: "Network") -> None:
    swim = network.add("n1")
    seeds = [Address("10.0.0.2", 7946), Address("10.0.0.3", 7946)]
    swim.set_seeds(seeds, network.now)
    network.run(0.5)
    swim.exchange(network.now)
    assert [transmit.to for transmit in swim.transmits() if isinstance(transmit, Dial)] == seeds


def test_exchanged_tells_when_we_dialled(network: "Network") -> None:
    network.cluster(2)
    [theirs] = _of(Exchanged, network.events["n1"])
    [ours] = _of(Exchanged, network.events["n2"])
    assert (theirs.peer, theirs.began) == (network.address("n2"), None)
    assert (ours.peer, ours.began) == (network.address("n1"), 100.0)


# ---- Leave


def test_leave_is_seen_as_left_by_all_at_once(network: "Network") -> None:
    network.cluster(5)
    network.nodes["n1"].leave(network.now)
    network.lost = lambda source, to, transmit: source != "n1"
    network.run(0.002)
    assert all(network.states(f"n{index}")["n1"] is State.LEFT for index in range(2, 6))
    network.run(0.5)
    assert network.nodes["n1"].left


def test_leave_takes_a_second_at_most(network: "Network") -> None:
    network.cluster(3)
    network.lost = lambda source, to, transmit: True
    network.nodes["n1"].leave(network.now)
    assert not network.nodes["n1"].left
    network.run(1.01)
    assert network.nodes["n1"].left


def test_leave_of_a_lonely_node_is_done_at_once(network: "Network") -> None:
    swim = network.add("n1")
    swim.leave(network.now)
    assert swim.left


def test_left_node_comes_back_at_another_address(network: "Network") -> None:
    network.cluster(3)
    network.nodes["n2"].leave(network.now)
    network.run(1)
    network.dead.add("n2")
    again = network.add("n2", "10.0.0.77", incarnation=5)
    again.set_seeds([network.address("n1")], network.now)
    network.run(1)
    for name in ("n1", "n3"):
        [row] = [row for row in network.nodes[name].members() if row.name == "n2"]
        assert (row.state, row.address.ip) == (State.ALIVE, "10.0.0.77")


def test_left_node_comes_back_with_an_old_incarnation(network: "Network") -> None:
    network.cluster(3)
    network.nodes["n2"].leave(network.now)
    network.run(1)
    again = network.add("n2", "10.0.0.2", incarnation=1)
    again.set_seeds([network.address("n1")], network.now)
    network.run(1)
    assert all(network.states(name)["n2"] is State.ALIVE for name in ("n1", "n3"))


# ---- Spreading


def test_meta_reaches_everybody_at_once(network: "Network") -> None:
    network.cluster(5)
    network.nodes["n1"].set_meta(b"new", network.now)
    network.run(0.01)
    for index in range(2, 6):
        [update] = _of(Updated, network.events[f"n{index}"])
        assert update.member.meta == b"new"


@pytest.mark.parametrize("size", [512, 513])
def test_meta_is_limited(size: int, network: "Network") -> None:
    swim = network.add("n1")
    if size <= 512:
        swim.set_meta(bytes(size), network.now)
    else:
        with pytest.raises(ValueError, match="512"):
            swim.set_meta(bytes(size), network.now)


def test_news_waits_for_no_tick(network: "Network") -> None:
    """A user broadcast leaves with the next turn, not with the next gossip interval."""
    network.cluster(3)
    network.run(5)
    network.nodes["n1"].broadcast(b"hello", network.now)
    network.run(0.005)
    for name in ("n2", "n3"):
        assert [event.data for event in _of(UserMessage, network.events[name])] == [b"hello"]


def test_news_is_sent_no_oftener_than_the_limit(network: "Network") -> None:
    network.cluster(3)
    network.run(5)
    before = network.nodes["n1"].stats.sent[MessageType.USER]
    network.nodes["n1"].broadcast(b"hello", network.now)
    network.run(5)
    assert network.nodes["n1"].stats.sent[MessageType.USER] - before == 4


def test_push_pull_spreads_what_gossip_missed(network: "Network") -> None:
    network.cluster(3)
    network.lost = lambda source, to, transmit: (
        source == "n1" and isinstance(transmit, Datagram) and not _is_probe_traffic(transmit)
    )
    network.nodes["n1"].set_meta(b"missed", network.now)
    network.run(95)
    for name in ("n2", "n3"):
        assert b"missed" in {row.meta for row in network.nodes[name].members()}


def _is_probe_traffic(datagram: Datagram) -> bool:
    return datagram.data[0] in (MessageType.PING, MessageType.ACK)


# ---- Keys, labels, versions


def test_encrypted_cluster_joins_and_stays(network: "Network") -> None:
    for index in (1, 2, 3):
        network.add(f"n{index}", keyring=Keyring([b"k" * 32]))
    for name in ("n2", "n3"):
        network.nodes[name].set_seeds([network.address("n1")], network.now)
    network.run(30)
    for swim in network.nodes.values():
        assert len(swim.live()) == 3
        assert swim.stats.refusals.total() == swim.stats.suspicions == 0


def test_wrong_key_is_refused_and_counted_on_both_sides(network: "Network") -> None:
    one = network.add("n1", keyring=Keyring([b"1" * 32]))
    two = network.add("n2", keyring=Keyring([b"2" * 32]))
    two.set_seeds([network.address("n1")], network.now)
    network.run(0.5)
    assert one.live() == {"n1"}
    assert (one.stats.refusals[Refusal.DECRYPT], two.stats.refusals[Refusal.DECRYPT]) == (1, 1)
    [failed] = _of(ExchangeFailed, network.events["n2"])
    assert (failed.reason, failed.silent) == (Refusal.DECRYPT.value, False)


@pytest.mark.parametrize("encrypted", ["n1", "n2"])
def test_plain_and_encrypted_do_not_mix(encrypted: str, network: "Network") -> None:
    for name in ("n1", "n2"):
        network.add(name, keyring=Keyring([b"1" * 32]) if name == encrypted else None)
    network.nodes["n2"].set_seeds([network.address("n1")], network.now)
    network.run(0.5)
    for name in ("n1", "n2"):
        assert network.nodes[name].live() == {name}
        assert network.nodes[name].stats.refusals.total() == 1


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize(("label", "joins"), [(b"ring", True), (b"other", False), (b"", False)])
def test_labels_must_match(
    label: bytes,
    joins: bool,
    keyed: bool,
    network: "Network",
    lan_without: Callable[..., Any],
) -> None:
    keyring = Keyring([b"1" * 32]) if keyed else None
    one = network.add("n1", config=lan_without(wire=WireConfig(label=b"ring")), keyring=keyring)
    two = network.add("n2", config=lan_without(wire=WireConfig(label=label)), keyring=keyring)
    two.set_seeds([network.address("n1")], network.now)
    network.run(0.5)
    assert (len(one.live()), len(two.live())) == ((2, 2) if joins else (1, 1))
    assert (one.stats.refusals[Refusal.LABEL] > 0) is not joins


def test_rolling_transition_from_plain_to_encrypted(
    network: "Network", lan_without: Callable[..., Any]
) -> None:
    """Three steps, each node restarted for each: read both, write sealed, read sealed only."""
    network.cluster(3)
    steps = [
        WireConfig(verify_incoming=False, verify_outgoing=False),
        WireConfig(verify_incoming=False),
        WireConfig(),
    ]
    incarnation = 1
    for step in steps:
        config = lan_without(wire=step)
        for name, seed in (("n1", "n2"), ("n2", "n3"), ("n3", "n1")):
            incarnation += 1
            ip = network.address(name).ip
            keyring = Keyring([b"k" * 16])
            network.add(name, ip, config=config, keyring=keyring, incarnation=incarnation)
            network.nodes[name].set_seeds([network.address(seed)], network.now)
            network.run(5)
            assert all(len(swim.live()) == 3 for swim in network.nodes.values())


@pytest.mark.parametrize(("one", "two"), [(2, 1), (2, 3), (3, 2), (3, 1)])
def test_mixed_protocol_versions_join(
    one: int, two: int, network: "Network", lan_without: Callable[..., Any]
) -> None:
    network.add("n1", config=lan_without(vsn=bytes((1, 5, one, 0, 0, 0))))
    swim = network.add("n2", config=lan_without(vsn=bytes((1, 5, two, 0, 0, 0))))
    swim.set_seeds([network.address("n1")], network.now)
    network.run(5)
    assert all(len(swim.live()) == 2 for swim in network.nodes.values())


def test_other_delegate_version_is_refused(
    network: "Network", lan_without: Callable[..., Any]
) -> None:
    network.add("n1")
    swim = network.add("n2", config=lan_without(vsn=bytes((1, 5, 2, 2, 5, 5))))
    swim.set_seeds([network.address("n1")], network.now)
    network.run(0.5)
    assert swim.live() == {"n2"}
    assert swim.stats.ignored[Ignored.INCOMPATIBLE] == 1
    [failed] = _of(ExchangeFailed, network.events["n2"])
    assert (failed.reason, failed.silent) == ("incompatible", False)


# ---- Whole cluster


def test_sixteen_nodes_chained_by_joins_all_meet(
    network: "Network", lan_without: Callable[..., Any]
) -> None:
    config = lan_without(
        probe_interval=0.02, probe_timeout=0.1, gossip_interval=0.02, push_pull_interval=0.2
    )
    for index in range(1, 17):
        swim = network.add(f"n{index}", config=config)
        if index > 1:
            swim.set_seeds([network.address(f"n{index - 1}")], network.now)
    network.run(3)
    assert all(len(swim.live()) == 16 for swim in network.nodes.values())


def test_same_seed_same_run(new_network: NewNetwork) -> None:
    def run() -> list[tuple[float, str, str]]:
        network = new_network(seed=9)
        network.cluster(5)
        network.dead.add("n2")
        network.run(20)
        return [carried[:3] for carried in network.carried]

    assert run() == run()


def test_suspicion_is_announced_before_death(network: "Network") -> None:
    network.cluster(4)
    network.dead.add("n4")
    network.run(10)
    kinds = [type(event) for event in network.events["n1"] if isinstance(event, Suspected | Gone)]
    assert kinds == [Suspected, Gone]


# ---- Large tables


def test_large_table_is_taken_in_bites_with_others_answered_between(
    new_bench: Callable[..., Any], row: Callable[..., NodeState]
) -> None:
    rows = [replace(row("n2", State.ALIVE), name=f"w{number}") for number in range(3 * BITE)]
    bench = new_bench()
    bench.merge(*rows)
    assert len(bench.swim.live()) == 1 + BITE
    assert not _of(Exchanged, bench.swim.events()), "not before all of it is known"
    bench.hear(Ping("me", 5))
    assert any(isinstance(message, Ack) for _, message in bench.sent())
    assert bench.swim.deadline() == bench.now
    bench.swim.handle_timeout(bench.now)
    bench.swim.handle_timeout(bench.now)
    assert len(bench.swim.live()) == 1 + 3 * BITE
    assert len(_of(Exchanged, bench.swim.events())) == 1
    assert bench.swim.deadline() > bench.now


def test_large_tables_that_wait_are_bounded(
    new_bench: Callable[..., Any], row: Callable[..., NodeState]
) -> None:
    bench = new_bench()
    for peer in range(MAX_WAITING + 2):
        rows = [replace(row("n2", State.ALIVE), name=f"{peer}-{n}") for n in range(BITE + 88)]
        bench.merge(*rows)
    assert len(_of(Exchanged, bench.swim.events())) == 2
    assert len(bench.swim.live()) == 1 + 2 * (BITE + 88)
