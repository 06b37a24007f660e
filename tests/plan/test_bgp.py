"""The rules for BGP: each reason in its place, and what is wished of each prefix."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest

from kube.address import Range, parse_range
from kube.bgp_config import BgpConfig, RouteAdvertisement
from kube.config import PoolConfig
from kube.objects.core import Endpoint, EndpointSlice, Node, Service
from kube.problem import Severity
from kube.selector import LabelSelector
from plan.bgp import BgpPlan, BgpRules, Wish
from plan.release import Options
from plan.service import EXCLUDE_LABEL, Withheld

OWN, OTHER = "n1", "n2"
V4, V6 = "10.0.0.5", "2001:db8::5"
P4, P6 = IPv4Network("10.0.0.5/32"), IPv6Network("2001:db8::5/128")
UP, DRAINING, DOWN = (True, None), (False, True), (False, False)
SIDE_A = (LabelSelector({"side": "a"}),)


def _pools() -> PoolConfig:
    spans = [parse_range(text) for text in ("10.0.0.0/16", "2001:db8::/64")]
    ranges = tuple((span, "pool") for span in spans if isinstance(span, Range))
    return PoolConfig(ranges, {"pool": ()})


def _service(*ips: str, policy: str = "Cluster", **labels: str) -> Service:
    return Service(
        "a",
        "web",
        "LoadBalancer",
        labels=labels,
        external_traffic_policy=policy,
        ingress=ips or (V4,),
    )


def _slices(
    *found: tuple[str, tuple[bool | None, bool | None]], addressed: bool = True
) -> list[EndpointSlice]:
    entries = tuple(Endpoint(node, *state, addressed) for node, state in found)
    return [EndpointSlice("a", "web-1", "web", entries)]


HERE, THERE = _slices((OWN, UP)), _slices((OTHER, UP))
AD = RouteAdvertisement("ad")


def _plan(
    *ads: RouteAdvertisement,
    service: Service | None = None,
    slices: list[EndpointSlice] = HERE,
    node: Node | None = None,
    ignore: bool = False,
    cordon: bool = False,
) -> BgpPlan:
    nodes = {OWN: node or Node(OWN), OTHER: Node(OTHER)}
    options = Options(OWN, ignore_exclude_lb=ignore, drain_on_cordon=cordon)
    bgp = BgpConfig((), (), {"pool": ads} if ads else {})
    found, _ = BgpRules(_pools(), bgp, nodes, options).plan(service or _service(), slices)
    return found


def _ad(name: str, **fields: object) -> RouteAdvertisement:
    return replace(AD, name=name, **fields)  # type: ignore[arg-type]


LOW, HIGH = _ad("low", local_pref=100), _ad("high", local_pref=200)
ELSEWHERE = _ad("elsewhere", service_selectors=(LabelSelector({"side": "b"}),))
CORDONED = Node(OWN, {}, unschedulable=True)
BOTH = Node(OWN, {EXCLUDE_LABEL: ""}, unschedulable=True)
GONE, EXCLUDED = Node(OWN, {}, True), Node(OWN, {EXCLUDE_LABEL: "false"})
LOCAL = _service(policy="Local")

CASES: list[tuple[str, BgpPlan, Withheld | None]] = [
    ("no ad", _plan(), Withheld.NOT_OWNER),
    ("no ad for its labels", _plan(ELSEWHERE), Withheld.NO_MATCHING_ADVERTISEMENT),
    ("conflict", _plan(LOW, HIGH), Withheld.CONFLICTING_ADVERTISEMENTS),
    ("no network", _plan(AD, node=GONE), Withheld.NODE_NETWORK_UNAVAILABLE),
    ("excluded", _plan(AD, node=EXCLUDED), Withheld.NODE_LABELED_EXCLUDE_BALANCERS),
    ("cordon without choice", _plan(AD, node=CORDONED), None),
    ("cordoned", _plan(AD, node=CORDONED, cordon=True), Withheld.NODE_CORDONED),
    (
        "label before cordon",
        _plan(AD, node=BOTH, cordon=True),
        Withheld.NODE_LABELED_EXCLUDE_BALANCERS,
    ),
    (
        "cordoned, label ignored",
        _plan(AD, node=BOTH, ignore=True, cordon=True),
        Withheld.NODE_CORDONED,
    ),
    ("exclusion ignored", _plan(AD, node=EXCLUDED, ignore=True), None),
    ("Local, elsewhere", _plan(AD, service=LOCAL, slices=THERE), Withheld.NO_LOCAL_ENDPOINTS),
    ("Local, nowhere", _plan(AD, service=LOCAL, slices=[]), Withheld.NO_LOCAL_ENDPOINTS),
    ("Local, here", _plan(AD, service=LOCAL), None),
    ("nowhere", _plan(AD, slices=[]), Withheld.NO_ENDPOINTS),
    ("elsewhere", _plan(AD, slices=THERE), None),
    ("down", _plan(AD, slices=_slices((OWN, DOWN))), Withheld.NO_ENDPOINTS),
    ("terminating", _plan(AD, slices=_slices((OWN, DRAINING))), None),
    (
        "without an address",
        _plan(AD, slices=_slices((OWN, UP), addressed=False)),
        Withheld.NO_ENDPOINTS,
    ),
    ("no address yet", _plan(AD, service=Service("a", "web", "LoadBalancer")),
     Withheld.NO_IP_ALLOCATED),
    ("no pool", _plan(AD, service=_service("10.9.0.1")), Withheld.IP_NOT_ALLOWED),
    ("no balancer", _plan(AD, service=Service("a", "web")), Withheld.NOT_LOAD_BALANCER),
]  # fmt: skip


@pytest.mark.parametrize(("plan", "reason"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_each_reason(plan: BgpPlan, reason: Withheld | None) -> None:
    assert plan.withheld is reason
    assert bool(plan.wishes) is (reason is None)


def test_the_reasons_in_metallbs_order() -> None:
    """Everything is wrong at once; what is said first is repaired, until nothing is left."""
    nowhere, here = _slices((OTHER, DOWN)), HERE
    bad = Node(OWN, {EXCLUDE_LABEL: ""}, True)
    steps = [
        _plan(service=LOCAL, slices=nowhere, node=bad),
        _plan(ELSEWHERE, service=LOCAL, slices=nowhere, node=bad),
        _plan(LOW, HIGH, service=LOCAL, slices=nowhere, node=bad),
        _plan(LOW, service=LOCAL, slices=nowhere, node=bad),
        _plan(LOW, service=LOCAL, slices=nowhere, node=EXCLUDED),
        _plan(LOW, service=LOCAL, slices=nowhere),
        _plan(LOW, slices=nowhere),
        _plan(LOW, service=LOCAL, slices=here),
    ]
    assert [step.withheld for step in steps] == [
        Withheld.NOT_OWNER,
        Withheld.NO_MATCHING_ADVERTISEMENT,
        Withheld.CONFLICTING_ADVERTISEMENTS,
        Withheld.NODE_NETWORK_UNAVAILABLE,
        Withheld.NODE_LABELED_EXCLUDE_BALANCERS,
        Withheld.NO_LOCAL_ENDPOINTS,
        Withheld.NO_ENDPOINTS,
        None,
    ]


A, B, AB = frozenset({"a"}), frozenset({"b"}), frozenset({"a", "b"})


@pytest.mark.parametrize(
    ("one", "other", "ips", "conflict"),
    [
        ({"local_pref": 100}, {"local_pref": 100}, (V4,), False),
        ({"local_pref": 100}, {}, (V4,), True),
        ({"local_pref": 100, "peers": A}, {"peers": B}, (V4,), False),
        ({"local_pref": 100, "peers": A}, {"peers": AB}, (V4,), True),
        ({"local_pref": 100, "peers": A}, {}, (V4,), True),
        ({"local_pref": 100, "length_v4": 24}, {}, (V4,), False),
        ({"local_pref": 100, "length_v4": 24}, {}, (V6,), True),
        ({"local_pref": 100, "length_v4": 24}, {}, (V4, V6), True),
        ({"local_pref": 100, "length_v4": 24, "length_v6": 64}, {}, (V4, V6), False),
        ({"local_pref": 100, "service_selectors": SIDE_A}, {}, (V4,), True),
    ],
)
def test_conflicts_of_preference(
    one: dict[str, object], other: dict[str, object], ips: tuple[str, ...], conflict: bool
) -> None:
    plan = _plan(_ad("one", **one), _ad("other", **other), service=_service(*ips, side="a"))
    assert (plan.withheld is Withheld.CONFLICTING_ADVERTISEMENTS) is conflict


def test_a_conflict_that_no_service_selector_lets_happen_is_none() -> None:
    picky = _ad("picky", local_pref=100, service_selectors=SIDE_A)
    assert _plan(picky, AD, service=_service(side="b")).wishes == {P4: frozenset({Wish()})}


def test_wishes_of_all_addresses_and_advertisements() -> None:
    wide = _ad("wide", length_v4=24, length_v6=64, peers=A, local_pref=5)
    plain = _ad("plain", communities=frozenset({(1, 2)}), large=frozenset({(1, 2, 3)}))
    plan = _plan(wide, plain, service=_service(V4, V6))
    mine = Wish(frozenset(), frozenset({(1, 2)}), frozenset({(1, 2, 3)}))
    assert plan.wishes == {
        P4: {mine},
        P6: {mine},
        IPv4Network("10.0.0.0/24"): {Wish(A, local_pref=5)},
        IPv6Network("2001:db8::/64"): {Wish(A, local_pref=5)},
    }


def test_two_wishes_for_one_prefix() -> None:
    plan = _plan(_ad("a", peers=A), _ad("b", peers=B, communities=frozenset({(1, 2)})))
    assert plan.wishes == {P4: {Wish(A), Wish(B, frozenset({(1, 2)}))}}


@pytest.mark.parametrize(
    ("policy", "found", "draining"),
    [
        ("Local", [(OWN, DRAINING)], True),
        ("Local", [(OWN, DRAINING), (OTHER, UP)], True),
        ("Local", [(OWN, DRAINING), (OWN, UP)], False),
        ("Local", [(OWN, DRAINING), (OWN, DOWN)], True),
        ("Local", [(OWN, UP)], False),
        # All nodes would say it at once, and no router would have a better way.
        ("Cluster", [(OWN, DRAINING)], False),
    ],
)
def test_only_terminating_endpoints_are_left(
    policy: str, found: list[tuple[str, tuple[bool | None, bool | None]]], draining: bool
) -> None:
    plan = _plan(AD, service=_service(policy=policy), slices=_slices(*found))
    assert (plan.withheld, plan.draining) == (None, draining)


def test_an_own_node_that_is_not_known_counts_as_available() -> None:
    bgp = BgpConfig((), (), {"pool": (AD,)})
    plan, _ = BgpRules(_pools(), bgp, {}, Options(OWN)).plan(_service(), HERE)
    assert plan.withheld is None


def test_without_a_configuration() -> None:
    plan, _ = BgpRules(None, None, {}, Options(OWN)).plan(_service(), HERE)
    assert plan.withheld is Withheld.NO_CONFIG
    plan, _ = BgpRules(_pools(), None, {}, Options(OWN)).plan(_service(), HERE)
    assert plan.withheld is Withheld.NOT_OWNER


@pytest.mark.parametrize(
    ("ads", "policy", "severity"),
    [
        ((AD,), "Local", None),
        ((_ad("wide", length_v4=24),), "Cluster", None),
        ((_ad("wide", length_v4=24),), "Local", Severity.WARNING),
        ((LOW, HIGH), "Local", Severity.ERROR),
    ],
)
def test_what_the_author_should_know(
    ads: tuple[RouteAdvertisement, ...], policy: str, severity: Severity | None
) -> None:
    rules = BgpRules(_pools(), BgpConfig((), (), {"pool": ads}), {}, Options(OWN))
    _, problems = rules.plan(_service(policy=policy), HERE)
    assert [problem.severity for problem in problems] == ([severity] if severity else [])
