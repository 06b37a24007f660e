"""What is said of a service is short and one line, whatever its author wrote."""

from typing import Any

import pytest

from allocation_world import AllocationWorld
from controller.allocation.assignments import _is_older

TEXT = "\u0000\r\n\x1b[31m\u2028\u202e" + "x" * (200 << 10)
PREFIXES = ("metallb.io/", "metallb.universe.tf/")
POOL = {
    "metadata": {"name": "one", "namespace": "metallb-system"},
    "spec": {"addresses": ["192.0.2.0/32"]},
}


def apply(world: AllocationWorld, key: str, annotations: dict[str, str], port: int = 80) -> None:
    spec: dict[str, Any] = {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]}
    spec |= {"ipFamilies": ["IPv4"], "ports": [{"protocol": "TCP", "port": port}]}
    world.apply_service(key, {"annotations": annotations}, spec)


@pytest.fixture
def world() -> AllocationWorld:
    made = AllocationWorld()
    made.apply_pool(POOL, "one")
    return made


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "annotations",
    [
        {"loadBalancerIPs": TEXT},
        {"address-pool": TEXT},
        {"loadBalancerIPs": "192.0.2.0", "address-pool": TEXT},
        {"loadBalancerIPs": f"192.0.2.0,{TEXT}"},
    ],
    ids=["addresses", "pool", "address and pool", "two addresses"],
)
def test_a_hostile_annotation(
    world: AllocationWorld, prefix: str, annotations: dict[str, str]
) -> None:
    apply(world, "default/web", {prefix + name: text for name, text in annotations.items()})
    told = world.events["default/web"]
    assert [event.reason for event in told][-1] == "AllocationFailed"
    for event in told:
        assert event.message.isprintable()
        assert len(event.message) < 400
    apply(world, "default/other", {})
    assert world.ingress("default/other") == ["192.0.2.0"]


def test_an_address_that_hundreds_share(world: AllocationWorld) -> None:
    for number in range(300):
        annotations = {"metallb.io/allow-shared-ip": "k"}
        apply(world, f"default/a-service-{number:04d}", annotations, port=1000 + number)
    last = "default/a-service-0299"
    assert world.ingress(last) == ["192.0.2.0"]
    known = world.services[last]["metadata"]
    world.apply_service(
        last,
        {**known, "annotations": {**known["annotations"], "metallb.io/allow-shared-ip": "other"}},
        world.services[last]["spec"],
    )
    cleared = next(told for told in world.events[last] if told.reason == "ClearAssignment")
    assert "default/a-service-0004 and 294 more" in cleared.message
    assert len(cleared.message) < 400


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [
        ("9", "10", True),
        ("10", "9", False),
        ("0010", "9", False),
        ("7", "7", False),
        ("9" * 5_000, "1" + "0" * 5_000, True),
        ("abc", "10", False),
        ("", "10", False),
    ],
)
def test_a_version_is_a_number_however_long(version: str, than: str, older: bool) -> None:
    assert _is_older(version, than) is older
