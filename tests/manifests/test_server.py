"""A real API server judges the manifests: schemas with their CEL rules, rights, and the guide."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver import ApiServer, object_path, running
from gobuild import BuildError
from speakers import wait_until

OVERLAYS = Path(__file__).parents[2] / "manifests" / "overlays"
CRDS = sorted((Path(__file__).parents[2] / "manifests" / "crds").glob("*.yaml"))
SPACE = "/apis/metallb.io/v1beta1/namespaces/metallb-system"
MERGE = "application/merge-patch+json"
STRICT = "&fieldValidation=Strict"
PEER = "myASN: 1, peerASN: 2, peerAddress: 192.0.2.1"
THIRD_PARTY = {"ServiceMonitor", "PrometheusRule"}
FRAGMENTS = {
    # No selector, and a container without an image.
    "08-daemonset.yaml": "spec.template.spec.containers[0].image: Required value",
    # "... rest of speaker spec"
    "metallb-speaker-affinity.yaml": "spec.template.spec.containers: Required value",
}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, base: list[dict[str, Any]]
) -> Iterator[ApiServer]:
    """A server with manifests/base applied to it, strictly."""
    try:
        with running(tmp_path_factory.mktemp("apiserver")) as started:
            # A namespace before what is in it, as kubectl sorts them.
            for entry in base:
                if entry["kind"] == "Namespace":
                    started.apply(entry, STRICT)
            started.install_crds(CRDS)
            # While there is no Service to call, which is told at once. Later on nobody converts:
            # the tests judge the schemas, and nothing here could call a Service.
            _without_controller(started)
            _convert_by_name(started)
            for entry in base:
                if entry["kind"] != "CustomResourceDefinition":
                    started.apply(entry, STRICT)
                # It is taken; and where packets to a Service are lost, each edit would wait for it.
                if entry["kind"] == "ValidatingWebhookConfiguration":
                    started.delete(object_path(entry))
            yield started
    except BuildError as error:
        pytest.skip(f"no kube-apiserver: {error}")


def _without_controller(server: ApiServer) -> None:
    """Hold what is told of a cluster without a controller: the stored version works, alone."""
    peer = _object("BGPPeer", f"{{{PEER}}}", "v1beta2")
    path = object_path(peer)
    server.must("POST", path.rpartition("/")[0], peer)
    assert server.get(path.rpartition("/")[0])["items"][0]["spec"]["peerPort"] == 179
    server.merge(path, {"spec": {"peerPort": 1179}})
    code, reply = server.request("GET", path.replace("v1beta2", "v1beta1"))
    assert (code, "conversion webhook for metallb.io/v1beta2" in reply["message"]) == (500, True)
    server.delete(path)


def _convert_by_name(server: ApiServer) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io"
    server.merge(path, {"spec": {"conversion": {"strategy": "None", "webhook": None}}})
    old = _object("BGPPeer", f"{{{PEER}}}")
    where = f"{object_path(old).rpartition('/')[0]}?dryRun=All"
    wait_until(lambda: server.request("POST", where, old)[0] == 201, "no webhook converts", 20)


def _refusal(server: ApiServer, body: dict[str, Any]) -> str:
    """Have an object created, without keeping it; give the server's refusal, or nothing."""
    path = object_path(body).rpartition("/")[0]
    status, reply = server.request("POST", f"{path}?dryRun=All{STRICT}", body)
    return str(reply["message"]) if status >= 300 else ""


def _object(kind: str, spec: str, version: str = "v1beta1") -> dict[str, Any]:
    return {
        "apiVersion": f"metallb.io/{version}",
        "kind": kind,
        "metadata": {"name": "x", "namespace": "metallb-system"},
        "spec": yaml.safe_load(spec),
    }


def test_the_crds_are_established_and_structural(
    server: ApiServer, crds: dict[str, dict[str, Any]]
) -> None:
    for crd in crds.values():
        status = server.get(object_path(crd))["status"]
        conditions = {entry["type"]: entry["status"] for entry in status["conditions"]}
        assert conditions.get("Established") == "True"
        assert conditions.get("NamesAccepted") == "True"
        assert "NonStructuralSchema" not in conditions


def test_base_and_overlay_pass_a_strict_dry_run(
    server: ApiServer, base: list[dict[str, Any]], overlay: list[dict[str, Any]]
) -> None:
    for entry in (*base, *overlay):
        assert server.apply(entry, f"{STRICT}&dryRun=All")["kind"] == entry["kind"]


def _apply(server: ApiServer, document: dict[str, Any]) -> str:
    """Apply for real; give the server's refusal, or nothing."""
    where = f"{object_path(document)}?fieldManager=guide&force=true{STRICT}"
    status, reply = server.request("PATCH", where, document, "application/apply-patch+yaml")
    return str(reply["message"]) if status >= 300 else ""


def test_each_complete_manifest_of_the_guide_applies_unchanged(server: ApiServer) -> None:
    guide = Path(__file__).parents[1] / "golden" / "guide"
    applied, refused = [], {}
    for path in sorted(guide.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if "kind" not in document or document["kind"] in THIRD_PARTY:
                continue
            if document["kind"] in ("DaemonSet", "Deployment"):
                # On its own; under its own name it would be merged with ours.
                document["metadata"]["name"] = path.stem
            if message := _apply(server, document):
                refused[path.name] = message
            else:
                applied.append(document["kind"])
    assert refused.keys() == FRAGMENTS.keys(), refused
    for name, words in FRAGMENTS.items():
        assert words in refused[name]
    assert sorted(applied) == [
        "BFDProfile", "BGPAdvertisement", "BGPPeer", "BGPPeer", "DaemonSet", "Deployment",
        "IPAddressPool", "IPAddressPool", "IPAddressPool", "L2Advertisement", "L2Advertisement",
        "Namespace", "NetworkPolicy", "Node", "PodDisruptionBudget", "PodDisruptionBudget",
        "Service",
    ]  # fmt: skip


GOOD = [
    ("IPAddressPool", "{addresses: [192.0.2.0/24, '2001:db8::/64', ' 10.0.0.1 - 10.0.0.9 ']}"),
    ("IPAddressPool", "{addresses: ['::ffff:192.0.2.1/128', '192.0.2.1-2001:db8::1']}"),
    ("L2Advertisement", "{}"),
    ("L2Advertisement", "{preferredNodeSelectors: [{weight: 100, preference: {}}]}"),
    ("BGPAdvertisement", "{}"),
    ("BGPAdvertisement", "{serviceSelectors: [], aggregationLength: 24}"),
    ("BGPAdvertisement", "{serviceSelectors: [{}], aggregationLength: 32}"),
    ("BGPAdvertisement", "{aggregationLength: 32, aggregationLengthV6: 128}"),
    ("BGPPeer/v1beta2", f"{{{PEER}}}"),
    ("BGPPeer/v1beta2", "{myASN: 1, dynamicASN: internal, interface: eth0, peerAddress: ''}"),
    ("BGPPeer/v1beta2", "{myASN: 1, peerASN: 0, dynamicASN: external, peerAddress: '2001:db8::1'}"),
    ("BGPPeer/v1beta2", "{myASN: 2, peerASN: 2, peerAddress: 192.0.2.1, ebgpMultiHop: false}"),
    # MetalLB takes both too: a Secret may come after its peer, and is not looked at here.
    ("BGPPeer/v1beta2", f"{{{PEER}, password: x, passwordSecret: {{name: x}}}}"),
    ("BGPPeer/v1beta2", f"{{{PEER}, passwordSecret: {{name: x}}, routerID: ''}}"),
    ("BGPPeer/v1beta2", f"{{{PEER}, holdTime: 0s, keepaliveTime: 0s}}"),
    ("BGPPeer/v1beta2", f"{{{PEER}, holdTime: 0.9s}}"),
    ("BGPPeer/v1beta2", f"{{{PEER}, holdTime: 1m30s, keepaliveTime: 90s}}"),
    ("BGPPeer/v1beta2", f"{{{PEER}, connectTime: 65535s}}"),
    ("BGPPeer", f"{{{PEER}, peerPort: 0, holdTime: 3s}}"),
    ("Community", "{communities: [{name: a, value: '65535:65281'}, {value: 'large:1:2:3'}]}"),
    ("BFDProfile", "{receiveInterval: 10, echoMode: true}"),
]

BAD = [
    ("IPAddressPool", "{addresses: []}", "a pool needs at least one CIDR or range"),
    ("IPAddressPool", "{addresses: [192.0.2.1]}", "spec.addresses[0]"),
    ("IPAddressPool", "{addresses: [192.0.2.0/33]}", "spec.addresses[0]"),
    ("IPAddressPool", "{addresses: [192.0.2.0/24, 192.0.2.0/24]}", "spec.addresses[1]: Duplicate"),
    ("IPAddressPool", "{addresses: [192.0.2.0/24], protocol: layer2}", 'unknown field "spec.proto'),
    ("L2Advertisement", "{ipAddressPools: [a, a]}", "spec.ipAddressPools[1]: Duplicate"),
    ("L2Advertisement", "{preferredNodeSelectors: [{weight: 101, preference: {}}]}", "weight"),
    ("L2Advertisement", "{nodeSelectors: [{matchExpressions: [{key: a, operator: Like}]}]}",
     "spec.nodeSelectors[0].matchExpressions[0].operator: Unsupported value"),
    ("BGPAdvertisement", "{serviceSelectors: [{}], aggregationLength: 24}", "mutually exclusive"),
    ("BGPAdvertisement", "{serviceSelectors: [{}], aggregationLengthV6: 64}", "mutually exclusive"),
    ("BGPAdvertisement", "{aggregationLength: 33}", "at most 32"),
    ("BGPAdvertisement", "{aggregationLengthV6: 129}", "at most 128"),
    ("BGPPeer/v1beta2", "{myASN: 0, peerASN: 2, peerAddress: 192.0.2.1}", "myASN must not be 0"),
    ("BGPPeer/v1beta2", "{myASN: 1, peerAddress: 192.0.2.1}", "either peerASN or dynamicASN"),
    ("BGPPeer/v1beta2", f"{{{PEER}, dynamicASN: internal}}", "either peerASN or dynamicASN"),
    ("BGPPeer/v1beta2", "{myASN: 1, peerASN: 2}", "either peerAddress or interface"),
    ("BGPPeer/v1beta2", f"{{{PEER}, interface: eth0}}", "either peerAddress or interface"),
    ("BGPPeer/v1beta2", "{myASN: 2, peerASN: 2, peerAddress: 192.0.2.1, ebgpMultiHop: true}",
     "only for a peer in another AS"),
    ("BGPPeer/v1beta2", f"{{{PEER}, holdTime: 2s}}", "holdTime must be"),
    ("BGPPeer/v1beta2", f"{{{PEER}, holdTime: -4s}}", "holdTime must be"),
    ("BGPPeer/v1beta2", f"{{{PEER}, holdTime: 9}}", "spec.holdTime"),
    ("BGPPeer/v1beta2", f"{{{PEER}, holdTime: soon}}", "spec"),
    ("BGPPeer/v1beta2", f"{{{PEER}, holdTime: 9s, keepaliveTime: 10s}}", "keepaliveTime must not"),
    ("BGPPeer/v1beta2", f"{{{PEER}, connectTime: 1500ms}}", "whole seconds"),
    ("BGPPeer/v1beta2", f"{{{PEER}, connectTime: 65536s}}", "from 1s to 65535s"),
    ("BGPPeer/v1beta2", "{myASN: 1, peerASN: 2, peerAddress: router-1}", "spec.peerAddress"),
    ("BGPPeer/v1beta2", f"{{{PEER}, routerID: 1.2.3}}", "spec.routerID"),
    ("BGPPeer", f"{{{PEER}, vrf: red}}", 'unknown field "spec.vrf"'),
    ("BGPPeer", "{myASN: 0, peerASN: 2, peerAddress: 192.0.2.1}", "myASN must not be 0"),
    ("BGPPeer", "{myASN: 1, peerASN: 0, peerAddress: 192.0.2.1}", "peerASN must not be 0"),
    ("BGPPeer", "{myASN: 2, peerASN: 2, peerAddress: 192.0.2.1, ebgpMultiHop: true}",
     "only for a peer in another AS"),
    ("BGPPeer", f"{{{PEER}, holdTime: 2s}}", "holdTime must be"),
    ("BGPPeer", f"{{{PEER}, holdTime: 9s, keepaliveTime: 10s}}", "keepaliveTime must not"),
    ("BGPPeer", "{myASN: 1, peerASN: 2, peerAddress: ''}", "spec.peerAddress"),
    ("Community", "{communities: [{name: a, value: b}]}", "spec.communities[0].value"),
    ("BFDProfile", "{detectMultiplier: 256}", "spec.detectMultiplier"),
]  # fmt: skip


def _named(name: str, spec: str) -> dict[str, Any]:
    kind, _, version = name.partition("/")
    return _object(kind, spec, version or "v1beta1")


@pytest.mark.parametrize(("name", "spec"), GOOD)
def test_the_server_accepts_what_metallb_accepts(server: ApiServer, name: str, spec: str) -> None:
    assert _refusal(server, _named(name, spec)) == ""


@pytest.mark.parametrize(("name", "spec", "words"), BAD)
def test_the_server_refuses_and_says_why(
    server: ApiServer, name: str, spec: str, words: str
) -> None:
    assert words in _refusal(server, _named(name, spec))


def test_an_old_peer_reads_as_a_new_one(server: ApiServer) -> None:
    old = _object(
        "BGPPeer", f"{{{PEER}, holdTime: 9s, nodeSelectors: [{{matchLabels: {{a: b}}}}]}}"
    )
    old["metadata"]["name"] = "old"
    server.must("POST", f"{SPACE}/bgppeers", old)
    new = server.get(f"{SPACE}/bgppeers/old".replace("v1beta1", "v1beta2"))
    assert new["apiVersion"] == "metallb.io/v1beta2"
    assert new["spec"] == {
        **old["spec"], "peerPort": 179, "disableMP": False, "dualStackAddressFamily": False
    }  # fmt: skip


def test_graceful_restart_is_fixed_once_set(server: ApiServer) -> None:
    peer = _object("BGPPeer", f"{{{PEER}, enableGracefulRestart: true}}", "v1beta2")
    peer["metadata"]["name"] = "graceful"
    server.apply(peer)
    status, reply = server.request(
        "PATCH",
        object_path(peer),
        {"spec": {"enableGracefulRestart": False}},
        "application/merge-patch+json",
    )
    assert (status, "cannot be changed" in reply["message"]) == (422, True)


def test_a_status_keeps_its_node_and_service(server: ApiServer) -> None:
    status = {"node": "n1", "serviceName": "web", "serviceNamespace": "default"}
    body = {**_object("ServiceL2Status", "{}"), "status": status}
    server.apply(body)
    path = f"{object_path(body)}/status"
    interfaces = {"interfaces": [{"name": "eth0"}]}
    assert server.merge(path, {"status": interfaces})["status"] == {**status, **interfaces}
    for field in status:
        change = {"status": {field: "other"}}
        code, reply = server.request("PATCH", path, change, "application/merge-patch+json")
        assert (code, f"{field} cannot be changed" in reply["message"]) == (422, True)


def test_a_configuration_state_takes_conditions(server: ApiServer) -> None:
    condition = {
        "type": "configReconcilerValid",
        "status": "False",
        "reason": "ConfigurationError",
        "message": "IPAddressPool first: spec.addresses[0]: reversed",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    state = _object("ConfigurationState", "{}")
    del state["spec"]
    status = {"result": "Invalid", "errorSummary": "x", "conditions": [condition]}
    server.apply({**state, "status": status})
    assert server.get(object_path(state))["status"] == status


def test_the_account_may_not_do_more(server: ApiServer) -> None:
    token = server.account_token("metallb-system", "speaker")
    allowed = [
        "/api/v1/services",
        "/api/v1/nodes",
        "/apis/discovery.k8s.io/v1/endpointslices",
        "/api/v1/namespaces/metallb-system/pods",
        f"{SPACE}/ipaddresspools",
        f"{SPACE}/l2advertisements",
        f"{SPACE}/servicel2statuses",
        f"{SPACE}/configurationstates",
    ]
    forbidden = [
        "/api/v1/namespaces",
        "/api/v1/pods",
        "/api/v1/secrets",
        "/api/v1/namespaces/metallb-system/secrets",
        "/api/v1/namespaces/metallb-system/secrets/memberlist",
        "/api/v1/namespaces/metallb-system/configmaps",
        "/apis/metallb.io/v1beta1/ipaddresspools",
        f"{SPACE}/bgppeers",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    ]
    codes = {path: server.request("GET", path, token=token)[0] for path in allowed + forbidden}
    assert codes == {**dict.fromkeys(allowed, 200), **dict.fromkeys(forbidden, 403)}


def test_the_policy_of_the_security_page_is_taken(server: ApiServer) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    policy = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    shop = {"name": policy["metadata"]["namespace"]}
    server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": shop}, STRICT)
    assert server.apply(policy, STRICT)["spec"] == policy["spec"]


def _account_of(server: ApiServer, document: dict[str, Any]) -> tuple[str, int]:
    """Uid and generation of what a manifest names."""
    metadata = server.get(object_path(document))["metadata"]
    return metadata["uid"], metadata["generation"]


def test_our_deployment_goes_over_metallbs_and_back(
    server: ApiServer, deployment: dict[str, Any], guide_deployment: dict[str, Any]
) -> None:
    """A selector cannot be changed, and the Secret `memberlist` goes with the Deployment's uid."""
    server.delete(object_path(deployment))
    server.apply(guide_deployment)
    before = _account_of(server, guide_deployment)
    scale = {"spec": {"replicas": 0}}
    for document in (deployment, guide_deployment):
        server.merge(f"{object_path(document)}/scale", scale)
        server.apply(document, STRICT)
        uid, generation = _account_of(server, document)
        assert uid == before[0]
        assert generation > before[1]
        assert server.get(object_path(document))["spec"]["replicas"] == 3
    server.apply(deployment)


def test_our_daemonset_begins_where_metallbs_pods_are_not(
    server: ApiServer, daemonset: dict[str, Any]
) -> None:
    """The server counts templates from the annotation on, and nobody can set the count back."""
    name = "deprecated.daemonset.template.generation"
    path = object_path(daemonset)

    def generation() -> str:
        return str(server.get(path)["metadata"]["annotations"][name])

    server.delete(path)
    server.apply(daemonset)
    assert generation() == daemonset["metadata"]["annotations"][name] == "7946"
    change = {"metadata": {"annotations": {"restarted": "now"}}}
    server.merge(path, {"spec": {"template": change}})
    assert generation() == "7947"
    server.apply(daemonset)
    assert int(generation()) >= 7947


def test_a_bgp_status_keeps_its_node(server: ApiServer) -> None:
    status = {"node": "n1", "serviceName": "web", "serviceNamespace": "default", "peers": ["a"]}
    body = {**_object("ServiceBGPStatus", "{}"), "status": status}
    server.apply(body)
    path = f"{object_path(body)}/status"
    assert server.get(object_path(body))["status"] == status
    code, reply = server.request("PATCH", path, {"status": {"node": "n2"}}, MERGE)
    assert (code, "node cannot be changed" in reply["message"]) == (422, True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize("name", ["bgp", "bgp-without-bfd", "bgp-realtime"])
def test_the_overlays_with_bgp_pass_a_strict_dry_run(server: ApiServer, name: str) -> None:
    command = ["kubectl", "kustomize", str(OVERLAYS / name)]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    for entry in yaml.safe_load_all(text):
        assert server.apply(entry, f"{STRICT}&dryRun=All")["kind"] == entry["kind"]


@pytest.fixture
def bgp_rights(server: ApiServer) -> Iterator[ApiServer]:
    """The server with what the overlay allows besides, and a peer's password."""
    rights = list(yaml.safe_load_all((OVERLAYS / "bgp" / "rbac.yaml").read_text()))
    password = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "router-1", "namespace": "metallb-system"},
        "type": "kubernetes.io/basic-auth",
        "stringData": {"username": "", "password": "x"},
    }
    for entry in (*rights, password):
        server.apply(entry, STRICT)
    yield server
    for entry in (*rights, password):
        server.delete(object_path(entry))


def test_with_bgp_the_account_watches_the_passwords_of_its_namespace(bgp_rights: ApiServer) -> None:
    server = bgp_rights
    token = server.account_token("metallb-system", "speaker")
    secrets = "/api/v1/namespaces/metallb-system/secrets"
    allowed = [
        f"{SPACE.replace('v1beta1', 'v1beta2')}/bgppeers",
        f"{SPACE}/bgpadvertisements",
        f"{SPACE}/bfdprofiles",
        f"{SPACE}/communities",
        f"{SPACE}/servicebgpstatuses",
        f"{secrets}?fieldSelector=metadata.name%3Drouter-1",
        f"{secrets}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Drouter-1",
    ]
    forbidden = [
        f"{secrets}/router-1",
        "/api/v1/namespaces/default/secrets/router-1",
        "/apis/metallb.io/v1beta2/bgppeers",
    ]
    wait_until(
        lambda: server.request("GET", allowed[0], token=token)[0] == 200, "no rights come", 20
    )
    codes = {path: server.request("GET", path, token=token)[0] for path in allowed + forbidden}
    assert codes == {**dict.fromkeys(allowed, 200), **dict.fromkeys(forbidden, 403)}
    assert server.request("DELETE", f"{secrets}/router-1", token=token)[0] == 403


def test_with_bgp_the_account_watches_one_config_map(bgp_rights: ApiServer) -> None:
    server = bgp_rights
    token = server.account_token("metallb-system", "speaker")
    maps = "/api/v1/namespaces/metallb-system/configmaps"
    one = "fieldSelector=metadata.name%3Dbgpextras"
    allowed = [f"{maps}?{one}", f"{maps}?watch=true&timeoutSeconds=1&{one}"]
    forbidden = [
        *(maps, f"{maps}?fieldSelector=metadata.name%3Dother", f"{maps}/bgpextras"),
        *(f"/api/v1/configmaps?{one}", f"/api/v1/namespaces/default/configmaps?{one}"),
    ]
    wait_until(
        lambda: server.request("GET", allowed[0], token=token)[0] == 200, "no rights come", 20
    )
    codes = {path: server.request("GET", path, token=token)[0] for path in allowed + forbidden}
    assert codes == {**dict.fromkeys(allowed, 200), **dict.fromkeys(forbidden, 403)}
    made = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "bgpextras", "namespace": "metallb-system"},
    }
    assert server.request("POST", maps, made, token=token)[0] == 403
    assert server.request("DELETE", f"{maps}/bgpextras", token=token)[0] == 403
