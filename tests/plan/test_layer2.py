"""The plan: MetalLB's rules as tables. The owner follows from it by the election's own order."""

import json
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.document import ManifestError
from kube.files.manifest import read
from kube.problem import Problem, Severity
from kube.snapshot import Snapshot, build
from ownership.election.election import order
from plan.planner import plan
from plan.release import Options, Release
from plan.service import EXCLUDE_LABEL, ServicePlan, Withheld

# By the hash, of iris1 and iris2: 10.20.30.1 is iris2's and 10.20.30.2 is iris1's.
BY_HASH = {"10.20.30.1": "iris2", "10.20.30.2": "iris1"}
IRIS1, IRIS2 = "iris1", "iris2"
UP = "ready: true"
DOWN = "ready: false"
DRAINING = "ready: false, serving: true, terminating: true"
ODD = "ready: true, serving: false"

POOL = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool}
spec: {addresses: [10.20.30.0/24, "1000::/16"]}
"""


def _ad(spec: str = "{}", name: str = "ad") -> str:
    return (
        "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\n"
        f"metadata: {{name: {name}}}\nspec: {spec}\n"
    )


def _on(*nodes: str) -> str:
    selectors = ", ".join(f"{{matchLabels: {{host: {node}}}}}" for node in nodes)
    return f"nodeSelectors: [{selectors}]"


def _node(name: str, label: str = "", unavailable: bool = False) -> str:
    labels = f"{{host: {name}{f', {label}' if label else ''}}}"
    status = f"{{conditions: [{{type: NetworkUnavailable, status: '{unavailable}'}}]}}"
    return (
        f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {labels}}}\n"
        f"status: {status}\n"
    )


def _service(
    *ips: str, name: str = "web", policy: str = "Cluster", spec: str = "", metadata: str = ""
) -> str:
    ingress = ", ".join(f"{{ip: '{ip}'}}" for ip in ips)
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, {metadata}}}\n"
        f"spec: {{type: LoadBalancer, externalTrafficPolicy: {policy}, {spec}}}\n"
        f"status: {{loadBalancer: {{ingress: [{ingress}]}}}}\n"
    )


def _slice(*endpoints: tuple[str | None, str], name: str = "web") -> str:
    slice_name = "-".join([name, *(node or "none" for node, _ in endpoints)])
    listed = ", ".join(
        f"{{{f'nodeName: {node}, ' if node else ''}conditions: {{{conditions}}}}}"
        for node, conditions in endpoints
    )
    return (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        f"metadata: {{name: {slice_name},"
        f" labels: {{kubernetes.io/service-name: {name}}}}}\nendpoints: [{listed}]\n"
    )


NODES = _node(IRIS1) + "---\n" + _node(IRIS2)
ANY = _slice((None, UP))


def _snapshot(*documents: str) -> Snapshot:
    snapshot, problems = build(read("\n---\n".join(documents).encode(), "m.yaml"), "metallb-system")
    assert [problem for problem in problems if problem.severity is Severity.ERROR] == []
    return snapshot


def _plan(*documents: str, annotations: bool = False) -> tuple[ServicePlan, list[Problem]]:
    options = Options(IRIS1, addresses_from_annotations=annotations, of_folder=annotations)
    plans, problems = plan(_snapshot(*documents), options)
    return plans["default/web"], problems


def _all_announcers(*documents: str, ignore: bool = False) -> dict[str, set[str]]:
    """Give the nodes that would announce each service, each node asked on its own, both alive."""
    snapshot = _snapshot(*documents)
    found: dict[str, set[str]] = {service: set() for service in snapshot.services}
    for own in (IRIS1, IRIS2):
        plans, _ = plan(snapshot, Options(own, ignore_exclude_lb=ignore))
        for service, planned in plans.items():
            assert planned.candidates is not None
            alive = {IRIS1, IRIS2} & planned.candidates
            if planned.withheld is None and order(alive, planned.hash_ip)[:1] == [own]:
                found[service].add(own)
    return found


def _announcers(*documents: str, ignore: bool = False) -> set[str]:
    return _all_announcers(*documents, ignore=ignore)["default/web"]


def test_the_owner_by_the_hash() -> None:
    assert {ip: order([IRIS1, IRIS2], ip)[0] for ip in BY_HASH} == BY_HASH


@pytest.mark.parametrize("ip", BY_HASH)
@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([((IRIS1, UP),)], {IRIS1}),
        ([((IRIS2, UP),)], {IRIS2}),
        ([((IRIS1, DOWN),)], set()),
        ([((IRIS1, UP), (IRIS2, UP))], None),
        ([((IRIS1, UP),), ((IRIS2, UP),)], None),
        ([((IRIS1, UP), (IRIS2, DRAINING))], None),
        ([((IRIS1, UP), (IRIS2, ODD))], None),
        ([((IRIS1, DOWN), (IRIS2, DOWN))], set()),
        ([((IRIS1, UP), (IRIS2, DOWN))], {IRIS1}),
        ([((IRIS1, UP), (IRIS1, UP), (IRIS2, UP))], None),
        ([((IRIS1, UP), (IRIS2, UP), (IRIS2, UP))], None),
        ([((IRIS1, DOWN), (IRIS1, UP), (IRIS2, UP))], None),
        ([((IRIS1, UP), (IRIS2, DOWN), (IRIS2, DOWN))], {IRIS1}),
        ([((None, UP),)], set()),
        ([((IRIS1, UP), (None, UP))], {IRIS1}),
        ([], set()),
    ],
)
def test_local_traffic_policy_follows_the_endpoints(
    ip: str, slices: list[tuple[tuple[str | None, str], ...]], expected: set[str] | None
) -> None:
    found = _announcers(
        POOL, _ad(), NODES, _service(ip, policy="Local"), *(_slice(*each) for each in slices)
    )
    assert found == ({BY_HASH[ip]} if expected is None else expected)


@pytest.mark.parametrize(
    ("web", "other", "expected"),
    [
        (((IRIS1, UP), (IRIS2, UP)), ((IRIS1, UP), (IRIS2, UP)), ({IRIS2}, {IRIS1})),
        (((IRIS1, UP), (IRIS2, DOWN)), ((IRIS1, UP), (IRIS2, DOWN)), ({IRIS1}, {IRIS1})),
        (((IRIS1, UP),), ((IRIS2, UP),), ({IRIS1}, {IRIS2})),
    ],
)
def test_two_local_services_are_told_apart(
    web: tuple[tuple[str | None, str], ...],
    other: tuple[tuple[str | None, str], ...],
    expected: tuple[set[str], set[str]],
) -> None:
    documents = (
        POOL, _ad(), NODES,
        _service("10.20.30.1", policy="Local"), _slice(*web),
        _service("10.20.30.2", policy="Local", name="other"), _slice(*other, name="other"),
    )  # fmt: skip
    found = _all_announcers(*documents)
    assert (found["default/web"], found["default/other"]) == expected


BOTH = ((IRIS1, UP), (IRIS2, UP))


@pytest.mark.parametrize(
    ("ads", "policy", "endpoints", "expected"),
    [
        ([_ad(f"{{{_on(IRIS1)}}}")], "Cluster", BOTH, {IRIS1}),
        ([_ad(f"{{{_on(IRIS1)}}}"), _ad(f"{{{_on(IRIS2)}}}", "b")], "Cluster", BOTH, {IRIS2}),
        ([_ad(f"{{{_on(IRIS1)}}}"), _ad(f"{{{_on(IRIS2)}}}", "b")], "Local", BOTH, {IRIS2}),
        ([_ad(f"{{{_on(IRIS1, IRIS2)}}}")], "Cluster", BOTH, {IRIS2}),
        ([_ad(f"{{{_on(IRIS1)}}}")], "Local", BOTH, {IRIS1}),
        ([_ad(f"{{{_on(IRIS1)}}}"), _ad("{}", "all")], "Local", ((IRIS1, UP),), {IRIS1}),
        ([_ad(f"{{{_on(IRIS2)}}}")], "Local", ((IRIS1, UP),), set()),
        ([_ad(f"{{{_on('iris9')}}}")], "Cluster", BOTH, set()),
        ([], "Cluster", BOTH, set()),
    ],
)
def test_node_selectors(
    ads: list[str], policy: str, endpoints: tuple[tuple[str, str], ...], expected: set[str]
) -> None:
    service = _service("10.20.30.1", policy=policy)
    assert _announcers(POOL, *ads, NODES, service, _slice(*endpoints)) == expected


EXCLUDED = f"{EXCLUDE_LABEL}: 'false'"


@pytest.mark.parametrize(
    ("iris1", "iris2", "ignore", "expected"),
    [
        (_node(IRIS1), _node(IRIS2, EXCLUDED), False, {IRIS1}),
        (_node(IRIS1, EXCLUDED), _node(IRIS2), False, {IRIS2}),
        (_node(IRIS1, EXCLUDED), _node(IRIS2, EXCLUDED), False, set()),
        (_node(IRIS1, EXCLUDED), _node(IRIS2, EXCLUDED), True, {IRIS2}),
        (_node(IRIS1), _node(IRIS2, unavailable=True), False, {IRIS1}),
        (_node(IRIS1), _node(IRIS2, unavailable=True), True, {IRIS1}),
        (_node(IRIS1, unavailable=True), _node(IRIS2, unavailable=True), False, set()),
        (_node(IRIS1), _node("iris3"), False, {IRIS1}),
    ],
)
def test_nodes_that_may_not_own(iris1: str, iris2: str, ignore: bool, expected: set[str]) -> None:
    documents = (POOL, _ad(), iris1, iris2, _service("10.20.30.1"), ANY)
    assert _announcers(*documents, ignore=ignore) == expected


@pytest.mark.parametrize(
    ("ads", "labels", "expected"),
    [
        ([_ad("{serviceSelectors: [{matchLabels: {app: web}}]}")], "app: web", {IRIS2}),
        ([_ad("{serviceSelectors: [{matchLabels: {app: web}}]}")], "app: db", set()),
        (
            [_ad("{serviceSelectors: [{matchLabels: {app: web}}, {matchLabels: {app: db}}]}")],
            "app: db",
            {IRIS2},
        ),
        (
            [
                _ad(f"{{serviceSelectors: [{{matchLabels: {{app: web}}}}], {_on(IRIS1)}}}"),
                _ad(f"{{serviceSelectors: [{{matchLabels: {{app: db}}}}], {_on(IRIS2)}}}", "b"),
            ],
            "app: web",
            {IRIS1},
        ),
        (
            [_ad("{serviceSelectors: [{matchLabels: {app: db}}]}"), _ad(f"{{{_on(IRIS1)}}}", "b")],
            "app: web",
            {IRIS1},
        ),
    ],
)
def test_service_selectors(ads: list[str], labels: str, expected: set[str]) -> None:
    service = _service("10.20.30.1", metadata=f"labels: {{{labels}}}")
    assert _announcers(POOL, *ads, NODES, service, ANY) == expected


def test_for_every_address_one_announces_and_both_get_some() -> None:
    documents = [POOL, _ad(), NODES]
    for last in range(1, 256):
        for node in (IRIS1, IRIS2):
            name = f"on-{node}-{last}"
            documents.append(_service(f"10.20.30.{last}", name=name))
            documents.append(_slice((node, UP), name=name))
    found = _all_announcers(*documents)
    for last in range(1, 256):
        assert len(found[f"default/on-iris1-{last}"]) == 1
        assert found[f"default/on-iris1-{last}"] == found[f"default/on-iris2-{last}"]
    assert set.union(*found.values()) == {IRIS1, IRIS2}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (_service(), Withheld.NO_IP_ALLOCATED),
        (_service("10.20.30.1", spec="type: ClusterIP").replace("type: LoadBalancer, ", ""),
         Withheld.NOT_LOAD_BALANCER),
        (_service("host"), Withheld.INVALID_IP),
        (_service("10.20.30.1", ""), Withheld.INVALID_IP),
        (_service("10.99.0.1"), Withheld.IP_NOT_ALLOWED),
        (_service("10.20.30.1", "10.99.0.1"), Withheld.IP_NOT_ALLOWED),
        (_service("10.20.30.1"), None),
        (_service("10.20.30.1", "1000::1"), None),
    ],
)  # fmt: skip
def test_reasons_before_the_vote(service: str, expected: Withheld | None) -> None:
    found, _ = _plan(POOL, _ad(), NODES, service, ANY)
    assert found.withheld is expected


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ((_ad(), NODES), Withheld.NOT_OWNER),
        ((_ad(), NODES, _slice((IRIS1, DOWN))), Withheld.NOT_OWNER),
        ((NODES, ANY), Withheld.NO_MATCHING_ADVERTISEMENT),
        ((NODES,), Withheld.NOT_OWNER),
        ((_ad(f"{{{_on(IRIS2)}}}"), NODES, ANY), Withheld.NO_MATCHING_ADVERTISEMENT),
        ((_ad(), _node(IRIS2), ANY), Withheld.NO_MATCHING_ADVERTISEMENT),
        ((_ad(), _node(IRIS1, unavailable=True), ANY), Withheld.NOT_OWNER),
        ((_ad(), NODES, ANY), None),
    ],
)
def test_reasons_of_the_vote(documents: tuple[str, ...], expected: Withheld | None) -> None:
    found, _ = _plan(POOL, _service("10.20.30.1"), *documents)
    assert found.withheld is expected


def test_no_configuration_yet() -> None:
    snapshot = replace(_snapshot(NODES, _service("10.20.30.1"), ANY), config=None)
    plans, _ = plan(snapshot, Options(IRIS1))
    assert plans["default/web"].withheld is Withheld.NO_CONFIG


@pytest.mark.parametrize(
    ("ads", "expected"),
    [
        ([_ad()], None),
        ([_ad("{interfaces: [eth0, eth1]}")], {"eth0", "eth1"}),
        ([_ad("{interfaces: [eth0]}"), _ad("{interfaces: [eth1]}", "b")], {"eth0", "eth1"}),
        ([_ad("{interfaces: [eth0]}"), _ad("{}", "b")], None),
        ([_ad("{interfaces: [eth0]}"), _ad(f"{{{_on(IRIS2)}}}", "b")], {"eth0"}),
    ],
)
def test_interfaces_of_our_own_node(ads: list[str], expected: set[str] | None) -> None:
    found, _ = _plan(POOL, *ads, NODES, _service("10.20.30.1"), ANY)
    assert found.interfaces == expected


@pytest.mark.parametrize(
    ("ad", "policy", "expected", "withheld"),
    [
        ("{}", "Cluster", None, None),
        ("{}", "Local", {IRIS1}, None),
        (f"{{{_on(IRIS1)}}}", "Cluster", frozenset(), Withheld.NO_MATCHING_ADVERTISEMENT),
        (
            "{nodeSelectors: [{matchExpressions: [{key: drained, operator: DoesNotExist}]}]}",
            "Cluster",
            None,
            None,
        ),
    ],
)
def test_without_nodes_every_member_counts_as_unlabelled(
    ad: str, policy: str, expected: set[str] | None, withheld: Withheld | None
) -> None:
    service = _service("10.20.30.1", policy=policy)
    found, _ = _plan(POOL, _ad(ad), service, _slice((IRIS1, UP)))
    assert found.candidates == expected
    assert found.withheld is withheld


def test_dual_stack_hashes_the_first_address() -> None:
    found, _ = _plan(POOL, _ad(), NODES, _service("1000::1", "::ffff:10.20.30.1"), ANY)
    assert found.ips == (ip_address("1000::1"), ip_address("10.20.30.1"))
    assert found.hash_ip == "1000::1"
    found, _ = _plan(POOL, _ad(), NODES, _service("::ffff:10.20.30.1"), ANY)
    assert found.hash_ip == "10.20.30.1"


@pytest.mark.parametrize(
    ("lb_class", "planned"), [(None, {"default/bare"}), ("x/y", {"default/web"}), ("z", set())]
)
def test_load_balancer_class(lb_class: str | None, planned: set[str]) -> None:
    snapshot = _snapshot(
        POOL, _service("10.20.30.1", spec="loadBalancerClass: x/y"), _service(name="bare")
    )
    assert set(plan(snapshot, Options(IRIS1, lb_class=lb_class))[0]) == planned


NEW = "metallb.io/loadBalancerIPs"
OLD = "metallb.universe.tf/loadBalancerIPs"


@pytest.mark.parametrize(
    ("ips", "annotations", "spec", "expected"),
    [
        ((), f"{NEW}: 10.20.30.5", "", ["10.20.30.5"]),
        ((), f"{OLD}: '10.20.30.5 , 1000::5'", "", ["10.20.30.5", "1000::5"]),
        ((), f"{NEW}: 10.20.30.6, {OLD}: 10.20.30.5", "", ["10.20.30.6"]),
        ((), f"{NEW}: '', {OLD}: 10.20.30.5", "", []),
        ((), "", "loadBalancerIP: 10.20.30.7", ["10.20.30.7"]),
        (("10.20.30.8",), f"{NEW}: 10.20.30.5", "", ["10.20.30.8"]),
        ((), "", "", []),
    ],
)
def test_addresses_asked_for(
    ips: tuple[str, ...], annotations: str, spec: str, expected: list[str]
) -> None:
    service = _service(*ips, spec=spec, metadata=f"annotations: {{{annotations}}}")
    found, problems = _plan(POOL, _ad(), service, ANY, annotations=True)
    assert [str(ip) for ip in found.ips] == expected
    assert problems == []
    found, _ = _plan(POOL, _ad(), service, ANY)
    assert [str(ip) for ip in found.ips] == list(ips)


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (
            _service("10.99.0.1"),
            "m.yaml:5: error: Service web: status.loadBalancer.ingress: "
            "10.99.0.1 is in no IPAddressPool",
        ),
        (
            _service("1000::1", "10.99.0.1"),
            "m.yaml:5: error: Service web: status.loadBalancer.ingress: "
            "10.99.0.1 is in no IPAddressPool",
        ),
        (
            _service("nonsense\\u0007"),
            "m.yaml:5: error: Service web: status.loadBalancer.ingress: "
            "'nonsense\\\\u0007' is not an IP address",
        ),
        (
            _service(metadata=f"annotations: {{{NEW}: 10.20.30.500}}"),
            f"m.yaml:3: error: Service web: metadata.annotations[{NEW}]: "
            "'10.20.30.500' is not an IP address",
        ),
        (
            _service(spec="loadBalancerIP: 10.99.0.1"),
            "m.yaml:4: error: Service web: spec.loadBalancerIP: 10.99.0.1 is in no IPAddressPool",
        ),
        (
            _service(
                spec="loadBalancerIP: 10.20.30.1", metadata=f"annotations: {{{NEW}: 10.20.30.1}}"
            ),
            f"m.yaml:4: error: Service web: spec.loadBalancerIP: stands beside {NEW}; "
            "MetalLB takes one of them, not both",
        ),
    ],
)
def test_problems_name_file_object_and_field(service: str, expected: str) -> None:
    _, problems = _plan(service, POOL, _ad(), ANY, annotations=True)
    assert [str(problem) for problem in problems] == [expected]


def test_addresses_of_two_pools() -> None:
    second = POOL.replace("name: pool", "name: second").replace(
        '10.20.30.0/24, "1000::/16"', "10.20.31.0/24"
    )
    found, problems = _plan(_service("10.20.30.1", "10.20.31.1"), POOL, second, _ad(), ANY)
    assert found.withheld is Withheld.IP_NOT_ALLOWED
    assert "not all in one IPAddressPool" in problems[0].message


def test_a_directory_without_slices_is_told_so() -> None:
    found, problems = _plan(POOL, _ad(), _service("10.20.30.1"), annotations=True)
    assert found.withheld is Withheld.NOT_OWNER
    assert [problem.message for problem in problems] == [
        "no EndpointSlice belongs to it, so nobody announces it"
    ]
    assert _plan(POOL, _ad(), _service("10.20.30.1"))[1] == []


def test_preferences_are_said_to_have_no_effect() -> None:
    ad = _ad("{preferredNodeSelectors: [{weight: 5, preference: {matchLabels: {host: iris1}}}]}")
    snapshot = _snapshot(POOL, ad, NODES, _service("10.20.30.1"), ANY)
    plans, (problem,) = plan(snapshot, Options(IRIS1))
    assert plans["default/web"].candidates == frozenset({IRIS1, IRIS2})
    assert (problem.field, problem.severity) == ("spec.preferredNodeSelectors", Severity.WARNING)
    assert plan(snapshot, Options(IRIS1, release=Release.HEAD))[1] == []


def test_problems_are_bounded() -> None:
    services = [_service("10.99.0.1", name=f"s{index}") for index in range(150)]
    _, problems = plan(_snapshot(POOL, *services), Options(IRIS1))
    assert len(problems) == 101
    assert problems[-1].message == "50 more problems"


LEAVES = st.none() | st.booleans() | st.integers(-9, 300) | st.sampled_from(
    ["", "10.20.30.1", "10.20.30.0/24", "10.20.30.9-10.20.30.1", "iris1", "In", "Local", "True",
     "LoadBalancer", "web", "\x1b[2J\n", "metallb-system", "NetworkUnavailable", "x" * 300]
)  # fmt: skip
KEYS = st.sampled_from(
    ["metadata", "name", "namespace", "labels", "annotations", "spec", "status", "loadBalancer",
     "ingress", "ip", "type", "addresses", "nodeSelectors", "matchExpressions", "matchLabels",
     "key", "operator", "values", "endpoints", "conditions", "ready", "nodeName", "items", NEW,
     "kubernetes.io/service-name", "interfaces", "serviceAllocation", "odd \n key"]
)  # fmt: skip
SHAPES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(
    [("v1", "Service"), ("v1", "Node"), ("v1", "Namespace"), ("v1", "List"),
     ("discovery.k8s.io/v1", "EndpointSlice"), ("metallb.io/v1beta1", "IPAddressPool"),
     ("metallb.io/v1beta1", "L2Advertisement")]
)  # fmt: skip


@given(st.lists(st.tuples(KINDS, st.dictionaries(KEYS, SHAPES, max_size=5)), max_size=4))
def test_objects_of_any_shape_give_a_plan_and_printable_problems(
    objects: list[tuple[tuple[str, str], dict[str, object]]],
) -> None:
    text = "\n---\n".join(
        json.dumps({"metadata": {"name": "web"}, **body, "apiVersion": api, "kind": kind})
        for (api, kind), body in objects
    )
    try:
        snapshot, problems = build(read(text.encode(), "m.json"), "metallb-system")
    except ManifestError as error:
        problems, snapshot = [error.problem], Snapshot()
    _, more = plan(snapshot, Options(IRIS1, addresses_from_annotations=True, of_folder=True))
    assert all(str(problem).isprintable() for problem in (*problems, *more))


def _planned(text: str, release: Release, gossips: bool = True) -> ServicePlan:
    snapshot = build(read(text.encode(), "a.yaml"), "metallb-system")[0]
    return plan(snapshot, Options(IRIS1, release=release, gossips=gossips))[0]["default/web"]


SELECTIVE = (
    POOL,
    _ad("{serviceSelectors: [{matchLabels: {tier: front}}]}"),
    _node(IRIS1),
    _node(IRIS2),
    _service("10.20.30.1"),
    _slice((IRIS1, UP)),
)


@pytest.mark.parametrize(
    ("release", "withheld"),
    [
        (Release.V0_14_5, None),
        (Release.V0_14_9, None),
        (Release.V0_15, None),
        (Release.V0_16, Withheld.NO_MATCHING_ADVERTISEMENT),
        (Release.HEAD, Withheld.NO_MATCHING_ADVERTISEMENT),
    ],
)
def test_service_selectors_count_from_v0_16_on(release: Release, withheld: Withheld) -> None:
    assert _planned("---\n".join(SELECTIVE), release).withheld is withheld


@pytest.mark.parametrize(
    ("release", "withheld"),
    [(Release.V0_15, Withheld.NOT_OWNER), (Release.V0_16, Withheld.NO_MATCHING_ADVERTISEMENT)],
)
def test_the_reason_where_no_advertisement_is_for_us(release: Release, withheld: Withheld) -> None:
    parts = (POOL, _ad(f"{{{_on(IRIS2)}}}"), *SELECTIVE[2:])
    assert _planned("---\n".join(parts), release).withheld is withheld


@pytest.mark.parametrize(
    "key", ["metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip"]
)
@pytest.mark.parametrize(
    ("release", "withheld"),
    [(Release.V0_16, None), (Release.HEAD, Withheld.SHARED_IP_WITH_SELECTOR)],
)
def test_shared_ips_beside_service_selectors(
    key: str, release: Release, withheld: Withheld | None
) -> None:
    service = _service(
        "10.20.30.1", metadata=f"labels: {{tier: front}}, annotations: {{{key}: ''}}"
    )
    parts = (*SELECTIVE[:4], service, SELECTIVE[5])
    assert _planned("---\n".join(parts), release).withheld is withheld


def test_who_votes_is_who_is_admitted_wherever_the_endpoints_are() -> None:
    iris3, iris4, iris5 = "iris3", "iris4", "iris5"
    nodes = (
        *(_node(name) for name in (IRIS1, IRIS2, iris5)),
        _node(iris3, f"{EXCLUDE_LABEL}: ''"),
        _node(iris4, unavailable=True),
    )
    ads = (_ad(f"{{{_on(IRIS1, IRIS2, iris3)}}}"), _ad(f"{{{_on(iris4)}}}", "b"))
    service = _service("10.20.30.1", policy="Local")
    parts = (POOL, *ads, *nodes, service, _slice((IRIS1, UP), (iris5, UP)))
    planned = _planned("---\n".join(parts), Release.V0_16)
    assert planned.voters == frozenset({IRIS1, IRIS2})
    assert planned.candidates == frozenset({IRIS1})


def test_without_nodes_nobody_knows_who_votes_and_only_a_quorum_minds() -> None:
    text = "---\n".join((POOL, _ad(), _service("10.20.30.1"), ANY))
    assert _planned(text, Release.V0_16).voters is None
    snapshot = build(read(text.encode(), "a.yaml"), "metallb-system")[0]
    assert plan(snapshot, Options(IRIS1))[1] == []
    (problem,) = plan(snapshot, Options(IRIS1, quorum=True))[1]
    assert problem.severity is Severity.ERROR
    assert "--quorum=majority: no Node object" in str(problem)


def test_without_gossip_v0_14_announces_nothing() -> None:
    parts = "---\n".join((POOL, _ad(), *SELECTIVE[2:]))
    for release in (Release.V0_14_5, Release.V0_14_9):
        assert _planned(parts, release, gossips=False).withheld is Withheld.NOT_OWNER
        assert _planned(parts, release).withheld is None
    assert _planned(parts, Release.V0_15, gossips=False).withheld is None


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (Release.V0_14_5, frozenset({IRIS1, IRIS2})),
        (Release.V0_14_9, frozenset({IRIS1})),
        (Release.V0_15, frozenset({IRIS1, IRIS2})),
        (Release.V0_16, frozenset({IRIS1, IRIS2})),
        (Release.HEAD, frozenset({IRIS1, IRIS2})),
    ],
)
def test_a_cordon_counts_in_v0_14_9_only(release: Release, expected: frozenset[str]) -> None:
    cordoned = _node(IRIS2) + "spec: {unschedulable: true}\n"
    parts = "---\n".join((POOL, _ad(), _node(IRIS1), cordoned, _service("10.20.30.1"), ANY))
    assert _planned(parts, release).candidates == expected


def test_a_cordon_counts_by_choice_as_the_exclude_label_does() -> None:
    cordoned = _node(IRIS2) + "spec: {unschedulable: true}\n"
    parts = "---\n".join((POOL, _ad(), _node(IRIS1), cordoned, _service("10.20.30.1"), ANY))
    snapshot = build(read(parts.encode(), "a.yaml"), "metallb-system")[0]
    for wanted, candidates in ((True, frozenset({IRIS1})), (False, frozenset({IRIS1, IRIS2}))):
        (found,) = plan(snapshot, Options(IRIS1, drain_on_cordon=wanted))[0].values()
        assert found.candidates == candidates


PREFER_2 = "{weight: 60, preference: {matchLabels: {host: iris2}}}"
PREFER_ALL = "{weight: 7, preference: {}}"


def test_preferences_add_up_over_advertisements_in_head_only() -> None:
    ads = (
        _ad(f"{{preferredNodeSelectors: [{PREFER_2}, {PREFER_ALL}]}}"),
        _ad(f"{{{_on(IRIS1)}, preferredNodeSelectors: [{PREFER_2}, {PREFER_ALL}]}}", name="b"),
        _ad(f"{{{_on(IRIS1)}, preferredNodeSelectors: [{PREFER_2}]}}", name="c"),
    )
    text = "---\n".join((POOL, *ads, *SELECTIVE[2:]))
    assert _planned(text, Release.HEAD).scores == {IRIS1: 14, IRIS2: 67}
    assert _planned(text, Release.V0_16).scores == {}


@pytest.mark.parametrize(
    ("documents", "wanted"),
    [
        ((_ad(), ANY), True),
        # To be announced, and nobody may: that is what an operator is to hear of.
        ((_ad("{" + _on("nobody") + "}"), ANY), True),
        ((_ad(), _slice((IRIS1, DOWN))), False),
        # By BGP alone.
        ((ANY,), False),
    ],
)
def test_a_service_is_wanted_with_endpoints_and_an_advertisement(
    documents: tuple[str, ...], wanted: bool
) -> None:
    planned, _ = _plan(POOL, NODES, _service("10.20.30.1"), *documents)
    assert planned.wanted is wanted
