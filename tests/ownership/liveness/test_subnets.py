"""Where nodes stand: what is told, to whom, how often, and what is believed."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network

from ownership.io import Send
from ownership.letters.letters import (
    MOST_SUBNETS,
    LetterKind,
    Subnet,
    Whereabouts,
    decode_whereabouts,
)
from ownership.liveness.subnets import MOST_KNOWN, REFRESH, TIMES, SubnetBook, own_subnets
from routed_cluster import ETH0, gateway_of, interface_of, ip_of

B1 = Subnet(ip_network("10.0.2.0/24"), (gateway_of("b1"),))
OWN = Subnet(ip_network("10.0.1.0/24"), (gateway_of("a1"),))


def told(book: SubnetBook, until: float) -> list[tuple[Send, bool]]:
    """Return the letters up to then, and whether each asks."""
    found = list[tuple[Send, bool]]()
    while book.deadline() <= until:
        for letter in book.handle_timeout(book.deadline()):
            where = decode_whereabouts(letter.payload)
            assert (letter.kind, where.subnets) == (LetterKind.SUBNETS, (OWN,))
            found.append((letter, where.asks))
    return found


def book_of(**lives: int) -> SubnetBook:
    book = SubnetBook("a1", 0.0)
    book.set_own({ETH0: interface_of("a1")}, 0.0)
    book.set_lives(lives, 0.0)
    return book


def test_all_are_told_three_times_and_asked_as_long_as_they_have_told_nothing() -> None:
    book = book_of(b1=1, c1=2)
    assert not book.handle_whereabouts("b1", Whereabouts((B1,)))
    letters = told(book, 2.0)
    assert [(letter.to, asks) for letter, asks in letters] == [
        (("c1",), True),
        (("b1",), False),
    ] * TIMES


def test_who_comes_is_told_and_others_are_not_told_again() -> None:
    book = book_of(b1=1)
    told(book, 2.0)
    book.set_lives({"b1": 1, "c1": 2}, 10.0)
    assert {letter.to for letter, _ in told(book, 12.0)} == {("c1",)}


def test_a_change_of_ours_is_told_to_all() -> None:
    book = book_of(b1=1)
    told(book, 2.0)
    moved = replace(interface_of("b2"), name="eth0")
    book.set_own({ETH0: moved}, 10.0)
    letters = book.handle_timeout(10.0)
    assert decode_whereabouts(letters[0].payload).subnets == (B1,)
    book.set_own({ETH0: moved}, 20.0)
    for _ in range(TIMES - 1):
        assert book.handle_timeout(book.deadline())
    assert book.deadline() == REFRESH


def test_all_are_told_once_a_minute() -> None:
    book = book_of(b1=1, c1=2)
    told(book, 2.0)
    assert len(told(book, REFRESH + 5.0)) == 1


def test_who_asks_is_answered_at_once() -> None:
    book = book_of(b1=1)
    (answer,) = book.handle_whereabouts("b1", Whereabouts((B1,), asks=True))
    assert answer.to == ("b1",)
    assert decode_whereabouts(answer.payload) == Whereabouts((OWN,))


def test_who_is_no_member_any_more_is_forgotten() -> None:
    book = book_of(b1=1)
    book.handle_whereabouts("b1", Whereabouts((B1,)))
    book.handle_whereabouts("c1", Whereabouts((B1,)))
    assert book.known() == {"b1", "c1"}, "gossip may tell of it in a moment"
    book.set_lives({"b1": 1}, 1.0)
    assert book.known() == {"b1"}


def test_another_life_has_told_nothing_yet() -> None:
    book = book_of(b1=1)
    book.handle_whereabouts("b1", Whereabouts((B1,)))
    assert book.set_lives({"b1": 7}, 5.0) == {"b1"}
    assert book.subnet("b1", ip_of("b1")) is None
    assert told(book, 6.0)[0][1], "it is asked"


def test_who_stands_nowhere_any_more_is_not_known() -> None:
    book = book_of(b1=1)
    book.handle_whereabouts("b1", Whereabouts((B1,)))
    assert book.known() == {"b1"}
    book.handle_whereabouts("b1", Whereabouts())
    assert book.known() == frozenset()


def test_the_narrowest_subnet_of_an_address_counts() -> None:
    book, wide = book_of(b1=1), Subnet(ip_network("10.0.0.0/16"))
    book.handle_whereabouts("b1", Whereabouts((wide, B1)))
    assert book.subnet("b1", ip_of("b1")) == B1
    assert book.subnet("b1", ip_of("c1")) == wide
    assert book.subnet("b1", IPv4Address("192.0.2.1")) is None
    assert book.subnet("b1", IPv6Address("2001:db8::1")) is None


def test_no_more_are_remembered_than_there_is_room_for() -> None:
    names = {f"n{number}": number for number in range(MOST_KNOWN + 1)}
    book = book_of(**names)
    for name in names:
        book.handle_whereabouts(name, Whereabouts((B1,)))
    assert len(book.known()) == MOST_KNOWN
    book.handle_whereabouts("n0", Whereabouts((OWN,)))
    assert book.subnet("n0", ip_of("a1")) == OWN, "who is known may move"


def test_what_is_told_of_links_is_of_use_elsewhere() -> None:
    """No link-local addresses, none that belong to no subnet; the gateways of each alone."""
    addresses = ("192.0.2.1/24", "198.51.100.1/32", "fe80::1/64", "2001:db8::1/64", "10.9.0.1/8")
    gateways = ("192.0.2.254", "192.0.2.253", "192.0.2.252", "203.0.113.1", "fe80::2")
    link = replace(
        interface_of("a1"),
        addresses=frozenset(map(ip_interface, addresses)),
        gateways=frozenset(IPv4Address(ip) if "." in ip else IPv6Address(ip) for ip in gateways),
    )
    assert own_subnets({ETH0: link}) == (
        Subnet(
            ip_network("192.0.2.0/24"), (IPv4Address("192.0.2.252"), IPv4Address("192.0.2.253"))
        ),
        Subnet(ip_network("10.0.0.0/8")),
        Subnet(ip_network("2001:db8::/64")),
    )


def test_a_node_of_many_subnets_tells_those_with_gateways() -> None:
    links = {
        number: replace(
            interface_of(f"{chr(97 + number)}1"),
            index=number,
            name=f"eth{number:02}",
            gateways=frozenset() if number < 5 else interface_of(f"{chr(97 + number)}1").gateways,
        )
        for number in range(12)
    }
    subnets = own_subnets(links)
    assert len(subnets) == MOST_SUBNETS
    assert sum(bool(subnet.gateways) for subnet in subnets) == 7
