"""Objects into views and views into a snapshot, one broken object at a time."""

from pathlib import Path

import pytest

from kube.config import judge
from kube.document import Document, ManifestError
from kube.files.manifest import read
from kube.objects.core import Endpoint, Service
from kube.objects.metallb import IPAddressPool
from kube.objects.reading import view
from kube.problem import FAULT, Problem, Severity
from kube.snapshot import Snapshot, build, read_documents

GUIDE = Path(__file__).parents[1] / "golden" / "guide"


def _build(text: str) -> tuple[Snapshot, list[Problem]]:
    return build(read(text.encode(), "m.yaml"), "metallb-system")


def _view(text: str) -> object:
    (document,) = read(text.encode(), "m.yaml")
    return view(document)


def test_service() -> None:
    service = _view("""
apiVersion: v1
kind: Service
metadata:
  name: web
  labels: {app: web}
  annotations: {metallb.io/loadBalancerIPs: 10.0.0.1, other/big: text}
spec:
  type: LoadBalancer
  loadBalancerIP: 10.0.0.2
  loadBalancerClass: example.com/l2
  externalTrafficPolicy: Local
  ports: [{port: 80}]
status:
  loadBalancer:
    ingress: [{ip: 10.0.0.3, ipMode: VIP}, {hostname: example.com}]
""")
    assert isinstance(service, Service)
    assert service.key == "default/web"
    assert service.type == "LoadBalancer"
    assert service.labels == {"app": "web"}
    assert service.annotations == {"metallb.io/loadBalancerIPs": "10.0.0.1"}
    assert service.load_balancer_ip == "10.0.0.2"
    assert service.load_balancer_class == "example.com/l2"
    assert service.external_traffic_policy == "Local"
    assert service.ingress == ("10.0.0.3", "")
    assert service.origin.line(("status", "loadBalancer", "ingress")) == 16


def test_bare_service_has_the_defaults_of_the_api() -> None:
    service = _view("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: null}")
    assert isinstance(service, Service)
    assert (service.type, service.external_traffic_policy) == ("ClusterIP", "Cluster")
    assert service.ingress == ()
    assert service.load_balancer_class is None


@pytest.mark.parametrize(
    ("ready", "serving", "expected"),
    [
        (None, None, True), (None, False, True), (None, True, True),
        (True, None, True), (True, False, True), (True, True, True),
        (False, None, False), (False, False, False), (False, True, True),
    ],
)  # fmt: skip
def test_endpoints_that_can_serve(ready: bool | None, serving: bool | None, expected: bool) -> None:
    assert Endpoint("n1", ready, serving).can_serve is expected


def test_the_rest_of_the_kinds() -> None:
    snapshot, problems = _build("""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: shop
  labels: {kubernetes.io/service-name: web}
addressType: IPv4
endpoints:
- addresses: [10.1.0.1]
  nodeName: n1
  conditions: {ready: false, serving: true, terminating: true}
- addresses: []
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: stray, namespace: shop}
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {rack: a}}
status:
  conditions:
  - {type: Ready, status: "True"}
  - {type: NetworkUnavailable, status: "True"}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {conditions: [{type: NetworkUnavailable, status: Unknown}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
""")
    assert problems == []
    assert list(snapshot.slices) == ["shop/web"]
    (found,) = snapshot.slices["shop/web"]
    assert found.endpoints == (Endpoint("n1", False, True), Endpoint(addressed=False))
    assert {name: node.network_unavailable for name, node in snapshot.nodes.items()} == {
        "n1": True,
        "n2": False,
    }
    assert snapshot.nodes["n1"].labels == {"rack": "a"}
    assert snapshot.namespaces["shop"].labels == {"team": "a"}


@pytest.mark.parametrize(
    ("text", "field", "line", "message"),
    [
        ("spec: {type: 5}", "spec.type", 4, "Expected `str`, got `int`"),
        ("spec: [1]", "spec", 4, "got `array`"),
        (
            "status: {loadBalancer: {ingress: [{ip: 7}]}}",
            "status.loadBalancer.ingress[0].ip",
            4,
            "`int`",
        ),
    ],
)
def test_wrong_types_name_object_field_and_line(
    text: str, field: str, line: int, message: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        _view(f"apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\n{text}\n")
    problem = caught.value.problem
    assert (problem.object, problem.field, problem.line) == ("Service shop/web", field, line)
    assert message in problem.message


@pytest.mark.parametrize(
    "metadata",
    ["", "metadata: {}", "metadata: {name: ''}", 'metadata: {name: "a\\nb"}', "metadata: 1"],
)
def test_a_name_is_needed(metadata: str) -> None:
    with pytest.raises(ManifestError) as caught:
        _view(f"apiVersion: v1\nkind: Node\n{metadata}\n")
    assert "metadata" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_missing_spec_is_named() -> None:
    snapshot, problems = _build(
        "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}}"
    )
    assert snapshot.config is not None
    assert [str(problem) for problem in problems] == [
        "m.yaml:1: error: IPAddressPool p: Object missing required field `spec`"
    ]


def test_one_broken_object_leaves_the_others() -> None:
    reading = read_documents(
        read(
            b"{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {a: true}}}\n---\n"
            b"{apiVersion: v1, kind: Node, metadata: {name: n2}}",
            "m.yaml",
        )
    )
    assert list(reading.views) == [("Node", "", "n2")]
    assert reading.broken == {("Node", "", "n1")}
    (problem,) = reading.problems
    assert problem.field.startswith("metadata.labels")


def test_only_metallb_objects_of_our_namespace_count() -> None:
    pool = (
        "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: %s, %s},"
        " spec: {addresses: [%s]}}"
    )
    snapshot, problems = _build(
        "\n---\n".join(
            (
                pool % ("ours", "namespace: metallb-system", "10.0.0.0/24"),
                pool % ("bare", "namespace: null", "10.0.1.0/24"),
                pool % ("other", "namespace: elsewhere", "10.0.0.0/24"),
            )
        )
    )
    assert snapshot.config is not None
    assert set(snapshot.config.advertisements) == {"ours", "bare"}
    (problem,) = problems
    assert problem.severity is Severity.WARNING
    assert problem.object == "IPAddressPool elsewhere/other"


def test_what_is_not_ours_is_left_alone_and_what_is_odd_is_said() -> None:
    snapshot, problems = _build("""
{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: web}}
---
{apiVersion: apps/v1, kind: Deployment, spec: 5}
---
{apiVersion: metallb.io/v1alpha1, kind: IPAddressPool, metadata: {name: p}}
---
{resources: [a.yaml]}
---
{apiVersion: v1, kind: Service, metadata: {name: twice}}
---
{apiVersion: v1, kind: Service, metadata: {name: twice}, spec: {type: LoadBalancer}}
""")
    assert [service.type for service in snapshot.services.values()] == ["LoadBalancer"]
    assert [str(problem) for problem in problems] == [
        "m.yaml:6: warning: IPAddressPool p: apiVersion: 'metallb.io/v1alpha1' is not read, "
        "only metallb.io/v1beta1",
        "m.yaml:8: warning: no Kubernetes object: apiVersion or kind is missing",
        "m.yaml:12: warning: Service twice: defined twice in this file; the last wins",
        "debug: kinds not read: Deployment, IPAddressPool, Service",
    ]


def test_the_guide_loads_unchanged() -> None:
    documents = [
        found
        for path in sorted(GUIDE.glob("*.yaml"))
        for found in read(path.read_bytes(), path.name)
    ]
    snapshot, problems = build(documents, "metallb-system")
    assert [problem.file for problem in problems if problem.severity is not Severity.DEBUG] == [
        "13-fragment.yaml"
    ]
    config = snapshot.config
    assert config is not None
    assert {name: len(ads) for name, ads in config.advertisements.items()} == {
        "primary-pool": 1,
        "secondary-pool": 1,
        "bgp-pool": 0,
    }
    (primary,) = config.advertisements["primary-pool"]
    assert primary.interfaces == ("eth0", "ens192")
    assert len(primary.node_selectors) == 2
    pools = [found for found in map(view, documents) if isinstance(found, IPAddressPool)]
    assert [(pool.name, pool.auto_assign, pool.avoid_buggy_ips) for pool in pools] == [
        ("bgp-pool", True, True),
        ("primary-pool", True, True),
        ("secondary-pool", False, True),
    ]
    assert set(snapshot.services) == {"default/test-lb-service"}
    assert set(snapshot.namespaces) == {"metallb-system"}


def test_an_object_that_makes_us_fail_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(document: Document, kinds: object) -> object:
        if document.name == "poison":
            raise ZeroDivisionError("of ours")
        return view(document)

    monkeypatch.setattr("kube.snapshot.view", failing)
    service = "{{apiVersion: v1, kind: Service, metadata: {{name: {}, namespace: a}}}}\n"
    snapshot, problems = _build("---\n".join(map(service.format, ["poison", "good"])))
    assert set(snapshot.services) == {"a/good"}
    (problem,) = problems
    assert (problem.object, problem.file) == ("Service a/poison", "m.yaml")
    assert problem.message.startswith(FAULT)


def test_a_configuration_that_makes_us_fail_is_no_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("kube.config._overlaps", failing)
    config, problems = judge([], [])
    assert config is None
    assert [problem.severity for problem in problems] == [Severity.ERROR]
