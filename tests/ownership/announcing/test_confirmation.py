"""Clients are asked until they answer, and the time it took is known."""

from ipaddress import IPv4Address

import pytest

from ownership.announcing.confirmation import MOST, RETRY, TRIES, Confirmations
from ownership.io import Client

VIP, OTHER = IPv4Address("192.0.2.100"), IPv4Address("192.0.2.101")
CLIENT = Client(IPv4Address("192.0.2.9"), b"\x02\0\0\0\0\x09")
ETH0, ETH1 = 2, 3


def asked_until(arrivals: Confirmations, until: float) -> list[float]:
    """Play the announcer: ask again whenever it is due."""
    times = []
    while (now := arrivals.deadline()) <= until:
        for ip, ifindex, client in arrivals.due(now):
            times.append(now)
            arrivals.note_question(ip, ifindex, client, now)
    return times


def test_a_client_is_asked_again_until_it_is_given_up() -> None:
    arrivals = Confirmations()
    arrivals.note_question(VIP, ETH0, CLIENT, 1.0)
    times = asked_until(arrivals, 60.0)
    assert times == pytest.approx([1.0 + RETRY * count for count in range(1, TRIES)])
    assert arrivals.deadline() == float("inf")
    assert arrivals.given_up == 1
    assert arrivals.confirm(VIP, ETH0, CLIENT.ip, 9.0) is None


def test_an_answer_tells_the_time_since_the_first_question() -> None:
    arrivals = Confirmations()
    arrivals.note_question(VIP, ETH0, CLIENT, 1.0)
    assert asked_until(arrivals, 1.5) == pytest.approx([1.2, 1.4])
    assert arrivals.confirm(VIP, ETH0, CLIENT.ip, 1.45) == pytest.approx(0.45)
    assert asked_until(arrivals, 60.0) == []
    assert arrivals.given_up == 0


def test_who_was_not_asked_confirms_nothing_and_nobody_twice() -> None:
    arrivals = Confirmations()
    arrivals.note_question(VIP, ETH0, CLIENT, 1.0)
    assert arrivals.confirm(OTHER, ETH0, CLIENT.ip, 1.1) is None
    assert arrivals.confirm(VIP, ETH1, CLIENT.ip, 1.1) is None
    assert arrivals.confirm(VIP, ETH0, OTHER, 1.1) is None
    assert arrivals.confirm(VIP, ETH0, CLIENT.ip, 1.1) is not None
    assert arrivals.confirm(VIP, ETH0, CLIENT.ip, 1.1) is None


def test_nothing_is_due_before_its_time() -> None:
    arrivals = Confirmations()
    assert arrivals.deadline() == float("inf")
    arrivals.note_question(VIP, ETH0, CLIENT, 1.0)
    arrivals.note_question(VIP, ETH1, CLIENT, 1.1)
    assert arrivals.due(1.19) == []
    assert arrivals.due(1.2) == [(VIP, ETH0, CLIENT)]
    assert arrivals.deadline() == pytest.approx(1.3)


def test_a_question_that_cannot_leave_is_due_again_but_not_counted() -> None:
    """The pace held it back: a try is one that was sent."""
    arrivals = Confirmations()
    arrivals.note_question(VIP, ETH0, CLIENT, 0.0)
    for turn in range(1, 3 * TRIES):
        assert arrivals.due(turn * RETRY * 1.001) == [(VIP, ETH0, CLIENT)]


def test_more_clients_than_the_limit_are_not_waited_for() -> None:
    arrivals = Confirmations()
    for number in range(MOST + 1):
        arrivals.note_question(VIP, ETH0, Client(IPv4Address(number), None), 0.0)
    assert len(arrivals.due(RETRY)) == MOST
    assert arrivals.confirm(VIP, ETH0, IPv4Address(MOST), 0.1) is None
