"""The failover core and those that gossip holds dead: calls, memory, returns, and one cut off."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from failover_node import (
    DEAD_B,
    DEAD_C,
    ETH0,
    FOREIGN,
    LINK_B,
    LINK_C,
    VIP,
    B,
    C,
    Node,
    of_kind,
    settled,
)
from gossip.wire.messages import State
from ownership.failover import PLAN_GRACE, TIDY
from ownership.handover.heir import ASKS_AT_ONCE
from ownership.io import Contested, Filtered, ForeignAnswer, HandedOver, Send, TookQuietly
from ownership.letters import letters
from ownership.letters.letters import Hello, LetterKind, PeerLink, Quiet
from ownership.letters.mark import Flags
from ownership.liveness.damping import FIRST
from ownership.liveness.roster import REMEMBERED, Peer
from ownership.liveness.targets import KernelState
from ownership.liveness.verdicts import Subject

FOREIGN_MAC = b"\x02\0\0\0\0\xff"
LEFT_B = replace(B, state=State.LEFT)


def held_dead(*peers: Peer, forgotten: bool = False) -> Node:
    """It has lost b (or what is given), and gossip may have forgotten about that."""
    node = settled()
    node.peers(*(peers or (DEAD_B, C)))
    if forgotten:
        node.peers(*(peer for peer in peers or (DEAD_B, C) if peer.living))
    node.core.calls()
    return node


# ---- whom gossip holds dead and who is heard


@pytest.mark.parametrize("forgotten", [False, True], ids=["remembered", "forgotten"])
@pytest.mark.parametrize("how", ["echo", "announcement", "letter"])
def test_one_held_dead_that_is_heard_is_called(how: str, forgotten: bool) -> None:
    """Both sides of a cut that is over find together at once, however long it lasted."""
    node = settled()
    node.answering.difference_update(LINK_B.ips)
    node.peers(DEAD_B, C)
    if forgotten:
        node.peers(C)
    node.run(5.0)
    assert not node.core.calling
    match how:
        case "echo":
            node.answering.update(LINK_B.ips)
            node.run(0.2)
        case "announcement":
            node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
        case _:
            node.letter(LetterKind.BEAT, "b")
    assert node.core.calling
    assert node.core.calls() == [B.address]
    assert not node.core.calling


@pytest.mark.parametrize(
    "peer", [B, LEFT_B, replace(DEAD_B, start_id=None)], ids=["living", "left", "foreign"]
)
def test_nobody_else_is_called(peer: Peer) -> None:
    node = settled()
    node.peers(peer, C)
    node.run(1.0)
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    node.letter(LetterKind.BEAT, "b")
    assert node.core.calls() == []


@pytest.mark.parametrize(
    ("after", "told"),
    [(B, True), (replace(B, start_id=9), False), (replace(B, state=State.SUSPECT), True)],
    ids=["alive", "in a new life", "suspect"],
)
def test_who_was_held_dead_and_lived_is_told_so_but_not_a_new_life(after: Peer, told: bool) -> None:
    """It was cut off; a new life of a node has nothing to do with the end of the last."""
    node = held_dead()
    node.core.letters()
    node.peers(after, C)
    back = of_kind(node.core.letters(), LetterKind.BACK)
    assert back == ([Send(LetterKind.BACK, "b", to=("b",))] if told else [])


def test_who_is_called_is_asked_for_its_address_so_that_our_kernel_learns_its_mac() -> None:
    """A kernel that failed to find a node asks once a second: until then nothing leaves for it."""
    node = settled()
    node.answering.difference_update(LINK_B.ips)
    node.peers(DEAD_B, C)
    node.run(5.0)
    node.core.asks()
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    assert [(ask.ip, ask.mac) for _, ask in node.core.asks()] == [(LINK_B.ips[0], LINK_B.mac)]


def test_who_lived_meanwhile_is_called_at_once_when_it_is_held_dead_again() -> None:
    node = held_dead()
    node.run(20.0)
    node.core.calls()
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    assert node.core.calls() == []
    node.peers(B, C)
    node.peers(DEAD_B, C)
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    assert node.core.calls() == [B.address]


@pytest.mark.parametrize("was", [DEAD_B, LEFT_B], ids=["dead", "left"])
def test_one_that_is_back_and_answers_no_echo_is_asked_for_its_address(was: Peer) -> None:
    """After a long cut our kernel does not know its MAC, and by itself asks once a second."""
    node = held_dead(was, C)
    node.answering.difference_update(LINK_B.ips)
    node.run(5.0)
    node.peers(B, C)
    node.asked.clear()
    node.run(0.2)
    assert set(node.asked) == (set(LINK_B.ips) if was is DEAD_B else set())


def test_who_was_missed_while_it_was_dead_has_to_be_found_out_about_anew() -> None:
    node = settled()
    node.answering.difference_update(LINK_B.ips)
    node.run(1.0)
    assert node.core.stats().missing == 1
    node.peers(DEAD_B, C)
    node.peers(B, C)
    assert node.core.stats().missing == 0


def test_a_new_life_is_asked_for_its_links_at_once() -> None:
    node = settled()
    node.run(5.0)
    node.peers(replace(B, start_id=9), C)
    asked = [letter for letter in of_kind(node.run(0.01), LetterKind.HELLO) if letter.to == ("b",)]
    assert [letters.decode_hello(letter.payload).asks for letter in asked] == [True]


# ---- what is remembered of them


def test_in_a_cut_of_gossip_that_outlasts_its_memory_who_answers_keeps_its_ip() -> None:
    """Nothing is known of b and c by gossip; their machines answer all the same."""
    node = held_dead(DEAD_B, DEAD_C, forgotten=True)
    assert node.core.kernel("b", [ETH0.index], node.now) is KernelState.ANSWERS
    node.core.win("ns/a", VIP, None, "b", node.now)
    for _ in range(300):
        node.run(0.01)
        for ip in node.asked:
            node.core.handle_announcement(ip, ETH0.index, LINK_B.mac, node.now)
        node.asked.clear()
    assert not node.answers()
    assert node.core.stats().contested == 1
    assert node.happened(Contested)[0].mac == LINK_B.mac


def test_who_is_not_known_at_all_is_not_silent() -> None:
    assert Node().core.kernel("b", [ETH0.index], 60.0) is KernelState.UNKNOWN


@pytest.mark.parametrize("answers", [True, False])
def test_the_forgotten_are_remembered_as_long_as_their_machines_answer(answers: bool) -> None:
    node = held_dead(DEAD_B, C, forgotten=True)
    if not answers:
        node.answering.difference_update(LINK_B.ips)
    for _ in range(round(REMEMBERED / TIDY * 1.2)):
        # An hour of echoes is long: those before every other look will do.
        node.now += TIDY - 2.0
        node.run(1.0)
    node.core.calls()
    node.now += TIDY
    # An announcement by its MAC tells whose it is, or that nobody knows.
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    assert bool(node.core.calls()) is answers


def test_one_from_whom_we_have_an_ip_quietly_is_not_forgotten() -> None:
    node = held_dead(DEAD_B, DEAD_C, forgotten=True)
    node.core.win("ns/a", VIP, None, "b", node.now)
    node.run(1.0)
    assert node.answers()
    assert node.announcer.transmits() == []


# ---- a quiet takeover that is handed on


def quiet_letter(owner: str, *links: PeerLink) -> bytes:
    [payload] = letters.encode_quiet(Quiet(owner, links, frozenset({VIP})))
    return payload


def test_an_ip_handed_over_by_a_quiet_heir_is_taken_quietly_though_its_owner_was_never_known() -> (
    None
):
    node = Node()
    node.peers(C)
    node.letter(LetterKind.HELLO, "c", letters.encode_hello(Hello((LINK_C,))))
    node.answering.update((*LINK_C.ips, *LINK_B.ips))
    node.run(1.0)
    node.letter(LetterKind.QUIET, "c", quiet_letter("b", LINK_B))
    node.core.win("ns/a", VIP, None, "c", node.now)
    node.run(5.0)
    assert node.answers()
    assert node.announcer.transmits() == []
    assert node.happened(TookQuietly) == [TookQuietly(VIP)]
    node.answering.difference_update(LINK_B.ips)
    node.run(1.0)
    assert node.announcer.transmits()


@pytest.mark.parametrize("owner", [B, LEFT_B], ids=["lives", "left"])
def test_a_quiet_letter_about_one_that_lives_or_left_is_a_plain_one(owner: Peer) -> None:
    node = settled()
    node.peers(owner, C)
    node.core.win("ns/a", VIP, None, "c", node.now)
    node.letter(LetterKind.QUIET, "c", quiet_letter("b", LINK_B))
    assert node.answers()
    assert node.announcer.transmits()


def test_a_quiet_letter_changes_nothing_that_we_know_better() -> None:
    """Nobody but a node itself says where it is."""
    node = settled()
    forged = replace(LINK_B, mac=b"\x02\0\0\0\0\x66")
    node.letter(LetterKind.QUIET, "c", quiet_letter("b", forged))
    node.peers(DEAD_B, C)
    node.core.handle_announcement(VIP, ETH0.index, forged.mac, node.now)
    assert node.core.calls() == []


# ---- letters about life


def test_who_asks_whether_we_hear_it_is_told() -> None:
    node = settled()
    node.core.letters()
    node.letter(LetterKind.HEAR, "c")
    assert node.core.letters() == [Send(LetterKind.HEARD, "a", to=("c",))]


@pytest.mark.parametrize("kind", [kind for kind in LetterKind if kind is not LetterKind.QUIET])
def test_only_a_letter_that_answers_us_is_a_sign_of_life_of_the_link(kind: LetterKind) -> None:
    """One that hears nobody writes as well."""
    node = settled()
    node.answering.difference_update(LINK_B.ips)
    node.run(0.6)
    assert node.core.stats().missing == 1
    payload = letters.encode_hello(Hello((LINK_B,))) if kind is LetterKind.HELLO else b""
    node.letter(kind, "b", payload, about="c")
    answer = kind in (LetterKind.HEARD, LetterKind.MINE, LetterKind.DENY)
    assert node.core.stats().missing == (0 if answer else 1)


def test_who_answers_letters_but_no_echo_is_named_and_counted_once() -> None:
    node = settled()
    node.answering.difference_update(LINK_B.ips)
    for _ in range(30):
        if of_kind(node.run(0.1), LetterKind.HEAR):
            node.letter(LetterKind.HEARD, "b")
    assert node.happened(Filtered) == [Filtered("b")]
    assert node.happened(Filtered) == []
    assert node.core.stats().filtered == 1
    assert node.core.stats().missing == 0
    assert node.core.stats().verdicts == {}


def test_who_was_judged_gone_twice_in_a_minute_bars_itself_for_a_while() -> None:
    node = settled()
    for sender in ("b", "c"):
        node.letter(LetterKind.BACK, sender, b"eth0", about="a")
    node.run(3.0)
    assert not node.core.flags
    for sender in ("b", "c"):
        node.letter(LetterKind.BACK, sender, about="a")
    assert node.core.flags == Flags.DAMPED | Flags.NOT_SYNCED
    assert "a" in node.core.bars().nodes
    node.run(FIRST + 0.1)
    assert not node.core.flags
    assert "a" not in node.core.bars().nodes


def test_one_that_was_cut_off_itself_bars_nobody_on_its_return() -> None:
    """It had missed everybody, and c not us: that we hold it dead makes it no only witness."""
    node = settled()
    for _ in range(3):
        node.peers(DEAD_B, C)
        node.run(8.0)
        node.letter(LetterKind.BACK, "b", about="a")
        assert not node.core.flags & Flags.DAMPED
        node.peers(B, C)
        node.run(4.0)


def test_that_another_was_judged_says_nothing_of_us() -> None:
    node = settled()
    for _ in range(3):
        node.letter(LetterKind.BACK, "b", about="c")
        node.run(3.0)
    assert not node.core.flags


# ---- one that is cut off


def test_who_hears_nobody_since_it_won_takes_nothing_over_and_asks_everybody() -> None:
    """It hears by letters that all others are gone: it is the one that is cut off."""
    node = settled()
    node.answering.clear()
    node.peers(DEAD_B, C)
    node.core.requests()
    node.core.win("ns/a", VIP, None, "b", node.now)
    node.core.handle_timeout(node.now)
    assert {request.ip for request in node.core.requests()} == {*LINK_B.ips, *LINK_C.ips}
    node.run(10.0)
    assert not node.answers()
    node.asked.clear()
    node.answering.update(LINK_C.ips)
    # Contact comes first, and another may own it by now.
    node.run(2.0)
    assert VIP in node.asked
    assert node.answers()


def test_who_hears_nobody_announces_nothing() -> None:
    node = settled()
    node.core.win("ns/a", VIP, None, None, node.now)
    node.run(0.1)
    assert node.announcer.transmits()
    node.answering.clear()
    node.run(1.0)
    node.announcer.announce(VIP, "ns/b", None, node.now)
    node.announcer.handle_timeout(node.now)
    assert node.answers()
    assert node.announcer.transmits() == []


@pytest.mark.parametrize("forgotten", [False, True], ids=["remembered", "forgotten"])
def test_one_left_alone_that_is_heard_again_waits_for_contact(forgotten: bool) -> None:
    """It had peers: so it was isolated, not alone, and they may own its IPs now."""
    node = settled()
    node.answering.clear()
    node.run(8.0)
    node.peers(DEAD_B, DEAD_C)
    if forgotten:
        node.peers()
    node.run(60.0)
    assert node.contact.open(ETH0.index)
    node.answering.update(LINK_C.ips)
    node.run(0.3)
    assert not node.contact.open(ETH0.index)
    assert node.core.calls() == [C.address]


def test_many_ips_won_at_one_time_ask_everybody_once() -> None:
    node = settled()
    node.peers(DEAD_B, C)
    node.core.handle_timeout(node.now)
    node.core.requests()
    for number in range(2 * ASKS_AT_ONCE):
        node.core.win("ns/a", IPv4Address(0xC6336500 + number), None, "b", node.now)
        node.core.handle_timeout(node.now)
    assert len(node.core.requests()) == len({LINK_B, LINK_C})


def test_a_client_that_asked_lately_and_answers_echo_requests_bears_witness() -> None:
    """Of two nodes without a gateway: else only gossip tells whether the other one died."""
    node, client = Node(), IPv4Address("192.0.2.77")
    node.peers(B)
    node.letter(LetterKind.HELLO, "b", letters.encode_hello(Hello((LINK_B,))))
    node.answering.update((*LINK_B.ips, client))
    node.run(1.0)
    node.core.win("ns/a", VIP, None, None, node.now)
    node.run(1.0)
    assert node.core.unwitnessed() == ["eth0"]
    node.clients.note(VIP, ETH0, client, b"\x02\0\0\0\0\x77", node.now)
    node.run(TIDY + 1.0)
    assert node.core.unwitnessed() == []
    node.answering.difference_update(LINK_B.ips)
    node.run(1.0)
    assert node.core.bars().links == {Subject("b", "ens1")}


def test_a_link_on_which_one_other_node_is_all_that_answers_is_named() -> None:
    node = settled()
    assert node.core.unwitnessed() == []
    node = Node()
    node.peers(B)
    node.letter(LetterKind.HELLO, "b", letters.encode_hello(Hello((LINK_B,))))
    node.answering.update(LINK_B.ips)
    node.run(1.0)
    assert node.core.unwitnessed() == ["eth0"]


def test_macs_of_other_nodes_are_no_clients_also_of_the_dead() -> None:
    """They ask for an IP to take it over."""
    node = settled()
    assert node.core.is_node(LINK_B.mac)
    assert not node.core.is_node(b"\x02\0\0\0\0\x77")
    node.peers(DEAD_B, C)
    node.peers(C)
    assert node.core.is_node(LINK_B.mac)


# ---- who keeps us from what is ours


def test_a_kernel_that_answers_for_an_ip_of_ours_without_its_speaker_is_named() -> None:
    node = held_dead()
    node.answering.difference_update(LINK_B.ips)
    node.run(1.0)
    node.core.win("ns/a", VIP, None, "b", node.now)
    node.core.handle_announcement(VIP, ETH0.index, LINK_C.mac, node.now)
    [ask] = [
        letter for letter in of_kind(node.core.letters(), LetterKind.ASK) if letter.to == ("c",)
    ]
    node.letter(LetterKind.DENY, "c", ask.payload)
    [foreign] = node.happened(ForeignAnswer)
    assert (foreign.ip, foreign.node) == (VIP, "c")
    node.run(0.1)
    assert node.answers()


@pytest.mark.parametrize("ours", [True, False])
def test_who_is_asked_by_letter_says_whether_it_answers_for_an_ip(ours: bool) -> None:
    node = settled()
    if ours:
        node.core.win("ns/a", VIP, None, None, node.now)
        node.run(0.1)
    [payload] = letters.encode_ips([VIP])
    node.core.letters()
    node.letter(LetterKind.ASK, "c", payload)
    kind = LetterKind.MINE if ours else LetterKind.DENY
    assert node.core.letters() == [Send(kind, "a", payload, ("c",))]


@pytest.mark.parametrize("surely", [True, False])
def test_what_our_own_plan_takes_from_us_is_answered_for_some_seconds_at_most(surely: bool) -> None:
    """The winner may not have read the plan yet."""
    node = settled()
    node.core.win("ns/a", VIP, None, None, node.now)
    node.run(0.1)
    node.core.lose("ns/a", VIP, "b", node.now, surely=surely)
    node.run(PLAN_GRACE - 0.1)
    assert node.answers()
    node.run(0.2)
    assert node.answers() is surely


def test_a_foreign_winner_is_asked_on_the_wire() -> None:
    node = settled()
    node.peers(B, C, FOREIGN)
    node.core.win("ns/a", VIP, None, None, node.now)
    node.run(0.5)
    node.asked.clear()
    node.core.lose("ns/a", VIP, "m", node.now)
    node.run(0.1)
    assert set(node.asked) == {VIP}
    node.core.handle_announcement(VIP, ETH0.index, b"\x02\0\0\0\0\x77", node.now)
    assert not node.answers()


# ---- a hold that ended as nobody spoke


def unconfirmed(ifindex: int | None = None) -> Node:
    """It answers for the IP on behalf of two services, and a hold has just ended by silence."""
    node = settled()
    for service in ("ns/a", "ns/b"):
        node.core.win(service, VIP, None, None, node.now)
    node.run(0.1)
    node.core.events()
    node.asked.clear()
    node.core.verify(ifindex, node.now)
    return node


def test_what_silence_gives_back_is_asked_for_first() -> None:
    """Gossip may be cut for longer than the wire: others may own it, unable to say so."""
    node = unconfirmed()
    assert not node.answers()
    for _ in range(500):
        node.run(0.01)
        if node.asked:
            node.core.handle_announcement(node.asked.pop(), ETH0.index, LINK_C.mac, node.now)
    assert not node.answers()
    assert node.core.stats().contested == 1


def test_what_nobody_answers_for_is_announced_again_for_all_its_services() -> None:
    node = unconfirmed()
    node.run(0.1)
    assert node.answers()
    assert node.announcer.services(VIP) == {"ns/a", "ns/b"}
    assert node.happened(HandedOver) == [HandedOver(frozenset({"ns/a", "ns/b"}))]
    node.announcer.handle_timeout(node.now)
    assert node.announcer.transmits()


def test_what_is_taken_from_us_while_we_ask_is_not_taken_up_again() -> None:
    node = unconfirmed()
    for service in ("ns/a", "ns/b"):
        node.core.lose(service, VIP, "c", node.now)
    node.run(1.0)
    assert not node.answers()


def test_on_another_link_nothing_changes() -> None:
    node = unconfirmed(ETH0.index + 1)
    assert node.answers()
    node.run(1.0)
    assert node.asked == []


def test_what_is_being_handed_over_stays_with_its_loser() -> None:
    node = settled()
    node.core.win("ns/a", VIP, None, None, node.now)
    node.run(0.1)
    node.core.lose("ns/a", VIP, "c", node.now)
    node.core.verify(None, node.now)
    assert node.answers()


# ---- frames that anybody can send


@pytest.mark.parametrize("echo", [True, False], ids=["echo answered before", "echo never answered"])
def test_frames_with_the_mac_of_the_dead_hold_nothing_up(echo: bool) -> None:
    """Ten a second, as from a host without the key: they make us ask, and nobody answers."""
    node = Node()
    node.meet()
    if not echo:
        node.answering.clear()
    node.run(2.0)
    node.answering.difference_update(LINK_B.ips)
    node.peers(DEAD_B, C)
    node.core.win("ns/a", VIP, None, "b", node.now)
    for _ in range(20):
        node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
        node.run(0.1)
    assert node.answers()
    assert node.announcer.transmits()


def lone(silence: bool = True) -> Node:
    """It has just started, has found nobody, and owns the IP by its own election."""
    node = Node()
    if silence:
        node.core.verify(None, node.now)
    node.core.win("ns/a", VIP, None, None, node.now)
    return node


def test_who_starts_alone_asks_the_wire_and_yields_to_a_ring_that_it_cannot_reach() -> None:
    """Its peers' listeners may be full of somebody's idle connections."""
    node = lone()
    for _ in range(400):
        node.run(0.01)
        if node.asked:
            node.core.handle_announcement(node.asked.pop(), ETH0.index, FOREIGN_MAC, node.now)
        assert not node.answers()
    (contest,) = {contested.node for contested in node.happened(Contested)}
    assert contest == FOREIGN_MAC.hex(":")
    node.run(2.0)
    assert node.answers()


@pytest.mark.parametrize("silence", [True, False], ids=["by silence", "by design"])
def test_who_is_alone_answers_at_once(silence: bool) -> None:
    node = lone(silence)
    node.run(0.05)
    assert node.answers()
    assert node.asked == ([VIP] if silence else [])


def test_once_others_are_known_a_strangers_answer_holds_nothing_up() -> None:
    node = lone()
    node.meet()
    node.core.withdraw("ns/a", VIP)
    node.run(1.0)
    node.core.win("ns/a", VIP, None, None, node.now)
    node.core.handle_announcement(VIP, ETH0.index, FOREIGN_MAC, node.now)
    node.run(0.1)
    assert node.answers()
