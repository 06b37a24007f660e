"""BGP's objects judged as a whole for one node: MetalLB's words, and the field that they are of."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from kube.bgp_config import (
    BgpConfig,
    BgpObjects,
    RouteAdvertisement,
    judge_bgp,
    secrets_of,
)
from kube.document import Origin
from kube.objects.bgp import (
    Alias,
    BFDProfile,
    BFDSpec,
    BGPAdvertisement,
    BGPPeer,
    Community,
    PeerSpec,
    SecretReference,
)
from kube.objects.core import Node
from kube.objects.metallb import IPAddressPool
from kube.peering import AddressFamily, AnyAS, Profile, Session
from kube.problem import Problem, Severity
from kube.selector import LabelSelector

NS = "metallb-system"
OWN = "n1"
NODES = {OWN: Node(OWN, {"rack": "a"}), "n2": Node("n2", {"rack": "b"})}
HERE, THERE = ((LabelSelector({"rack": rack}),) for rack in "ab")
BOTH = frozenset(AddressFamily)
V4 = frozenset({AddressFamily.IPV4})


def _pool(name: str, *addresses: str, **labels: str) -> IPAddressPool:
    return IPAddressPool(NS, name, addresses, labels, origin=Origin(object=name))


POOL = _pool("pool", "10.0.0.0/24")
DUAL = _pool("dual", "10.1.0.0/24", "2001:db8::/64")


def _peer(name: str = "r", **spec: Any) -> BGPPeer:
    made = {"my_asn": 64512, "peer_asn": 64501, "peer_address": "192.0.2.1", **spec}
    return BGPPeer(NS, name, PeerSpec(**made), Origin(object=f"BGPPeer {name}"))


def _ad(name: str = "ad", **fields: Any) -> BGPAdvertisement:
    return BGPAdvertisement(NS, name, **fields, origin=Origin(object=f"BGPAdvertisement {name}"))


def _profile(name: str = "fast", **spec: Any) -> BFDProfile:
    return BFDProfile(NS, name, BFDSpec(**spec), Origin(object=f"BFDProfile {name}"))


def _aliases(name: str = "c", **values: str) -> Community:
    some = tuple(Alias(key, value) for key, value in values.items())
    return Community(NS, name, some, Origin(object=f"Community {name}"))


def _judged(
    *objects: BGPPeer | BGPAdvertisement | BFDProfile | Community,
    pools: tuple[IPAddressPool, ...] = (POOL,),
    nodes: Mapping[str, Node] = NODES,
    passwords: Mapping[str, str | None] | None = None,
) -> tuple[BgpConfig | None, list[Problem]]:
    found = BgpObjects(
        [entry for entry in objects if isinstance(entry, BGPAdvertisement)],
        [entry for entry in objects if isinstance(entry, BGPPeer)],
        [entry for entry in objects if isinstance(entry, BFDProfile)],
        [entry for entry in objects if isinstance(entry, Community)],
        passwords or {},
    )
    return judge_bgp(found, pools, nodes, OWN)


def _config(*objects: Any, **around: Any) -> BgpConfig:
    config, problems = _judged(*objects, **around)
    assert [problem for problem in problems if problem.severity is Severity.ERROR] == []
    assert config is not None
    return config


def _session(**spec: Any) -> Session:
    (found,) = _config(_peer(**spec), _profile()).sessions
    return found


PLAIN = Session("r", 64512, 64501, IPv4Address("192.0.2.1"), families=V4)


@pytest.mark.parametrize(
    ("spec", "changed"),
    [
        ({}, {}),
        ({"peer_asn": 0, "dynamic_asn": "external"}, {"peer_as": AnyAS.EXTERNAL}),
        ({"local_asn": 64999}, {"local_as": 64999}),
        ({"peer_port": 1179}, {"port": 1179}),
        ({"peer_port": 0}, {"port": 179}),
        (
            {"peer_address": "2001:db8::1"},
            {"address": IPv6Address("2001:db8::1"), "families": {AddressFamily.IPV6}},
        ),
        ({"dual_stack_address_family": True}, {"families": BOTH}),
        (
            {"peer_address": "", "interface": "eth0"},
            {"address": None, "interface": "eth0", "families": BOTH},
        ),
        ({"vrf": "red"}, {"vrf": "red"}),
        ({"vrf": "default"}, {"vrf": ""}),
        ({"source_address": "192.0.2.9"}, {"source": IPv4Address("192.0.2.9")}),
        ({"router_id": "10.0.0.1"}, {"router_id": IPv4Address("10.0.0.1")}),
        ({"hold_time": "90s"}, {"hold": 90, "keepalive": 30}),
        ({"hold_time": "10s"}, {"hold": 10, "keepalive": 3}),
        ({"keepalive_time": "10s"}, {"hold": 30, "keepalive": 10}),
        ({"hold_time": "3.9s", "keepalive_time": "1.9s"}, {"hold": 3, "keepalive": 1}),
        ({"hold_time": "0"}, {"hold": 0, "keepalive": 0}),
        ({"hold_time": "1m30s", "keepalive_time": "0s"}, {"hold": 90, "keepalive": 0}),
        ({"connect_time": "5s"}, {"connect": 5}),
        ({"password": "geheim|ß!"}, {"password": "geheim|ß!"}),
        ({"bfd_profile": "fast"}, {"bfd": "fast"}),
        ({"ebgp_multi_hop": True}, {"multihop": True}),
        ({"enable_graceful_restart": True}, {"graceful_restart": True}),
    ],
)
def test_sessions(spec: dict[str, Any], changed: dict[str, Any]) -> None:
    assert _session(**spec) == replace(PLAIN, **changed)


DURATION = '"&Duration{Duration:%s,}"'
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"my_asn": 0}, "myASN", "missing local ASN"),
    ({"peer_asn": 0}, "peerASN", "missing peer ASN and dynamicASN"),
    ({"dynamic_asn": "external"}, "dynamicASN", "both peer ASN and dynamicASN specified"),
    ({"peer_asn": 0, "dynamic_asn": "any"}, "dynamicASN", "invalid dynamicASN any"),
    ({"my_asn": 1 << 32}, "myASN", "must be in 0-4294967295 range"),
    ({"peer_asn": -1}, "peerASN", "must be in 0-4294967295 range"),
    ({"local_asn": 64512}, "localASN", "invalid localASN"),
    ({"local_asn": 64501}, "localASN", "invalid localASN"),
    ({"peer_port": 16385}, "peerPort", "must be in 0-16384 range"),
    ({"peer_asn": 64512, "ebgp_multi_hop": True}, "ebgpMultiHop",
     "invalid ebgp-multihop parameter set for an ibgp peer"),
    ({"peer_address": ""}, "peerAddress", "peer has no Address or Interface specified"),
    ({"interface": "eth0"}, "interface", "peer has both Address and Interface specified"),
    ({"peer_address": "192.0.2.1\n"}, "peerAddress", r'invalid BGPPeer address "192.0.2.1\n"'),
    ({"peer_address": "fe80::1%eth0"}, "peerAddress", "invalid BGPPeer address"),
    ({"router_id": "no"}, "routerID", 'invalid router ID "no"'),
    ({"router_id": "2001:db8::1"}, "routerID", 'invalid router ID "2001:db8::1"'),
    ({"source_address": "no"}, "sourceAddress", 'invalid source IP "no"'),
    ({"hold_time": "soon"}, "holdTime", 'time: invalid duration "soon"'),
    ({"connect_time": ""}, "connectTime", 'time: invalid duration ""'),
    ({"hold_time": "2s"}, "holdTime",
     f"invalid BGPPeer timers: invalid hold time {DURATION % '2s'}: must be 0 or >=3s"),
    ({"hold_time": "-9s"}, "holdTime", "must be 0 or >=3s"),
    ({"keepalive_time": "0.5s"}, "keepaliveTime",
     'invalid BGPPeer timers: invalid hold time "nil": must be 0 or >=3s'),
    ({"hold_time": "9s", "keepalive_time": "10s"}, "keepaliveTime",
     f"invalid keepaliveTime {DURATION % '10s'}, must be lower than holdTime {DURATION % '9s'}"),
    ({"hold_time": "90s", "keepalive_time": "-5s"}, "keepaliveTime", "not within 0 to 65535 s"),
    ({"hold_time": "20h"}, "holdTime", "not within 0 to 65535 s"),
    ({"connect_time": "0s"}, "connectTime", "whole seconds"),
    ({"connect_time": "1500ms"}, "connectTime", "whole seconds"),
    ({"connect_time": "65536s"}, "connectTime", "whole seconds"),
    ({"bfd_profile": "none"}, "bfdProfile", "peer r referencing non existing bfd profile none"),
    ({"password": "x", "password_secret": SecretReference("s")}, "passwordSecret",
     f'can not have both password and secret ref set in peer config "{NS}"/"r"'),
    ({"password_secret": SecretReference("s")}, "passwordSecret",
     f'secret ref not found for peer config "{NS}"/"r"'),
    ({"node_selectors": (LabelSelector({"rack": "a"}), LabelSelector({"rack": "a"}))},
     "nodeSelectors[1]", "duplicate definition of nodeSelectors"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "field", "words"), REFUSED)
def test_what_a_peer_may_not_say(spec: dict[str, Any], field: str, words: str) -> None:
    config, problems = _judged(_peer(**spec))
    assert config is None
    said = [(problem.object, problem.field) for problem in problems if words in problem.message]
    assert said == [("BGPPeer r", f"spec.{field}")]


HOSTILE = ["a b", "a\nneighbor x shutdown", "a\x00", "\t", "\x7f", "\u2028", "\udc80", "a\u00a0b"]


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 16, "ü" * 8, "a/b"])
@pytest.mark.parametrize(("field", "name"), [("interface", "interface"), ("vrf", "vrf")])
def test_names_of_links_that_are_no_word(text: str, field: str, name: str) -> None:
    spec = {field: text} | ({"peer_address": ""} if field == "interface" else {})
    config, problems = _judged(_peer(**spec))
    assert config is None
    assert [problem.field for problem in problems] == [f"spec.{name}"]
    assert str(problems[0]).isprintable()


def test_an_interface_is_not_named_like_an_address() -> None:
    config, _ = _judged(_peer(peer_address="", interface="192.0.2.1"))
    assert config is None


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 81, "ü" * 41])
def test_passwords_that_are_no_word_are_refused_and_never_shown(text: str) -> None:
    shown = f"verysecret{text}"
    reference = _peer(password_secret=SecretReference("s"))
    for peer, passwords in ((_peer(password=shown), {}), (reference, {"s": shown})):
        config, problems = _judged(peer, passwords=passwords)
        assert config is None
        (problem,) = problems
        assert problem.field in ("spec.password", "spec.passwordSecret")
        assert "contains invalid characters" in problem.message
        assert "verysecret" not in str(problem)


@pytest.mark.parametrize(
    ("passwords", "good"), [({"s": "x" * 80}, True), ({"s": None}, False), ({"s": ""}, False)]
)
def test_a_password_from_a_secret(passwords: dict[str, str | None], good: bool) -> None:
    peer = _peer(password_secret=SecretReference("s"))
    config, problems = _judged(peer, passwords=passwords)
    if good:
        assert config is not None
        assert config.sessions[0].password == "x" * 80
    else:
        assert config is None
        assert "password not specified in the secret" in problems[0].message


def test_no_text_shows_a_password() -> None:
    peer = _peer(password="verysecret")
    objects = BgpObjects(peers=[peer], passwords={"s": "verysecret"})
    config, _ = judge_bgp(objects, [], {}, OWN)
    assert config is not None
    assert "verysecret" not in f"{objects} {config} {peer}"


def test_which_secrets_are_to_be_read() -> None:
    named = _peer("q", password_secret=SecretReference("s"))
    assert secrets_of([_peer(), named, named]) == {"s"}


@pytest.mark.parametrize(
    ("one", "other", "field", "words"),
    [
        ({}, {}, "spec.peerAddress", "peer 192.0.2.1- already exists"),
        ({}, {"vrf": "default"}, "spec.peerAddress", "already exists"),
        ({}, {"vrf": "red"}, "", ""),
        (
            {"peer_address": "2001:db8::1"},
            {"peer_address": "2001:DB8:0::1"},
            "spec.peerAddress",
            "already exists",
        ),
        ({"my_asn": 64513}, {"peer_address": "192.0.2.2"}, "spec.myASN", "has myAsn different"),
        ({"my_asn": 64513}, {"peer_address": "192.0.2.2", "vrf": "red"}, "", ""),
        (
            {"router_id": "10.0.0.1"},
            {"peer_address": "192.0.2.2"},
            "spec.routerID",
            "peer  has RouterID different from 10.0.0.1",
        ),
        ({"node_selectors": THERE}, {}, "", ""),
        ({"node_selectors": HERE}, {}, "spec.peerAddress", "already exists"),
    ],
)
def test_peers_beside_each_other(
    one: dict[str, Any], other: dict[str, Any], field: str, words: str
) -> None:
    config, problems = _judged(_peer("one", **one), _peer("other", **other))
    said = [(problem.object, problem.field) for problem in problems if words in problem.message]
    assert said == ([("BGPPeer other", field)] if field else [])
    assert (config is None) is bool(field)


@pytest.mark.parametrize(
    ("third", "field"),
    [({"my_asn": 64513}, "spec.myASN"), ({"peer_address": "192.0.2.2"}, "spec.peerAddress")],
)
def test_a_peer_is_compared_with_more_than_the_first(third: dict[str, Any], field: str) -> None:
    others = _peer("a", vrf="red", my_asn=64999), _peer("b", peer_address="192.0.2.2")
    config, problems = _judged(*others, _peer("c", **{"peer_address": "192.0.2.3", **third}))
    assert config is None
    assert [(problem.object, problem.field) for problem in problems] == [("BGPPeer c", field)]


def test_only_what_selects_the_node_is_judged() -> None:
    bad_peer = _peer("bad", my_asn=0, node_selectors=THERE)
    bad_ad = _ad("bad", aggregation_length=99, node_selectors=THERE)
    config = _config(_peer(node_selectors=HERE), bad_peer, _ad(node_selectors=HERE), bad_ad)
    assert [found.peer for found in config.sessions] == ["r"]
    assert config.advertisements == {"pool": (RouteAdvertisement("ad"),)}


def test_nothing_selects_a_node_that_is_not_known_among_others() -> None:
    assert _config(_peer(), _ad(), nodes={"n2": NODES["n2"]}) == BgpConfig()
    assert len(_config(_peer(), _ad(), nodes={}).sessions) == 1


def test_the_same_name_twice() -> None:
    config, problems = _judged(_peer(), _peer(peer_address="192.0.2.2"))
    assert config is None
    assert any(problem.field == "metadata.name" for problem in problems)


# ---- profiles


def test_only_profiles_that_sessions_name_are_told() -> None:
    spec: dict[str, Any] = {
        "receive_interval": 50,
        "transmit_interval": 60,
        "detect_multiplier": 3,
        "echo_interval": 70,
        "minimum_ttl": 250,
        "echo_mode": True,
        "passive_mode": True,
    }
    config = _config(_peer(bfd_profile="fast"), _profile(**spec), _profile("unused"))
    assert config.profiles == (Profile("fast", 50, 60, 3, True, 70, True, 250),)


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"detect_multiplier": 1}, "detectMultiplier", "invalid value 1, must be in 2-255 range"),
        ({"detect_multiplier": 256}, "detectMultiplier", "invalid detect multiplier value"),
        ({"receive_interval": 9}, "receiveInterval", "must be in 10-60000 range"),
        ({"transmit_interval": 60_001}, "transmitInterval", "invalid transmit interval value"),
        ({"echo_interval": -1}, "echoInterval", "invalid echo interval value"),
        ({"minimum_ttl": 255}, "minimumTtl", "must be in 1-254 range"),
    ],
)
def test_profiles_out_of_range(spec: dict[str, Any], field: str, words: str) -> None:
    config, problems = _judged(_peer(bfd_profile="fast"), _profile(**spec))
    assert config is None
    (problem,) = problems
    assert (problem.object, problem.field) == ("BFDProfile fast", f"spec.{field}")
    assert words in problem.message


@pytest.mark.parametrize(
    ("ad", "pools", "good"),
    [
        ({}, (POOL,), True),
        ({}, (POOL, DUAL), False),
        ({"pools": ("pool",)}, (POOL, DUAL), True),
        ({"peers": ("r",)}, (DUAL,), False),
        ({"peers": ("other",)}, (DUAL,), True),
    ],
)
def test_echo_is_not_for_ipv6(
    ad: dict[str, Any], pools: tuple[IPAddressPool, ...], good: bool
) -> None:
    objects = _peer(bfd_profile="fast"), _profile(echo_mode=True), _ad(**ad)
    config, _ = _judged(*objects, pools=pools)
    assert (config is not None) is good


# ---- advertisements


def test_an_advertisement_with_all_its_fields() -> None:
    ad = _ad(
        pools=("dual",), service_selectors=HERE, peers=("r",), local_pref=150,
        communities=("64512:100", "large:1:2:3", "nice", "wide"),
    )  # fmt: skip
    names = _aliases(nice="65535:65282", wide="large:4294967295:0:1")
    config = _config(_peer(), ad, names, pools=(POOL, DUAL))
    assert config.advertisements == {
        "dual": (
            RouteAdvertisement(
                "ad", HERE, frozenset({"r"}), frozenset({(64512, 100), (65535, 65282)}),
                frozenset({(1, 2, 3), (4294967295, 0, 1)}), 150,
            ),
        )
    }  # fmt: skip


def test_an_advertisement_that_names_no_pool_is_for_all() -> None:
    config = _config(_ad("b"), _ad("a", pools=("dual",)), pools=(POOL, DUAL))
    names = {pool: [ad.name for ad in ads] for pool, ads in config.advertisements.items()}
    assert names == {"pool": ["b"], "dual": ["a", "b"]}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"pools": ("pool", "pool")}, "ipAddressPools[1]", "definition of ipAddressPools"),
        ({"peers": ("r", "r")}, "peers[1]", 'duplicate definition of peers "r"'),
        ({"communities": ("1:2", "1:2")}, "communities[1]", "duplicate definition of community"),
        ({"communities": ("none",)}, "communities[0]", "invalid community format: none"),
        ({"communities": ("1:65536",)}, "communities[0]", "community value: invalid section"),
        ({"communities": ("big:1:2:3",)}, "communities[0]",
         "expected community to be of format large"),
        ({"communities": tuple(f"1:{n}" for n in range(64))}, "communities", "more than 63"),
        ({"aggregation_length": 33}, "aggregationLength", "aggregation length '!' for IPv4"),
        ({"aggregation_length_v6": 129}, "aggregationLengthV6", "for IPv6"),
        ({"aggregation_length_v6": -1}, "aggregationLengthV6", "less than 1"),
        ({"aggregation_length": 23}, "aggregationLength",
         "invalid aggregation length 23: prefix 24 in this pool is more specific"),
        ({"service_selectors": HERE, "aggregation_length": 24}, "aggregationLength",
         "serviceSelectors and aggregationLength are mutually exclusive"),
        ({"local_pref": -1}, "localPref", "invalid local preference -1"),
        ({"local_pref": 1 << 32}, "localPref", "invalid local preference"),
        ({"node_selectors": HERE * 2}, "nodeSelectors[1]", "duplicate definition of nodeSelectors"),
    ],
)  # fmt: skip
def test_what_an_advertisement_may_not_say(fields: dict[str, Any], field: str, words: str) -> None:
    config, problems = _judged(_peer(), _ad(**fields))
    assert config is None
    said = [(problem.object, problem.field) for problem in problems if words in problem.message]
    assert said == [("BGPAdvertisement ad", f"spec.{field}")]


def test_sixty_three_communities_are_taken() -> None:
    config = _config(_ad(communities=tuple(f"1:{n}" for n in range(63))))
    assert len(config.advertisements["pool"][0].communities) == 63


@pytest.mark.parametrize(
    ("one", "other", "pools", "good"),
    [
        ({"local_pref": 1}, {}, (POOL,), False),
        ({"local_pref": 1}, {"local_pref": 1}, (POOL,), True),
        ({"local_pref": 1, "peers": ("a",)}, {"peers": ("b",)}, (POOL,), True),
        ({"local_pref": 1, "peers": ("a",)}, {"peers": ("a", "b")}, (POOL,), False),
        ({"local_pref": 1, "aggregation_length": 24}, {}, (POOL,), True),
        ({"local_pref": 1, "aggregation_length": 24}, {}, (DUAL,), False),
        ({"local_pref": 1, "pools": ("pool",)}, {"pools": ("dual",)}, (POOL, DUAL), True),
        ({"local_pref": 1, "service_selectors": HERE}, {}, (POOL,), True),
        ({"local_pref": 1, "node_selectors": THERE}, {}, (POOL,), True),
    ],
)
def test_preferences_of_one_pool(
    one: dict[str, Any], other: dict[str, Any], pools: tuple[IPAddressPool, ...], good: bool
) -> None:
    config, problems = _judged(_ad("one", **one), _ad("other", **other), pools=pools)
    assert (config is not None) is good
    if not good:
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        assert [(problem.object, problem.field) for problem in errors] == [
            ("BGPAdvertisement other", "spec.localPref")
        ]
        assert "local preferernce 1 was already set" in errors[0].message


@pytest.mark.parametrize(
    ("objects", "field", "words"),
    [
        ([_aliases(a="1:x")], "spec.communities[0].value", 'parsing community "a"'),
        ([_aliases(a="1:1"), _aliases("d", a="1:2")], "spec.communities[0].name",
         'duplicate definition of community "a"'),
    ],
)  # fmt: skip
def test_aliases(objects: list[Community], field: str, words: str) -> None:
    config, problems = _judged(_peer(), *objects)
    assert config is None
    assert [problem.field for problem in problems] == [field]
    assert words in problems[0].message


@pytest.mark.parametrize(
    ("objects", "field"),
    [
        ([_ad(peers=("gone",))], "spec.peers[0]"),
        ([_ad(pools=("gone",))], "spec.ipAddressPools[0]"),
        ([_peer(enable_graceful_restart=True)], "spec.enableGracefulRestart"),
        ([_peer(disable_mp=True)], "spec.disableMP"),
    ],
)
def test_warnings(objects: list[Any], field: str) -> None:
    config, problems = _judged(*objects)
    assert config is not None
    assert [(found.severity, found.field) for found in problems] == [(Severity.WARNING, field)]


def test_an_advertisement_may_name_a_peer_of_other_nodes() -> None:
    _, problems = _judged(_peer(node_selectors=THERE), _ad(peers=("r",)))
    assert problems == []
