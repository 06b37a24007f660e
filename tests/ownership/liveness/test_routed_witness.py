"""Who is gone in other subnets: a death is seen at once, and a loss of the way is no death."""

from ipaddress import IPv4Address, ip_network

import pytest

from gossip.io import Address
from gossip.wire.messages import State
from ownership.io import ROUTED, LetterRefusal, RoutedState
from ownership.letters.courier import Letter
from ownership.letters.letters import (
    FAR,
    MOST_GATEWAYS,
    LetterKind,
    Subnet,
    Whereabouts,
    encode_link_name,
    encode_whereabouts,
)
from ownership.letters.mark import Flags
from ownership.liveness import routed_kernels
from ownership.liveness.roster import Peer
from ownership.liveness.routed_kernels import RoutedKernels
from ownership.liveness.routed_witness import MOST_ASKED
from routed_cluster import ETH0, LEARNED, RoutedCluster, RoutedNode, gateway_of, ip_of, learned

WITHIN = 0.5
RINGS = [
    ("a1", "a2", "b1"),
    ("a1", "a2", "a3", "b1"),
    ("a1", "a2", "b1", "b2"),
    ("a1", "b1", "b2"),
    ("a1", "b1", "b2", "b3"),
    ("a1", "b1", "c1"),
    ("a1", "b1"),
]


@pytest.mark.parametrize("names", RINGS, ids="-".join)
def test_a_dead_machine_is_gone_for_all_within_half_a_second(names: tuple[str, ...]) -> None:
    """Alone in its subnet or not, and wherever its witnesses stand."""
    cluster = learned(*names)
    cluster.power_off("b1")
    cluster.run(LEARNED + WITHIN)
    assert set(cluster.gone().values()) == {frozenset({"b1"})}


@pytest.mark.parametrize("names", RINGS, ids="-".join)
def test_who_owns_on_a_link_does_not_follow_from_it(names: tuple[str, ...]) -> None:
    cluster = learned(*names)
    cluster.power_off("b1")
    cluster.run(LEARNED + WITHIN)
    for name in ("a1", "a2", "a3", "c1"):
        if name in names and sum(each[0] == "b" for each in names) < 3:
            assert not cluster.nodes[name].core.bars().named, "one of its links is judged"


@pytest.mark.parametrize("names", RINGS, ids="-".join)
def test_a_router_that_dies_takes_nobody_with_it(names: tuple[str, ...]) -> None:
    cluster = learned(*names)
    cluster.router = False
    cluster.run(LEARNED + 20.0)
    assert not cluster.ever_judged()
    cluster.router = True
    cluster.run(LEARNED + 30.0)
    assert not cluster.ever_judged()


def lose_the_way(cluster: RoutedCluster, lasts: float, late: float = 0.1) -> None:
    """The router is away, and back; it answers for itself before it forwards."""
    cluster.router = False
    cluster.run(cluster.now + lasts)
    cluster.router, cluster.forwards = True, False
    cluster.run(cluster.now + late)
    cluster.forwards = True
    cluster.run(cluster.now + 3.0)


@pytest.mark.parametrize("lasts", [0.5, 1.0, 1.7, 3.0])
def test_a_router_that_starts_may_take_its_time_to_forward(lasts: float) -> None:
    cluster = learned("a1", "a2", "b1")
    lose_the_way(cluster, lasts, late=5.0)
    assert not cluster.ever_judged()
    cluster.run(cluster.now + LEARNED)
    cluster.power_off("b1")
    cluster.run(cluster.now + WITHIN)
    assert set(cluster.gone().values()) == {frozenset({"b1"})}, "it proved itself again"


@pytest.mark.parametrize("names", RINGS, ids="-".join)
@pytest.mark.parametrize("lasts", [0.1, 0.25, 0.3, 0.35, 0.5, 1.0, 2.5])
def test_a_way_that_is_lost_for_a_moment_leaves_nobody_judged(
    names: tuple[str, ...], lasts: float
) -> None:
    """What was asked meanwhile was asked in vain, and who answers first proves nothing of it."""
    cluster = learned(*names)
    lose_the_way(cluster, lasts)
    assert not cluster.ever_judged()


def test_of_two_that_stand_together_both_are_never_missed_at_once() -> None:
    """A router answers on that forwards nothing any more, or has lost its port there."""
    cluster = learned("a1", "a2", "b1", "b2")
    cluster.forwards = False
    cluster.run(LEARNED + 10.0)
    cluster.forwards = True
    cluster.run(LEARNED + 13.0)
    cluster.parted = {2}
    cluster.run(LEARNED + 23.0)
    assert not cluster.ever_judged()


def test_one_that_dies_after_another_is_judged_too() -> None:
    """The first is known to be gone, so the gateway is all that is left to bear witness."""
    cluster = learned("a1", "a2", "b1", "b2")
    cluster.power_off("b1")
    cluster.run(LEARNED + 1.0)
    cluster.power_off("b2")
    cluster.run(LEARNED + 1.0 + WITHIN)
    assert set(cluster.gone().values()) == {frozenset({"b1", "b2"})}


@pytest.mark.parametrize("names", [RINGS[0], RINGS[2], RINGS[5]], ids="-".join)
def test_a_firewall_that_begins_to_drop_echo_is_no_death(names: tuple[str, ...]) -> None:
    """The router answers for itself, and letters come through."""
    cluster = learned(*names)
    cluster.lets_echo_through = False
    cluster.run(LEARNED + 20.0)
    assert not cluster.ever_judged()
    assert "b1" in cluster.nodes["a1"].filtered, "who is to mend it is told"
    cluster.lets_echo_through = True
    cluster.run(LEARNED + 100.0)
    cluster.power_off("b1")
    cluster.run(LEARNED + 100.0 + WITHIN)
    assert set(cluster.gone().values()) == {frozenset({"b1"})}, "it proved itself again"


def test_behind_a_firewall_from_the_start_only_gossip_tells() -> None:
    cluster = RoutedCluster(("a1", "a2", "b1"))
    cluster.lets_echo_through = False
    cluster.run(LEARNED)
    assert cluster.nodes["a1"].core.stats().routed[RoutedState.UNPROVED] == 1
    cluster.power_off("b1")
    cluster.run(LEARNED + 5.0)
    assert not cluster.ever_judged()
    assert not cluster.nodes["a1"].filtered, "it never answered, so that nothing was lost"


def test_who_answers_now_and_then_is_not_judged() -> None:
    """Every third request is lost: that is no kernel to be relied on."""
    cluster = RoutedCluster(("a1", "a2", "b1"), lost={"b1": 3})
    cluster.run(60.0)
    assert cluster.nodes["a1"].core.stats().routed[RoutedState.ANSWERS] == 0
    cluster.power_off("b1")
    cluster.run(65.0)
    assert not cluster.ever_judged()


def test_a_machine_that_comes_back_is_gone_no_more() -> None:
    cluster = learned("a1", "a2", "b1", "b2")
    cluster.power_off("b1")
    cluster.run(LEARNED + 3.0)
    cluster.nodes["b1"].on = True
    cluster.run(LEARNED + 4.0)
    assert set(cluster.gone("a1", "a2", "b2").values()) == {frozenset()}
    assert cluster.nodes["a1"].core.stats().verdicts["voided"] >= 1


def test_who_cannot_ask_hears_of_the_return_from_who_can() -> None:
    """More nodes than are asked, or a firewall for us alone."""
    cluster = learned("a1", "a2", "b1", "c1", off=frozenset({"c1"}))
    core = cluster.nodes["a1"].core

    def hear(kind: LetterKind, about: str) -> frozenset[str]:
        core.handle_letter(Letter(kind, "b1", about, 1, b""), cluster.now)
        return core.lives.gone()

    assert hear(LetterKind.FAR_GONE, "c1") == {"c1"}
    assert hear(LetterKind.FAR_BACK, "c1") == frozenset()
    cluster.power_off("b1")
    cluster.run(LEARNED + WITHIN)
    assert hear(LetterKind.FAR_BACK, "b1") == {"b1"}, "we miss it ourselves"
    cluster.nodes["b1"].on = True
    cluster.run(LEARNED + 2.0)
    told = [letter for _, letter in cluster.nodes["a1"].told]
    assert [letter.about for letter in told if letter.kind is LetterKind.FAR_BACK] == ["b1"]


def test_a_verdict_of_others_counts_until_one_asks_oneself() -> None:
    cluster = learned("a1", "a2", "b1")
    core = cluster.nodes["a1"].core
    core.requests(), core.letters()
    letter = Letter(LetterKind.FAR_GONE, "a2", "b1", 1, b"")
    core.handle_letter(letter, cluster.now + 1.0)
    assert core.lives.gone() == {"b1"}, "for one second it was not heard"
    cluster.now += 1.0
    cluster.run(cluster.now + 0.1)
    assert core.lives.gone() == frozenset()


def test_what_one_has_just_heard_is_no_verdict_of_others() -> None:
    cluster = learned("a1", "a2", "b1")
    core = cluster.nodes["a1"].core
    core.handle_letter(Letter(LetterKind.FAR_GONE, "a2", "b1", 1, b""), cluster.now)
    core.handle_letter(Letter(LetterKind.FAR_GONE, "b1", "a2", 1, b""), cluster.now)
    assert core.lives.gone() == frozenset()


def test_one_alone_does_not_judge_where_another_could() -> None:
    """The other one's way works: it does not miss it."""
    cluster = learned("a1", "a2", "b1")
    core = cluster.nodes["a1"].core
    for number in range(20):
        letter = Letter(LetterKind.FAR_MISSING, "a2", "b1", 1, b"")
        core.handle_letter(letter, cluster.now)
        cluster.run(LEARNED + 0.1 * number)
    assert not cluster.ever_judged()


def test_a_verdict_on_a_link_elsewhere_is_void_as_soon_as_the_machine_answers_us() -> None:
    """Its neighbours judge it and tell all; who stands elsewhere would not learn the end of it."""
    cluster = learned("a1", "b1", "b2", "b3", "b4")
    name = next(n for n in ("b1", "b2", "b3", "b4") if cluster.asks_of("a1", ip_of(n), 6.0))
    core = cluster.nodes["a1"].core
    cluster.now += 1.0
    core.handle_letter(Letter(LetterKind.GONE, "b4", name, 1, encode_link_name("eth0")), 8.0)
    assert core.lives.gone() == {name}
    cluster.run(cluster.now + 0.5)
    assert core.lives.gone() == frozenset()


def test_who_stood_still_blames_nobody() -> None:
    cluster = learned("a1", "b1")
    node = cluster.nodes["a1"]
    node.running = False
    cluster.run(LEARNED + 3.0)
    node.running = True
    cluster.run(LEARNED + 6.0)
    assert not node.judged


def test_what_gossip_declares_takes_over_without_a_gap() -> None:
    cluster = learned("a1", "a2", "b1")
    cluster.power_off("b1")
    cluster.run(LEARNED + WITHIN)
    core = cluster.nodes["a1"].core
    core.set_peers(cluster.peers("a1", b1=State.DEAD), cluster.now)
    assert core.lives.gone() == {"b1"}
    cluster.run(LEARNED + 30.0)
    assert [gone for _, gone in cluster.nodes["a1"].judged] == [{"b1"}]
    core.set_peers(cluster.peers("a1"), cluster.now)
    assert core.lives.gone() == frozenset()


def test_who_leaves_is_forgotten() -> None:
    cluster = learned("a1", "a2", "b1")
    cluster.power_off("b1")
    cluster.run(LEARNED + WITHIN)
    core = cluster.nodes["a1"].core
    core.set_peers(cluster.peers("a1", b1=State.LEFT), cluster.now)
    assert core.lives.gone() == frozenset()


# ---- whom one asks, and when


def test_watched_ones_are_asked_ten_times_a_second_and_gateways_only_in_doubt() -> None:
    cluster = learned("a1", "a2", "b1", "b2")
    cluster.run(LEARNED + 5.0)
    asked = [name for name in ("b1", "b2") if len(cluster.asks_of("a1", ip_of(name), LEARNED)) > 45]
    assert asked == ["b1", "b2"], "of four each watches three"
    assert not cluster.asks_of("a1", gateway_of("b1"), LEARNED)
    assert all(at.ifindex == ROUTED for _, at in cluster.nodes["a1"].asked if at.ip == ip_of("b1"))
    cluster.power_off("b1")
    cluster.run(LEARNED + 5.5)
    assert cluster.asks_of("a1", gateway_of("b1"), LEARNED)


def test_where_bgp_is_off_nobody_is_asked() -> None:
    cluster = learned("a1", "a2", "b1", off=frozenset({"a1", "a2", "b1"}))
    assert not any(
        asked.ifindex == ROUTED for node in cluster.nodes.values() for _, asked in node.asked
    )
    assert cluster.nodes["a1"].core.stats().routed == {}
    kinds = {letter.kind for node in cluster.nodes.values() for _, letter in node.told}
    assert not kinds & FAR


def test_one_that_does_not_ask_is_neither_asked_nor_waited_for() -> None:
    cluster = learned("a1", "a2", "b1", "c1", off=frozenset({"a2", "c1"}))
    assert not cluster.asks_of("a1", ip_of("c1"))
    assert cluster.nodes["a1"].core.stats().routed[RoutedState.UNTOLD] == 1
    cluster.power_off("b1")
    cluster.run(LEARNED + WITHIN)
    assert cluster.gone("a1") == {"a1": {"b1"}}, "no other one could have missed it"


def test_who_asks_no_more_says_so() -> None:
    cluster = learned("a1", "a2", "b1")
    cluster.nodes["b1"].core.lives.ask_over_routers(False, cluster.now)
    cluster.run(LEARNED + 1.0)
    assert cluster.nodes["a1"].core.stats().routed[RoutedState.UNTOLD] == 1
    assert not cluster.asks_of("b1", ip_of("a1"), LEARNED)
    assert not cluster.asks_of("a1", ip_of("b1"), LEARNED + 0.3)
    cluster.nodes["b1"].core.lives.ask_over_routers(True, cluster.now)
    cluster.run(LEARNED + 2.0 + LEARNED)
    assert cluster.nodes["a1"].core.stats().routed[RoutedState.ANSWERS] == 1


def test_what_nobody_understands_is_counted() -> None:
    cluster = learned("a1", "b1")
    core = cluster.nodes["a1"].core
    core.handle_letter(Letter(LetterKind.SUBNETS, "b1", "b1", 1, b"\0\x18"), cluster.now)
    assert core.stats().refused[LetterRefusal.MALFORMED] == 1
    assert core.stats().routed[RoutedState.ANSWERS] == 1, "what was known stays"


def test_nodes_of_one_subnet_are_asked_by_their_link() -> None:
    cluster = learned("a1", "a2", "a3")
    assert {asked.ifindex for _, asked in cluster.nodes["a1"].asked} == {ETH0}


# ---- what others say of themselves


def at(name: str, address: str, start: int = 1) -> Peer:
    return Peer(name, start, Flags.NONE, State.ALIVE, Address(address, 7946))


def witness_of(*peers: Peer, subnets: dict[str, Subnet] | None = None) -> RoutedNode:
    """Node a1, which has been told where they stand, 10.0.2.0/24 if nothing else is said."""
    node, beyond = RoutedNode("a1", 0.0), Subnet(ip_network("10.0.2.0/24"), (gateway_of("b1"),))
    node.core.set_peers(peers, 0.0)
    node.core.lives.ask_over_routers(True, 0.0)
    for peer in peers:
        where = (subnets or {}).get(peer.name, beyond)
        payload = encode_whereabouts(Whereabouts((where,)))
        node.core.handle_letter(Letter(LetterKind.SUBNETS, peer.name, peer.name, 1, payload), 0.0)
    return node


def asked_by(node: RoutedNode) -> set[str]:
    """Whom it asks in its first turns."""
    found = set[str]()
    for now in (0.25, 0.4, 0.6):
        node.core.handle_timeout(now)
        found |= {str(asked.ip) for asked in node.core.requests() if asked.ifindex == ROUTED}
    return found


@pytest.mark.parametrize(
    "address", ["224.0.0.5", "255.255.255.255", "127.0.0.1", "0.0.0.0", "169.254.1.1", "ff02::1"]
)
def test_what_is_no_address_of_a_host_is_not_asked(address: str) -> None:
    node = witness_of(at("x", address), subnets={"x": Subnet(ip_network(address))})
    assert asked_by(node) == set()
    assert node.core.stats().routed[RoutedState.NO_ADDRESS] == 1


def test_an_address_that_two_say_is_theirs_says_nothing_of_either() -> None:
    node = witness_of(at("x", "10.0.2.1"), at("y", "10.0.2.1"), at("z", "10.0.2.3"))
    assert asked_by(node) == {"10.0.2.3", "10.0.2.254"}
    assert node.core.stats().routed[RoutedState.NO_ADDRESS] == 2


def test_who_is_not_where_it_says_is_not_asked() -> None:
    node = witness_of(at("x", "10.0.9.1"))
    assert asked_by(node) == set()
    assert node.core.stats().routed[RoutedState.ELSEWHERE] == 1


def test_who_says_it_stands_among_us_is_not_asked_over_routers() -> None:
    node = witness_of(at("x", "10.0.1.9"))
    assert asked_by(node) == set()
    assert sum(node.core.stats().routed.values()) == 0


def test_our_own_gateway_bears_witness_of_nobody_elsewhere() -> None:
    """Who says that it stands everywhere may name it."""
    wide = Subnet(ip_network("10.0.0.0/8"), (gateway_of("a1"), ip_of("a1")))
    node = witness_of(at("x", "10.0.2.1"), subnets={"x": wide})
    assert asked_by(node) == {"10.0.2.1"}


def test_one_that_lies_of_its_gateways_adds_none_where_others_tell_the_truth() -> None:
    false = Subnet(ip_network("10.0.2.0/24"), (ip_of("b200"), ip_of("b201")))
    peers = [at("x", "10.0.2.1"), at("y", "10.0.2.2"), at("z", "10.0.2.3")]
    node = witness_of(*peers, subnets={"x": false})
    gateways = {ip for ip in asked_by(node) if int(ip.split(".")[3]) >= 200}
    assert "10.0.2.254" in gateways
    assert len(gateways) <= MOST_GATEWAYS


def test_no_more_are_asked_than_there_is_time_for_and_the_watched_ones_first() -> None:
    peers = [at(f"n{n}", f"10.0.{2 + n // 200}.{1 + n % 200}") for n in range(1_000)]
    subnets = {
        peer.name: Subnet(ip_network(f"{peer.address.ip}/24", strict=False))
        for peer in peers
        if peer.address is not None
    }
    node = witness_of(*peers, subnets=subnets)
    asked = asked_by(node)
    assert len(asked) == MOST_ASKED
    assert node.core.stats().routed[RoutedState.TOO_MANY] == 1_000 - MOST_ASKED
    roster = node.core._roster
    watched = {f"n{n}" for n in range(1_000)} & set(roster.watched())
    assert {
        str(peer.address.ip) for peer in peers if peer.name in watched and peer.address
    } <= asked


def test_a_stranger_is_neither_believed_nor_answered() -> None:
    node = witness_of(at("x", "10.0.2.1"))
    told = encode_whereabouts(Whereabouts((Subnet(ip_network("10.0.2.0/24")),), asks=True))
    node.core.letters()
    node.core.handle_letter(Letter(LetterKind.SUBNETS, "stranger", "stranger", 1, told), 0.0)
    assert not [letter for letter in node.core.letters() if letter.to == ("stranger",)]


def test_reports_on_nobody_that_is_known_are_not_kept() -> None:
    node = witness_of(at("x", "10.0.2.1"))
    for number in range(1_000):
        for kind in (LetterKind.FAR_MISSING, LetterKind.FAR_GONE):
            node.core.handle_letter(Letter(kind, "x", f"nobody-{number}", 1, b""), 1.0)
    assert node.core.lives.gone() == frozenset()
    assert node.core._routed._verdicts.idle


def test_an_answer_that_nobody_asked_for_proves_nothing() -> None:
    cluster = learned("a1", "a2", "b1")
    cluster.power_off("b1")
    cluster.run(LEARNED + WITHIN)
    core = cluster.nodes["a1"].core
    for number in range(1_000):
        assert not core.handle_echo(ROUTED, ip_of("b1"), number.to_bytes(8, "big"), cluster.now)
    assert not core.handle_echo(ROUTED, IPv4Address("192.0.2.1"), bytes(8), cluster.now)
    assert core.lives.gone() == {"b1"}


# ---- a rule that no change of the code can break is no rule


def test_without_proof_by_others_a_dead_router_would_take_all_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RoutedKernels, "_proof_without", lambda *_: float("inf"))
    cluster = learned("a1", "a2", "b1", "b2")
    cluster.router = False
    cluster.run(LEARNED + 2.0)
    assert cluster.ever_judged()


def test_without_a_fresh_start_one_that_answers_late_would_be_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RoutedKernels, "_start_afresh", lambda *_, **__: None)
    cluster = learned("a1", "a2", "b1")
    lose_the_way(cluster, 0.35)
    assert cluster.ever_judged()


def test_without_steadiness_one_that_answers_now_and_then_would_be_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routed_kernels, "STEADY", 1)
    cluster = RoutedCluster(("a1", "a2", "b1"), lost={"b1": 3})
    cluster.run(20.0)
    cluster.power_off("b1")
    cluster.run(21.0)
    assert cluster.ever_judged()
