"""What is left on a node that drains, when it is done, and what nobody could take over."""

import pytest

from clarion.drain.announced import announced
from clarion.drain.candidates import without_candidate
from clarion.drain.duties import (
    QUIET,
    DrainWatch,
    Duty,
    DutyProtocol,
    drained,
    duties,
    holders,
)
from kube.files.manifest import read
from kube.objects.metallb import BGPStatus, L2Status
from kube.snapshot import Snapshot, build
from plan.release import Options
from plan.service import EXCLUDE_LABEL

WEB = Duty("default/web", DutyProtocol.LAYER2)
ROUTE = Duty("default/web", DutyProtocol.BGP)
DNS = Duty("default/dns", DutyProtocol.LAYER2)


def l2(service: str, node: str) -> L2Status:
    return L2Status("metallb-system", f"l2-{service[-3:]}-{node}", node=node, service=service)


def bgp(service: str, node: str) -> BGPStatus:
    return BGPStatus("metallb-system", f"bgp-{service[-3:]}-{node}", node=node, service=service)


def test_objects_say_who_announces_what() -> None:
    objects: list[L2Status | BGPStatus] = [
        l2("default/web", "a"),
        bgp("default/web", "a"),
        bgp("default/web", "b"),
    ]
    assert duties(objects, "a") == {WEB, ROUTE}
    assert duties(objects, "b") == {ROUTE}
    assert holders(objects) == {WEB: ("a",), ROUTE: ("a", "b")}


def test_done_is_who_has_announced_nothing_for_a_while() -> None:
    watch = DrainWatch(10.0, timeout=60)
    watch.handle_look(frozenset({WEB, DNS}), 10.0)
    watch.handle_look(frozenset(), 11.0)
    assert not watch.is_done(11.0 + QUIET / 2)
    # It had been elected just before it was labelled, and said so only now.
    watch.handle_look(frozenset({ROUTE}), 11.6)
    watch.handle_look(frozenset(), 12.0)
    assert not watch.is_done(12.0 + QUIET / 2)
    assert watch.is_done(12.0 + QUIET)
    assert watch.seen == {WEB, DNS, ROUTE}


def test_late_is_who_has_something_left_when_the_time_is_up() -> None:
    watch = DrainWatch(10.0, timeout=5)
    watch.handle_look(frozenset({WEB}), 14.0)
    assert not watch.is_late(14.9)
    assert watch.is_late(15.0)
    watch.handle_look(frozenset(), 15.0)
    assert watch.is_done(15.0 + QUIET), "all is done, if late"


def test_the_answer_tells_what_moved_what_is_left_and_what_is_lost() -> None:
    watch = DrainWatch(0.0, timeout=5)
    gone = Duty("default/gone", DutyProtocol.LAYER2)
    lost = Duty("default/lost", DutyProtocol.LAYER2)
    watch.handle_look(frozenset({WEB, DNS, gone, lost}), 0.0)
    watch.handle_look(frozenset({DNS}), 5.0)
    ips = {"default/web": ("192.0.2.1",), "default/dns": (), "default/lost": ("192.0.2.9",)}
    found = drained(
        watch, {WEB: ("b",), DNS: ("a",)}, ips,
        source="x", node="a", was_labelled=False, seconds=5.0004,
    )  # fmt: skip
    assert [(row.service, row.nodes) for row in found.moved] == [
        ("default/gone", ()),
        ("default/web", ("b",)),
    ], "a service that was deleted meanwhile wants nobody"
    assert [row.service for row in found.left] == ["default/dns"]
    assert [row.service for row in found.orphans] == ["default/lost"]
    assert (found.well, found.seconds) == (False, 5.0)


def test_a_page_of_metrics_says_what_is_announced() -> None:
    page = """\
metallb_speaker_announced{ip="192.0.2.1",node="a",protocol="layer2",service="default/web"} 1.0
metallb_speaker_announced{ip="192.0.2.1",node="a",protocol="bgp",service="default/web"} 1.0
metallb_speaker_announced{ip="192.0.2.2",node="a",protocol="layer2",service="default/dns"} 0.0
metallb_speaker_announced{ip="192.0.2.3",node="b",protocol="layer2",service="default/x"} 1.0
metallb_speaker_announced{ip="192.0.2.3",node="a",protocol="other",service="default/x"} 1.0
metallb_speaker_announced{ip="
"""
    assert announced(page, "a") == {WEB, ROUTE}


# ---- candidates

CLUSTER = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: [192.0.2.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: ad, namespace: metallb-system}
spec: {%s}
---
"""
NODE = "{{apiVersion: v1, kind: Node, metadata: {{name: {0}, labels: {{{1}}}}}}}\n---\n"
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec: {{type: LoadBalancer, externalTrafficPolicy: {0}}}
status: {{loadBalancer: {{ingress: [{{ip: 192.0.2.1}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-x, namespace: default, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
endpoints: [{{addresses: [10.0.0.1], nodeName: a, conditions: {{ready: {1}}}}}]
"""


def world(
    policy: str = "Cluster", ready: str = "true", spec: str = "", others: str = ""
) -> Snapshot:
    nodes = NODE.format("a", "rack: one") + NODE.format("b", others)
    text = CLUSTER % spec + nodes + SERVICE.format(policy, ready)
    return build(read(text.encode(), "x"), "metallb-system")[0]


@pytest.mark.parametrize(
    ("snapshot", "speakers", "lost"),
    [
        (world(), None, False),
        (world(), ["a", "b"], False),
        (world(), ["a"], True),
        (world("Local"), None, True),
        (world("Local", ready="false"), None, False),
        (world(spec="nodeSelectors: [{matchLabels: {rack: one}}]"), None, True),
        (world(others=f"{EXCLUDE_LABEL}: ''"), None, True),
    ],
    ids=["another may", "its speaker runs", "no other speaker", "local endpoint",
         "nobody announces", "selected alone", "the other is drained"],
)  # fmt: skip
def test_what_only_the_node_may_announce(
    snapshot: Snapshot, speakers: list[str] | None, lost: bool
) -> None:
    found = without_candidate(snapshot, "a", Options(""), {}, speakers)
    assert found == ("default/web",) * lost
    assert without_candidate(snapshot, "b", Options(""), {}, ["a", "b"]) == ()


def test_routes_of_the_node_alone_would_be_lost() -> None:
    shared = {ROUTE: ("a", "b"), Duty("default/dns", DutyProtocol.BGP): ("a",)}
    assert without_candidate(world(), "a", Options(""), shared, None) == ("default/dns",)
    assert without_candidate(world(), "b", Options(""), shared, None) == ()
