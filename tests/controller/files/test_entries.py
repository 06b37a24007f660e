"""What is kept of a service, and what is filled in of it as an API server would."""

import json
from ipaddress import IPv4Address

import pytest

from controller.allocation.io import StatusWrite
from controller.files.entries import completed, entry, namespaces, stand_in, text_of
from kube.files.manifest import read
from kube.objects.core import ALLOCATED_FROM, Demand, Service
from kube.snapshot import read_documents, with_status

WEB = Service("default", "web", type="LoadBalancer")
ASKS_FOR = "metallb.io/loadBalancerIPs"


def _write(*ips: str, pool: str = "lab") -> StatusWrite:
    return StatusWrite("default/web", tuple(map(IPv4Address, ips)), pool, "")


def _versions(service: Service, default: int = 4) -> list[int]:
    return [6 if ":" in text else 4 for text in completed(service, default).demand.cluster_ips]


def _with(**fields: object) -> Service:
    demand = Demand(**{key: fields.pop(key) for key in list(fields) if key.startswith("ip_")})  # type: ignore[arg-type]
    return Service("default", "web", type="LoadBalancer", demand=demand, **fields)  # type: ignore[arg-type]


def test_what_is_written_is_read_back_by_who_reads_manifests() -> None:
    kept = {"default/web": entry(WEB, _write("192.0.2.1")), "a/b": Service("a", "b", ingress=())}
    text = text_of({key: found for key, found in kept.items() if found is not None})
    reading = read_documents(read(text, "state.json"))
    assert reading.problems == ()
    found = {view.key: view for view in reading.views.values() if isinstance(view, Service)}
    assert list(found) == ["a/b", "default/web"], "sorted, so that two files can be compared"
    assert found["default/web"].ingress == ("192.0.2.1",)
    assert found["default/web"].annotations == {ALLOCATED_FROM: "lab"}
    assert found["a/b"].ingress == ()


def test_a_service_has_a_line_of_its_own() -> None:
    names = [f"s{number}" for number in range(3)]
    text = text_of({f"default/{name}": Service("default", name) for name in names}).decode()
    assert [
        json.loads(line.rstrip(","))["metadata"]["name"] for line in text.splitlines()[1:-1]
    ] == (names)
    assert json.loads(text_of({}))["items"] == []


def test_nothing_is_kept_where_the_manifest_says_the_same() -> None:
    assert entry(WEB, _write(pool="")) is None
    had = Service("default", "web", ingress=("192.0.2.9",))
    cleared = entry(had, _write(pool=""))
    assert cleared is not None, "the status of its manifest counts no more"
    assert with_status(had, cleared).ingress == ()


def test_the_pool_of_the_manifest_goes_with_its_status() -> None:
    had = Service(
        "default",
        "web",
        ingress=("192.0.2.9",),
        annotations={ALLOCATED_FROM: "old", "metallb.io/x": "y"},
    )
    kept = entry(had, _write("192.0.2.1", pool="new"))
    assert with_status(had, kept).annotations == {ALLOCATED_FROM: "new", "metallb.io/x": "y"}
    assert with_status(had, entry(had, _write(pool=""))).annotations == {"metallb.io/x": "y"}
    assert with_status(had, None) == had


@pytest.mark.parametrize(
    ("service", "default", "versions"),
    [
        (_with(), 4, [4]),
        (_with(), 6, [6]),
        (_with(ip_families=("IPv6",)), 4, [6]),
        (_with(ip_families=("IPv6", "IPv4")), 4, [6, 4]),
        (_with(ip_families=("IPv7",)), 4, [4]),
        (_with(ip_family_policy="PreferDualStack"), 4, [4, 6]),
        (_with(ip_family_policy="RequireDualStack", ip_families=("IPv4",)), 4, [4, 6]),
        (_with(load_balancer_ip="2001:db8::1"), 4, [6]),
        (_with(annotations={ASKS_FOR: "192.0.2.1,2001:db8::1"}), 4, [4, 6]),
        (_with(annotations={ASKS_FOR: "nonsense"}), 6, [6]),
        (_with(ingress=("2001:db8::1",)), 4, [6]),
        (_with(ingress=("2001:db8::1",), load_balancer_ip="192.0.2.1"), 6, [4]),
        (_with(ingress=("192.0.2.1", "192.0.2.2")), 6, [6]),
        (_with(ingress=("nonsense", "")), 4, [4]),
    ],
)
def test_families_are_filled_in(service: Service, default: int, versions: list[int]) -> None:
    assert _versions(service, default) == versions


def test_cluster_ips_that_are_there_stay_and_versions_go() -> None:
    demand = Demand(cluster_ips=("10.0.0.1",), version="17", created="2026-01-01T00:00:00Z")
    found = completed(Service("default", "web", demand=demand), 6).demand
    assert (found.cluster_ips, found.version, found.created) == (
        ("10.0.0.1",),
        "",
        "2026-01-01T00:00:00Z",
    )


def test_a_stand_in_is_of_our_class() -> None:
    kept = Service("default", "web", ingress=("192.0.2.1",))
    found = stand_in(kept, "ours")
    assert (found.type, found.load_balancer_class, found.ingress) == (
        "LoadBalancer",
        "ours",
        ("192.0.2.1",),
    )


def test_namespaces_have_the_label_that_a_server_puts_on_them() -> None:
    found = namespaces({"a": {"team": "red"}}, [WEB])
    name = "kubernetes.io/metadata.name"
    assert found == {"a": {name: "a", "team": "red"}, "default": {name: "default"}}
