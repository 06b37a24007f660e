"""Who the others are: lives, links, and who watches whom."""

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest

from gossip.io import Address
from gossip.wire.messages import State
from link.interface import Interface
from ownership.letters.letters import PeerLink
from ownership.letters.mark import Flags
from ownership.liveness.roster import (
    MOST_LATE,
    MOST_MOURNED,
    REMEMBERED,
    WITNESSES,
    Peer,
    Roster,
    own_links,
)

B = Peer("b", 1, Flags.NONE, State.ALIVE)
C = Peer("c", 2, Flags.NONE, State.ALIVE)
FOREIGN = Peer("m", None, Flags.NONE, State.ALIVE)
MAC_B, MAC_C = b"\x02\0\0\0\0\x0b", b"\x02\0\0\0\0\x0c"
ETH0 = Interface(
    7,
    "eth0",
    b"\x02\0\0\0\0\x0a",
    up=True,
    carrier=True,
    broadcast=True,
    noarp=False,
    addresses=frozenset(
        ip_interface(text) for text in ("192.0.2.1/24", "2001:db8::1/64", "fe80::1/64")
    ),
)
LINK_B = PeerLink("ens1", MAC_B, (IPv4Address("192.0.2.2"), IPv6Address("2001:db8::2")))


NOW = 10.0
DEAD_B = replace(B, state=State.DEAD)


def roster(*peers: Peer) -> Roster:
    state = Roster("a")
    state.set_peers(peers, NOW)
    return state


def forgotten(peer: Peer = DEAD_B, at: float = NOW) -> Roster:
    """One that knew the links of `peer` in its last state, before gossip forgot it."""
    state = roster(B, C)
    state.set_links("b", (LINK_B,))
    state.set_peers([peer, C], NOW)
    state.set_peers([C], at)
    return state


def silent(name: str) -> bool:
    """Nobody's kernel answers."""
    return False


@pytest.mark.parametrize(
    ("after", "over"),
    [
        (B, False),
        (replace(B, state=State.SUSPECT), False),
        (replace(B, flags=Flags.LEAVING), False),
        (replace(B, state=State.DEAD), True),
        (replace(B, state=State.LEFT), True),
        (replace(B, start_id=9), True),
        (replace(B, start_id=None), True),
        (None, True),
    ],
)
def test_a_life_ends_by_death_by_leaving_and_by_a_new_start(after: Peer | None, over: bool) -> None:
    state = roster(B, C)
    ended = state.set_peers([C] if after is None else [after, C], NOW)
    assert ended == ({"b"} if over else set())


def test_a_life_that_was_over_does_not_end_again() -> None:
    state = roster(replace(B, state=State.DEAD))
    assert state.set_peers([replace(B, start_id=9)], NOW) == frozenset()


def test_clarions_are_the_living_with_a_mark_and_this_node() -> None:
    state = roster(B, FOREIGN, replace(C, state=State.DEAD))
    assert state.clarions == {"a", "b"}


@pytest.mark.parametrize(
    ("state", "living", "died"),
    [
        (State.ALIVE, True, False),
        (State.SUSPECT, True, False),
        (State.DEAD, False, True),
        (State.LEFT, False, False),
    ],
)
def test_only_the_dead_died(state: State, living: bool, died: bool) -> None:
    assert (replace(B, state=state).living, replace(B, state=state).died) == (living, died)


@pytest.mark.parametrize("late", [False, True], ids=["in gossip", "forgotten by gossip"])
def test_links_of_the_dead_are_kept_beyond_gossips_own_memory(late: bool) -> None:
    """Its machine may live: in a cut of gossip all others are dead and forgotten after 38 s."""
    state = forgotten()
    if not late:
        state = roster(B)
        state.set_links("b", (LINK_B,))
        state.set_peers([DEAD_B], NOW)
    assert state.owner_of(MAC_B) == "b"
    assert state.links("b") == (LINK_B,)
    assert state.dead() == {"b"}
    found = state.peer("b")
    assert found is not None
    assert found.died
    assert "b" not in state.clarions


@pytest.mark.parametrize(
    "last", [replace(B, state=State.LEFT), replace(B, state=State.DEAD, start_id=None)]
)
def test_who_left_or_was_no_clarion_is_forgotten_with_gossip(last: Peer) -> None:
    state = forgotten(last)
    assert state.owner_of(MAC_B) is None
    assert state.links("b") == ()
    assert state.dead() == frozenset()
    assert state.peer("b") is None


def test_who_is_back_is_late_no_more() -> None:
    state = forgotten()
    state.set_peers([B, C], NOW)
    assert state.dead() == frozenset()
    found = state.peer("b")
    assert found is not None
    assert found.living


@pytest.mark.parametrize(
    ("after", "gone"), [(REMEMBERED - 1.0, False), (REMEMBERED + 1.0, True)], ids=str
)
def test_the_late_are_forgotten_an_hour_after_their_kernel_was_silent(
    after: float, gone: bool
) -> None:
    state, answered = forgotten(), NOW + 500.0
    assert not state.forget_late(lambda name: name == "b", answered)
    assert state.forget_late(silent, answered + after) is gone
    assert state.owner_of(MAC_B) == (None if gone else "b")
    assert state.dead() == (frozenset() if gone else {"b"})


def test_no_more_than_so_many_of_the_late_are_remembered_those_silent_for_longest_go_first() -> (
    None
):
    state, names = Roster("a"), [f"n{index}" for index in range(MOST_LATE + 2)]
    for number, name in enumerate(names):
        ip = IPv4Address(0xC6336400 + number)
        mac = b"\x02\1" + number.to_bytes(4, "big")
        state.remember(name, (PeerLink("eth0", mac, (ip,)),), NOW + number)
    assert state.forget_late(silent, NOW + 1_000.0)
    assert state.dead() == set(names[2:])
    assert state.owner_of(b"\x02\1\0\0\0\0") is None
    assert not state.forget_late(silent, NOW + 1_000.0)


def test_what_another_tells_of_a_dead_node_is_taken_only_where_it_is_unknown() -> None:
    state = roster(C)
    state.remember("b", (LINK_B,), NOW)
    assert state.dead() == {"b"}
    assert state.owner_of(MAC_B) == "b"
    for name in ("c", "a"):
        state.remember(name, (replace(LINK_B, mac=MAC_C),), NOW)
        assert state.dead() == {"b"}
        assert state.owner_of(MAC_C) is None


# ---- a node alone among the dead


def test_who_is_alone_as_all_others_died_is_lonely_but_not_who_never_had_any() -> None:
    assert not Roster("a").lonely
    assert not roster(B).lonely
    assert not roster(replace(B, state=State.LEFT)).lonely
    state = roster(B)
    state.set_links("b", (LINK_B,))
    state.set_peers([DEAD_B], NOW)
    assert state.lonely
    state.set_peers([], NOW)
    assert state.lonely
    state.set_peers([C], NOW)
    assert not state.lonely


@pytest.mark.parametrize("living", [1, 2, 3, 6])
def test_a_dead_node_is_mourned_by_those_that_would_watch_it(living: int) -> None:
    names = [f"node-{index}" for index in range(living)]
    mourners, would_watch = set(), set()
    for own in names:
        view = Roster(own)
        others = [replace(B, name=name) for name in names if name != own]
        view.set_peers([*others, replace(B, name="late")], NOW)
        would_watch |= {own} if "late" in view.watched() else set()
        view.set_links("late", (LINK_B,))
        view.set_peers([*others, replace(B, name="late", state=State.DEAD)], NOW)
        mourners |= {own} if view.mourned() == {"late"} else set()
    assert mourners == would_watch
    assert len(mourners) == min(WITNESSES, living)


def test_who_is_cut_off_mourns_for_some_of_the_others_only() -> None:
    state = roster()
    for number in range(3 * MOST_MOURNED):
        state.remember(f"n{number}", (), NOW)
    assert len(state.mourned()) == MOST_MOURNED
    assert state.mourned() < state.dead()


def test_a_mac_that_moved_to_another_node_is_that_nodes() -> None:
    state = roster(B, C)
    state.set_links("b", (LINK_B,))
    state.set_links("c", (PeerLink("eth0", MAC_B, ()),))
    state.set_links("b", (replace(LINK_B, mac=MAC_C),))
    assert state.owner_of(MAC_B) == "c"
    assert state.owner_of(MAC_C) == "b"


def test_strangers_are_living_clarions_without_links() -> None:
    state = roster(B, C, FOREIGN)
    assert state.strangers() == ("b", "c")
    state.set_links("b", ())
    assert state.strangers() == ("c",)


def test_who_has_begun_a_new_life_has_to_tell_its_links_anew() -> None:
    """It may have other addresses now; what it told before is used until then."""
    state = roster(B, C)
    state.set_links("b", (LINK_B,))
    state.set_links("c", ())
    assert state.strangers() == ()
    state.set_peers([replace(B, start_id=9), C], NOW)
    assert state.strangers() == ("b",)
    assert state.links("b") == (LINK_B,)
    state.set_links("b", (LINK_B,))
    assert state.strangers() == ()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_each_node_is_watched_by_three_or_all_there_are(size: int) -> None:
    """And whoever watches is known to whom it watches: beats go to watchers."""
    names = [f"node-{index}" for index in range(size)]
    views = {}
    for own in names:
        views[own] = Roster(own)
        views[own].set_peers((replace(B, name=name) for name in names if name != own), NOW)
    watched = Counter(name for own in names for name in views[own].watched())
    expected = min(WITNESSES, size - 1)
    assert watched == (Counter(dict.fromkeys(names, expected)) if expected else Counter())
    for own in names:
        assert own not in views[own].watched()
        for name in views[own].watched():
            assert own in views[name].watchers()


def test_foreign_and_dead_members_are_neither_watched_nor_watch() -> None:
    state = roster(B, FOREIGN, replace(C, state=State.DEAD))
    assert (state.watched(), state.watchers()) == (("b",), ("b",))


@pytest.mark.parametrize(
    ("ips", "met"),
    [
        (("192.0.2.9", "192.0.2.2"), "192.0.2.9"),
        (("2001:db8::2", "192.0.2.9"), "2001:db8::2"),
        (("198.51.100.2", "2001:db8::9"), "2001:db8::9"),
        (("198.51.100.2",), None),
        # Our own address at somebody else's link is no neighbour.
        (("192.0.2.1",), None),
        ((), None),
    ],
)
def test_all_witnesses_ask_the_address_told_first(ips: tuple[str, ...], met: str | None) -> None:
    state = roster(B)
    parsed = tuple(ip_interface(text).ip for text in ips)
    far = PeerLink("ens0", MAC_C, (IPv4Address("203.0.113.1"),))
    state.set_links("b", (far, replace(LINK_B, ips=parsed)))
    found = state.meet("b", ETH0)
    assert (None if found is None else (found[0].name, str(found[1]))) == (
        None if met is None else ("ens1", met)
    )


@pytest.mark.parametrize(
    ("gossips_at", "met"), [("192.0.2.9", "192.0.2.9"), ("198.51.100.2", "192.0.2.2")]
)
def test_a_node_is_asked_where_it_gossips_if_that_is_near(gossips_at: str, met: str) -> None:
    """That address is its own: another, lower one may float between nodes."""
    state = roster(replace(B, address=Address(gossips_at, 7946)))
    ips = IPv4Address("192.0.2.2"), IPv4Address("192.0.2.9"), IPv4Address("198.51.100.2")
    state.set_links("b", (replace(LINK_B, ips=ips),))
    found = state.meet("b", ETH0)
    assert found is not None
    assert str(found[1]) == met


def test_an_address_that_two_nodes_have_told_says_nothing_of_either() -> None:
    floating, own = IPv4Address("192.0.2.2"), IPv4Address("192.0.2.9")
    state = roster(replace(B, address=Address(str(floating), 7946)), C)
    state.set_links("b", (replace(LINK_B, ips=(floating, own)),))
    state.set_links("c", (PeerLink("eth0", MAC_C, (floating,)),))
    found = state.meet("b", ETH0)
    assert found is not None
    assert found[1] == own
    assert state.meet("c", ETH0) is None
    state.set_links("c", ())
    found = state.meet("b", ETH0)
    assert found is not None
    assert found[1] == floating


def met_ip(state: Roster, interface: Interface = ETH0) -> str | None:
    found = state.meet("b", interface)
    return None if found is None else str(found[1])


def test_what_is_told_later_is_met_later() -> None:
    """By a node, by another that has the same address, by gossip, and by our own kernel."""
    state = roster(B, C)
    assert met_ip(state) is None
    first, second = IPv4Address("192.0.2.2"), IPv4Address("192.0.2.9")
    state.set_links("b", (replace(LINK_B, ips=(first, second)),))
    assert met_ip(state) == str(first)
    state.set_peers([replace(B, address=Address(str(second), 7946)), C], NOW)
    assert met_ip(state) == str(second)
    state.set_links("c", (PeerLink("eth0", MAC_C, (second,)),))
    assert met_ip(state) == str(first)
    elsewhere = replace(ETH0, addresses=frozenset([ip_interface("198.51.100.1/24")]))
    assert met_ip(state, elsewhere) is None
    assert met_ip(state) == str(first)
    state.set_peers([replace(B, state=State.LEFT), C], NOW)
    state.set_peers([C], NOW)
    assert met_ip(state) is None


def test_nobody_is_met_who_has_not_told_its_links() -> None:
    assert roster(B).meet("b", ETH0) is None


def test_own_links_are_told_with_addresses_that_others_can_use() -> None:
    only_local = frozenset([ip_interface("fe80::2/64")])
    interfaces = [
        replace(ETH0, index=9, name="eth9"),
        ETH0,
        replace(ETH0, index=2, name="bare", addresses=only_local),
    ]
    ips = IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")
    assert own_links({item.index: item for item in interfaces}) == (
        PeerLink("eth0", ETH0.mac, ips),
        PeerLink("eth9", ETH0.mac, ips),
    )


def test_own_addresses_that_belong_to_no_subnet_are_told_last() -> None:
    """Virtual IPs of keepalived and others are set up so."""
    texts = "192.0.2.1/32", "192.0.2.7/24", "2001:db8::1/128", "2001:db8::7/64"
    addresses = frozenset(map(ip_interface, texts))
    [link] = own_links({ETH0.index: replace(ETH0, addresses=addresses)})
    assert [str(ip) for ip in link.ips] == [
        "192.0.2.7",
        "2001:db8::7",
        "192.0.2.1",
        "2001:db8::1",
    ]


def test_the_version_grows_with_every_list_of_members() -> None:
    state = roster(B)
    before = state.version
    state.set_peers([C], NOW)
    assert state.version > before
