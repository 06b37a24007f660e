"""Objects judged among all others: what is refused, in which words, and what is only said."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission import EMPTY, PATHS, ask, custom, peer, pool, refusal, review, world_with
from controller.admission.refusal import ReviewError, ReviewRefusal
from controller.admission.review import MAX_BODY, answer
from controller.admission.world import AdmissionWorld, BGPType
from kube.config import judge
from kube.objects.reading import decode
from kube.problem import Severity

FRR = replace(EMPTY, bgp=BGPType.FRR)
POOLS = world_with(EMPTY, [pool("p", "192.0.2.0/24")])
KINDS = tuple(PATHS)


def _ad(name: str = "q", **spec: Any) -> dict[str, Any]:
    return custom("BGPAdvertisement", name, spec)


def _service(name: str, *ips: str) -> dict[str, Any]:
    ingress = [{"ip": ip} for ip in ips]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": ingress}},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_of_another_namespace_is_refused(kind: str) -> None:
    spec = {"addresses": ["198.51.100.0/24"]} if kind == "IPAddressPool" else {}
    made = peer("q") if kind == "BGPPeer" else custom(kind, "q", spec)
    made["metadata"]["namespace"] = "default"
    expected = "resource must be created in metallb-system namespace"
    assert refusal(ask(EMPTY, made)) == expected
    assert ask(EMPTY, made, "UPDATE", made)["allowed"]


OVERLAPS = [
    (("192.0.2.128/25",), "192.0.2.128/25", "192.0.2.0/24"),
    (("198.51.100.0/24", "192.0.2.4-192.0.2.9"), "192.0.2.4/30", "192.0.2.0/24"),
    (("192.0.0.0/16",), "192.0.0.0/16", "192.0.2.0/24"),
    (("192.0.1.250-192.0.2.3",), "192.0.2.0/30", "192.0.2.0/24"),
    (("192.0.1.0/32", "192.0.1.128-192.0.2.3"), "192.0.2.0/30", "192.0.2.0/24"),
    (("2001:db8::/64", "2001:db8::5/128"), "2001:db8::5/128", "2001:db8::/64"),
]


@pytest.mark.parametrize(("addresses", "mine", "other"), OVERLAPS)
def test_an_overlap_names_both_networks(addresses: tuple[str, ...], mine: str, other: str) -> None:
    expected = f'CIDR "{mine}" in pool "q" overlaps with already defined CIDR "{other}"'
    assert refusal(ask(POOLS, pool("q", *addresses))) == expected


def test_a_pool_may_change_within_itself_beside_pools_that_overlap_already() -> None:
    world = world_with(
        EMPTY, [pool("a", "10.0.0.0/24"), pool("b", "10.0.0.0/25"), pool("q", "::/64")]
    )
    assert ask(world, pool("q", "::/65"), "UPDATE", pool("q", "::/64"))["allowed"]


@pytest.mark.parametrize(
    ("world", "made", "expected"),
    [
        (POOLS, _ad(aggregationLength=26, ipAddressPools=["p"]), ""),
        (POOLS, _ad(aggregationLength=24), ""),
        (
            world_with(EMPTY, [pool("p", "192.0.2.0/28")]),
            _ad(aggregationLength=26),
            "invalid aggregation length 26: prefix 28 in this pool is more specific than the "
            "aggregation length for addresses 192.0.2.0/28",
        ),
        (POOLS, _ad(aggregationLength=33), "invalid aggregation length '!' for IPv4"),
        (POOLS, _ad(communities=["65536:1"]),
         'invalid community value: invalid section "65536" of community "65536:1", err: '
         '"strconv.ParseUint: parsing \\"65536\\": value out of range"\n'
         'invalid community "65536:1" in BGP advertisement'),
        (POOLS, _ad(ipAddressPools=["a", "a"]), 'duplicate definition of ipAddressPools "a"'),
        (POOLS, _ad(communities=["1:2", "1:2"]), 'duplicate definition of community "1:2"'),
        (world_with(EMPTY, [pool("p", "2001:db8::/64")]), _ad(),
         'pool "p" has ipv6 CIDR 2001:db8::/64, native bgp mode does not support ipv6'),
        (world_with(FRR, [pool("p", "2001:db8::/64")]), _ad(), ""),
        (FRR, _ad(communities=["large:1:2:3"]), ""),
        (FRR, _ad(communities=["wide:1:2:3"]),
         "invalid community value: invalid marker for large community, expected community to be of "
         'format large:<uint32>:<uint32>:<uint32> but got "wide:1:2:3" instead\n'
         'invalid community "wide:1:2:3" in BGP advertisement'),
    ],
)  # fmt: skip
def test_bgp_advertisements(world: AdmissionWorld, made: dict[str, Any], expected: str) -> None:
    assert refusal(ask(world, made)) == expected


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        ({}, {}, False),
        ({"peers": ["a"]}, {"peers": ["b"]}, True),
        ({"peers": ["a"]}, {"peers": ["b", "a"]}, False),
        ({"nodeSelectors": [{"matchLabels": {"rack": "a"}}]},
         {"nodeSelectors": [{"matchLabels": {"rack": "b"}}]}, True),
        ({"aggregationLength": 24}, {}, True),
        ({"aggregationLengthV6": 64}, {}, False),
        ({"serviceSelectors": [{}]}, {}, True),
        ({"ipAddressPools": ["p"]}, {"ipAddressPools": ["other"]}, True),
        ({"ipAddressPoolSelectors": [{"matchLabels": {"x": "y"}}]}, {}, True),
    ],
)  # fmt: skip
def test_two_preferences_for_one_route_are_refused(
    first: dict[str, Any], second: dict[str, Any], allowed: bool
) -> None:
    world = world_with(POOLS, [_ad("first", localPref=100, **first)])
    assert ask(world, _ad("second", localPref=200, **second))["allowed"] is allowed
    assert ask(world, _ad("second", localPref=100, **second))["allowed"]


def test_routes_of_both_families_differ_only_if_both_lengths_do() -> None:
    world = world_with(FRR, [pool("p", "192.0.2.0/24", "2001:db8::/64"), _ad("a", localPref=1)])
    assert not ask(world, _ad("b", localPref=2, aggregationLength=24))["allowed"]
    both = _ad("b", localPref=2, aggregationLength=24, aggregationLengthV6=64)
    assert ask(world, both)["allowed"]


def test_an_alias_is_unique_over_all_objects() -> None:
    def made(name: str) -> dict[str, Any]:
        return custom("Community", name, {"communities": [{"name": "vpn", "value": "1:2"}]})

    world = world_with(EMPTY, [made("a")])
    assert refusal(ask(world, made("b"))) == 'duplicate definition of community "vpn"'
    assert ask(world, made("a"), "UPDATE", made("a"))["allowed"]


def test_a_large_community_needs_frr() -> None:
    made = custom("Community", "c", {"communities": [{"name": "vpn", "value": "large:1:2:3"}]})
    assert refusal(ask(EMPTY, made)) == (
        'native BGP mode only supports legacy communities, BGP community CR "c" has non legacy '
        'community {"vpn" "large:1:2:3"}'
    )
    assert ask(FRR, made)["allowed"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"keepaliveTime": "10s", "holdTime": "9s"},
         'parsing peer q invalid BGPPeer timers: invalid keepaliveTime "&Duration{Duration:10s,}", '
         'must be lower than holdTime "&Duration{Duration:9s,}"'),
        ({"keepaliveTime": "500ms"}, 'parsing peer q invalid BGPPeer timers: invalid hold time '
         '"nil": must be 0 or >=3s'),
        ({"holdTime": "-3s"}, 'parsing peer q invalid BGPPeer timers: invalid hold time '
         '"&Duration{Duration:-3s,}": must be 0 or >=3s'),
        ({"holdTime": "500ms"}, ""),
        ({"holdTime": "90s", "keepaliveTime": "30s", "bfdProfile": "not-there-yet"}, ""),
        ({"peerASN": 0}, "parsing peer q missing peer ASN and dynamicASN"),
        ({"dynamicASN": "internal"}, "parsing peer q both peer ASN and dynamicASN specified"),
        ({"interface": "eth0"}, "parsing peer q peer has both Address and Interface specified"),
        ({"peerAddress": "router"}, 'parsing peer q invalid BGPPeer address "router"'),
        ({"holdTime": "soon"}, 'time: invalid duration "soon"'),
    ],
)  # fmt: skip
def test_peers_with_frr(more: dict[str, Any], expected: str) -> None:
    response = ask(FRR, peer("q", **more))
    assert refusal(response) == expected
    assert response.get("status", {}).get("code") in ((400,) if "soon" in expected else (403, None))


def test_a_peer_is_no_other_peer_beside_itself() -> None:
    world = world_with(FRR, [peer("q")])
    assert ask(world, peer("q", routerID="10.0.0.1"), "UPDATE", peer("q"))["allowed"]


def test_a_peer_of_no_node_meets_nobody() -> None:
    world = world_with(FRR, [peer("first", nodeSelectors=[{"matchLabels": {"rack": "z"}}])])
    assert ask(world, peer("q"))["allowed"]


NATIVE = {
    "bfdProfile": ("fast", None),
    "vrf": ("red", "vrf"),
    "connectTime": ("5s", "connect time"),
    "enableGracefulRestart": (True, "EnableGracefulRestart flag"),
    "dualStackAddressFamily": (True, "dualstackaddressfamily flag"),
    "dynamicASN": ("internal", "dynamicASN"),
    "interface": ("eth0", "interface"),
    "localASN": (7, "localASN"),
    "keepaliveTime": ("0s", None),
}


@pytest.mark.parametrize("field", NATIVE)
def test_what_only_frr_has(field: str) -> None:
    """A BFD profile is blanked before MetalLB looks, so that it does not matter here."""
    value, what = NATIVE[field]
    expected = f"peer 192.0.2.1 has {what} set on native bgp mode" if what else ""
    assert refusal(ask(EMPTY, peer("q", **{field: value}))) == expected


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"peerAddress": "192.0.2.2", "routerID": "10.0.0.1"}, "has RouterID different from"),
        ({}, "peer 192.0.2.1- already exists"),
        ({"vrf": "red", "myASN": 7}, ""),
        ({"peerAddress": "192.0.2.2", "myASN": 7}, "has myAsn different from 192.0.2.1-"),
    ],
)
def test_frr_peers_of_one_node(more: dict[str, Any], words: str) -> None:
    rack = [{"matchLabels": {"rack": "a"}}]
    world = world_with(FRR, [peer("first", nodeSelectors=rack)])
    found = refusal(ask(world, peer("q", **more)))
    assert words in found
    assert bool(words) is bool(found)
    elsewhere = peer("q", nodeSelectors=[{"matchLabels": {"rack": "b"}}], **more)
    assert ask(world, elsewhere)["allowed"]


def test_disable_mp_is_warned_of_and_nothing_else_is_looked_at() -> None:
    made = peer("q", disableMP=True, myASN=0)
    assert ask(EMPTY, made) == {
        "uid": "u-1",
        "allowed": True,
        "warnings": [
            "disable mp is deprecated and has no effect since it's the default behavior now"
        ],
    }
    assert not ask(EMPTY, made, "UPDATE", made)["allowed"]


def test_a_profile_in_use_is_not_deleted() -> None:
    world = world_with(FRR, [peer("router", bfdProfile="fast")])
    expected = "failed to delete BFDProfile fast, used by BGPPeer router"
    assert refusal(ask(world, None, "DELETE", custom("BFDProfile", "fast", {}))) == expected
    assert ask(world, None, "DELETE", custom("BFDProfile", "slow", {}))["allowed"]
    elsewhere = custom("BFDProfile", "fast", {}, namespace="default")
    assert ask(world, None, "DELETE", elsewhere)["allowed"]


def test_old_peers_are_read_as_the_new_ones() -> None:
    made = {**peer("q", myASN=0), "apiVersion": "metallb.io/v1beta1"}
    assert refusal(ask(EMPTY, made)) == "parsing peer q missing local ASN"


# ---- warnings


def test_pools_that_do_not_exist_are_named() -> None:
    text = "spec.ipAddressPools[1]: no IPAddressPool is named 'zz'"
    for kind in ("L2Advertisement", "BGPAdvertisement"):
        response = ask(POOLS, custom(kind, "q", {"ipAddressPools": ["p", "zz"]}))
        assert (response["allowed"], response["warnings"]) == (True, [text])


def test_services_that_lose_their_addresses_are_named() -> None:
    services = [_service(f"s{n}", f"192.0.2.{n}") for n in range(1, 7)]
    world = world_with(POOLS, [*services, _service("far", "203.0.113.1")])
    old = pool("p", "192.0.2.0/24")

    def warned(new: Any, operation: str = "UPDATE") -> list[str]:
        found: list[str] = ask(world, new, operation, old).get("warnings", [])
        return found

    said = "these services lose their addresses: "
    assert warned(pool("p", "192.0.2.0/24", "198.51.100.0/24")) == []
    assert warned(pool("p", "192.0.2.0/25")) == []
    assert warned(pool("p", "192.0.2.0-192.0.2.4")) == [said + "shop/s5, shop/s6"]
    more = " and 3 more"
    assert warned(pool("p", "10.0.0.0/24")) == [said + "shop/s1, shop/s2, shop/s3" + more]
    assert warned(None, "DELETE") == [said + "shop/s1, shop/s2, shop/s3" + more]


def test_a_warning_fits_into_what_a_server_shows() -> None:
    names = [f"{letter * 63}" for letter in "abcde"]
    world = world_with(POOLS, [_service(name, "192.0.2.1") for name in names])
    (text,) = ask(world, None, "DELETE", pool("p", "192.0.2.0/24"))["warnings"]
    assert len(text) < 256
    assert text.endswith(" and 2 more")


# ---- hostile bodies


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/convert", review("CREATE", peer("q")), ReviewRefusal.UNKNOWN_PATH),
        (PATHS["BGPPeer"], b" " * (MAX_BODY + 1), ReviewRefusal.TOO_LARGE),
        (PATHS["BGPPeer"], b"", ReviewRefusal.NOT_A_REVIEW),
        (PATHS["BGPPeer"], b"[" * 1_000_000, ReviewRefusal.NOT_A_REVIEW),
        (PATHS["BGPPeer"], b"\xff", ReviewRefusal.NOT_A_REVIEW),
        (PATHS["BGPPeer"], review("CREATE").replace(b"k8s.io/v1", b"k8s.io/v1beta1"),
         ReviewRefusal.NOT_A_REVIEW),
    ],
)  # fmt: skip
def test_no_question_no_answer(path: str, body: bytes, reason: ReviewRefusal) -> None:
    with pytest.raises(ReviewError) as raised:
        answer(path, body, EMPTY)
    assert raised.value.reason is reason


@pytest.mark.parametrize(
    "found", [None, 7, [], {}, {"metadata": {"name": "A B"}, "spec": {"addresses": []}}]
)
def test_an_object_that_cannot_be_read_is_refused(found: Any) -> None:
    reply = json.loads(answer(PATHS["IPAddressPool"], review("CREATE", found), EMPTY))
    assert reply["response"]["status"]["code"] == 400


_texts = st.sampled_from(
    ["192.0.2.0/24", "192.0.2.9-192.0.2.1", "10.0.0.0/8", "2001:db8::/64", "x", "1.2.3.4", "", "\n"]
)
_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | _texts | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["addresses", "matchLabels", "nodeSelectors", "communities", "key", "peers",
                         "values", "operator", "matchExpressions", "name", "value", "myASN"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(kind=st.sampled_from(KINDS), operation=st.sampled_from(["CREATE", "UPDATE", "DELETE", ""]),
       spec=_values)  # fmt: skip
def test_any_object_has_an_answer(kind: str, operation: str, spec: Any) -> None:
    made = custom(kind, "q", spec)
    for world in (POOLS, FRR):
        response = ask(world, made, operation, made)
        text = refusal(response)
        assert text.replace("\n", "").isprintable()


@given(body=st.binary(max_size=60), path=st.sampled_from([*PATHS.values(), "/"]))
def test_any_bytes_give_an_answer_or_one_error(body: bytes, path: str) -> None:
    for whole in (body, b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"' + body):
        with pytest.raises(ReviewError):
            answer(path, whole, EMPTY)


_selectors = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "matchLabels": st.dictionaries(st.sampled_from(["a", "no key", "-"]),
                                           st.sampled_from(["b", "no value ", ""]), max_size=2),
            "matchExpressions": st.lists(
                st.fixed_dictionaries({
                    "key": st.sampled_from(["a", "no key"]),
                    "operator": st.sampled_from(["In", "Exists", "Is"]),
                    "values": st.lists(st.sampled_from(["a", "b", "-"]), max_size=2)}),
                max_size=2),
        },
    ),
    max_size=2,
)  # fmt: skip


@given(
    addresses=st.lists(_texts, max_size=3),
    namespaces=st.lists(st.sampled_from("ab"), max_size=2),
    some=_selectors,
)
def test_a_pool_is_let_in_if_and_only_if_the_speaker_takes_it(
    addresses: list[str], namespaces: list[str], some: Any
) -> None:
    """The rules are worded here as MetalLB words them, and there as we do: they are the same."""
    allocation = {"namespaces": namespaces, "serviceSelectors": some}
    made = pool("q", *addresses, serviceAllocation=allocation)
    there = pool("p", "10.7.0.0/16")
    views: list[Any] = [
        decode("IPAddressPool", json.dumps(found).encode())[0] for found in (there, made)
    ]
    problems = judge(views, [])[1]
    refused = any(problem.severity is Severity.ERROR for problem in problems)
    assert ask(world_with(EMPTY, [there]), made)["allowed"] is not refused


@given(depth=st.integers(1, 3_000))
def test_any_depth_gives_an_answer_or_one_error(depth: int) -> None:
    body = review("CREATE", "x").replace(b'"x"', b"[" * depth + b"]" * depth)
    try:
        assert b'"code":400' in answer(PATHS["BGPPeer"], body, EMPTY)
    except ReviewError as error:
        assert error.reason is ReviewRefusal.NOT_A_REVIEW
