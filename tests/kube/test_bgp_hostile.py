"""BGP's objects with anything in any place: problems in one line come of it, and never a fault."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kube.bgp_config import BgpObjects, judge_bgp
from kube.document import ManifestError, Origin, document
from kube.objects.bgp import BGPAdvertisement, BGPPeer, PeerSpec
from kube.objects.reading import WITH_BGP
from kube.snapshot import BgpScope, assemble, read_documents

NS = "metallb-system"
SELECTORS = [{"matchExpressions": [{"key": "rack", "operator": "Exists"}]}]


def _object(kind: str, spec: Any, api: str = "metallb.io/v1beta1") -> dict[str, Any]:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": "x", "namespace": NS, "labels": {"rack": "a"}},
        "spec": spec,
    }


OBJECTS = [
    _object("IPAddressPool", {"addresses": ["10.0.0.0/24", "2001:db8::1-2001:db8::ff"]}),
    _object("Node", {}, "v1"),
    _object("BGPPeer", {
        "myASN": 64512, "peerASN": 64501, "localASN": 64999, "peerAddress": "192.0.2.1",
        "peerPort": 179, "sourceAddress": "192.0.2.2", "routerID": "10.0.0.1", "holdTime": "90s",
        "keepaliveTime": "30s", "connectTime": "5s", "passwordSecret": {"name": "x"},
        "bfdProfile": "x", "vrf": "red", "nodeSelectors": SELECTORS,
    }, "metallb.io/v1beta2"),
    _object("BFDProfile", {"receiveInterval": 50, "detectMultiplier": 3, "echoMode": False}),
    _object("Community", {"communities": [{"name": "nice", "value": "64512:1"}]}),
    _object("BGPAdvertisement", {
        "communities": ["nice", "large:1:2:3"], "localPref": 100, "peers": ["x"],
        "aggregationLength": 32, "aggregationLengthV6": 128, "ipAddressPools": ["x"],
        "ipAddressPoolSelectors": SELECTORS, "nodeSelectors": SELECTORS,
        "serviceSelectors": SELECTORS,
    }),
    {**_object("Secret", {}, "v1"), "type": "kubernetes.io/basic-auth",
     "data": {"password": "Z2VoZWlt"}, "stringData": {}},
]  # fmt: skip
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1 << 63, 1e308, "", "x", [], {}, [None], {"": None}, [[]], [{}]),
    *("a\tb\n", "\u2028", "é" * 300, "::ffff:192.0.2.1", "fe80::1%eth0", "2001:db8::1", "-5s"),
    *("1:2", "1:2:3", "large:1:2", "99999999999h", "0", ["x"] * 70, {"rack": 1}, "default"),
]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = tuple(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


CHANGES = st.lists(
    st.tuples(
        st.integers(0, len(OBJECTS) - 1), st.integers(0, 99), st.integers(0, len(VALUES) - 1)
    ),
    max_size=4,
)


@given(CHANGES)
@settings(max_examples=400, deadline=None)
def test_anything_in_any_place(changes: list[tuple[int, int, int]]) -> None:
    objects = copy.deepcopy(OBJECTS)
    for number, place, value in changes:
        places = list(_places(objects[number]))
        holder, key = places[place % len(places)]
        holder[key] = copy.deepcopy(VALUES[value])
    documents = []
    for found in objects:
        try:
            documents.append(document(found, Origin("m.yaml")))
        except ManifestError:
            continue
    reading = read_documents(documents, WITH_BGP)
    snapshot, problems = assemble([reading], NS, None, None, BgpScope("x"))
    if not changes:
        assert (len(snapshot.bgp.sessions) if snapshot.bgp else 0, problems) == (1, [])
    for problem in problems:
        assert str(problem).isprintable()
        assert "fault of this program" not in problem.message
        assert "geheim" not in str(problem)


TEXTS = st.text(max_size=20) | st.sampled_from(["", "10.0.0.1", "fe80::1", "3s", "-1s", "1:2"])
PEERS = st.builds(
    PeerSpec,
    my_asn=st.integers(),
    peer_asn=st.integers(),
    dynamic_asn=TEXTS,
    local_asn=st.integers(),
    peer_address=TEXTS,
    interface=TEXTS,
    peer_port=st.integers(),
    source_address=TEXTS,
    router_id=TEXTS,
    hold_time=st.none() | TEXTS,
    keepalive_time=st.none() | TEXTS,
    connect_time=st.none() | TEXTS,
    password=TEXTS,
    bfd_profile=TEXTS,
    vrf=TEXTS,
)


@given(st.lists(PEERS, max_size=3), st.lists(TEXTS, max_size=3), st.integers(), st.integers())
def test_whatever_stands_in_them_no_object_makes_us_fail(
    specs: list[PeerSpec], communities: list[str], length: int, local_pref: int
) -> None:
    some = [BGPPeer(NS, f"r{number}", spec) for number, spec in enumerate(specs)]
    ad = BGPAdvertisement(
        NS,
        "x",
        communities=tuple(communities),
        aggregation_length=length,
        local_pref=local_pref,
    )
    config, problems = judge_bgp(BgpObjects([ad], some), [], {}, "x")
    assert not any("fault of this program" in problem.message for problem in problems)
    assert all(str(problem).isprintable() for problem in problems)
    for found in config.sessions if config is not None else ():
        words = (found.neighbor, found.vrf, found.password)
        assert all(word.isprintable() and " " not in word for word in words)
