"""Who the others are: lives, links, and who watches whom."""

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest

from gossip.mark import Flags
from gossip.wire.messages import State
from link.interface import Interface
from speaker.letters import PeerLink
from speaker.roster import WITNESSES, Peer, Roster, own_links

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


def roster(*peers: Peer) -> Roster:
    state = Roster("a")
    state.set_peers(peers)
    return state


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
    ended = state.set_peers([C] if after is None else [after, C])
    assert ended == ({"b"} if over else set())


def test_a_life_that_was_over_does_not_end_again() -> None:
    state = roster(replace(B, state=State.DEAD))
    assert state.set_peers([replace(B, start_id=9)]) == frozenset()


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


def test_links_of_the_dead_are_kept_and_of_the_forgotten_are_not() -> None:
    state = roster(B)
    state.set_links("b", (LINK_B,))
    state.set_peers([replace(B, state=State.DEAD)])
    assert state.owner_of(MAC_B) == "b"
    state.set_peers([C])
    assert state.owner_of(MAC_B) is None
    assert state.links("b") == ()


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


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_each_node_is_watched_by_three_or_all_there_are(size: int) -> None:
    """And whoever watches is known to whom it watches: beats go to watchers."""
    names = [f"node-{index}" for index in range(size)]
    views = {}
    for own in names:
        views[own] = Roster(own)
        views[own].set_peers(replace(B, name=name) for name in names if name != own)
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
        (("192.0.2.9", "192.0.2.2"), "192.0.2.2"),
        (("2001:db8::2", "192.0.2.9"), "192.0.2.9"),
        (("198.51.100.2", "2001:db8::9"), "2001:db8::9"),
        (("198.51.100.2",), None),
        # Our own address at somebody else's link is no neighbour.
        (("192.0.2.1",), None),
        ((), None),
    ],
)
def test_all_witnesses_ask_the_same_address(ips: tuple[str, ...], met: str | None) -> None:
    state = roster(B)
    parsed = tuple(ip_interface(text).ip for text in ips)
    far = PeerLink("ens0", MAC_C, (IPv4Address("203.0.113.1"),))
    state.set_links("b", (far, replace(LINK_B, ips=parsed)))
    found = state.meet("b", ETH0)
    assert (None if found is None else (found[0].name, str(found[1]))) == (
        None if met is None else ("ens1", met)
    )


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


def test_the_version_grows_with_every_list_of_members() -> None:
    state = roster(B)
    before = state.version
    state.set_peers([C])
    assert state.version > before
