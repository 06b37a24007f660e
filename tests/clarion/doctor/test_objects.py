"""Objects as they stand together, from documents as kubectl dumps them to findings."""

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from clarion.doctor import doctor
from clarion.doctor.cluster_objects import (
    judge_advertisements,
    judge_interfaces,
    judge_nodes,
    judge_taints,
)
from clarion.doctor.documents import ClusterFacts, SpeakerPlace, cluster_facts
from clarion.doctor.finding import DoctorCheck, DoctorFinding, Gravity
from clarion.doctor.kernel import HostFacts
from kube.files.manifest import read
from link.interface import Interface

LABELS = {"app": "metallb", "component": "speaker"}
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
NODES = """\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: a, labels: {rack: "1"}}}
- {apiVersion: v1, kind: Node, metadata: {name: b, labels: {rack: "2"}}}
---
"""
POOL = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system, labels: {zone: x}}
spec: {addresses: [192.0.2.0/24]}
---
"""
PROXY = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy, namespace: kube-system}
data:
  config.conf: |
    kind: KubeProxyConfiguration
    mode: ipvs
---
"""


def ad(spec: str, kind: str = "L2Advertisement", namespace: str = "metallb-system") -> str:
    return f"""\
apiVersion: metallb.io/v1beta1
kind: {kind}
metadata: {{name: ad, namespace: {namespace}}}
spec: {{{spec}}}
---
"""


def facts(*texts: str) -> ClusterFacts:
    return cluster_facts(read("".join(texts).encode(), "dump"), "metallb-system", LABELS)


def seen(found: list[DoctorFinding]) -> list[tuple[str, str]]:
    return [(each.where, each.seen) for each in found]


def advertised(*texts: str) -> list[DoctorFinding]:
    return list(judge_advertisements(facts(NODES, *texts).objects))


@pytest.mark.parametrize("kind", ["L2Advertisement", "BGPAdvertisement"])
@pytest.mark.parametrize(
    "spec",
    ["", "ipAddressPools: [pool]", "ipAddressPoolSelectors: [{matchLabels: {zone: x}}]",
     "nodeSelectors: [{matchLabels: {rack: '9'}}, {matchLabels: {rack: '2'}}]"],
)  # fmt: skip
def test_advertisements_that_match_are_well(kind: str, spec: str) -> None:
    assert advertised(POOL, ad(spec, kind)) == []


@pytest.mark.parametrize("kind", ["L2Advertisement", "BGPAdvertisement"])
def test_an_advertisement_for_no_node(kind: str) -> None:
    (found,) = advertised(POOL, ad("nodeSelectors: [{matchLabels: {rack: '9'}}]", kind))
    assert (found.where, found.seen) == (f"{kind} ad", "its nodeSelectors match none of 2 nodes")
    assert found.mend == "kubectl label node NODE rack=9"


def test_selectors_by_expression_are_mended_by_hand() -> None:
    text = "nodeSelectors: [{matchExpressions: [{key: gpu, operator: Exists}]}]"
    (found,) = advertised(POOL, ad(text))
    assert found.mend == "kubectl -n metallb-system edit l2advertisement ad"


def test_a_pool_that_nobody_advertises_and_an_advertisement_for_no_pool() -> None:
    assert seen(advertised(POOL, ad("ipAddressPools: [other]"))) == [
        ("L2Advertisement ad", "it is for no IPAddressPool that there is"),
        ("IPAddressPool pool", "no L2Advertisement and no BGPAdvertisement is for it"),
    ]
    assert len(advertised(POOL, ad("", namespace="elsewhere"))) == 1


def test_a_peer_for_no_node() -> None:
    peer = """\
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 1, peerASN: 2, peerAddress: 192.0.2.254, nodeSelectors: [{matchLabels: {x: y}}]}
---
"""
    assert seen(advertised(POOL, ad(""), peer)) == [
        ("BGPPeer tor", "its nodeSelectors match none of 2 nodes")
    ]


def test_without_nodes_no_selector_is_judged() -> None:
    objects = facts(POOL, ad("nodeSelectors: [{matchLabels: {rack: '9'}}]")).objects
    assert list(judge_advertisements(objects)) == []


def test_nodes_that_announce_nothing() -> None:
    one_out = NODES.replace('rack: "1"', f"{EXCLUDED}: ''")
    (found,) = judge_nodes(facts(one_out).objects)
    assert (found.where, found.severity, found.mend) == ("a", Gravity.WARNING, "clarion undrain a")
    all_out = one_out.replace('rack: "2"', f"{EXCLUDED}: 'false'")
    assert [each.severity for each in judge_nodes(facts(all_out).objects)] == [Gravity.ERROR] * 2
    assert list(judge_nodes(facts(all_out).objects, ignores_label=True)) == []
    broken = NODES.replace(
        "kind: Node, metadata: {name: b,",
        "kind: Node, status: {conditions: [{type: NetworkUnavailable, status: 'True'}]},"
        " metadata: {name: b,",
    )
    assert [each.where for each in judge_nodes(facts(broken).objects)] == ["b"]


def host(*names: str, up: bool = True) -> HostFacts:
    links = tuple(
        Interface(n, name, bytes((2, 0, 0, 0, 0, n)), up, True, True, False)
        for n, name in enumerate(names, 1)
    )
    return HostFacts("a", links, {})


@pytest.mark.parametrize(
    ("spec", "links", "wrong"),
    [
        ("interfaces: [eth0, eth1]", host("eth1"), ""),
        ("interfaces: [eth0]", host("eth1"), "it has none of them"),
        ("interfaces: [eth0]", host("eth0", up=False), "none of them can announce"),
        ("", host("eth1"), ""),
        ("interfaces: [eth0], nodeSelectors: [{matchLabels: {rack: '2'}}]", host("eth1"), ""),
    ],
)
def test_an_advertisement_for_no_link_of_this_node(spec: str, links: HostFacts, wrong: str) -> None:
    found = list(judge_interfaces(facts(NODES, POOL, ad(spec)).objects, links))
    assert [each.seen.rpartition(", and ")[2] for each in found] == [wrong] * bool(wrong)


def pod(name: str, node: str, ip: str, labels: str = "app: metallb, component: speaker") -> str:
    return f"""\
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: metallb-system, labels: {{{labels}}}}}
spec: {{nodeName: {node}}}
status: {{podIP: "{ip}"}}
---
"""


def test_speakers_are_the_pods_with_the_labels_and_an_address() -> None:
    found = facts(
        pod("speaker-1", "a", "192.0.2.1"),
        pod("speaker-2", "b", "2001:DB8::2"),
        pod("waiting", "b", ""),
        pod("evil", "b", "x/../y"),
        pod("controller", "a", "10.0.0.1", "app: metallb, component: controller"),
    )
    assert set(found.speakers) == {SpeakerPlace("a", "192.0.2.1"), SpeakerPlace("b", "2001:db8::2")}


def lease(name: str, renewed: str, noted: str, namespace: str = "kube-node-lease") -> str:
    return f"""\
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  name: {name}
  namespace: {namespace}
  managedFields: [{{manager: kubelet, time: "{noted}"}}, {{time: "2020-01-01T00:00:00Z"}}]
spec: {{renewTime: "{renewed}"}}
---
"""


def test_a_heartbeat_tells_the_skew_of_its_node() -> None:
    found = facts(
        lease("a", "2026-11-27T04:00:00.500000Z", "2026-11-27T04:00:00Z"),
        lease("b", "2026-11-27T04:01:00.500000Z", "2026-11-27T04:00:00Z"),
        lease("c", "nonsense", "2026-11-27T04:00:00Z"),
        lease("d", "2026-11-27T04:00:00", "2026-11-27T04:00:00Z"),
        lease("e", "2026-11-27T09:00:00Z", "2026-11-27T04:00:00Z", "default"),
    )
    assert found.clocks.nodes == {"a": 0.0, "b": 60.0}


TAINTED = """\
apiVersion: v1
kind: Node
metadata: {name: infra}
spec:
  taints:
  - {key: node.kubernetes.io/unschedulable, effect: NoSchedule}
  - {key: infra, value: "it's", effect: NoSchedule}
  - {key: soft, effect: PreferNoSchedule}
  - nonsense
---
"""


def test_a_taint_that_keeps_the_speaker_off_is_named() -> None:
    found = facts(NODES, TAINTED)
    (only,) = judge_taints(found.taints, {"a", "b"})
    assert (only.where, only.severity) == ("infra", Gravity.WARNING)
    assert only.seen == "no speaker's pod runs there, and it has the taint infra=it's:NoSchedule"
    patch = json.loads(shlex.split(only.mend)[-1])
    assert patch[0]["value"] == {"key": "infra", "operator": "Exists", "effect": "NoSchedule"}
    assert list(judge_taints(found.taints, {"infra"})) == []
    assert list(judge_taints(facts(NODES).taints, ())) == []


# ---- the command on dumps


def run(path: Path, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(doctor, ["--from", str(path), *more])
    return result.exit_code, result.output


def test_a_dump_is_judged_and_what_it_lacks_is_named(tmp_path: Path) -> None:
    dump = tmp_path / "all.yaml"
    dump.write_text(NODES + POOL + PROXY + ad("nodeSelectors: [{matchLabels: {rack: '9'}}]"))
    status, text = run(dump)
    assert status == 1
    assert "error: L2Advertisement ad: its nodeSelectors match none" in text
    assert "  $ kubectl label node NODE rack=9" in text
    assert "mode is ipvs, and strictARP is not true" in text
    assert "not looked at: echo: a dump does not show it" in text
    assert "not looked at: clock: " in text
    assert "3 checks, 2 errors, 0 warnings, 14 not looked at" in text


def test_every_check_is_made_or_said_not_to_be(tmp_path: Path) -> None:
    (tmp_path / "nodes.yaml").write_text(NODES)
    (tmp_path / "pools.yaml").write_text(POOL + ad(""))
    status, text = run(tmp_path, "-o", "json")
    found = json.loads(text)
    assert (status, found["kind"], found["version"], found["well"]) == (0, "Diagnosis", 1, True)
    told = [*found["checks"], *(each["check"] for each in found["unseen"])]
    assert sorted(told) == sorted(DoctorCheck)
    assert found["checks"] == ["nodes", "advertisements"]


@pytest.mark.parametrize("text", ["", "kind: Secret\napiVersion: v1\nmetadata: {name: x}\n"])
def test_nothing_to_look_at_is_status_two(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    assert run(tmp_path)[0] == 2


def test_what_cannot_be_read_is_one_line_and_status_two(tmp_path: Path) -> None:
    status, text = run(tmp_path / "none.yaml")
    assert (status, text.count("\n")) == (2, 1)
    (tmp_path / "bad.yaml").write_text("a: [")
    status, text = run(tmp_path / "bad.yaml")
    assert (status, text.count("\n")) == (2, 1)


def test_the_page_explains_every_check() -> None:
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()
    assert [check for check in DoctorCheck if f"| `{check}` |" not in page] == []
