"""The routes of all services: kept up to date they are what planning all anew gives."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kube.address import Range, parse_range
from kube.bgp_config import BgpConfig, RouteAdvertisement
from kube.config import PoolConfig
from kube.objects.core import Endpoint, EndpointSlice, Node, Service
from kube.peering import Session
from kube.snapshot import Snapshot
from plan.offers import IPNetwork, Offers
from plan.release import Options
from plan.route_planner import RoutePlanner
from plan.service import EXCLUDE_LABEL, Withheld

OWN = "n1"
OPTIONS = Options(own_node=OWN)
ROUTER = Session("router", 64500, 64501)
OTHER = Session("other", 64500, 64502)
AD = RouteAdvertisement("ad")
WIDE = RouteAdvertisement("wide", length_v4=24, communities=frozenset({(1, 2)}))
NAMES = ("a/one", "a/two", "a/three")


def _pools() -> PoolConfig:
    span = parse_range("10.0.0.0/16")
    assert isinstance(span, Range)
    return PoolConfig(((span, "pool"),), {"pool": ()})


POOLS = _pools()


def _bgp(*ads: RouteAdvertisement, sessions: tuple[Session, ...] = (ROUTER,)) -> BgpConfig:
    return BgpConfig(sessions, (), {"pool": ads} if ads else {})


def _service(name: str, number: int, policy: str = "Cluster") -> Service:
    space, _, bare = name.partition("/")
    address = f"10.0.0.{number}"
    return Service(space, bare, "LoadBalancer", external_traffic_policy=policy, ingress=(address,))


def _slice(name: str, node: str) -> tuple[EndpointSlice, ...]:
    space, _, bare = name.partition("/")
    return (EndpointSlice(space, bare, bare, (Endpoint(node, True, None, True),)),)


def _snapshot(**fields: Any) -> Snapshot:
    one = "a/one"
    start = Snapshot({one: _service(one, 1)}, {OWN: Node(OWN)}, {one: _slice(one, OWN)})
    return replace(start, config=POOLS, bgp=_bgp(AD), **fields)


def _all(planner: RoutePlanner) -> Mapping[IPNetwork, Offers | None]:
    while planner.pending:
        planner.advance()
    return planner.changes()


def test_a_service_is_announced_to_the_peers() -> None:
    planner = RoutePlanner(OPTIONS)
    planner.take(_snapshot(), None)
    assert set(_all(planner)) == {IPv4Network("10.0.0.1/32")}
    assert planner.peers_of("a/one") == ("router",)
    assert planner.withheld("a/one") is None


def test_nothing_is_planned_before_the_configuration_is_known() -> None:
    planner = RoutePlanner(OPTIONS)
    planner.take(replace(_snapshot(), bgp=None), None)
    assert not planner.pending
    planner.take(_snapshot(), ())
    assert len(_all(planner)) == 1


def test_a_label_of_our_own_node_concerns_all() -> None:
    planner = RoutePlanner(OPTIONS)
    planner.take(_snapshot(), None)
    _all(planner)
    barred = Node(OWN, labels={EXCLUDE_LABEL: ""})
    planner.take(replace(_snapshot(), nodes={OWN: barred}), ())
    assert list(_all(planner).values()) == [None]
    assert planner.withheld("a/one") is Withheld.NODE_LABELED_EXCLUDE_BALANCERS


def test_another_node_concerns_none() -> None:
    planner = RoutePlanner(OPTIONS)
    planner.take(_snapshot(), None)
    _all(planner)
    planner.take(replace(_snapshot(), nodes={OWN: Node(OWN), "n2": Node("n2")}), ())
    assert not planner.pending


def test_a_service_that_cannot_be_planned_costs_no_other() -> None:
    planner = RoutePlanner(OPTIONS)
    broken = replace(_snapshot(), slices={"a/one": None})  # type: ignore[dict-item]
    services = {**broken.services, "a/two": _service("a/two", 2)}
    slices = {**broken.slices, "a/two": _slice("a/two", OWN)}
    planner.take(replace(broken, services=services, slices=slices), None)
    assert set(_all(planner)) == {IPv4Network("10.0.0.2/32")}
    assert [problem.object for problem in planner.problems()] == ["Service a/one"]


services = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.integers(1, 4), st.sampled_from(["Cluster", "Local"]), st.sampled_from([OWN, ""])),
)
configs = st.builds(
    lambda ads, sessions: _bgp(*ads, sessions=sessions),
    st.sampled_from([(), (AD,), (WIDE,), (AD, WIDE)]),
    st.sampled_from([(), (ROUTER,), (ROUTER, OTHER)]),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(services, configs), min_size=1, max_size=6), st.integers(1, 3))
def test_what_is_kept_up_to_date_is_what_planning_anew_gives(
    steps: list[tuple[dict[str, tuple[int, str, str]], BgpConfig]], bite: int
) -> None:
    planner, found, before = RoutePlanner(OPTIONS), dict[IPNetwork, Offers](), dict[str, Any]()
    for wanted, config in steps:
        snapshot = Snapshot(
            {name: _service(name, number, policy) for name, (number, policy, _) in wanted.items()},
            {OWN: Node(OWN)},
            {name: _slice(name, node) for name, (_, _, node) in wanted.items() if node},
            config=POOLS,
            bgp=config,
        )
        touched = {name for name in NAMES if before.get(name) != wanted.get(name)}
        before = wanted
        planner.take(snapshot, touched)
        # Another change may come before all is planned.
        planner.advance(bite)
        for prefix, offers in planner.changes().items():
            _note(found, prefix, offers)
    for prefix, offers in _all(planner).items():
        _note(found, prefix, offers)
    anew = RoutePlanner(OPTIONS)
    anew.take(snapshot, None)
    assert found == _all(anew)
    assert {name: planner.peers_of(name) for name in NAMES} == {
        name: anew.peers_of(name) for name in NAMES
    }


def _note(found: dict[IPNetwork, Offers], prefix: IPNetwork, offers: Offers | None) -> None:
    if offers is None:
        found.pop(prefix, None)
    else:
        found[prefix] = offers
