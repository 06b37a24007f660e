"""IPs that come from living owners, or go through several heirs: questions, grants, letters."""

from ipaddress import IPv4Address

import pytest

from ownership.handover.heir import ANSWER_WITHIN
from ownership.handover.loser import FOREIGN_ASK
from ownership.handover.memory import REMINDERS
from ownership.handover.succession import GRANT_KEPT
from ownership.io import Ask, Contest, ForeignAnswer, Send
from ownership.letters.letters import (
    LetterKind,
    PeerLink,
    Quiet,
    decode_ips,
    decode_quiet,
    encode_ips,
)
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
    owning,
    quiet_heir,
)

LINK_C = PeerLink("ens", MAC_C, (IPv4Address("192.0.0.3"),))


def meet_c(node: Node) -> Node:
    """A third Clarion, on the same segment."""
    node.roster.set_peers([B, C, FOREIGN], node.now)
    node.roster.set_links("c", (LINK_C,))
    return node


# ---- from a living owner


def after_living(machine: KernelState = KernelState.ANSWERS) -> Node:
    """The election gave it VIP, which b owned, and b lives."""
    node = Node(machine=machine)
    node.win(after="b")
    return node


def test_a_living_owner_is_asked_on_the_wire_and_by_letter_before_its_ip_is_taken() -> None:
    node = after_living()
    assert not node.answers()
    node.drain()
    [ask] = node.told(LetterKind.ASK)
    assert ask.to == ("b",)
    assert decode_ips(ask.payload) == {VIP}
    assert [ask for _, ask in node.asked] == [Ask(VIP, ETH0)]
    node.run(0.1)
    assert node.announced


def test_a_living_owner_that_answers_is_waited_for_until_it_hands_over() -> None:
    """It may not know yet that it lost."""
    node = after_living()
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    node.run(0.5)
    assert not node.answers()
    node.core.handle_yours([VIP], "b", node.now)
    node.drain()
    assert node.answers()
    assert node.announced


@pytest.mark.parametrize(
    ("ago", "at_once"), [(GRANT_KEPT - 0.1, True), (GRANT_KEPT + 0.1, False)], ids=str
)
def test_who_hands_over_before_we_know_that_we_won_is_taken_at_its_word(
    ago: float, at_once: bool
) -> None:
    node = Node(machine=KernelState.ANSWERS)
    node.core.handle_yours([VIP], "b", node.now)
    node.run(ago)
    assert not node.answers()
    node.win(after="b")
    assert node.answers() is at_once


# ---- heirs of heirs


def test_a_quiet_heir_that_loses_says_from_whom_it_had_the_ip_and_where_that_one_is() -> None:
    """The next heir may never have known it, and is to be as quiet."""
    node = meet_c(quiet_heir())
    node.lose("c")
    node.run(0.05)
    [letter] = node.told(LetterKind.QUIET)
    assert letter.to == ("c",)
    links = node.roster.links("b")
    assert links
    assert decode_quiet(letter.payload) == Quiet("b", links, frozenset({VIP}))
    assert node.told(LetterKind.YOURS) == []


def test_a_quiet_heir_gives_back_to_the_owner_itself_in_plain_words() -> None:
    node = quiet_heir()
    node.lose("b")
    node.run(0.05)
    assert node.told(LetterKind.QUIET) == []
    assert node.told(LetterKind.YOURS)


def test_an_heir_that_announced_loses_in_plain_words() -> None:
    node = meet_c(Node())
    node.win(heir_of="b")
    node.run(1.0)
    node.lose("c")
    node.run(0.05)
    assert node.told(LetterKind.QUIET) == []
    assert node.told(LetterKind.YOURS)


def test_what_another_took_over_quietly_is_taken_from_it_quietly() -> None:
    """Clients send to the first owner's machine, which lives."""
    node = meet_c(Node(machines={"b": KernelState.ANSWERS, "c": KernelState.ANSWERS}))
    node.gone.add("b")
    node.win(after="c")
    node.core.handle_yours([VIP], "c", node.now, frozenset({"b"}))
    node.run(5.0)
    assert node.answers()
    assert node.announced == []
    assert node.core.inherited_from() == {"b"}
    assert node.core.quiet_takes() == [VIP]
    assert node.core.quiet_takes() == []
    node.machines["b"] = KernelState.SILENT
    node.run(0.1)
    assert node.announced


def test_an_heir_of_a_quiet_heir_that_died_asks_the_first_owners_machine_too() -> None:
    """It was told by the election alone who owned the IP, one after the other."""
    node = meet_c(Node(machines={"b": KernelState.ANSWERS, "c": KernelState.SILENT}))
    node.gone.add("b")
    node.core.note_move("ns/a", VIP, "b", "c", node.now)
    node.run(5.0)
    node.win(heir_of="c")
    assert node.core.inherited_from() == {"b", "c"}
    node.run(5.0)
    assert node.answers()
    assert node.announced == []


def test_an_owner_that_lives_again_is_no_dead_owner() -> None:
    node = meet_c(Node(machines={"b": KernelState.ANSWERS, "c": KernelState.SILENT}))
    node.gone.add("b")
    node.core.note_move("ns/a", VIP, "b", "c", node.now)
    node.gone.discard("b")
    node.win(heir_of="c")
    assert node.core.inherited_from() == {"c"}
    node.run(0.1)
    assert node.announced


def test_who_owned_and_left_is_no_dead_owner() -> None:
    node = meet_c(Node(machine=KernelState.ANSWERS))
    node.core.note_move("ns/a", VIP, "b", "c", node.now)
    node.gone.add("b")
    node.win(after="c")
    assert node.core.inherited_from() == frozenset()


def test_who_took_it_quietly_and_gave_it_away_is_quiet_once_more_after_the_next_heir() -> None:
    """Through any number of heirs: the first owner's machine still forwards."""
    node = meet_c(quiet_heir())
    node.lose("c")
    node.core.handle_announcement(VIP, ETH0, MAC_C, node.now)
    assert not node.answers()
    node.run(5.0)
    node.machines["c"] = KernelState.SILENT
    node.win(heir_of="c")
    node.run(5.0)
    assert node.answers()
    assert node.announced == []


@pytest.mark.parametrize("how", ["lost", "withdrawn"])
def test_one_whose_process_died_while_it_contested_is_remembered_as_an_owner(how: str) -> None:
    """No election ever told that it was one."""
    node = meet_c(Node(machines={"c": KernelState.ANSWERS}))
    node.win(heir_of="b")
    node.core.handle_announcement(VIP, ETH0, MAC_C, node.now)
    node.run(5.0)
    assert node.core.inherited_from() == {"b", "c"}
    assert node.announced == []
    node.gone.add("c")
    if how == "lost":
        node.lose("b")
        node.core.handle_mine([VIP], "b", node.now)
        node.win(heir_of="b")
    else:
        node.core.withdraw("ns/a", VIP)
        node.win()
    assert "c" in node.core.inherited_from()
    node.run(5.0)
    assert node.answers()
    assert node.announced == []


# ---- questions of others


def test_who_is_asked_claims_what_it_answers_for_and_denies_the_rest() -> None:
    node = owning()
    node.core.handle_ask([OTHER, VIP], "c")
    assert node.core.letters() == [
        Send(kind, "a", payload, ("c",))
        for kind, ips in ((LetterKind.MINE, [VIP]), (LetterKind.DENY, [OTHER]))
        for payload in encode_ips(ips)
    ]


def test_what_is_being_handed_over_is_neither_claimed_nor_denied() -> None:
    """Its winner is told by another letter that it is its own."""
    node = owning()
    node.lose("b")
    node.core.handle_ask([VIP], "b")
    assert node.core.letters() == []


def test_who_waits_for_a_takeover_itself_does_not_answer_for_the_ip() -> None:
    node = after_living()
    node.core.letters()
    node.core.handle_ask([VIP], "c")
    assert [letter.kind for letter in node.core.letters()] == [LetterKind.DENY]


def test_a_claim_by_letter_keeps_an_heir_away() -> None:
    node = Node()
    node.win(heir_of="b")
    node.core.handle_mine([VIP], "b", node.now)
    node.run(1.0)
    assert not node.answers()
    assert node.core.contested == 1


# ---- who keeps us from what is ours


def test_a_contest_is_told_with_the_mac_that_answers() -> None:
    node = Node(machine=KernelState.ANSWERS)
    node.win(heir_of="b")
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    node.run(0.1)
    assert node.core.contests() == [(Contest(VIP, "b"), MAC_B)]
    assert node.core.contests() == []


def test_a_contest_by_letter_alone_is_told_without_a_mac() -> None:
    node = Node()
    node.win(heir_of="b")
    node.core.handle_mine([VIP], "b", node.now)
    node.run(0.1)
    assert node.core.contests() == [(Contest(VIP, "b"), None)]


def test_a_kernel_that_answers_without_its_speaker_is_named_and_holds_nothing_up() -> None:
    node = meet_c(Node(machines={"c": KernelState.ANSWERS}))
    node.win(heir_of="b")
    node.core.handle_announcement(VIP, ETH0, MAC_C, node.now)
    node.drain()
    assert {letter.to for letter in node.told(LetterKind.ASK)} == {("b",), ("c",)}
    node.core.handle_denial([VIP], "c", node.now)
    node.run(0.1)
    assert node.core.foreign_answers() == [ForeignAnswer(VIP, "c")]
    assert node.core.foreign_answers() == []
    assert node.answers()


# ---- who is cut off


def test_who_hears_nobody_since_it_won_takes_nothing_over() -> None:
    node = Node(cut_off=True)
    node.win(heir_of="b")
    node.run(5.0)
    assert not node.answers()
    assert node.core.unheard()
    node.cut_off = False
    node.run(0.1)
    assert node.answers()


def test_who_was_cut_off_asks_anew_before_it_takes_anything_over() -> None:
    node = Node(cut_off=True)
    node.win(heir_of="b")
    node.run(5.0)
    node.asked.clear()
    node.cut_off = False
    node.core.handle_link_return(node.now)
    node.run(ANSWER_WITHIN / 2)
    assert not node.answers()
    assert [ask for _, ask in node.asked] == [Ask(VIP, ETH0)]
    node.run(0.1)
    assert node.answers()


# ---- losing, by which plan and to whom


def test_a_foreign_winner_is_asked_on_the_wire_and_given_way_to_when_it_answers() -> None:
    """One that stood still never lost the IP: it announces nothing, but answers."""
    node = owning(links=2)
    node.lose("m")
    node.run(0.2)
    asked = [ask for _, ask in node.asked]
    assert set(asked) == {Ask(VIP, ETH0), Ask(VIP, ETH1)}
    assert len(asked) == pytest.approx(2 * 0.2 / FOREIGN_ASK, abs=2)
    node.core.handle_announcement(VIP, ETH0, MAC_M, node.now)
    assert not node.answers(ETH0)
    node.asked.clear()
    node.run(0.2)
    assert {ask for _, ask in node.asked} == {Ask(VIP, ETH1)}


@pytest.mark.parametrize(("heard", "lasts"), [(True, 0.0), (False, 5.0)])
def test_a_winner_by_our_own_plan_has_a_time_in_which_to_be_heard(
    heard: bool, lasts: float
) -> None:
    """It may not have read the plan yet; and if it never does, nobody may answer by ours."""
    node = owning()
    node.core.lose("ns/a", VIP, "b", node.now, 5.0)
    if heard:
        node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    else:
        node.run(lasts - 0.1)
        assert node.answers()
        node.run(0.2)
    assert not node.answers()
    assert node.core.changed_services() == {"ns/a"}


@pytest.mark.parametrize("by_plan", [True, False])
def test_that_nobody_owns_it_ends_no_hand_over_by_our_own_plan(by_plan: bool) -> None:
    """The election says so in the same turn, before the plan's withdrawal or after it."""
    node = owning()
    node.core.lose("ns/a", VIP, "b", node.now, *((5.0,) if by_plan else ()))
    node.core.note_move("ns/a", VIP, "a", None, node.now)
    assert node.answers() == by_plan


@pytest.mark.parametrize("since", ["nothing", "answered", "won again"])
def test_whoever_owns_later_what_we_stopped_answering_for_is_told_so_some_times(since: str) -> None:
    """As after a lost majority: our clients may believe us still. Who answers a question of ours
    has announced nothing for that."""
    node = meet_c(owning())
    node.core.lose("ns/a", VIP, None, node.now)
    assert not node.answers()
    if since == "answered":
        node.core.handle_mine([VIP], "b", node.now)
    elif since == "won again":
        node.win()
        node.run(0.1)
    node.letters.clear()
    node.core.note_move("ns/a", VIP, None, "c", node.now)
    node.run(5.0)
    expected = 0 if since == "won again" else REMINDERS
    assert [letter.to for letter in node.told(LetterKind.YOURS)] == [("c",)] * expected


def test_who_is_told_is_the_winner_whoever_else_answered() -> None:
    """Where three groups meet, another heir may answer before the owner does."""
    node = meet_c(owning())
    node.core.handle_announcement(VIP, ETH0, MAC_C, node.now, alone=True)
    node.lose("b")
    assert not node.answers()
    node.run(0.05)
    assert [letter.to for letter in node.told(LetterKind.YOURS)] == [("b",)]


@pytest.mark.parametrize("answer", [True, False])
def test_a_winner_that_only_answered_our_question_is_told_to_announce_itself(answer: bool) -> None:
    """As where a partition heals: the wire is asked for its IPs before gossip knows it again. Its
    answer comes to us alone, an announcement to all."""
    node = meet_c(owning())
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now, alone=answer)
    node.lose("b")
    assert not node.answers()
    node.run(0.05)
    assert [letter.to for letter in node.told(LetterKind.YOURS)] == [("b",)] * answer
    node.core.handle_mine([VIP], "b", node.now)
    node.letters.clear()
    node.run(5.0)
    assert not node.told(LetterKind.YOURS)


def test_who_wins_back_what_it_stopped_and_loses_it_before_it_is_taken_tells_the_winner() -> None:
    node = meet_c(owning())
    node.core.lose("ns/a", VIP, None, node.now)
    node.win()
    node.lose("c")
    node.run(0.05)
    assert not node.answers()
    assert [letter.to for letter in node.told(LetterKind.YOURS)] == [("c",)]


def test_a_later_owner_that_claims_the_ip_is_told_no_more() -> None:
    node = meet_c(owning())
    node.core.lose("ns/a", VIP, None, node.now)
    node.core.note_move("ns/a", VIP, None, "c", node.now)
    node.run(0.05)
    assert len(node.told(LetterKind.YOURS)) == 1
    node.core.handle_mine([VIP], "c", node.now)
    node.run(5.0)
    assert len(node.told(LetterKind.YOURS)) == 1


def test_an_ip_that_another_service_of_ours_has_too_is_not_handed_over() -> None:
    """Two services of one IP have two owners: we answer on for the other one."""
    node = owning()
    node.win(service="ns/b")
    node.lose("b")
    node.run(1.5)
    assert node.answers()
    assert node.core.pending(foreign=True) == 0
    assert node.told(LetterKind.YOURS) == []
    node.lose("b", service="ns/b")
    node.run(0.05)
    assert node.told(LetterKind.YOURS)


def test_an_ip_that_all_its_services_lose_together_is_handed_over_for_all() -> None:
    node = owning()
    node.win(service="ns/b")
    for service in ("ns/a", "ns/b"):
        node.lose("b", service=service)
    node.run(0.05)
    assert node.answers()
    node.core.handle_announcement(VIP, ETH0, MAC_B, node.now)
    assert not node.answers()
