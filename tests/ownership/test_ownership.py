"""The order within a turn: what is taken first, what waits for the next bite, what a failure costs.

The rules are the parts' and tested there. Time is virtual, the parts are the real ones.
"""

import random
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from failover_node import ETH0, B, C, Node
from gossip.io import Address, Exchanged, Gone, MemberView
from gossip.wire.messages import CURRENT_VSN, State
from ownership.contact import START_SILENCE, Contact
from ownership.election.election import order
from ownership.election.quorum import Quorum, QuorumMode
from ownership.failover import Failover
from ownership.io import (
    BarsChanged,
    Confirmed,
    Failed,
    HandedOver,
    Held,
    Lost,
    Moved,
    OwnershipEvent,
    PutOff,
    QuorumChanged,
    Released,
    TookQuietly,
    Won,
)
from ownership.letters.courier import Letter
from ownership.letters.letters import LetterKind
from ownership.ownership import Ownership
from plan.service import ServicePlan, Withheld

FIRST = IPv4Address("198.51.100.1")
MANY = 40
NAMES = frozenset("abc")


def never() -> bool:
    return False


def at_once() -> bool:
    return True


def plan_of(number: int) -> ServicePlan:
    ip = FIRST + number
    return ServicePlan(f"ns/s{number:02}", (ip,), str(ip), None, voters=NAMES)


class Heart(Node):
    """Node a with everything that owning takes; b and c live, and the link works."""

    def __init__(self, mode: QuorumMode = QuorumMode.OFF) -> None:
        super().__init__()
        quorum = Quorum(mode)
        self.heart = Ownership("a", self.contact, self.announcer, self.core, quorum)
        self.meet()
        self.run(2.0)

    def plan(self, services: int = MANY) -> None:
        for number in range(services):
            self.heart.set_plan(f"ns/s{number:02}", plan_of(number), "configuration")

    def settle(self, enough: Any = never) -> list[OwnershipEvent]:
        self.heart.settle(self.now, enough)
        return self.heart.events()

    def live(self, *names: str) -> None:
        self.heart.set_living(frozenset(names))

    def mine(self) -> set[str]:
        """The services that a owns while all live."""
        numbers = range(MANY)
        return {f"ns/s{n:02}" for n in numbers if order(NAMES, str(FIRST + n))[0] == "a"}


def known(*names: str) -> Heart:
    heart = Heart()
    heart.plan()
    heart.live(*names)
    return heart


# ---- bites


def test_bites_end_where_one_settle_does() -> None:
    whole, bitten = known("a", "b", "c"), known("a", "b", "c")
    at_a_time, turns = list[int](), 0
    together = whole.settle()
    apart = list[OwnershipEvent]()
    while bitten.heart.busy:
        some = bitten.settle(at_once)
        at_a_time.append(sum(isinstance(event, (Won, Moved)) for event in some))
        apart += some
        turns += 1
    assert not whole.heart.busy
    assert apart == together
    assert max(at_a_time) == 1
    assert turns >= MANY
    assert set(whole.heart.services()) == set(bitten.heart.services()) == whole.mine()


def test_nothing_new_is_taken_up_before_all_is_elected() -> None:
    heart = known("a", "b", "c")
    heart.settle()
    gone = sorted(heart.mine())[0]
    heart.live("a")
    heart.heart.set_plan(gone, None, "configuration")
    assert heart.heart.electing
    events = heart.settle(at_once)
    assert [type(event) for event in events] == [Moved, Lost]
    assert gone not in heart.heart.services()
    assert heart.heart.electing


def test_answers_flow_again_only_when_everything_is_in_line() -> None:
    """What others own by now must be given up before contact lets us answer for it."""
    heart = known("a", "b", "c")
    heart.settle()
    held = heart.mine()
    heart.contact.handle_link_return(ETH0.index, 5.0, heart.now)
    assert [type(event) for event in heart.settle()] == [Held]
    for service in held:
        number = int(service[-2:])
        barred = replace(plan_of(number), withheld=Withheld.NO_MATCHING_ADVERTISEMENT)
        heart.heart.set_plan(service, barred, "configuration")
    heart.heart.handle_gossip(Exchanged(Address("192.0.2.2", 7946), heart.now, True), heart.now)
    while heart.heart.busy:
        assert not heart.contact.open(ETH0.index)
        events = heart.settle(at_once)
    assert isinstance(events[-1], Released)
    assert heart.contact.open(ETH0.index)
    assert not heart.heart.services()


# ---- who is held


def test_who_is_held_takes_nothing_up_and_gives_up_what_it_lost() -> None:
    heart = known("a", "b", "c")
    heart.settle()
    before = heart.mine()
    heart.contact.tick(heart.now)
    heart.now += 30.0
    assert heart.heart.tick(heart.now)
    heart.live("a")
    heart.heart.set_plan(min(before), None, "configuration")
    events = heart.settle()
    assert any(isinstance(event, Lost) for event in events)
    assert not any(isinstance(event, Won) for event in events)
    assert set(heart.heart.services()) == before - {min(before)}
    assert heart.heart.unfinished
    assert not heart.heart.busy


def test_what_silence_gives_is_asked_for_before_it_is_answered_for() -> None:
    """A lone starter: each of its IPs is asked for as it is taken up, none is taken up twice."""
    heart = Heart()
    contact = Contact(heart.now)
    heart.announcer._contact = contact
    core = Failover("a", None, heart.announcer, contact, random.Random(1), heart.now)
    core.set_interfaces({ETH0.index: ETH0}, heart.now)
    lone = Ownership("a", contact, heart.announcer, core, Quorum(QuorumMode.OFF))
    lone.note_seeking(heart.now)
    lone.set_plan("ns/s00", plan_of(0), "configuration")
    lone.set_living(frozenset("a"))
    end = heart.now + START_SILENCE
    while heart.now < end:
        lone.settle(heart.now, never)
        heart.now = min(end, heart.now + 0.2)
        lone.tick(heart.now)
    assert not any(isinstance(event, Won) for event in lone.events())
    lone.settle(heart.now, never)
    assert [type(event) for event in lone.events()] == [Won, Released]
    assert [ask.ip for _, ask in core.asks()] == [FIRST]
    assert heart.announcer.answers(FIRST, ETH0.index) is not None
    assert not heart.announcer.transmits()


# ---- failures


def test_one_service_that_fails_costs_no_other_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heart = known("a", "b", "c")
    bad, real = min(heart.mine()), Failover.win

    def won(self: Failover, service: str, *about: Any) -> None:
        if service == bad:
            raise LookupError("injected")
        real(self, service, *about)

    monkeypatch.setattr(Failover, "win", won)
    failed = [event for event in heart.settle() if isinstance(event, Failed)]
    assert [(event.service, str(event.error)) for event in failed] == [(bad, "injected")]
    assert not heart.heart.busy
    heart.run(0.1)
    good = {f"ns/s{n:02}" for n in range(MANY) if heart.announcer.wants(FIRST + n)}
    assert good == heart.mine() - {bad}
    monkeypatch.undo()
    heart.heart.look_again(bad, failed[0].reason)
    heart.settle()
    heart.run(0.1)
    assert heart.announcer.wants(FIRST + int(bad[-2:]))


# ---- who lives, and what it takes


def test_a_death_moves_only_what_the_dead_owned_and_says_why() -> None:
    heart = known("a", "b", "c")
    heart.settle()
    dead = MemberView("b", Address("192.0.2.2", 7946), State.DEAD, 1, b"", CURRENT_VSN, own=False)
    heart.heart.handle_gossip(Gone(dead), heart.now)
    assert heart.heart.wants_members
    heart.heart.set_peers([replace(B, state=State.DEAD), C], heart.now)
    heart.live("a", "c")
    moved = [event.move for event in heart.settle() if isinstance(event, Moved)]
    assert {move.before for move in moved} == {"b"}
    assert {move.reason for move in moved} == {"member_dead"}
    assert {move.after for move in moved} == {"a", "c"}
    assert not heart.heart.wants_members


def test_without_a_majority_nothing_is_announced_and_it_is_told_once() -> None:
    heart = Heart(QuorumMode.MAJORITY)
    heart.plan()
    heart.live("a", "b", "c")
    assert heart.settle()[0] == QuorumChanged(MANY, 0)
    assert set(heart.heart.services()) == heart.mine()
    heart.live("a")
    events = heart.settle()
    assert events[0] == QuorumChanged(MANY, MANY)
    assert heart.heart.lacking() == MANY
    assert not heart.heart.services()
    assert {event.action.reason for event in events if isinstance(event, Lost)} == {Withheld.QUORUM}


def test_what_changes_who_may_own_asks_for_a_turn_before_the_next_frame_is_read() -> None:
    """A question that waits behind it may be for somebody else to answer."""
    heart = known("a", "b", "c")
    heart.settle()
    assert not heart.heart.voided
    heart.heart.leave(heart.now)
    assert heart.heart.voided
    assert heart.heart.stirred
    lost = {event.action.service for event in heart.settle() if isinstance(event, Lost)}
    assert lost == heart.mine()
    assert not heart.heart.voided


# ---- what a driver is told


def test_news_of_contact_and_of_who_may_own_are_due_until_they_are_settled() -> None:
    heart = known("a", "b", "c")
    heart.settle()
    assert not heart.heart.disturbed
    heart.contact.handle_link_return(ETH0.index, 5.0, heart.now)
    assert heart.heart.disturbed
    assert heart.heart.is_due(heart.now)
    heart.settle()
    assert not heart.heart.disturbed
    heart.heart.handle_letter(Letter(LetterKind.GONE, "c", "b", 1, b""), heart.now)
    assert heart.heart.disturbed
    events = heart.settle()
    assert isinstance(events[0], BarsChanged)
    assert events[0].after.named == {"b"}
    assert any(isinstance(event, Moved) for event in events[1:])
    assert not heart.heart.disturbed


def test_one_deadline_is_that_of_whatever_comes_first() -> None:
    heart = known("a", "b", "c")
    heart.settle()
    heart.run(0.3)
    heart.settle()
    assert heart.heart.is_due(heart.now)
    while heart.announcer.transmits(MANY):
        pass
    heart.core.asks()
    announcing = heart.announcer.deadline()
    assert announcing is not None
    assert heart.heart.due() == min(announcing, heart.core.deadline())
    assert heart.heart.deadline() == min(heart.heart.due(), heart.contact.deadline())
    assert heart.heart.is_due(announcing)


def test_what_comes_of_a_decision_is_told_behind_it() -> None:
    """A takeover that is decided later: who was told `Won` is told then that it was put off."""
    heart = known("a", "b", "c")
    heart.settle()
    heart.heart.handle_letter(Letter(LetterKind.GONE, "c", "b", 1, b""), heart.now)
    kinds = [type(event) for event in heart.settle()]
    assert kinds[0] is BarsChanged
    assert Won in kinds
    assert PutOff not in kinds
    # Its machine answers echoes all the time: only its speaker is silent.
    told = list[OwnershipEvent]()
    for _ in range(100):
        heart.run(0.01)
        told += heart.heart.events()
    put_off = [event for event in told if isinstance(event, PutOff)]
    quiet = {event.ip for event in told if isinstance(event, TookQuietly)}
    assert quiet
    assert frozenset().union(*(event.ips for event in put_off)) == quiet
    handed = frozenset().union(*(e.services for e in told if isinstance(e, HandedOver)))
    assert handed >= {f"ns/s{int(ip) - int(FIRST):02}" for ip in quiet}
    assert heart.heart.events() == []


def test_a_client_that_follows_confirms_a_move_once() -> None:
    heart = known("a", "b", "c")
    heart.settle()
    heart.run(0.3)
    ip = FIRST + int(min(heart.mine())[-2:])
    client = IPv4Address("192.0.2.77")
    heart.clients.note(ip, ETH0, client, b"\2\0\0\0\0\x77", heart.now)
    heart.announcer.speak_up(ip, heart.now)
    for _ in range(100):
        heart.now += 0.01
        heart.announcer.handle_timeout(heart.now)
        heart.announcer.transmits(MANY)
    assert heart.heart.handle_client(ip, ETH0.index, client, heart.now)
    assert not heart.heart.handle_client(ip, ETH0.index, client, heart.now)
    [confirmed] = [event for event in heart.heart.events() if isinstance(event, Confirmed)]
    assert 0.0 < confirmed.seconds <= 1.0
