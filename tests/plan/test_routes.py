"""All services together: aggregates, unions, who hears of what; the increment is the whole."""

from collections.abc import Collection, Mapping
from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plan.bgp import BgpPlan, Wish
from plan.offers import GRACEFUL_SHUTDOWN, Community, IPNetwork, Offer, Offers
from plan.routes import RouteTable

ONE, TWO, WIDE = (IPv4Network(text) for text in ("10.0.0.1/32", "10.0.0.2/32", "10.0.0.0/24"))
PEERS = ("left", "right")
C1, C2 = (64512, 1), (64512, 2)


def _plan(
    name: str, wishes: Mapping[IPNetwork, Collection[Wish]], draining: bool = False
) -> BgpPlan:
    found = {prefix: frozenset(some) for prefix, some in wishes.items()}
    return BgpPlan(name, wishes=found, draining=draining)


def _wish(*communities: Community, peers: Collection[str] = (), local_pref: int = 0) -> Wish:
    return Wish(frozenset(peers), frozenset(communities), local_pref=local_pref)


def _told(table: RouteTable) -> dict[IPNetwork, dict[str, Offer] | None]:
    changes = table.changes()
    return {prefix: None if found is None else dict(found) for prefix, found in changes.items()}


def test_a_service_comes_and_goes() -> None:
    table = RouteTable(PEERS)
    table.set("a/web", _plan("a/web", {ONE: [_wish()]}))
    assert _told(table) == {ONE: {"left": Offer(), "right": Offer()}}
    assert _told(table) == {}
    assert table.peers_of("a/web") == PEERS
    table.set("a/web", None)
    assert _told(table) == {ONE: None}
    assert (dict(table.routes), table.peers_of("a/web")) == ({}, ())


def test_what_comes_and_goes_at_once_is_no_change() -> None:
    table = RouteTable(PEERS)
    table.set("a/web", _plan("a/web", {ONE: [_wish()]}))
    table.set("a/web", None)
    assert _told(table) == {}


def test_an_aggregate_stays_while_one_service_needs_it() -> None:
    table = RouteTable(["left"])
    for name in ("a/one", "a/two"):
        table.set(name, _plan(name, {WIDE: [_wish()]}))
    assert _told(table) == {WIDE: {"left": Offer()}}
    table.set("a/one", None)
    assert _told(table) == {}
    table.set("a/two", None)
    assert _told(table) == {WIDE: None}


def test_each_peer_gets_the_union_of_what_is_meant_for_it() -> None:
    table = RouteTable(PEERS)
    table.set("a/web", _plan("a/web", {ONE: [_wish(C1), _wish(C2, peers=["left", "nobody"])]}))
    table.set("a/all", _plan("a/all", {TWO: [_wish(peers=["right"])]}))
    assert _told(table) == {
        ONE: {"left": Offer(frozenset({C1, C2})), "right": Offer(frozenset({C1}))},
        TWO: {"right": Offer()},
    }
    assert table.peers_of("a/all") == ("right",)


def test_services_of_one_prefix_share_their_peers() -> None:
    table = RouteTable(PEERS)
    for name, peer in (("a/one", "left"), ("a/two", "right")):
        table.set(name, _plan(name, {WIDE: [_wish(peers=[peer])]}))
    told = _told(table)
    assert table.peers_of("a/one") == table.peers_of("a/two") == PEERS
    assert table.services_on(told) == {"a/one", "a/two"}
    assert table.services_on([ONE]) == frozenset()


@pytest.mark.parametrize(
    ("preferences", "wins"), [((), 0), ((0, 100), 100), ((100, 90), 90), ((100, 200), 200)]
)
def test_the_preference_whose_text_is_the_last_wins(
    preferences: tuple[int, ...], wins: int
) -> None:
    table = RouteTable(["left"])
    for number, preference in enumerate(preferences or (0,)):
        table.set(f"a/{number}", _plan("", {WIDE: [_wish(local_pref=preference)]}))
    assert _told(table) == {WIDE: {"left": Offer(local_pref=wins)}}


def test_a_prefix_shuts_down_when_the_last_service_drains() -> None:
    table = RouteTable(["left"])
    drains = Offer(frozenset({C1, GRACEFUL_SHUTDOWN}))
    for name, draining in (("a/one", True), ("a/two", False)):
        table.set(name, _plan(name, {WIDE: [_wish(C1)]}, draining))
    assert _told(table) == {WIDE: {"left": Offer(frozenset({C1}))}}
    table.set("a/two", _plan("a/two", {WIDE: [_wish(C1)]}, True))
    assert _told(table) == {WIDE: {"left": drains}}
    table.set("a/one", _plan("a/one", {WIDE: [_wish(C1)]}))
    assert _told(table) == {WIDE: {"left": Offer(frozenset({C1}))}}


def test_peers_that_come_and_go() -> None:
    table = RouteTable()
    table.set("a/web", _plan("a/web", {ONE: [_wish(peers=["left"])], TWO: [_wish()]}))
    assert _told(table) == {}
    table.set_peers(["right"])
    assert _told(table) == {TWO: {"right": Offer()}}
    table.set_peers(PEERS)
    both = {"left": Offer(), "right": Offer()}
    assert _told(table) == {ONE: {"left": Offer()}, TWO: both}
    table.set_peers(PEERS[::-1])
    assert _told(table) == {}
    table.set_peers([])
    assert _told(table) == {ONE: None, TWO: None}


def test_a_med_is_that_of_all_routes() -> None:
    table = RouteTable(["left"])
    table.set("a/web", _plan("a/web", {ONE: [_wish()], TWO: [_wish()]}))
    table.set_med(100)
    assert _told(table) == {ONE: {"left": Offer(med=100)}, TWO: {"left": Offer(med=100)}}
    table.set_med(100)
    assert _told(table) == {}
    table.set_med(99)
    assert _told(table) == {ONE: {"left": Offer(med=99)}, TWO: {"left": Offer(med=99)}}


def test_changes_come_in_bites() -> None:
    table = RouteTable(["left"])
    table.set("a/web", _plan("a/web", {ONE: [_wish()], TWO: [_wish()], WIDE: [_wish()]}))
    assert set(table.changes(2)) == {ONE, TWO}
    assert (set(table.routes), table.pending) == ({ONE, TWO}, True)
    # What changes again waits behind what has waited.
    table.set_med(99)
    assert table.changes(1) == {WIDE: {"left": Offer(med=99)}}
    assert set(table.changes()) == {ONE, TWO}
    assert (table.changes(2), table.pending) == ({}, False)


def test_a_plan_that_is_withheld_takes_its_routes_back() -> None:
    table = RouteTable(["left"])
    table.set("a/web", _plan("a/web", {ONE: [_wish()]}))
    table.changes()
    table.set("a/web", BgpPlan("a/web"))
    assert _told(table) == {ONE: None}


WISHES = st.builds(
    Wish,
    st.frozensets(st.sampled_from((*PEERS, "nobody")), max_size=2),
    st.frozensets(st.sampled_from((C1, C2)), max_size=2),
    st.frozensets(st.just((1, 2, 3)), max_size=1),
    st.sampled_from((0, 90, 100)),
)
PLANS = st.none() | st.builds(
    BgpPlan,
    st.just("s"),
    wishes=st.dictionaries(
        st.sampled_from((ONE, TWO, WIDE)), st.frozensets(WISHES, min_size=1, max_size=3), max_size=3
    ),
    draining=st.booleans(),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(("a", "b", "c")), PLANS)
    | st.frozensets(st.sampled_from(PEERS))
    | st.sampled_from((100, 99))
    | st.just("drain"),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=300)
def test_the_increment_is_the_whole(steps: list[object]) -> None:
    """However it came about: the table, and whoever followed its changes, know the same."""
    table, plans, peers, med = RouteTable(), dict[str, BgpPlan | None](), frozenset[str](), 0
    follower: dict[IPNetwork, Offers] = {}
    for step in [*steps, "drain"]:
        if isinstance(step, tuple):
            plans[step[0]] = step[1]
            table.set(*step)
        elif isinstance(step, frozenset):
            peers = step
            table.set_peers(peers)
        elif isinstance(step, int):
            med = step
            table.set_med(med)
        else:
            for prefix, offers in table.changes().items():
                assert follower.get(prefix) != offers
                follower.pop(prefix, None)
                if offers is not None:
                    follower[prefix] = offers
    whole = RouteTable(peers)
    whole.set_med(med)
    for service, plan in plans.items():
        whole.set(service, plan)
    whole.changes()
    assert follower == whole.routes == table.routes
    assert all(table.peers_of(name) == whole.peers_of(name) for name in plans)
