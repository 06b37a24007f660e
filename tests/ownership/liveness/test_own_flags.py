"""What a node says of itself: damped, but for leaving."""

from dataclasses import replace
from itertools import pairwise

import pytest

from link.interface import Interface
from ownership.letters.mark import Flags
from ownership.liveness import damping
from ownership.liveness.barred import BARRING
from ownership.liveness.own_flags import BLIP, INTERVAL, OwnFlags

ETH0 = Interface(0, "eth0", bytes(6), up=True, carrier=True, broadcast=True, noarp=False)
ETH1 = replace(ETH0, index=1, name="eth1")
CUT = replace(ETH0, carrier=False)


def links(*interfaces: Interface) -> dict[int, Interface]:
    return {interface.index: interface for interface in interfaces}


@pytest.mark.parametrize(
    ("there", "needed", "flags"),
    [
        ((ETH0,), None, Flags.NONE),
        ((), None, Flags.NO_LINK),
        ((CUT,), None, Flags.NO_LINK),
        ((CUT, ETH1), None, Flags.NONE),
        ((ETH0, ETH1), frozenset({"eth1"}), Flags.NONE),
        ((ETH0,), frozenset({"eth1"}), Flags.NO_LINK),
        ((CUT, ETH1), frozenset({"eth0"}), Flags.NO_LINK),
    ],
)
def test_a_node_without_a_usable_link_says_so(
    there: tuple[Interface, ...], needed: frozenset[str] | None, flags: Flags
) -> None:
    own = OwnFlags(0.0)
    own.set_links(links(*there), needed, 0.0)
    own.handle_timeout(BLIP)
    assert own.published == flags


def test_who_can_be_heard_by_another_link_says_at_once_that_the_needed_one_is_cut() -> None:
    own = OwnFlags(0.0)
    own.set_links(links(CUT, ETH1), frozenset({"eth0"}), 5.0)
    assert own.published is Flags.NO_LINK


def test_a_blip_of_the_only_link_is_not_worth_a_word() -> None:
    """The IPs would stay away for ten seconds after it."""
    own = OwnFlags(0.0)
    own.set_links(links(CUT), None, 5.0)
    assert own.deadline() == 5.0 + BLIP
    own.handle_timeout(5.3)
    own.set_links(links(ETH0), None, 5.3)
    assert own.deadline() == float("inf")
    own.handle_timeout(6.0)
    assert not own.published


def test_a_second_blip_within_ten_seconds_is_a_link_that_flaps() -> None:
    own = OwnFlags(0.0)
    own.set_links(links(CUT), None, 5.0)
    own.set_links(links(ETH0), None, 5.3)
    own.set_links(links(CUT), None, 7.0)
    assert own.published is Flags.NO_LINK
    settled = OwnFlags(0.0)
    settled.set_links(links(CUT), None, 5.0)
    settled.set_links(links(ETH0), None, 5.3)
    settled.set_links(links(CUT), None, 5.0 + INTERVAL)
    assert not settled.published


def test_a_link_that_comes_back_unneeded_ends_the_wait() -> None:
    """Now we can be heard."""
    own = OwnFlags(0.0)
    own.set_links(links(CUT, replace(ETH1, carrier=False)), frozenset({"eth0"}), 5.0)
    assert not own.published
    own.set_links(links(CUT, ETH1), frozenset({"eth0"}), 5.1)
    assert own.published is Flags.NO_LINK


def test_a_link_that_flaps_changes_the_flags_at_most_once_in_ten_seconds() -> None:
    own, changes, last = OwnFlags(0.0), list[float](), Flags.NONE
    for tick in range(400):
        now = tick / 10
        own.set_links(links(ETH0 if tick % 7 < 4 else CUT), None, now)
        if own.deadline() <= now:
            own.handle_timeout(now)
        if own.published != last:
            changes.append(now)
            last = own.published
    # The first is forgiven as a blip.
    assert changes[0] == 1.1
    assert len(changes) >= 3
    assert min(b - a for a, b in pairwise(changes)) >= INTERVAL


def test_what_had_to_wait_is_published_when_it_may_be() -> None:
    own = OwnFlags(0.0)
    own.set_links(links(CUT, ETH1), frozenset({"eth0"}), 5.0)
    assert own.deadline() == float("inf")
    own.set_links(links(ETH0, ETH1), frozenset({"eth0"}), 6.0)
    assert own.published is Flags.NO_LINK
    assert own.deadline() == 5.0 + INTERVAL
    own.handle_timeout(5.0 + INTERVAL)
    assert not own.published
    assert own.deadline() == float("inf")


def test_what_went_back_while_it_waited_is_not_published() -> None:
    own = OwnFlags(0.0)
    own.set_links(links(CUT, ETH1), frozenset({"eth0"}), 0.0)
    own.set_links(links(ETH0, ETH1), frozenset({"eth0"}), 1.0)
    own.set_links(links(CUT, ETH1), frozenset({"eth0"}), 2.0)
    assert own.deadline() == float("inf")
    own.handle_timeout(INTERVAL + 1)
    assert own.published == Flags.NO_LINK


def test_leaving_does_not_wait() -> None:
    own = OwnFlags(0.0)
    own.set_links(links(CUT), None, 1.0)
    own.handle_timeout(1.0 + BLIP)
    own.set_links(links(ETH0), None, 1.4)
    own.leave(1.5)
    assert own.published == Flags.LEAVING
    assert own.deadline() == float("inf")
    own.set_links(links(CUT), None, 1.6)
    assert own.published == Flags.LEAVING | Flags.NO_LINK


# ---- damping

DAMPED = Flags.DAMPED | Flags.NOT_SYNCED
"""Earlier versions know the second alone, and are to elect the same."""


def struck_twice() -> OwnFlags:
    own = OwnFlags(0.0)
    own.set_links(links(ETH0), None, 0.0)
    own.handle_back("b", 1, 20.0)
    assert not own.published
    own.handle_back("b", 1, 23.0)
    return own


def test_a_node_that_others_judged_gone_twice_bars_itself_for_a_while() -> None:
    own = struck_twice()
    assert own.published == DAMPED
    assert Flags.DAMPED & BARRING
    end = 23.0 + damping.FIRST
    assert own.deadline() == end
    own.handle_timeout(end - 0.01)
    assert own.published == DAMPED
    own.handle_timeout(end)
    assert not own.published
    assert own.deadline() == float("inf")


def test_damping_waits_for_no_other_change_and_hides_none() -> None:
    own = struck_twice()
    own.set_links(links(), frozenset({"eth1"}), 24.0)
    own.handle_timeout(24.0 + BLIP)
    assert own.published == DAMPED | Flags.NO_LINK
    own.handle_timeout(23.0 + damping.FIRST)
    assert own.published == Flags.NO_LINK


def test_who_leaves_while_damped_says_both() -> None:
    own = struck_twice()
    own.leave(24.0)
    assert own.published == DAMPED | Flags.LEAVING
