"""The loser answers on until the winner is heard, on each link or by a claim."""

from collections.abc import Mapping
from ipaddress import IPv4Address

import pytest

from ownership.handover.loser import (
    ASK_INTERVAL,
    FOREIGN_ASK,
    FOREIGN_GRACE,
    Handover,
    Yielded,
    Yours,
)
from ownership.io import Ask

VIP, OTHER = IPv4Address("192.0.2.100"), IPv4Address("192.0.2.101")
ETH0, ETH1 = 2, 3


def yielding(*links: int, foreign: bool = False) -> Handover:
    """One who has lost VIP to `winner` at 1.0."""
    state = owning({"ns/a": VIP})
    state.begin("ns/a", VIP, "winner", links or (ETH0,), 1.0, foreign=foreign)
    return state


def owning(services: Mapping[str, IPv4Address], state: Handover | None = None) -> Handover:
    """One whose services own these IPs."""
    state = state or Handover()
    for service, ip in services.items():
        state.holds.take_up(state.holds.record(ip), service, None)
    return state


def test_the_loser_of_an_ip_asks_for_it_until_it_is_released() -> None:
    state, times = yielding(), list[float]()
    while (now := state.deadline()) < 1.35:
        assert state.handle_timeout(now) == []
        times += [now for ask in state.asks(now) if ask == Yours("winner", frozenset({VIP}))]
    assert times == pytest.approx([1.0, 1.1, 1.2, 1.3])
    assert pytest.approx(0.1) == ASK_INTERVAL
    assert state.handle_mine([VIP]) == [Yielded("ns/a", VIP)]
    assert state.deadline() == float("inf")


def test_one_question_names_all_the_ips_of_a_winner() -> None:
    state = owning({"ns/b": OTHER, "ns/c": IPv4Address("192.0.2.9")}, yielding())
    state.begin("ns/b", OTHER, "winner", (ETH0,), 1.0, foreign=False)
    state.begin("ns/c", IPv4Address("192.0.2.9"), "third", (ETH0,), 1.0, foreign=False)
    asked = {ask.winner: ask.ips for ask in state.asks(1.0)}
    assert asked == {
        "winner": frozenset({VIP, OTHER}),
        "third": frozenset({IPv4Address("192.0.2.9")}),
    }
    assert state.asks(1.05) == []


def test_each_link_is_given_up_when_the_winner_is_heard_there() -> None:
    state = yielding(ETH0, ETH1)
    assert state.handle_announcement(VIP, ETH0, "winner") == []
    assert not state.open(VIP, ETH0)
    assert state.open(VIP, ETH1)
    assert state.handle_announcement(VIP, ETH1, "winner") == [Yielded("ns/a", VIP)]
    assert not state.yielding(VIP)


def test_any_clarion_that_is_heard_ends_it() -> None:
    """It answers now, and hands over itself if it is not the winner."""
    assert yielding().handle_announcement(VIP, ETH0, "third") == [Yielded("ns/a", VIP)]


def test_a_stranger_does_not_end_it() -> None:
    state = yielding()
    assert state.handle_announcement(VIP, ETH0, None) == []
    assert state.open(VIP, ETH0)
    assert state.handle_mine([OTHER]) == []
    assert state.yielding(VIP)


def test_time_alone_ends_nothing_between_clarions() -> None:
    state = yielding()
    assert state.handle_timeout(1_000.0) == []
    assert state.yielding(VIP)


def test_a_claim_ends_it_on_all_links() -> None:
    assert yielding(ETH0, ETH1).handle_mine([OTHER, VIP]) == [Yielded("ns/a", VIP)]


def test_a_foreign_winner_gets_two_seconds_and_no_letters() -> None:
    state = yielding(foreign=True)
    assert state.asks(1.5) == []
    state.wire_asks(2.99)
    assert state.deadline() == 1.0 + FOREIGN_GRACE == 3.0
    assert state.handle_timeout(2.99) == []
    assert state.handle_timeout(3.0) == [Yielded("ns/a", VIP)]


def test_a_foreign_winner_is_asked_on_the_wire_until_it_answers() -> None:
    """One that never lost the IP, as it stood still, answers for it but announces nothing."""
    state, times = yielding(ETH1, ETH0, foreign=True), list[float]()
    while (now := state.deadline()) < 1.18:
        assert state.handle_timeout(now) == []
        asks = state.wire_asks(now)
        assert asks == [Ask(VIP, ETH0), Ask(VIP, ETH1)]
        assert state.wire_asks(now) == []
        times.append(now)
    assert times == pytest.approx([1.0, 1.05, 1.1, 1.15])
    assert pytest.approx(0.05) == FOREIGN_ASK
    assert state.handle_announcement(VIP, ETH0, None) == []
    assert state.wire_asks(1.21) == [Ask(VIP, ETH1)]
    assert state.handle_announcement(VIP, ETH1, None) == [Yielded("ns/a", VIP)]
    assert state.wire_asks(1.3) == []


def test_a_clarion_is_asked_by_letter_alone() -> None:
    assert yielding().wire_asks(1.5) == []


@pytest.mark.parametrize(("foreign", "lasts"), [(False, 5.0), (True, FOREIGN_GRACE)])
def test_a_winner_that_may_not_know_it_is_one_has_a_time_in_which_to_be_heard(
    foreign: bool, lasts: float
) -> None:
    """By our own plan it is; if its plan stays another one, nobody is to answer any more."""
    state = owning({"ns/a": VIP})
    state.begin("ns/a", VIP, "winner", (ETH0,), 1.0, foreign=foreign, within=5.0)
    assert state.handle_timeout(1.0 + lasts - 0.01) == []
    assert state.open(VIP, ETH0)
    assert state.handle_timeout(1.0 + lasts) == [Yielded("ns/a", VIP)]


def test_services_that_lose_an_ip_together_are_named() -> None:
    state = owning({"ns/b": VIP, "ns/c": VIP}, yielding())
    state.begin("ns/b", VIP, "winner", (ETH0,), 1.05, foreign=False)
    assert [state.yielding(VIP, name) for name in ("ns/a", "ns/b", "ns/c")] == [True, True, False]
    assert not state.yielding(OTHER)
    assert state.handle_mine([VIP]) == [Yielded("ns/a", VIP), Yielded("ns/b", VIP)]


@pytest.mark.parametrize("who", [None, "winner"])
def test_a_foreign_winner_is_heard_as_somebody_unknown(who: str | None) -> None:
    """Nobody knows its MAC."""
    assert yielding(foreign=True).handle_announcement(VIP, ETH0, who) == [Yielded("ns/a", VIP)]


def test_an_ip_of_two_services_is_released_for_both() -> None:
    state = yielding()
    state.begin("ns/b", VIP, "winner", (ETH0,), 1.05, foreign=False)
    assert state.handle_announcement(VIP, ETH0, "winner") == [
        Yielded("ns/a", VIP),
        Yielded("ns/b", VIP),
    ]


def test_another_winner_has_to_be_heard_on_the_links_that_are_left() -> None:
    state = yielding(ETH0, ETH1)
    state.handle_announcement(VIP, ETH0, "winner")
    state.begin("ns/a", VIP, "third", (ETH0, ETH1), 1.2, foreign=False)
    assert not state.open(VIP, ETH0)
    assert state.asks(1.2) == [Yours("third", frozenset({VIP}))]
    assert state.handle_announcement(VIP, ETH1, "third") == [Yielded("ns/a", VIP)]


def test_the_same_winner_again_changes_nothing_that_was_heard() -> None:
    state = yielding(ETH0, ETH1)
    state.handle_announcement(VIP, ETH0, "winner")
    state.begin("ns/a", VIP, "winner", (ETH0, ETH1), 1.2, foreign=False)
    assert state.handle_announcement(VIP, ETH1, "winner") == [Yielded("ns/a", VIP)]


def test_an_ip_that_comes_back_is_no_longer_handed_over() -> None:
    state = owning({"ns/b": VIP}, yielding())
    state.begin("ns/b", VIP, "winner", (ETH0,), 1.0, foreign=False)
    assert state.holds.take_back("ns/a", VIP, ())
    assert not state.holds.take_back("ns/a", VIP, ())
    assert state.yielding(VIP)
    assert state.yielding(VIP, "ns/b")
    assert not state.yielding(VIP, "ns/a")
    assert state.holds.take_back("ns/b", VIP, ())
    assert not state.yielding(VIP)
    assert not state.holds.take_back("ns/b", VIP, ())
    assert state.handle_announcement(VIP, ETH0, "winner") == []


def test_what_stays_ours_is_open_everywhere() -> None:
    state = Handover()
    assert state.open(VIP, ETH0)
    assert not state.yielding(VIP)
    assert state.deadline() == float("inf")


def test_pending_counts_those_to_clarions_apart() -> None:
    state = owning({"ns/b": OTHER}, yielding())
    state.begin("ns/b", OTHER, "metallb", (ETH0,), 1.0, foreign=True)
    assert (state.pending(), state.pending_to_ours()) == (2, 1)
