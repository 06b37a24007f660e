"""The plans kept up to date, held equal to planning everything anew after any change."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.config import PoolConfig, judge
from kube.objects.core import Endpoint, EndpointSlice, Node, Service
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.selector import LabelSelector
from kube.snapshot import Snapshot
from plan.planner import Planner, plan
from plan.release import Options, Release
from plan.service import ServicePlan, Withheld

NAMES = ["a/one", "a/two", "b/one", "b/two"]
OPTIONS = Options(own_node="n1", release=Release.HEAD)
SIDES = ["left", "right"]


def _selectors(side: str | None) -> tuple[LabelSelector, ...]:
    return (LabelSelector({"side": side}),) if side else ()


def _config(pools: list[str], node_side: str | None, service_side: str | None) -> PoolConfig:
    ad = L2Advertisement(
        "m", "ad", (), (), _selectors(node_side), _selectors(service_side), ("eth0",)
    )
    found, _ = judge([IPAddressPool("m", name, (name,)) for name in pools], [ad])
    assert found is not None
    return found


@st.composite
def services(draw: Any) -> Service:
    namespace, name = draw(st.sampled_from(NAMES)).split("/")
    return Service(
        namespace,
        name,
        type=draw(st.sampled_from(["LoadBalancer", "LoadBalancer", "ClusterIP"])),
        labels={"side": draw(st.sampled_from(SIDES))},
        load_balancer_class=draw(st.sampled_from([None, None, "other"])),
        external_traffic_policy=draw(st.sampled_from(["Cluster", "Local"])),
        ingress=draw(
            st.sampled_from([(), ("10.0.0.1",), ("10.0.1.1",), ("10.0.0.1", "10.0.0.2"), ("x",)])
        ),
    )


ENDPOINTS = st.builds(
    Endpoint, st.none() | st.sampled_from(["n1", "n2", "n3"]), st.none() | st.booleans(), st.none()
)
NODES = st.dictionaries(
    st.sampled_from(["n1", "n2", "n3"]), st.tuples(st.sampled_from(SIDES), st.booleans())
)
CONFIGS = st.none() | st.builds(
    _config,
    st.lists(st.sampled_from(["10.0.0.0/24", "10.0.1.0/24"]), unique=True),
    st.none() | st.sampled_from(SIDES),
    st.none() | st.sampled_from(SIDES),
)
CHANGES = st.one_of(
    services(),
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from(NAMES), st.lists(ENDPOINTS, max_size=2)),
    NODES.map(lambda found: {name: Node(name, {"side": s}, u) for name, (s, u) in found.items()}),
    CONFIGS.map(lambda config: [config]),
)


class _Cluster:
    """The state as the Kubernetes source gives it: services and slices change in place."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.slices: dict[str, tuple[EndpointSlice, ...]] = {}
        self.snapshot = Snapshot(MappingProxyType(self.services), {}, MappingProxyType(self.slices))

    def change(self, change: Any) -> frozenset[str]:
        """Do what the change says; name the services that it touches."""
        match change:
            case Service():
                self.services[change.key] = change
                return frozenset({change.key})
            case str():
                self.services.pop(change, None)
                return frozenset({change})
            case (str() as name, list() as endpoints):
                self.slices[name] = (EndpointSlice("a", "x", name, tuple(endpoints)),)
                return frozenset({name})
            case dict():
                self.snapshot = replace(self.snapshot, nodes=change)
            case [config]:
                self.snapshot = replace(self.snapshot, config=config)
        return frozenset()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(CHANGES, st.integers(0, 3)), max_size=30))
def test_it_equals_the_full_plan(steps: list[tuple[Any, int]]) -> None:
    """After any changes, interrupted anywhere; and who follows the differences knows it all."""
    cluster, planner = _Cluster(), Planner(OPTIONS)
    told: dict[str, ServicePlan | None] = {}
    for change, bite in steps:
        planner.take(cluster.snapshot, cluster.change(change))
        planner.take(cluster.snapshot, ())
        told |= planner.advance(bite)
    while planner.pending:
        told |= planner.advance(2)
    plans, problems = plan(cluster.snapshot, OPTIONS)
    assert dict(planner.plans) == plans
    assert {name: item for name, item in told.items() if item is not None} == plans
    assert sorted(planner.problems(), key=str) == sorted(problems, key=str)
    assert planner.ips() == {ip for item in plans.values() for ip in item.ips}


def _many(count: int) -> _Cluster:
    cluster = _Cluster()
    cluster.change([_config(["10.0.0.0/16"], None, None)])
    cluster.change({"n1": Node("n1")})
    for number in range(count):
        ip = f"10.0.{number // 250}.{number % 250}"
        cluster.change(Service("a", f"s{number}", "LoadBalancer", ingress=(ip,)))
        cluster.change((f"a/s{number}", [Endpoint("n1")]))
    return cluster


@pytest.mark.parametrize(
    ("change", "planned"),
    [
        (("a/s7", [Endpoint("n1", False)]), 1),
        ("a/s7", 1),
        ({"n1": Node("n1", {"side": "left"})}, 500),
        ([_config(["10.0.0.0/15"], None, None)], 500),
    ],
)
def test_only_what_is_touched_is_planned_in_bites(change: Any, planned: int) -> None:
    cluster, planner = _many(500), Planner(OPTIONS)
    planner.take(cluster.snapshot, None)
    while planner.pending:
        planner.advance()
    touched = cluster.change(change)
    planner.take(cluster.snapshot, touched)
    bites = 0
    while planner.pending:
        planner.advance(1)
        bites += 1
    assert bites == planned


def test_a_change_that_changes_no_plan_tells_of_none() -> None:
    cluster, planner = _many(3), Planner(OPTIONS)
    planner.take(cluster.snapshot, None)
    assert len(planner.advance()) == 3
    planner.take(cluster.snapshot, None)
    assert planner.pending
    assert planner.advance() == {}


# ---- a pool that shrinks under its services


class _Node:
    """A node that announces `announced`, of a cluster of three services in two pools."""

    def __init__(self) -> None:
        self.cluster, self.announced = _Cluster(), {"a/low", "a/high"}
        self.planner = Planner(OPTIONS, lambda: self.announced)
        self.cluster.change({"n1": Node("n1", {"side": "left"})})
        for name, ip in (("low", "10.0.0.1"), ("high", "10.0.0.200"), ("other", "10.0.1.1")):
            self.cluster.change(Service("a", name, "LoadBalancer", ingress=(ip,)))
            self.cluster.change((f"a/{name}", [Endpoint("n1")]))
        self.configure("10.0.0.0/24", "10.0.1.0/24")

    def configure(self, *pools: str, node_side: str | None = None) -> None:
        self.cluster.change([_config(list(pools), node_side, None)])
        self.take()

    def take(self, *changed: str) -> None:
        self.planner.take(self.cluster.snapshot, changed)
        while self.planner.pending:
            self.planner.advance(1)

    def withheld(self, name: str) -> Withheld | None:
        return self.planner.plans[f"a/{name}"].withheld


def test_what_is_announced_stays_when_its_pool_shrinks_and_all_else_follows() -> None:
    node = _Node()
    node.configure("10.0.0.0/25", node_side="right")
    assert node.withheld("high") is None
    assert set(node.planner.kept) == {"a/high"}
    # Of this one the new configuration says that it belongs elsewhere; of that one, nothing.
    assert node.withheld("low") is Withheld.NO_MATCHING_ADVERTISEMENT
    assert node.withheld("other") is Withheld.IP_NOT_ALLOWED
    kept, gone = sorted(str(problem) for problem in node.planner.problems())
    assert "10.0.0.200 is in no IPAddressPool; as it is announced here" in kept
    assert gone.endswith("10.0.1.1 is in no IPAddressPool")


def test_it_stays_by_the_configuration_that_allowed_it_through_further_edits() -> None:
    node = _Node()
    node.configure("10.0.0.0/25")
    allowed = node.planner.kept["a/high"]
    node.configure("10.0.0.0/26")
    assert node.planner.kept == {"a/high": allowed}
    assert node.withheld("low") is None
    node.configure("10.0.0.0/24")
    assert node.planner.kept == {}
    assert node.withheld("high") is None
    assert not node.planner.problems()[1:]


def test_endpoints_are_heeded_as_ever_where_the_pool_is_gone() -> None:
    node = _Node()
    node.configure()
    assert set(node.planner.kept) == {"a/low", "a/high"}
    node.cluster.change(("a/low", [Endpoint("n1", False)]))
    node.take("a/low")
    assert node.withheld("low") is Withheld.NOT_OWNER


@pytest.mark.parametrize("end", ["given up", "another IP", "no IP", "deleted"])
def test_it_stays_until_it_is_given_up_or_changes(end: str) -> None:
    node = _Node()
    node.configure("10.0.0.0/25")
    match end:
        case "given up":
            node.announced.discard("a/high")
        case "another IP":
            node.cluster.change(Service("a", "high", "LoadBalancer", ingress=("10.0.0.201",)))
        case "no IP":
            node.cluster.change(Service("a", "high", "LoadBalancer"))
        case _:
            node.cluster.change("a/high")
    node.take("a/high")
    assert node.planner.kept == {}
    assert dict(node.planner.plans) == plan(node.cluster.snapshot, OPTIONS)[0]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(CHANGES, st.sets(st.sampled_from(NAMES))), max_size=20))
def test_only_what_is_kept_differs_from_the_full_plan(steps: list[tuple[Any, set[str]]]) -> None:
    """Whatever this node announces at any time, also what it cannot."""
    cluster, announced = _Cluster(), set[str]()
    planner = Planner(OPTIONS, lambda: announced)
    for change, now_announced in steps:
        announced = now_announced
        planner.take(cluster.snapshot, {*cluster.change(change), *planner.kept})
        planner.take(cluster.snapshot, ())
        while planner.pending:
            planner.advance(2)
        plans, _ = plan(cluster.snapshot, OPTIONS)
        different = {key for key, item in planner.plans.items() if item != plans[key]}
        assert planner.plans.keys() == plans.keys()
        assert different == planner.kept.keys()
        assert different <= announced
        for key in different:
            assert plans[key].withheld is Withheld.IP_NOT_ALLOWED
            snapshot = replace(cluster.snapshot, config=planner.kept[key])
            assert planner.plans[key] == plan(snapshot, OPTIONS)[0][key]
