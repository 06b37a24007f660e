"""Contact before claim: when a speaker must keep quiet, and what ends it."""

from speaker.contact import (
    BRIEF_SILENCE,
    HEARTBEAT,
    LONGEST_GAP,
    SILENCE,
    START_SILENCE,
    Contact,
    Held,
    HoldReason,
    Released,
)

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


def begun() -> Contact:
    contact = Contact(0.0)
    contact.seeking(0.0)
    return contact


def started() -> Contact:
    contact = begun()
    contact.exchanged(0.5, 0.5)
    contact.tick(0.5)
    contact.events()
    return contact


def test_a_start_is_held_until_a_state_exchange() -> None:
    contact = Contact(0.0)
    assert not contact.open(ETH0)
    assert contact.held
    contact.exchanged(None, 0.2)
    assert not contact.open(ETH0)
    assert contact.events() == [
        Held(HoldReason.START, None, 0.0),
        Released(HoldReason.START, None, "exchange", 0.2),
    ]
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
    contact.spoke(2.0)
    run(contact, 2.0, 2.0 + START_SILENCE - 0.01)
    assert not contact.open(ETH0)
    contact.tick(2.0 + START_SILENCE)
    assert opened(contact, ETH0)


def test_silence_counts_only_from_when_seeds_are_asked() -> None:
    contact = Contact(0.0)
    run(contact, 0.0, 10.0)
    assert not contact.open(ETH0)
    contact.seeking(10.0)
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
    contact.exchanged(1.0, 20.01)
    assert not contact.open(ETH0)
    contact.exchanged(20.0, 20.02)
    assert opened(contact, ETH0)


def test_what_a_peer_sent_into_our_sleep_is_no_contact() -> None:
    contact = started()
    contact.tick(20.0)
    contact.exchanged(None, 20.01)
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
    contact.carrier_returned(ETH0, outage=0.9, now=0.6)
    assert opened(contact, ETH0)
    contact.carrier_returned(ETH0, outage=1.1, now=0.6)
    assert not contact.open(ETH0)
    assert opened(contact, ETH1)
    assert not contact.held
    contact.exchanged(0.6, 0.7)
    assert opened(contact, ETH0)


def test_a_clock_that_goes_back_is_no_stall() -> None:
    contact = started()
    assert not contact.tick(0.1)
    assert not contact.tick(0.6)
    assert opened(contact, ETH0)


def test_a_link_on_which_nobody_was_heard_for_long_waits_for_contact_alone() -> None:
    """Others may have taken over there meanwhile; other links are as before."""
    contact = started()
    contact.link_returned(ETH0, 0.7, 1.0)
    assert not contact.open(ETH0)
    assert contact.open(ETH1)
    assert not contact.held
    assert contact.events() == [Held(HoldReason.ISOLATED, ETH0, 0.7)]
    run(contact, 1.0, 1.0 + BRIEF_SILENCE)
    [released] = contact.events()
    assert isinstance(released, Released)
    assert (released.reason, released.by) == (HoldReason.ISOLATED, "silence")
    assert contact.open(ETH0)


def test_an_exchange_begun_before_the_link_returned_is_old_news() -> None:
    contact = started()
    contact.link_returned(ETH0, 0.7, 1.0)
    contact.exchanged(0.9, 1.1)
    assert not contact.open(ETH0)
    contact.exchanged(1.05, 1.2)
    contact.events()
    assert contact.open(ETH0)


def test_a_link_that_is_held_already_is_not_held_for_less() -> None:
    contact = started()
    contact.carrier_returned(ETH0, 5.0, 1.0)
    contact.link_returned(ETH0, 0.7, 1.1)
    run(contact, 1.1, 1.0 + SILENCE - 0.05)
    contact.events()
    assert not contact.open(ETH0)


def test_alone_no_link_is_held() -> None:
    contact = Contact(0.0, alone=True)
    contact.link_returned(ETH0, 0.7, 1.0)
    assert contact.open(ETH0)
