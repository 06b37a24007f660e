"""Contact before claim: when a speaker must keep quiet, and what ends it."""

from itertools import pairwise

import pytest

from ownership.contact import (
    BRIEF_SILENCE,
    HEARTBEAT,
    LONGEST_GAP,
    QUICK_SEEKS,
    SEEK_AGAIN,
    SEEK_INTERVAL,
    SEEK_SLOWLY,
    SILENCE,
    START_SILENCE,
    UNASKED,
    Contact,
)
from ownership.io import Held, HoldReason, Released

ETH0, ETH1 = 2, 3


def opened(contact: Contact, ifindex: int) -> bool:
    """Tell whether answers flow once a release was told."""
    contact.events()
    return contact.open(ifindex)


def run(contact: Contact, start: float, end: float) -> None:
    """Let a healthy loop pass by, heartbeat after heartbeat."""
    now = start
    while now < end:
        contact.tick(now)
        now += HEARTBEAT
    contact.tick(end)


def seeks(contact: Contact, start: float, end: float) -> list[float]:
    """Follow the deadlines; return when an exchange was to be begun."""
    now, found = start, list[float]()
    while now < end:
        contact.tick(now)
        if contact.seeks(now):
            found.append(now)
        now = max(contact.deadline(), now + 1e-6)
    return found


def begun() -> Contact:
    contact = Contact(0.0)
    contact.note_seeking(0.0)
    return contact


def started() -> Contact:
    contact = begun()
    contact.handle_exchange(0.5, True, 0.5)
    contact.tick(0.5)
    contact.events()
    return contact


def test_a_start_is_held_until_a_peer_that_was_asked_has_us_in_its_table() -> None:
    contact = Contact(0.0)
    assert not contact.open(ETH0)
    assert contact.held is HoldReason.START
    contact.handle_exchange(0.1, True, 0.2)
    assert not contact.open(ETH0)
    assert contact.events() == [
        Held(HoldReason.START, None, 0.0),
        Released(HoldReason.START, None, "exchange", 0.2),
    ]
    assert opened(contact, ETH0)
    assert contact.held is None


@pytest.mark.parametrize(("began", "known"), [(0.1, False), (None, True), (None, False)], ids=str)
def test_a_peer_that_does_not_know_us_or_asked_by_itself_is_no_contact(
    began: float | None, known: bool
) -> None:
    """It answers one whom it holds dead, too, and one whose name is another node's."""
    contact = begun()
    contact.handle_exchange(began, known, 0.2)
    assert not opened(contact, ETH0)
    contact.handle_exchange(0.3, True, 0.4)
    assert opened(contact, ETH0)


@pytest.mark.parametrize("began", [0.1, None], ids=str)
def test_an_exchange_that_is_no_contact_breaks_the_silence_all_the_same(
    began: float | None,
) -> None:
    contact = begun()
    run(contact, 0.0, 2.0)
    contact.handle_exchange(began, False, 2.0)
    run(contact, 2.0, 2.0 + START_SILENCE - 0.01)
    assert not opened(contact, ETH0)
    contact.tick(2.0 + START_SILENCE)
    assert opened(contact, ETH0)


def test_those_who_begin_by_themselves_keep_nobody_quiet_for_ever() -> None:
    """They may be a recording. Nor does it end a hold, however well it knows us."""
    contact, now = begun(), 0.0
    while now < UNASKED * START_SILENCE:
        assert not opened(contact, ETH0)
        contact.tick(now)
        contact.handle_exchange(None, True, now)
        now += 0.1
    contact.tick(now)
    assert opened(contact, ETH0)


@pytest.mark.parametrize("hold", ["stall", "carrier", "link"])
def test_those_who_begin_by_themselves_hold_no_other_hold_for_ever(hold: str) -> None:
    contact, now = started(), 20.0
    if hold == "stall":
        contact.tick(now)
    else:
        run(contact, 0.5, now)
        take = contact.handle_carrier_return if hold == "carrier" else contact.handle_link_return
        take(ETH0, 5.0, now)
    while now < 20.0 + UNASKED * SILENCE:
        assert not opened(contact, ETH0)
        contact.handle_exchange(None, True, now)
        contact.tick(now)
        now += 0.1
    contact.tick(now)
    assert opened(contact, ETH0)


def test_a_start_that_asks_late_is_not_opened_by_those_who_began_before() -> None:
    contact = Contact(0.0)
    for step in range(100):
        contact.tick(step / 10)
        contact.handle_exchange(None, True, step / 10)
    contact.note_seeking(10.0)
    run(contact, 10.0, 10.0 + START_SILENCE - 0.01)
    assert not opened(contact, ETH0)
    contact.tick(10.0 + START_SILENCE)
    assert opened(contact, ETH0)


def test_a_start_among_silent_seeds_is_held_for_three_seconds() -> None:
    contact = begun()
    run(contact, 0.0, START_SILENCE - 0.01)
    assert not contact.open(ETH0)
    contact.tick(START_SILENCE)
    assert opened(contact, ETH0)


def test_a_seed_that_speaks_without_exchanging_is_not_silent() -> None:
    contact = begun()
    run(contact, 0.0, 2.0)
    contact.handle_sign_of_life(2.0)
    run(contact, 2.0, 2.0 + START_SILENCE - 0.01)
    assert not contact.open(ETH0)
    contact.tick(2.0 + START_SILENCE)
    assert opened(contact, ETH0)


def test_silence_counts_only_from_when_seeds_are_asked() -> None:
    contact = Contact(0.0)
    run(contact, 0.0, 10.0)
    assert not contact.open(ETH0)
    contact.note_seeking(10.0)
    run(contact, 10.0, 10.0 + START_SILENCE - 0.01)
    assert not contact.open(ETH0)
    contact.tick(10.0 + START_SILENCE)
    assert opened(contact, ETH0)


def test_without_gossip_there_is_nobody_to_wait_for() -> None:
    contact = Contact(0.0, alone=True)
    assert opened(contact, ETH0)
    assert not contact.tick(100.0)
    assert opened(contact, ETH0)


def test_standing_still_for_more_than_a_second_holds_again() -> None:
    contact = started()
    assert not contact.tick(0.5 + LONGEST_GAP)
    assert opened(contact, ETH0)
    assert contact.tick(20.0)
    assert not contact.open(ETH0)
    assert contact.events()[0] == Held(HoldReason.STALL, None, 18.5)
    assert contact.deadline() <= 20.0 + SILENCE


def test_an_exchange_begun_before_the_stall_is_old_news() -> None:
    contact = started()
    contact.tick(20.0)
    contact.handle_exchange(1.0, True, 20.01)
    assert not contact.open(ETH0)
    contact.handle_exchange(20.0, True, 20.02)
    assert opened(contact, ETH0)


def test_what_a_peer_sent_into_our_sleep_is_no_contact() -> None:
    contact = started()
    contact.tick(20.0)
    contact.handle_exchange(None, True, 20.01)
    assert not contact.open(ETH0)


def test_after_a_stall_one_second_of_silence_is_enough() -> None:
    contact = started()
    contact.tick(20.0)
    run(contact, 20.0, 20.0 + SILENCE - 0.01)
    assert not contact.open(ETH0)
    contact.tick(20.0 + SILENCE)
    assert opened(contact, ETH0)


def test_a_long_outage_of_one_link_holds_that_link_alone() -> None:
    contact = started()
    contact.handle_carrier_return(ETH0, outage=0.9, now=0.6)
    assert opened(contact, ETH0)
    contact.handle_carrier_return(ETH0, outage=1.1, now=0.6)
    assert not contact.open(ETH0)
    assert opened(contact, ETH1)
    assert not contact.held
    contact.handle_exchange(0.6, True, 0.7)
    assert opened(contact, ETH0)


def test_a_clock_that_goes_back_is_no_stall() -> None:
    contact = started()
    assert not contact.tick(0.1)
    assert not contact.tick(0.6)
    assert opened(contact, ETH0)


def test_a_link_on_which_nobody_was_heard_for_long_waits_for_contact_alone() -> None:
    """Others may have taken over there meanwhile; other links are as before."""
    contact = started()
    contact.handle_link_return(ETH0, 0.7, 1.0)
    assert not contact.open(ETH0)
    assert contact.open(ETH1)
    assert not contact.held
    assert contact.events() == [Held(HoldReason.ISOLATED, ETH0, 0.7)]
    run(contact, 1.0, 1.0 + BRIEF_SILENCE)
    [released] = contact.events()
    assert isinstance(released, Released)
    assert (released.reason, released.by) == (HoldReason.ISOLATED, "silence")
    assert contact.open(ETH0)


@pytest.mark.parametrize(
    ("gap", "silence"),
    [
        (0.3, BRIEF_SILENCE),
        (LONGEST_GAP, BRIEF_SILENCE),
        (LONGEST_GAP + 0.1, SILENCE),
        (60, SILENCE),
    ],
)
def test_a_link_that_heard_nobody_for_longer_has_to_be_silent_for_longer(
    gap: float, silence: float
) -> None:
    """The longer it was, the more may have happened meanwhile."""
    contact = started()
    contact.handle_link_return(ETH0, gap, 1.0)
    run(contact, 1.0, 1.0 + silence - 0.01)
    assert not opened(contact, ETH0)
    contact.tick(1.0 + silence)
    assert opened(contact, ETH0)


def test_an_exchange_begun_before_the_link_returned_is_old_news() -> None:
    contact = started()
    contact.handle_link_return(ETH0, 0.7, 1.0)
    contact.handle_exchange(0.9, True, 1.1)
    assert not contact.open(ETH0)
    contact.handle_exchange(1.05, True, 1.2)
    contact.events()
    assert contact.open(ETH0)


def test_a_link_that_is_held_already_is_not_held_for_less() -> None:
    contact = started()
    contact.handle_carrier_return(ETH0, 5.0, 1.0)
    contact.handle_link_return(ETH0, 0.7, 1.1)
    run(contact, 1.1, 1.0 + SILENCE - 0.05)
    contact.events()
    assert not contact.open(ETH0)


def test_alone_no_link_is_held() -> None:
    contact = Contact(0.0, alone=True)
    contact.handle_link_return(ETH0, 0.7, 1.0)
    assert contact.open(ETH0)


# ---- the name of another node


def test_a_node_whose_name_is_another_ones_keeps_quiet_though_it_was_in_contact() -> None:
    contact = started()
    contact.handle_name_conflict(1.0)
    assert contact.held is HoldReason.NAME_TAKEN
    assert contact.events() == [Held(HoldReason.NAME_TAKEN, None, 0.0)]
    assert not contact.open(ETH0)
    # Peers know the name, and mean the other one.
    contact.handle_exchange(1.5, False, 1.6)
    assert not opened(contact, ETH0)


def test_a_name_is_free_when_nobody_has_said_for_three_seconds_that_it_is_not() -> None:
    contact = started()
    contact.handle_name_conflict(1.0)
    run(contact, 1.0, 3.0)
    contact.handle_name_conflict(3.0)
    assert contact.events() == [Held(HoldReason.NAME_TAKEN, None, 0.0)]
    run(contact, 3.0, 3.0 + START_SILENCE - 0.01)
    assert not opened(contact, ETH0)
    contact.tick(3.0 + START_SILENCE)
    assert opened(contact, ETH0)
    assert contact.held is None


def test_a_start_under_a_name_that_is_taken_says_so() -> None:
    contact = begun()
    contact.handle_name_conflict(0.5)
    assert contact.held is HoldReason.NAME_TAKEN


# ---- seeking contact


def test_while_held_exchanges_are_sought_quickly_at_first_and_then_every_second() -> None:
    contact = started()
    contact.tick(20.0)
    contact.events()
    times = []
    for step in range(25):
        times += seeks(contact, 20.0 + step / 5, 20.2 + step / 5)
        # Somebody answers, so that silence does not end it.
        contact.handle_sign_of_life(20.2 + step / 5)
    steps = [later - before for before, later in pairwise(times)]
    assert times[0] == 20.0
    quickly, slowly = [SEEK_INTERVAL] * QUICK_SEEKS, [SEEK_SLOWLY] * 4
    assert steps == pytest.approx(quickly + slowly, abs=0.001)


def test_without_a_hold_nothing_is_sought() -> None:
    assert seeks(started(), 0.5, 5.0) == []


def test_a_start_seeks_only_once_its_seeds_are_asked() -> None:
    """The join itself is an exchange with each of them."""
    contact = Contact(0.0)
    assert seeks(contact, 0.0, 2.0) == []
    contact.note_seeking(2.0)
    assert seeks(contact, 2.0, 2.15) == pytest.approx([2.0 + SEEK_INTERVAL])


def test_a_peer_that_did_not_know_us_is_asked_again_at_once() -> None:
    """It does now, by our own request."""
    contact = started()
    contact.tick(20.0)
    assert contact.seeks(20.0)
    contact.handle_exchange(20.0, False, 20.01)
    assert contact.deadline() == pytest.approx(20.01 + SEEK_AGAIN)
    assert not contact.seeks(20.01)
    assert contact.seeks(20.01 + SEEK_AGAIN)


def test_a_peer_that_never_comes_to_know_us_is_not_asked_for_ever_at_once() -> None:
    contact = started()
    contact.handle_name_conflict(1.0)
    times, now = list[float](), 1.0
    while now < 11.0:
        contact.tick(now)
        if contact.seeks(now):
            times.append(now)
            contact.handle_exchange(now, False, now)
        now = max(contact.deadline(), now + 1e-6)
    assert len(times) == pytest.approx(QUICK_SEEKS + 10, abs=2)


def test_what_peers_ask_by_themselves_hurries_nothing() -> None:
    contact = started()
    contact.tick(20.0)
    assert contact.seeks(20.0)
    contact.handle_exchange(None, False, 20.01)
    assert contact.deadline() == pytest.approx(20.0 + SEEK_INTERVAL)


def test_silence_is_told_of_before_anything_else_and_an_exchange_is_not() -> None:
    """What is taken up after it has to be asked for on the wire, so it is told of first."""
    contact = Contact(0.0)
    contact.note_seeking(0.0)
    run(contact, 0.0, START_SILENCE)
    contact.tick(START_SILENCE)
    assert contact.silences() == [None]
    assert contact.silences() == []
    assert not contact.open(ETH0), "not before the release itself is told of"
    contact.events()
    contact.handle_link_return(ETH0, 0.5, 4.0)
    contact.handle_exchange(4.0, True, 4.1)
    assert contact.silences() == []
