"""How IPs change hands on one node: what it answers and announces, what it writes to others."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from gossip.wire.messages import State
from link.drop import DropReason
from ownership.handover.heir import ANSWER_WITHIN, BACK_GRACE
from ownership.handover.loser import FOREIGN_GRACE
from ownership.handover.memory import ANNOUNCE_EVERY, CONFLICT_EVERY, SETTLED_AFTER, SIGHTING_KEPT
from ownership.letters.letters import LetterKind, PeerLink, decode_ips
from ownership.liveness.targets import KernelState
from succession_node import (
    ETH0,
    ETH1,
    FOREIGN,
    MAC_B,
    MAC_C,
    MAC_M,
    OTHER,
    VIP,
    B,
    C,
    Node,
    link,
    owning,
    quiet_heir,
)

# ---- beginning


@pytest.mark.parametrize("why", ["alone", "after one of MetalLB's", "after one that left"])
def test_what_nobody_can_answer_for_any_more_is_announced_at_once(why: str) -> None:
    """Who left has handed over, or answers until it hears us; MetalLB's speakers stop by
    themselves."""
    node, left = Node(), replace(B, state=State.LEFT)
    node.roster.set_peers(
        {"alone": [], "after one that left": [left, C]}.get(why, [B, FOREIGN]), node.now
    )
    node.win(after={"after one of MetalLB's": "m", "after one that left": "b"}.get(why))
    node.drain()
    assert node.answers()
    assert node.announced[0] == node.now
    assert node.asked == []


def test_who_has_just_come_asks_everybody_first_as_it_knows_of_no_owner_before_it() -> None:
    node = Node(links=2)
    node.win()
    assert not node.answers()
    assert [(item.index, ask.ip) for item, ask in node.core.asks()] == [(ETH0, VIP), (ETH1, VIP)]
    began = node.now
    node.run(0.1)
    assert node.answers()
    assert node.announced[0] - began == pytest.approx(ANSWER_WITHIN, abs=0.011)


def test_an_heir_asks_the_wire_once_and_waits_twenty_milliseconds() -> None:
    node = Node(links=2)
    node.win(heir_of="b")
    asked = node.core.asks()
    assert [(item.index, ask.ip) for item, ask in asked] == [(ETH0, VIP), (ETH1, VIP)]
    assert not node.answers()
    assert node.core.inherited_from() == {"b"}
    began = node.now
    node.run(0.1)
    assert node.answers()
    assert ANSWER_WITHIN <= node.announced[0] - began <= ANSWER_WITHIN + 0.011
    assert node.core.asks() == []
    assert node.announcer.serves(VIP, "ns/a")
    assert node.core.changed_services() == {"ns/a"}
    assert not node.core.changed_services()


def test_a_service_of_another_link_asks_only_there() -> None:
    node = Node(links=2)
    node.core.win("ns/a", VIP, frozenset({"eth1"}), "b", node.now)
    assert [item.index for item, _ in node.core.asks()] == [ETH1]


def test_an_owner_that_cannot_be_asked_is_inherited_from_at_once() -> None:
    """It never told its links, or has none here."""
    node = Node()
    node.roster.set_links("b", ())
    node.win(heir_of="b")
    assert node.answers()


def test_quiet_where_only_the_process_died_and_loud_when_the_machine_is_gone_too() -> None:
    node = Node(machine=KernelState.ANSWERS)
    node.win(heir_of="b")
    node.run(3.0)
    assert node.answers()
    assert node.announced == []
    node.machine = KernelState.SILENT
    node.run(0.1)
    assert node.announced


def test_a_quiet_ip_whose_service_is_changed_stays_quiet() -> None:
    """Somebody edits the service, or a second one shares the IP: no reason to tear connections."""
    node = quiet_heir()
    node.win()
    node.win(service="ns/b")
    node.run(1.0)
    assert node.answers()
    assert node.announced == []


def test_a_quiet_ip_is_announced_when_its_old_owner_is_back_and_ours_still() -> None:
    node = quiet_heir()
    node.core.handle_owner_back("b", node.now)
    node.run(BACK_GRACE - 0.1)
    assert node.announced == []
    node.run(0.2)
    assert node.announced


def test_a_quiet_ip_stays_so_when_its_owner_dies_again_before_it_was_heard() -> None:
    """It was back for a moment: connections through its kernel still live."""
    node = quiet_heir()
    node.lose("b")
    node.run(1.0)
    node.win(heir_of="b")
    node.run(10.0)
    assert node.answers()
    assert node.announced == []
    node.machine = KernelState.SILENT
    node.run(0.1)
    assert node.announced


def test_what_an_owner_gives_back_by_itself_is_announced() -> None:
    node = quiet_heir()
    node.lose("b")
    node.run(1.0)
    node.win()
    node.drain()
    assert node.announced


def test_what_was_taken_quietly_and_given_back_leaves_no_trace() -> None:
    node = quiet_heir()
    node.lose("b")
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    assert not node.answers()
    node.win()
    node.run(0.1)
    assert node.announced


def test_an_owner_that_answers_keeps_its_ip() -> None:
    """A cut of gossip alone moves nothing."""
    node = Node(machine=KernelState.ANSWERS)
    node.win(heir_of="b")
    for _ in range(30):
        node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
        node.run(0.1)
        assert not node.answers()
    assert not node.announcer.serves(VIP, "ns/a")
    assert not node.core.changed_services()
    assert node.core.contested == 1
    assert node.core.conflicts == 0


def test_one_that_answers_on_the_only_link_it_shares_with_us_keeps_the_ip() -> None:
    """Where it is no neighbour its silence means nothing."""
    node = Node(links=2, machine=KernelState.ANSWERS)
    node.roster.set_links("c", (PeerLink("ens", MAC_C, (IPv4Address("192.0.0.3"),)),))
    node.win(heir_of="b")
    node.core.handle_announcement(VIP, ETH0, MAC_C, node.now)
    node.run(0.1)
    assert not node.answers()
    assert node.kernels_asked == {("b", (ETH0, ETH1)), ("c", (ETH0,))}


def test_services_that_share_an_ip_are_inherited_together() -> None:
    node = Node()
    node.win(heir_of="b")
    node.win(heir_of="b", service="ns/b")
    node.win(service="ns/c")
    assert not node.answers()
    node.run(0.1)
    for service in ("ns/a", "ns/b"):
        node.core.withdraw(service, VIP)
        assert node.answers()
    node.core.withdraw("ns/c", VIP)
    assert not node.answers()


@pytest.mark.parametrize("how", ["lost", "withdrawn"])
def test_a_takeover_that_is_no_longer_wanted_never_happens(how: str) -> None:
    node = Node()
    node.win(heir_of="b")
    if how == "lost":
        node.lose("b")
    else:
        node.core.withdraw("ns/a", VIP)
    node.run(5.0)
    assert not node.answers()
    assert node.announced == []
    assert node.core.inherited_from() == frozenset()
    assert {letter.kind for _, letter in node.letters} <= {LetterKind.ASK}


# ---- stopping


def test_the_loser_answers_on_and_asks_until_it_hears_the_winner() -> None:
    node = owning()
    node.lose("b")
    node.run(0.5)
    assert node.answers()
    assert {(letter.kind, letter.to) for _, letter in node.letters} == {(LetterKind.YOURS, ("b",))}
    assert decode_ips(node.letters[0][1].payload) == {VIP}
    assert len(node.letters) == pytest.approx(5, abs=1)
    assert node.core.pending(foreign=False) == 1
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    assert not node.answers()
    assert node.core.changed_services() == {"ns/a"}
    assert node.core.pending(foreign=True) == 0


def test_each_link_is_given_up_by_itself() -> None:
    node = owning(links=2)
    node.lose("b")
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    assert node.announcer.answers(VIP, ETH0) is DropReason.HANDED_OVER
    assert node.answers(ETH1)
    node.core.handle_announcement(VIP, ETH1, MAC_B, node.now)
    assert node.announcer.answers(VIP, ETH1) is DropReason.NOT_ANNOUNCED


def test_who_heard_nobody_for_a_while_stops_at_once() -> None:
    """The winner may have announced itself meanwhile: it would be two that answer."""
    node = owning(links=2)
    node.deaf = {ETH0}
    node.lose("b")
    assert (node.answers(ETH0), node.answers(ETH1)) == (False, True)
    node.core.handle_announcement(VIP, ETH1, MAC_B, node.now)
    assert not node.answers(ETH1)
    assert not node.core.pending(foreign=True)

    node = owning()
    node.deaf = {ETH0}
    node.lose("b")
    assert not node.answers()
    assert not node.core.pending(foreign=True)
    node.deaf.clear()
    node.win()
    node.run(0.1)
    assert node.answers()
    assert node.announced


def test_for_a_foreign_winner_the_deaf_answer_on() -> None:
    node = owning()
    node.deaf = {ETH0}
    node.lose("m")
    assert node.answers()


def test_a_claim_of_the_winner_is_as_good_as_its_announcement() -> None:
    node = owning(links=2)
    node.lose("b")
    node.core.handle_mine([OTHER], "b", node.now)
    assert node.answers()
    node.core.handle_mine([VIP], "b", node.now)
    assert not node.answers()


@pytest.mark.parametrize("mac", [MAC_M, b"\x02\0\0\0\0\x99"])
def test_a_strangers_announcement_ends_no_hand_over_to_a_clarion(mac: bytes) -> None:
    node = owning()
    node.lose("b")
    node.core.handle_announcement(VIP, ETH0, mac, node.now)
    assert node.answers()


@pytest.mark.parametrize("heard", [False, True])
def test_a_foreign_winner_gets_two_seconds_unless_it_is_heard(heard: bool) -> None:
    node = owning()
    node.lose("m")
    node.run(FOREIGN_GRACE - 0.05)
    assert node.answers()
    assert node.core.pending(foreign=False) == 0
    assert node.core.pending(foreign=True) == 1
    assert node.letters == []
    if heard:
        node.core.handle_announcement(VIP, ETH0, MAC_M, node.now)
    else:
        node.run(0.1)
    assert not node.answers()


@pytest.mark.parametrize("winner", [None, "nobody", "b"])
def test_without_a_living_winner_there_is_nobody_to_wait_for(winner: str | None) -> None:
    node = owning()
    node.roster.set_peers([replace(B, state=State.DEAD)], node.now)
    node.lose(winner)
    assert not node.answers()


@pytest.mark.parametrize(
    ("ago", "answers"), [(SIGHTING_KEPT - 0.1, False), (SIGHTING_KEPT + 0.1, True)]
)
def test_a_winner_that_was_heard_just_before_was_heard(ago: float, answers: bool) -> None:
    node = owning()
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    node.run(ago)
    node.lose("b")
    assert node.answers() is answers


def test_an_ip_that_comes_back_during_the_hand_over_is_announced_on_all_links() -> None:
    node = owning(links=2)
    node.lose("b")
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    node.win(heir_of="b")
    node.drain()
    assert node.answers(ETH0)
    assert node.answers(ETH1)
    assert node.announced
    node.run(1.0)
    assert node.letters == []


def test_an_ip_that_no_service_wants_is_not_handed_over() -> None:
    node = owning()
    node.lose("b")
    node.core.withdraw("ns/a", VIP)
    assert not node.answers()
    node.run(1.0)
    assert node.letters == []


def test_a_quiet_heir_whose_owner_is_back_answers_until_it_hears_it() -> None:
    node = quiet_heir()
    node.lose("b")
    node.run(0.2)
    assert node.answers()
    assert node.announced == []
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    assert not node.answers()


# ---- being asked


def test_a_winner_that_is_asked_claims_at_once_and_announces_again_soon() -> None:
    node = owning()
    node.core.handle_yours([VIP, OTHER], "b", node.now)
    node.drain()
    [(_, letter)] = node.letters
    assert (letter.kind, letter.about, letter.to) == (LetterKind.MINE, "a", ("b",))
    assert decode_ips(letter.payload) == {VIP}
    assert node.announced == []
    began = node.now
    node.run(2 * SETTLED_AFTER)
    assert node.announced[0] - began == pytest.approx(SETTLED_AFTER, abs=0.011)


def test_a_winner_that_is_one_no_more_a_moment_later_announces_nothing() -> None:
    """Where a partition heals it learns of a better one: clients were told twice."""
    node = owning()
    node.core.handle_yours([VIP], "b", node.now)
    node.run(SETTLED_AFTER / 2)
    node.lose("b")
    node.run(2.0)
    assert node.announced == []


def test_a_winner_that_is_asked_all_the_time_announces_five_times_a_second() -> None:
    node = owning()
    node.core.handle_yours([VIP], "b", node.now)
    node.run(0.5)
    once = len(node.announced)
    node.announced.clear()
    for _ in range(200):
        node.core.handle_yours([VIP], "b", node.now)
        node.run(0.01)
    assert len(node.announced) / once == pytest.approx(2.0 / ANNOUNCE_EVERY, abs=1.5)


def test_a_quiet_heir_that_is_asked_claims_by_letter_alone() -> None:
    node = Node(machine=KernelState.ANSWERS)
    node.win(heir_of="b")
    node.run(0.2)
    node.core.handle_yours([VIP], "b", node.now)
    node.run(2 * SETTLED_AFTER)
    assert node.announced == []
    assert len(node.told(LetterKind.MINE)) == 1


@pytest.mark.parametrize("state", ["not ours", "handing over", "no carrier"])
def test_who_does_not_answer_claims_nothing(state: str) -> None:
    node = Node() if state == "not ours" else owning()
    if state == "handing over":
        node.lose("b")
    elif state == "no carrier":
        node.announcer.set_interfaces({ETH0: replace(link(ETH0), carrier=False)}, node.now)
    node.core.handle_yours([VIP], "b", node.now)
    assert node.core.letters() == []


def test_an_heir_that_is_asked_by_who_answers_takes_over_at_once() -> None:
    node = Node(machine=KernelState.ANSWERS)
    node.win(heir_of="b")
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    node.core.handle_yours([VIP], "b", node.now)
    node.drain()
    assert node.answers()
    assert node.announced
    assert [letter.to for letter in node.told(LetterKind.MINE)] == [("b",)]


def test_another_winner_while_handing_over_is_asked_instead() -> None:
    node = owning()
    node.roster.set_peers([B, FOREIGN, replace(B, name="d", start_id=3)], node.now)
    node.core.note_move("ns/a", VIP, "b", "d", node.now)
    assert node.core.pending(foreign=True) == 0
    node.lose("b")
    node.core.note_move("ns/a", VIP, "b", "d", node.now)
    node.run(0.05)
    assert [letter.to for _, letter in node.letters] == [("d",)]
    assert node.answers()


def test_what_is_lost_is_announced_no_more() -> None:
    node = Node()
    node.win()
    node.run(0.5)
    node.lose("b")
    node.announced.clear()
    node.run(10.0)
    assert node.answers()
    assert node.announced == []


# ---- conflicts


def test_somebody_else_with_our_ip_is_a_conflict_counted_every_ten_seconds() -> None:
    node = owning()
    for _ in range(50):
        node.core.handle_announcement(VIP, ETH0, MAC_M, node.now)
        node.run(0.1)
    assert node.core.conflicts == 1
    node.run(CONFLICT_EVERY + 0.1)
    node.core.handle_announcement(VIP, ETH0, MAC_M, node.now)
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    assert node.core.conflicts == 3
    # Only one of the two has told us its MAC.
    assert node.core.foreign == 2
    assert node.answers()


def test_others_ips_are_no_conflict() -> None:
    node = owning()
    node.core.handle_announcement(OTHER, ETH0, MAC_M, node.now)
    assert node.core.conflicts == 0
