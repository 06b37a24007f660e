"""The failover core as a whole: whose word counts, what letters do, and what it tells of itself."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
)
from gossip.wire.messages import State
from ownership.io import HandedOver, LetterRefusal, Send
from ownership.letters import letters
from ownership.letters.courier import MAX_PAYLOAD
from ownership.letters.greeting import REFRESH, RETRY
from ownership.letters.letters import Hello, LetterKind, PeerLink
from ownership.letters.mark import Flags
from ownership.liveness.barred import Barred
from ownership.liveness.own_flags import BLIP, INTERVAL
from ownership.liveness.roster import Peer
from ownership.liveness.verdicts import Subject

# ---- our own word


def test_a_node_without_carrier_says_so_and_bars_itself() -> None:
    node = Node()
    node.peers(B)
    assert not node.core.flags
    node.links(replace(ETH0, carrier=False))
    assert not node.core.flags
    node.run(BLIP)
    assert node.core.flags is Flags.NO_LINK
    assert node.core.bars() == Barred(frozenset("a"), frozenset(), frozenset("ab"))


def test_a_link_that_no_service_needs_is_no_link() -> None:
    node = Node()
    node.core.set_needed(frozenset({"eth9"}), node.now)
    assert node.core.flags is Flags.NO_LINK


def test_flags_change_at_most_once_in_ten_seconds_but_leaving_at_once() -> None:
    node = Node()
    node.peers(B)
    node.links(replace(ETH0, carrier=False))
    node.run(BLIP)
    node.links(ETH0)
    node.run(INTERVAL - 0.1)
    assert node.core.flags is Flags.NO_LINK
    node.core.leave(node.now)
    assert node.core.flags & Flags.LEAVING
    assert "a" in node.core.bars().nodes


def test_a_link_that_lost_its_carrier_is_told_still() -> None:
    """Flags may not change again yet: then it takes witnesses to miss us there."""
    node = Node()
    node.meet()
    fallen = replace(ETH0, carrier=False)
    gossip = replace(ETH0, index=8, name="eth1", mac=b"\x02\0\0\0\1\x0a")
    never = replace(fallen, index=9, name="eth2")
    node.core.set_needed(frozenset({"eth0", "eth2"}), node.now)
    node.links(fallen, gossip, never)
    hello = of_kind(node.run(REFRESH + 1.0), LetterKind.HELLO)[-1]
    assert [link.name for link in letters.decode_hello(hello.payload).links] == ["eth0"]
    node.links(gossip, never)
    hello = of_kind(node.run(1.0), LetterKind.HELLO)[-1]
    assert letters.decode_hello(hello.payload).links == ()


# ---- whose word counts


@pytest.mark.parametrize("fast", [True, False])
def test_without_the_fast_verdict_only_a_nodes_own_word_bars_it(fast: bool) -> None:
    node = Node(fast=fast)
    node.peers(B, C)
    node.letter(LetterKind.GONE, "c", b"ens1", about="b")
    assert node.core.bars().links == ({Subject("b", "ens1")} if fast else frozenset())
    node.peers(replace(B, flags=Flags.NO_LINK), C)
    assert node.core.bars().nodes == {"b"}


@pytest.mark.parametrize(
    ("previous", "at_once"),
    [
        # We have just come: whoever answers is asked.
        (None, False),
        (replace(B, state=State.DEAD), False),
        # It left, so it handed over or answers until it hears us.
        (replace(B, state=State.LEFT), True),
        (replace(B, flags=Flags.LEAVING), False),
        (B, False),
        # MetalLB's speakers stop by themselves.
        (FOREIGN, True),
        (replace(FOREIGN, state=State.DEAD), True),
    ],
    ids=["nobody", "dead", "left", "leaving", "alive", "foreign", "foreign and dead"],
)
def test_all_but_who_follows_one_that_parted_or_is_no_clarion_ask_the_wire_first(
    previous: Peer | None, at_once: bool
) -> None:
    node = Node()
    node.meet()
    node.run(1.0)
    if previous is not None:
        node.peers(*(peer for peer in (B, C) if peer.name != previous.name), previous)
    node.core.win("ns/a", VIP, None, None if previous is None else previous.name, node.now)
    assert node.answers() is at_once
    assert [ask.ip for _, ask in node.core.asks()] == ([] if at_once else [VIP])


def test_an_owner_gone_by_the_fast_verdict_is_inherited_from_by_asking() -> None:
    node = Node()
    node.meet()
    node.run(1.0)
    node.answering.clear()
    node.answering.update(LINK_C.ips)
    node.run(0.6)
    # One witness is not enough.
    assert node.core.stats().missing == 1
    assert node.core.bars().links == frozenset()
    node.letter(LetterKind.GONE, "c", b"ens1", about="b")
    assert node.core.bars().links == {Subject("b", "ens1")}
    node.core.win("ns/a", VIP, None, "b", node.now)
    assert [ask.ip for _, ask in node.core.asks()] == [VIP]
    assert not node.answers()
    node.run(0.1)
    assert node.answers()
    assert node.happened(HandedOver)


def test_a_beat_and_no_announcement_proves_that_a_process_runs() -> None:
    """A kernel answers for an IP without its speaker, too."""
    node = Node()
    node.meet()
    node.letter(LetterKind.GONE, "c", about="b")
    assert node.core.bars().named == {"b"}
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    assert node.core.bars().named == {"b"}
    node.letter(LetterKind.BEAT, "b")
    assert node.core.bars().named == frozenset()


def test_who_announces_though_it_is_judged_gone_is_asked_and_its_answer_counts() -> None:
    """That it sends does not say that it hears: a deaf node must not take its IPs back."""
    node = Node()
    node.meet()
    node.run(1.0)
    node.answering.difference_update(LINK_B.ips)
    # So long that nobody is asked in a hurry any more.
    node.run(5.0)
    node.letter(LetterKind.GONE, "c", b"ens1", about="b")
    node.run(0.5)
    assert node.core.deadline() > node.now
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    assert node.core.deadline() <= node.now
    assert node.core.bars().named == {"b"}
    node.answering.update(LINK_B.ips)
    node.run(0.0)
    assert node.core.bars().named == frozenset()


@pytest.mark.parametrize("deaf", [True, False])
def test_who_learns_of_its_cut_after_it_answers_for_nothing_it_lost(deaf: bool) -> None:
    """Its heirs announced themselves while it could not hear them."""
    node = Node()
    node.meet()
    node.run(1.0)
    node.core.win("ns/a", VIP, None, None, node.now)
    node.run(0.1)
    assert node.answers()
    if deaf:
        node.answering.clear()
        node.run(0.4)
    node.letter(LetterKind.GONE, "b", b"eth0", about="a")
    node.core.lose("ns/a", VIP, "b", node.now)
    assert node.answers() is not deaf


def test_a_new_life_voids_the_verdict_on_the_last() -> None:
    node = Node()
    node.peers(B, C)
    node.letter(LetterKind.GONE, "c", b"ens1", about="b")
    node.peers(replace(B, start_id=9), C)
    assert node.core.bars() == Barred(clarion=frozenset("abc"))


# ---- when gossip believes everybody else dead


def test_in_a_cut_of_gossip_who_answers_keeps_its_ip() -> None:
    """c owns it; b, which gossip believed to be its heir, is declared dead after c."""
    node = Node()
    node.meet()
    node.run(1.0)
    node.peers(DEAD_B, DEAD_C)
    node.core.win("ns/a", VIP, None, "b", node.now)
    for _ in range(500):
        node.run(0.01)
        for ip in node.asked:
            node.core.handle_announcement(ip, ETH0.index, LINK_C.mac, node.now)
        node.asked.clear()
        assert not node.answers()
    assert node.core.stats().contested == 1


def test_a_machine_is_watched_though_gossip_believes_everybody_else_dead() -> None:
    """The process of the only other node died, and then its machine: now it may be announced."""
    node = Node()
    node.meet()
    node.run(1.0)
    node.peers(DEAD_B, DEAD_C)
    node.core.win("ns/a", VIP, None, "b", node.now)
    node.run(1.0)
    assert node.answers()
    assert node.announcer.transmits() == []
    node.answering.difference_update(LINK_B.ips)
    # A client's question proves our own link.
    for _ in range(10):
        node.core.handle_frames(ETH0.index, node.now)
        node.run(0.1)
    assert [sent.ip for sent in node.announcer.transmits()] == [VIP] * 3


# ---- a process that dies twice


@pytest.mark.parametrize("lived", [0.1, 1.9])
@pytest.mark.parametrize("known", ["by gossip", "by beats"])
def test_an_heir_stays_quiet_when_the_owner_dies_again_within_two_seconds(
    known: str, lived: float
) -> None:
    """The election leaves the IP with us meanwhile, as b is not ready to own."""
    node = Node()
    node.meet()
    node.run(1.0)
    node.letter(LetterKind.GONE, "c", about="b")
    node.core.win("ns/a", VIP, None, "b", node.now)
    node.run(1.0)
    assert node.answers()
    end = node.now + lived
    node.peers(replace(B, start_id=9), C)
    while node.now < end:
        node.letter(LetterKind.BEAT, "b")
        node.run(min(0.4, end - node.now))
    if known == "by gossip":
        node.peers(replace(DEAD_B, start_id=9), C)
    else:
        # Both witnesses' word, as soon as b's beats are late.
        node.run(1.9)
        node.letter(LetterKind.MISSING, "c", about="b")
    node.run(20.0)
    assert node.answers()
    assert node.announcer.transmits() == []


# ---- letters


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        (0, b"", LetterRefusal.UNKNOWN_KIND),
        (99, b"", LetterRefusal.UNKNOWN_KIND),
        (LetterKind.HELLO, b"", LetterRefusal.MALFORMED),
        (LetterKind.MISSING, b"n" * 16, LetterRefusal.MALFORMED),
        (LetterKind.GONE, b"\xff", LetterRefusal.MALFORMED),
        (LetterKind.YOURS, b"\x05", LetterRefusal.MALFORMED),
        (LetterKind.MINE, b"\x00", LetterRefusal.MALFORMED),
        (LetterKind.DENY, b"\x00", LetterRefusal.MALFORMED),
        (LetterKind.ASK, b"\x04", LetterRefusal.MALFORMED),
        (LetterKind.QUIET, b"", LetterRefusal.MALFORMED),
    ],
)
def test_what_makes_no_sense_is_refused_and_counted(
    kind: int, payload: bytes, reason: LetterRefusal
) -> None:
    node = Node()
    node.peers(B, C)
    node.letter(kind, "b", payload, about="c")
    assert node.core.stats().refused == {reason: 1}
    assert node.core.bars() == Barred(clarion=frozenset("abc"))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, max(LetterKind) + 1),
            st.sampled_from(["b", "c"]),
            st.sampled_from(["a", "b", "c", "m"]),
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from([b"", b"ens1", b"\x04\xc6\x33\x64\x01", b"\x01" * MAX_PAYLOAD]),
            ),
        ),
        max_size=12,
    )
)
def test_no_letter_ever_raises(story: list[tuple[int, str, str, bytes]]) -> None:
    node = Node()
    node.meet()
    node.core.win("ns/a", VIP, None, None, node.now)
    for kind, sender, about, payload in story:
        node.letter(kind, sender, payload, about)
        node.run(0.05)
    node.run(0.5)
    assert all(len(letter.payload) <= MAX_PAYLOAD for letter in node.letters)


def test_verdicts_on_links_nobody_has_are_bounded() -> None:
    """No sign of life can void them, so a peer gone mad must not pile them up."""
    node = Node()
    node.meet()
    for number in range(1_000):
        for kind in (LetterKind.GONE, LetterKind.MISSING):
            node.letter(kind, "c", b"x%d" % number, about="b")
    assert len(node.core.bars().links) <= letters.MOST_LINKS + 1


# ---- telling our links


def test_our_links_are_told_at_once_repeated_and_refreshed() -> None:
    node = Node()
    node.peers(B)
    node.letter(LetterKind.HELLO, "b", letters.encode_hello(Hello((LINK_B,))))
    ours = letters.encode_hello(Hello((PeerLink("eth0", ETH0.mac, (IPv4Address("192.0.2.1"),)),)))
    told = of_kind(node.run(5.0), LetterKind.HELLO)
    assert [letter for letter in told if letter.to is None] == [
        Send(LetterKind.HELLO, "a", ours)
    ] * 3
    assert len(of_kind(node.run(REFRESH), LetterKind.HELLO)) == 1


def test_a_link_that_changes_is_told_at_once() -> None:
    node = Node()
    node.peers(B)
    node.letter(LetterKind.HELLO, "b", letters.encode_hello(Hello((LINK_B,))))
    node.run(5.0)
    node.links(replace(ETH0, mac=b"\x02\0\0\0\0\x0f"))
    [first, *_] = of_kind(node.run(0.1), LetterKind.HELLO)
    assert letters.decode_hello(first.payload).links[0].mac == b"\x02\0\0\0\0\x0f"


def test_who_has_not_told_its_links_is_asked_every_second_until_it_has() -> None:
    node = Node()
    node.peers(B, FOREIGN)
    told = of_kind(node.run(5 * RETRY), LetterKind.HELLO)
    asked = [letter for letter in told if letters.decode_hello(letter.payload).asks]
    assert {letter.to for letter in asked} == {("b",)}
    assert len(asked) == pytest.approx(6, abs=1)
    node.letter(LetterKind.HELLO, "b", letters.encode_hello(Hello((LINK_B,))))
    node.run(RETRY)
    assert of_kind(node.run(20.0), LetterKind.HELLO) == []


def test_who_asks_for_our_links_is_told() -> None:
    node = Node()
    node.peers(B)
    node.letter(LetterKind.HELLO, "b", letters.encode_hello(Hello((LINK_B,), asks=True)))
    answers = [letter for letter in node.core.letters() if letter.to == ("b",)]
    assert [letters.decode_hello(letter.payload).asks for letter in answers] == [False]


# ---- the own link


def test_a_link_that_heard_nobody_for_long_is_held_until_contact() -> None:
    """Others may have taken over meanwhile: contact before claim."""
    node = Node()
    node.meet()
    node.run(2.0)
    answering, node.answering = node.answering, set()
    node.run(1.0)
    assert node.contact.open(ETH0.index)
    node.core.handle_frames(ETH0.index, node.now)
    assert not node.contact.open(ETH0.index)
    node.answering = answering
    node.run(1.5)
    assert node.contact.open(ETH0.index)


def test_a_link_that_was_quiet_for_a_moment_is_not_held() -> None:
    node = Node()
    node.meet()
    node.run(2.0)
    answering, node.answering = node.answering, set()
    node.run(0.1)
    node.answering = answering
    node.run(1.0)
    assert node.contact.open(ETH0.index)


# ---- handing over


def test_what_is_being_handed_over_is_counted_and_asked_for() -> None:
    node = Node()
    node.meet()
    node.core.win("ns/a", VIP, None, None, node.now)
    node.run(1.0)
    node.core.lose("ns/a", VIP, "b", node.now)
    assert node.core.handing_over(foreign=False) == 1
    assert [letter.to for letter in of_kind(node.run(0.05), LetterKind.YOURS)] == [("b",)]
    [claim] = letters.encode_ips([VIP])
    node.letter(LetterKind.MINE, "b", claim)
    assert node.core.handing_over(foreign=True) == 0
    assert not node.answers()


def test_a_winner_is_heard_on_the_wire() -> None:
    node = Node()
    node.meet()
    node.core.win("ns/a", VIP, None, None, node.now)
    node.core.lose("ns/a", VIP, "b", node.now)
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    assert not node.answers()


def test_a_node_alone_has_nothing_to_wait_for_but_its_links() -> None:
    node = Node()
    node.run(5.0)
    assert node.core.requests() == []
    assert node.core.deadline() >= node.now + 10.0
