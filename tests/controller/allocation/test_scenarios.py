"""What MetalLB's own end-to-end tests of its controller look for, on the core alone.

Each is named after the test there. Those of one step, and all that was recorded from MetalLB's
controller, are in test_vectors.py.
"""

from typing import Any

import pytest

from allocation_world import AllocationWorld

FAMILIES = {"IPv4": "10.96.0.1", "IPv6": "fd00::1"}
DUAL_A = ("192.0.2.0/30", "2001:db8:a::/126")
DUAL_B = ("198.51.100.0/30", "2001:db8:b::/126")


def pool(world: AllocationWorld, name: str, *addresses: str, **allocation: Any) -> None:
    spec: dict[str, Any] = {"addresses": list(addresses)}
    if allocation:
        spec["serviceAllocation"] = allocation
    metadata = {"name": name, "namespace": "metallb-system"}
    document = {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool"}
    world.apply_pool({**document, "metadata": metadata, "spec": spec}, name)


def service(
    world: AllocationWorld,
    key: str,
    policy: str = "SingleStack",
    families: tuple[str, ...] = ("IPv4",),
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> None:
    """Create a service, or change its spec; what was written to it stays."""
    known = world.services.get(key, {}).get("metadata", {})
    metadata = {**known, "labels": labels or {}}
    world.apply_service(
        key,
        metadata,
        {
            "type": "LoadBalancer",
            "ports": [{"protocol": "TCP", "port": 80}],
            "clusterIPs": [FAMILIES[family] for family in families],
            "ipFamilies": list(families),
            "ipFamilyPolicy": policy,
            **spec,
        },
    )


def shared(world: AllocationWorld, key: str, port: int, local: bool, app: str) -> None:
    ports = [{"protocol": "TCP", "port": port}]
    policy = "Local" if local else "Cluster"
    known = world.services.get(key, {}).get("metadata", {})
    annotations = {**(known.get("annotations") or {}), "metallb.io/allow-shared-ip": "k"}
    spec = {"type": "LoadBalancer", "ports": ports, "selector": {"app": app}}
    spec |= {"clusterIPs": ["10.96.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    metadata = {**known, "annotations": annotations}
    world.apply_service(key, metadata, {**spec, "externalTrafficPolicy": policy})


@pytest.fixture
def world() -> AllocationWorld:
    return AllocationWorld()


@pytest.mark.parametrize("how", ["becomes ClusterIP", "is deleted"])
def test_a_pool_of_one_address_goes_to_who_waits(world: AllocationWorld, how: str) -> None:
    pool(world, "one", "192.0.2.1/32")
    service(world, "default/first")
    service(world, "default/second")
    assert [world.ingress(f"default/{name}") for name in ("first", "second")] == [["192.0.2.1"], []]
    if how == "is deleted":
        world.delete_service("default/first")
    else:
        service(world, "default/first", type="ClusterIP")
        assert world.pool("default/first") is None
    assert world.ingress("default/second") == ["192.0.2.1"]


def test_five_restarts_leave_all_as_it_was(world: AllocationWorld) -> None:
    pool(world, "two", "192.0.2.0/31")
    # The names of those who wait come first, as they would if names decided.
    for name in ("m", "n", "a", "b"):
        service(world, f"default/{name}")
    before = {key: world.ingress(key) for key in world.services}
    assert sorted(map(len, before.values())) == [0, 0, 1, 1]
    writes = len(world.writes)
    for _ in range(5):
        world.stop()
        world.start()
        assert {key: world.ingress(key) for key in world.services} == before
    assert len(world.writes) == writes


def test_the_conditions_of_sharing_change(world: AllocationWorld) -> None:
    pool(world, "one", "192.0.2.1/32")
    shared(world, "default/a", 80, False, "x")
    shared(world, "default/b", 81, False, "y")
    steps = [
        # a is Local, b is Local, the selector of a; and whether a and b have the address.
        (True, False, "x", False, True),
        (True, True, "x", False, True),
        (True, True, "y", True, True),
        (True, True, "x", False, True),
        (True, True, "y", True, True),
    ]
    assert world.ingress("default/a") == world.ingress("default/b") == ["192.0.2.1"]
    for a_local, b_local, app, a_has, b_has in steps:
        shared(world, "default/b", 81, b_local, "y")
        shared(world, "default/a", 80, a_local, app)
        found = [bool(world.ingress(key)) for key in ("default/a", "default/b")]
        assert found == [a_has, b_has]


def test_all_pools_are_removed(world: AllocationWorld) -> None:
    pool(world, "one", "192.0.2.0/30")
    service(world, "default/web")
    world.apply_pool(None, "one")
    assert (world.ingress("default/web"), world.pool("default/web")) == ([], None)


def test_one_of_two_pools_is_removed(world: AllocationWorld) -> None:
    pool(world, "one", "192.0.2.0/30")
    service(world, "default/web")
    pool(world, "two", "198.51.100.7/32")
    assert world.ingress("default/web") == ["192.0.2.0"]
    world.apply_pool(None, "one")
    assert (world.ingress("default/web"), world.pool("default/web")) == (["198.51.100.7"], "two")


@pytest.mark.parametrize(
    "allocation",
    [
        {"namespaces": ["team"]},
        {"namespaces": ["team", "other"]},
        {"namespaceSelectors": [{"matchLabels": {"team": "a"}}]},
        {"serviceSelectors": [{"matchLabels": {"app": "x"}}]},
        {
            "namespaceSelectors": [{"matchLabels": {"team": "a"}}],
            "serviceSelectors": [{"matchLabels": {"app": "x"}}],
        },
        {},
    ],
    ids=["namespace", "two namespaces", "namespace labels", "service labels", "both", "priority"],
)
def test_the_highest_priority_then_the_next_then_the_default(
    world: AllocationWorld, allocation: dict[str, Any]
) -> None:
    world.label_namespace("team", {"team": "a"})
    pool(world, "a-default", "203.0.113.0/24")
    pool(world, "b-second", "198.51.100.7/32", priority=20, **allocation)
    pool(world, "c-first", "192.0.2.7/32", priority=10, **allocation)
    for number in range(3):
        service(world, f"team/{number}", labels={"app": "x"})
    found = [world.pool(f"team/{number}") for number in range(3)]
    assert found == ["c-first", "b-second", "a-default"]
    if allocation:
        service(world, "stranger/x")
        assert world.pool("stranger/x") == "a-default"


def test_a_namespace_gets_other_labels(world: AllocationWorld) -> None:
    """Its services may not keep what is for others; and may have what is for them from then on."""
    for name, block in (("a", "192.0.2.0/30"), ("b", "198.51.100.0/30")):
        selectors = [{"matchLabels": {"team": name}}]
        pool(world, f"for-{name}", block, namespaceSelectors=selectors, priority=1)
    world.label_namespace("team", {"team": "a"})
    service(world, "team/web")
    assert world.pool("team/web") == "for-a"
    world.label_namespace("team", {"team": "b"})
    assert world.ingress("team/web") == ["198.51.100.0"]
    world.label_namespace("team", {})
    assert (world.ingress("team/web"), world.pool("team/web")) == ([], None)
    world.label_namespace("team", {"team": "a"})
    assert world.pool("team/web") == "for-a"
    world.stop()
    world.start()
    assert world.pool("team/web") == "for-a"


PREFER = ("PreferDualStack", ("IPv4", "IPv6"))


def test_prefer_dual_stack_takes_the_dual_pool(world: AllocationWorld) -> None:
    pool(world, "a-single", "203.0.113.0/30")
    pool(world, "b-dual", *DUAL_A)
    service(world, "default/web", *PREFER)
    assert world.ingress("default/web") == ["192.0.2.0", "2001:db8:a::"]


def test_prefer_dual_stack_takes_ipv4_where_no_pool_is_dual(world: AllocationWorld) -> None:
    pool(world, "a-six", DUAL_A[1])
    pool(world, "b-four", DUAL_A[0])
    service(world, "default/web", *PREFER)
    assert world.ingress("default/web") == ["192.0.2.0"]


def test_prefer_dual_stack_heeds_the_first_family(world: AllocationWorld) -> None:
    pool(world, "a-four", DUAL_A[0])
    pool(world, "b-six", DUAL_A[1])
    service(world, "default/web", "PreferDualStack", ("IPv6", "IPv4"))
    assert world.ingress("default/web") == ["2001:db8:a::"]


def test_a_pool_becomes_dual(world: AllocationWorld) -> None:
    pool(world, "one", DUAL_A[0])
    service(world, "default/other")
    service(world, "default/web", *PREFER)
    assert world.ingress("default/web") == ["192.0.2.1"]
    pool(world, "one", *DUAL_A)
    assert world.ingress("default/web") == ["192.0.2.1", "2001:db8:a::"]


def test_require_gets_nothing_of_a_single_pool_and_prefer_does(world: AllocationWorld) -> None:
    pool(world, "one", DUAL_A[0])
    service(world, "default/web", "RequireDualStack", ("IPv4", "IPv6"))
    assert world.ingress("default/web") == []
    service(world, "default/web", *PREFER)
    assert world.ingress("default/web") == ["192.0.2.0"]
    service(world, "default/web", "RequireDualStack", ("IPv4", "IPv6"))
    assert world.ingress("default/web") == []


def test_one_address_does_not_jump_to_a_dual_pool(world: AllocationWorld) -> None:
    pool(world, "b-single", DUAL_A[0])
    service(world, "default/web", *PREFER)
    pool(world, "a-dual", *DUAL_B)
    assert world.ingress("default/web") == ["192.0.2.0"]
    world.stop()
    world.start()
    assert world.ingress("default/web") == ["192.0.2.0"]


def test_a_dual_pool_becomes_single(world: AllocationWorld) -> None:
    pool(world, "a", *DUAL_A)
    pool(world, "b", *DUAL_B)
    service(world, "default/web", *PREFER)
    assert world.pool("default/web") == "a"
    pool(world, "a", DUAL_A[0])
    assert world.ingress("default/web") == ["198.51.100.0", "2001:db8:b::"]


def test_counters_follow(world: AllocationWorld) -> None:
    def counted() -> tuple[int, ...]:
        found = world.core.counters()["one"]
        return (*found.assigned.values(), *found.available.values())

    pool(world, "one", *DUAL_A)
    assert counted() == (0, 0, 4, 4)
    service(world, "default/web", *PREFER)
    service(world, "default/shop")
    assert counted() == (2, 1, 2, 3)
    pool(world, "one", "192.0.2.0/29", DUAL_A[1])
    assert counted() == (2, 1, 6, 3)
    world.delete_service("default/web")
    assert counted() == (1, 0, 7, 4)


@pytest.mark.parametrize(("ours", "other"), [(None, "foo"), ("foo", None), ("foo", "bar")])
def test_a_service_of_another_class_gets_nothing(ours: str | None, other: str | None) -> None:
    world = AllocationWorld(ours)
    pool(world, "one", "192.0.2.0/30")
    service(world, "default/theirs", loadBalancerClass=other)
    service(world, "default/mine", loadBalancerClass=ours)
    assert (world.ingress("default/theirs"), world.events["default/theirs"]) == ([], [])
    assert world.ingress("default/mine") == ["192.0.2.0"]
