"""Who is remembered as a client of a service IP, and for how long; and the pace of frames."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link.interface import Interface
from ownership.announcing.clients import (
    FEW,
    KEPT,
    LATELY,
    MOST,
    MOST_LOOKED_AT,
    MOST_OF_ONE_IP,
    Clients,
)
from ownership.announcing.pace import Pace
from ownership.io import Client

SUBNETS = frozenset(map(ip_interface, ("10.0.0.1/16", "fe80::a/64", "2001:db8::1/64")))
ETH0 = Interface(2, "eth0", b"\x02\0\0\0\0\x0a", True, True, True, False, addresses=SUBNETS)
ETH1 = replace(ETH0, index=3, name="eth1")
VIP, OTHER = IPv4Address("10.0.9.1"), IPv4Address("10.0.9.2")
MAC = b"\x02\0\0\0\0\x0c"


def client(number: int) -> IPv4Address:
    return IPv4Address(0x0A00_1000 + number)


def test_the_latest_asker_comes_first_with_its_latest_mac() -> None:
    clients = Clients()
    clients.note(VIP, ETH0, client(1), MAC, 0.0)
    clients.note(VIP, ETH0, client(2), MAC, 1.0)
    moved = MAC[:5] + b"\x0d"
    clients.note(VIP, ETH0, client(1), moved, 2.0)
    assert clients.of(VIP, ETH0, 3.0) == [Client(client(1), moved), Client(client(2), MAC)]
    assert clients.of(VIP, ETH1, 3.0) == []
    assert clients.of(OTHER, ETH0, 3.0) == []


def test_the_few_that_asked_last_on_a_link_are_those_to_bear_witness() -> None:
    clients = Clients()
    for number in range(2 * FEW):
        clients.note(VIP, ETH0, client(number), MAC, float(number))
        clients.note(OTHER, ETH0, client(number), MAC, float(number))
    clients.note(VIP, ETH1, client(99), MAC, 10.0)
    latest = [client(number) for number in range(2 * FEW - 1, FEW - 1, -1)]
    assert clients.lately(ETH0.index, 10.0) == latest
    assert clients.lately(ETH1.index, 10.0) == [client(99)]
    assert clients.lately(ETH1.index, 10.0 + LATELY) == [client(99)]
    assert clients.lately(ETH1.index, 10.1 + LATELY) == []
    assert clients.lately(9, 10.0) == []


def test_witnesses_are_looked_for_among_the_latest_questions_alone() -> None:
    """It is asked often, and there may be thousands of clients on other links."""
    clients = Clients()
    clients.note(VIP, ETH1, client(99), MAC, 0.0)
    for number in range(MOST_LOOKED_AT):
        clients.note(VIP, ETH0, client(number), MAC, 1.0)
    assert clients.lately(ETH1.index, 1.0) == []


@pytest.mark.parametrize(
    ("asker", "mac"),
    [
        (IPv4Address("192.0.2.1"), MAC),
        (IPv4Address("10.0.0.1"), MAC),
        (IPv4Address("0.0.0.0"), MAC),
        (VIP, MAC),
        (client(1), b"\xff" * 6),
        (client(1), b"\x01\0\x5e\0\0\x01"),
        (IPv6Address("::"), MAC),
        (IPv6Address("ff02::1"), MAC),
        (IPv6Address("fd00::1"), MAC),
    ],
)
def test_who_is_no_client(asker: IPv4Address | IPv6Address, mac: bytes) -> None:
    clients = Clients()
    clients.note(VIP, ETH0, asker, mac, 0.0)
    assert len(clients) == 0
    assert not clients.any_of(VIP, 0.0)


def test_a_known_client_does_not_turn_into_a_group() -> None:
    clients = Clients()
    clients.note(VIP, ETH0, client(1), MAC, 0.0)
    clients.note(VIP, ETH0, client(1), b"\xff" * 6, 1.0)
    assert clients.of(VIP, ETH0, 1.0) == [Client(client(1), MAC)]


def test_link_local_neighbours_are_clients() -> None:
    clients, ip = Clients(), IPv6Address("2001:db8::64")
    clients.note(ip, ETH0, IPv6Address("fe80::c"), MAC, 0.0)
    assert clients.of(ip, ETH0, 0.0) == [Client(IPv6Address("fe80::c"), MAC)]


def test_silence_is_forgotten() -> None:
    clients = Clients()
    clients.note(VIP, ETH0, client(1), MAC, 0.0)
    clients.note(VIP, ETH0, client(2), MAC, 100.0)
    assert clients.any_of(VIP, KEPT)
    assert [found.ip for found in clients.of(VIP, ETH0, KEPT + 1.0)] == [client(2)]
    assert not clients.any_of(VIP, KEPT + 101.0)
    assert len(clients) == 0


def test_one_ip_and_all_of_them_are_bounded_and_the_latest_stay() -> None:
    clients = Clients()
    for number in range(MOST_OF_ONE_IP + 10):
        clients.note(VIP, ETH0, client(number), MAC, float(number))
    found = [item.ip for item in clients.of(VIP, ETH0, 100.0)]
    assert found == [client(MOST_OF_ONE_IP + 9 - number) for number in range(MOST_OF_ONE_IP)]
    for number in range(MOST):
        ip = IPv4Address(0x0A01_0000 + number)
        clients.note(ip, ETH0, client(0), MAC, 200.0)
    assert len(clients) == MOST
    assert not clients.any_of(VIP, 200.0)


def test_clients_of_ips_without_a_service_go() -> None:
    clients = Clients()
    clients.note(VIP, ETH0, client(1), MAC, 0.0)
    clients.note(OTHER, ETH0, client(1), MAC, 0.0)
    clients.keep_only(frozenset({OTHER}))
    assert not clients.any_of(VIP, 0.0)
    assert clients.any_of(OTHER, 0.0)


def test_gateways_always_belong_to_them() -> None:
    clients, gateway = Clients(), client(99)
    link = replace(ETH0, gateways=frozenset({gateway, IPv6Address("fe80::1")}))
    assert clients.of(VIP, link, 0.0) == [Client(gateway, None)]
    clients.note(VIP, link, gateway, MAC, 0.0)
    assert clients.of(VIP, link, 0.0) == [Client(gateway, MAC)]


steps = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 80), st.floats(0.0, 400.0)), max_size=120
)


@given(steps)
def test_the_two_tables_agree(steps: list[tuple[int, int, float]]) -> None:
    clients, now = Clients(), 0.0
    ips = [IPv4Address(0x0A02_0000 + number) for number in range(4)]
    for ip, asker, passed in steps:
        now += passed
        clients.note(ips[ip], ETH0, client(asker), MAC, now)
        assert client(asker) in [item.ip for item in clients.of(ips[ip], ETH0, now)]
    found = sum(len(clients.of(ip, ETH0, now)) for ip in ips)
    assert found == len(clients)


def test_a_full_bucket_then_the_rate() -> None:
    pace = Pace(rate=100.0, burst=10)
    assert sum(pace.take(0.0) for _ in range(20)) == 10
    assert pace.deadline(1, 0.0) == pytest.approx(0.01)
    assert pace.deadline(5, 0.0) == pytest.approx(0.05)
    assert pace.deadline(50, 0.0) == pytest.approx(0.1)
    assert sum(pace.take(0.05001) for _ in range(20)) == 5
    assert sum(pace.take(1_000.0) for _ in range(20)) == 10


def test_no_rate_no_limit() -> None:
    pace = Pace(rate=0.0)
    assert all(pace.take(0.0) for _ in range(10_000))
    assert pace.deadline(10, 7.0) == 7.0


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    pace = Pace(rate=100.0, burst=10)
    assert sum(pace.take(10.0) for _ in range(20)) == 10
    assert not pace.take(5.0)
