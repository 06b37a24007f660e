"""What a service that waits is told: every pool, and what kept it out of it."""

from typing import Any

import pytest

from allocation_world import AllocationWorld
from controller.allocation.decision import MOST_TOLD
from controller.allocation.io import EventReason

SPEC = {
    "type": "LoadBalancer",
    "ports": [{"port": 80}],
    "clusterIPs": ["10.96.0.1"],
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
}


def pool(name: str, *addresses: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": "metallb-system"},
        "spec": {"addresses": list(addresses), **spec},
    }


def told(world: AllocationWorld, key: str) -> list[str]:
    return [one.message for one in world.events[key] if one.reason is EventReason.PENDING]


def test_each_pool_has_its_reason() -> None:
    world = AllocationWorld()
    app = {"matchLabels": {"app": "x"}}
    for document in (
        pool("full", "192.0.2.1/32"),
        pool("off", "192.0.2.8/29", autoAssign=False),
        pool("theirs", "192.0.2.16/29", serviceAllocation={"namespaces": ["team-b"]}),
        pool("labels", "192.0.2.24/29", serviceAllocation={"serviceSelectors": [app]}),
        pool("six", "2001:db8::/120"),
    ):
        world.apply_pool(document, document["metadata"]["name"])
    world.apply_service("team-a/first", {}, SPEC)
    world.apply_service("team-a/second", {}, SPEC)
    assert world.ingress("team-a/first") == ["192.0.2.1"]
    assert told(world, "team-a/second") == [
        "labels: it is not for services with these labels; "
        "theirs: it is not for the namespace; "
        "full: none of its IPv4 addresses is free; "
        "off: autoAssign is off; "
        "six: it has no IPv4 addresses"
    ]


def test_who_names_a_pool_is_told_of_that_alone() -> None:
    world = AllocationWorld()
    world.apply_pool(pool("off", "192.0.2.1/32", autoAssign=False), "off")
    world.apply_pool(pool("other", "192.0.2.8/29"), "other")
    asks = {"annotations": {"metallb.io/address-pool": "off"}}
    world.apply_service("team-a/first", dict(asks), SPEC)
    world.apply_service("team-a/second", dict(asks), SPEC)
    assert told(world, "team-a/second") == ["off: none of its IPv4 addresses is free"]


@pytest.mark.parametrize("count", [3, 200])
def test_it_is_said_once_and_is_never_too_long(count: int) -> None:
    world = AllocationWorld()
    for number in range(count):
        six = pool(f"pool-{number:03}", f"2001:db8:{number:x}::/120")
        world.apply_pool(six, f"pool-{number:03}")
    world.apply_service("team-a/a", {}, SPEC)
    for number in range(5):
        world.apply_service("team-a/a", {"labels": {"n": str(number)}}, SPEC)
    (message,) = told(world, "team-a/a")
    assert len(message) <= MOST_TOLD + 30
    shown = message.count("it has no IPv4 addresses")
    assert shown == count or message.endswith(f"; and {count - shown} more pools")
