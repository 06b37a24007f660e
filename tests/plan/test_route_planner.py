"""The routes follow every change of a cluster: the increment is doing it all anew."""

from dataclasses import replace
from ipaddress import IPv4Network
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.address import Range, parse_range
from kube.bgp_config import BgpConfig, RouteAdvertisement
from kube.config import PoolConfig
from kube.objects.core import Endpoint, EndpointSlice, Node, Service
from kube.peering import Session
from kube.problem import Severity
from kube.selector import LabelSelector
from kube.snapshot import Snapshot
from plan.bgp import BgpPlan
from plan.offers import Offer
from plan.release import Options
from plan.route_planner import RoutePlanner
from plan.service import Withheld

OPTIONS = Options("n1")
P1 = IPv4Network("10.0.0.1/32")
UP, DRAINING, DOWN = Endpoint("n1", True), Endpoint("n1", False, True), Endpoint("n1", False)


def _config(*texts: str) -> PoolConfig:
    spans = [span for text in texts if isinstance(span := parse_range(text), Range)]
    return PoolConfig(tuple((span, "pool") for span in spans), {"pool": ()})


def _bgp(*ads: RouteAdvertisement, peers: tuple[str, ...] = ("left",)) -> BgpConfig:
    sessions = tuple(Session(peer, 64512, 64501) for peer in peers)
    return BgpConfig(sessions, (), {"pool": ads} if ads else {})


AD = RouteAdvertisement("ad")
WIDE = RouteAdvertisement("wide", length_v4=30, communities=frozenset({(1, 2)}))
PICKY = RouteAdvertisement("picky", (LabelSelector({"side": "a"}),), local_pref=100)
POOLS = (_config("10.0.0.0/24"), _config("10.0.0.0/29"))
BGPS = (_bgp(AD), _bgp(AD, WIDE, peers=("left", "right")), _bgp(PICKY, AD), _bgp())
NODES = (Node("n1"), Node("n1", {}, True))


class Cluster:
    """Services and slices that change in place, as a source shows them."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.slices: dict[str, tuple[EndpointSlice, ...]] = {}
        self.snapshot = Snapshot(
            MappingProxyType(self.services),
            {"n1": NODES[0]},
            MappingProxyType(self.slices),
            config=POOLS[0],
            bgp=BGPS[0],
        )

    def serve(
        self, name: str, ip: str, *endpoints: Endpoint, policy: str = "Local", side: str = "b"
    ) -> str:
        key = f"a/{name}"
        self.services[key] = Service(
            "a", name, "LoadBalancer", {"side": side}, external_traffic_policy=policy, ingress=(ip,)
        )
        self.slices[key] = (EndpointSlice("a", f"{name}-1", name, endpoints),)
        return key

    def change(self, **fields: object) -> None:
        self.snapshot = replace(self.snapshot, **fields)  # type: ignore[arg-type]


def _finish(planner: RoutePlanner) -> dict[str, BgpPlan | None]:
    different: dict[str, BgpPlan | None] = {}
    while planner.pending:
        different |= planner.advance()
    return different


def _follow(planner: RoutePlanner, cluster: Cluster, changed: list[str] | None = None) -> None:
    planner.take(cluster.snapshot, changed)
    _finish(planner)
    planner.table.changes()


def test_a_service_from_its_first_endpoint_to_its_last() -> None:
    cluster, planner = Cluster(), RoutePlanner(OPTIONS)
    key = cluster.serve("web", "10.0.0.1", UP)
    _follow(planner, cluster)
    assert dict(planner.table.routes) == {P1: {"left": Offer()}}
    for endpoints, offers in (
        ((DRAINING, UP), {"left": Offer()}),
        ((DRAINING,), {"left": Offer(frozenset({(65535, 0)}))}),
        ((DOWN,), None),
    ):
        cluster.serve("web", "10.0.0.1", *endpoints)
        _follow(planner, cluster, [key])
        assert planner.table.routes.get(P1) == offers
    assert planner.plans[key].withheld is Withheld.NO_LOCAL_ENDPOINTS
    del cluster.services[key]
    _follow(planner, cluster, [key])
    assert dict(planner.plans) == {}


def test_the_network_of_our_node_goes_and_returns() -> None:
    cluster, planner = Cluster(), RoutePlanner(OPTIONS)
    cluster.serve("web", "10.0.0.1", UP)
    for node, routes in ((NODES[0], {P1}), (NODES[1], set()), (NODES[0], {P1})):
        cluster.change(nodes={"n1": node})
        planner.take(cluster.snapshot, frozenset())
        _finish(planner)
        planner.table.changes()
        assert planner.table.routes.keys() == routes


def test_nothing_is_planned_before_bgp_is_known() -> None:
    cluster, planner = Cluster(), RoutePlanner(OPTIONS)
    cluster.serve("web", "10.0.0.1", UP)
    known = cluster.snapshot.bgp
    cluster.change(bgp=None)
    planner.take(cluster.snapshot, None)
    assert (planner.known, planner.pending) == (False, False)
    cluster.change(bgp=known)
    planner.take(cluster.snapshot, frozenset())
    assert planner.known
    assert _finish(planner).keys() == {"a/web"}


def test_a_pool_that_shrinks_under_a_service_that_is_announced() -> None:
    cluster, planner = Cluster(), RoutePlanner(OPTIONS)
    key = cluster.serve("web", "10.0.0.200", UP)
    _follow(planner, cluster)
    before = planner.plans[key]
    cluster.change(config=POOLS[1])
    _follow(planner, cluster)
    assert planner.plans[key] == before
    # Its endpoints count as before, and a new address ends it.
    cluster.serve("web", "10.0.0.200", DOWN)
    _follow(planner, cluster, [key])
    assert planner.plans[key].withheld is Withheld.NO_LOCAL_ENDPOINTS
    cluster.serve("web", "10.0.0.200", UP)
    _follow(planner, cluster, [key])
    assert planner.plans[key].withheld is Withheld.IP_NOT_ALLOWED


def test_a_service_that_makes_us_fail_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, planner = Cluster(), RoutePlanner(OPTIONS)
    for name, ip in (("good", "10.0.0.1"), ("poison", "10.0.0.2")):
        cluster.serve(name, ip, UP)
    monkeypatch.setattr("plan.bgp._unserved", _failing)
    _follow(planner, cluster)
    assert {key: plan.withheld for key, plan in planner.plans.items()} == {
        "a/good": None,
        "a/poison": Withheld.INVALID_IP,
    }
    (problem,) = planner.problems()
    assert (problem.severity, problem.object) == (Severity.ERROR, "Service a/poison")


def _failing(local: bool, here: list[Endpoint], endpoints: list[Endpoint]) -> None:
    _failing.calls += 1  # type: ignore[attr-defined]
    if _failing.calls == 2:  # type: ignore[attr-defined]
        raise ZeroDivisionError("of ours")


_failing.calls = 0  # type: ignore[attr-defined]

NAMES = ("one", "two", "three")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(("10.0.0.1", "10.0.0.2", "10.9.0.1")),
        st.lists(st.sampled_from((UP, DRAINING, DOWN)), max_size=2),
        st.sampled_from(("Local", "Cluster")),
        st.sampled_from("ab"),
    )
    | st.sampled_from((*BGPS, *NODES, *NAMES, 1, 2)),
    max_size=15,
)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_the_increment_is_the_whole(steps: list[object]) -> None:
    """Whatever happens, and however little is planned in between."""
    cluster, planner = Cluster(), RoutePlanner(OPTIONS)
    planner.take(cluster.snapshot, None)
    for step in steps:
        match step:
            case BgpConfig():
                cluster.change(bgp=step)
                planner.take(cluster.snapshot, frozenset())
            case Node():
                cluster.change(nodes={"n1": step})
                planner.take(cluster.snapshot, frozenset())
            case str():
                cluster.services.pop(f"a/{step}", None)
                planner.take(cluster.snapshot, [f"a/{step}"])
            case int():
                planner.advance(step)
                planner.table.changes()
            case (str(name), str(ip), list(endpoints), str(policy), str(side)):
                key = cluster.serve(name, ip, *endpoints, policy=policy, side=side)
                planner.take(cluster.snapshot, [key])
    _finish(planner)
    planner.table.changes()
    whole = RoutePlanner(OPTIONS)
    _follow(whole, cluster)
    assert planner.plans == whole.plans
    assert planner.table.routes == whole.table.routes
    assert planner.problems() == sorted(whole.problems(), key=planner.problems().index)


def test_one_change_among_ten_thousand_services_costs_no_more_than_among_few() -> None:
    """By the number of services that are planned, and of prefixes that are looked at."""
    cluster, planner = Cluster(), RoutePlanner(OPTIONS)
    cluster.change(config=_config("10.0.0.0/8"), bgp=_bgp(RouteAdvertisement("a", length_v4=16)))
    for number in range(10_000):
        cluster.serve(f"s{number}", f"10.0.{number // 250}.{number % 250}", UP)
    _follow(planner, cluster)
    # All of them share one prefix, and all but one kind of wish is told of it.
    key = cluster.serve("s77", "10.0.0.77", DOWN)
    planner.take(cluster.snapshot, [key])
    assert _finish(planner).keys() == {key}
    assert planner.table.changes() == {}
    assert len(planner.table._wants[IPv4Network("10.0.0.0/16")]) == 1
    assert not planner.table._touched
