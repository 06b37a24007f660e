"""Services, pools, edits and restarts in any order: what holds after each of them."""

from collections import defaultdict
from ipaddress import ip_address
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from allocation_world import AllocationWorld
from controller.allocation.allocator import Counters
from kube.address import Range, parse_range

NAMES = ["team-a/a", "team-a/b", "team-b/a", "team-b/c", "team-b/d"]
POOLS = ["p", "q", "r"]
BLOCKS = {
    "p": [["192.0.2.0/30"], ["192.0.2.0/31", "2001:db8::/127"], ["192.0.2.2/31"]],
    "q": [["198.51.100.0-198.51.100.2"], ["198.51.100.254/31", "2001:db8:1::/126"]],
    "r": [["2001:db8:2::/127"], ["203.0.113.7/32"]],
}
ALLOCATIONS: list[dict[str, Any] | None] = [
    None,
    {"priority": 1},
    {"namespaces": ["team-a"], "priority": 2},
    {"serviceSelectors": [{"matchLabels": {"app": "x"}}]},
]
KEYS = [None, "k", "l"]
FAMILIES = [
    ("SingleStack", ["IPv4"], ["10.96.0.1"]),
    ("SingleStack", ["IPv6"], ["fd00::1"]),
    ("PreferDualStack", ["IPv4", "IPv6"], ["10.96.0.1", "fd00::1"]),
    ("PreferDualStack", ["IPv6", "IPv4"], ["fd00::1", "10.96.0.1"]),
    ("RequireDualStack", ["IPv4", "IPv6"], ["10.96.0.1", "fd00::1"]),
    ("PreferDualStack", ["IPv4"], ["10.96.0.1"]),
]
ASKED = [None, "192.0.2.1", "192.0.2.0,2001:db8::1", "198.51.100.1", "nonsense"]


class Allocation(RuleBasedStateMachine):
    """What a user may do, and what must be true whenever nothing is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.world = AllocationWorld()
        self.counted: dict[str, Counters] = {}

    @rule(
        name=st.sampled_from(POOLS),
        block=st.integers(0, 2),
        allocation=st.sampled_from(ALLOCATIONS),
        auto=st.booleans(),
        buggy=st.booleans(),
    )
    def apply_pool(self, name: str, block: int, allocation: Any, auto: bool, buggy: bool) -> None:
        choices = BLOCKS[name]
        spec = {"addresses": choices[block % len(choices)], "autoAssign": auto}
        spec |= {"avoidBuggyIPs": buggy} | ({"serviceAllocation": allocation} if allocation else {})
        metadata = {"name": name, "namespace": "metallb-system"}
        document = {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool"}
        self.world.apply_pool({**document, "metadata": metadata, "spec": spec}, name)

    @rule(name=st.sampled_from(POOLS))
    def delete_pool(self, name: str) -> None:
        self.world.apply_pool(None, name)

    @rule(
        key=st.sampled_from(NAMES),
        kind=st.sampled_from(["LoadBalancer", "LoadBalancer", "LoadBalancer", "ClusterIP"]),
        family=st.sampled_from(FAMILIES),
        shared=st.sampled_from(KEYS),
        asked=st.sampled_from(ASKED),
        port=st.integers(80, 82),
        local=st.booleans(),
        app=st.sampled_from(["x", "y"]),
    )
    def apply_service(
        self,
        key: str,
        kind: str,
        family: Any,
        shared: Any,
        asked: Any,
        port: int,
        local: bool,
        app: str,
    ) -> None:
        known = self.world.services.get(key, {}).get("metadata", {}).get("annotations") or {}
        annotations = {k: v for k, v in known.items() if "allocated" in k}
        annotations |= {"metallb.io/allow-shared-ip": shared} if shared else {}
        annotations |= {"metallb.io/loadBalancerIPs": asked} if asked else {}
        policy, families, ips = family
        spec = {"type": kind, "ports": [{"port": port}], "selector": {"app": app}}
        spec |= {"ipFamilyPolicy": policy, "ipFamilies": families, "clusterIPs": ips}
        spec |= {"externalTrafficPolicy": "Local" if local else "Cluster"}
        metadata = {"labels": {"app": app}, "annotations": annotations}
        self.world.apply_service(key, metadata, spec)

    @precondition(lambda self: self.world.services)
    @rule(data=st.data(), ip=st.sampled_from(["192.0.2.1", "2001:db8::", "203.0.113.9", None]))
    def write_status(self, data: st.DataObject, ip: str | None) -> None:
        key = data.draw(st.sampled_from(sorted(self.world.services)))
        ingress = [{"ip": ip}] if ip else []
        if self.world.services[key]["spec"]["type"] == "LoadBalancer":
            self.world.set_status(key, {"loadBalancer": {"ingress": ingress}})

    @precondition(lambda self: self.world.services)
    @rule(data=st.data())
    def delete_service(self, data: st.DataObject) -> None:
        self.world.delete_service(data.draw(st.sampled_from(sorted(self.world.services))))

    @rule()
    def restart(self) -> None:
        """Another leads, from nothing but the statuses: it makes of them what the last one did."""
        before = {key: self.world.ingress(key) for key in self.world.services}
        self.world.stop()
        self.world.start()
        assert {key: self.world.ingress(key) for key in self.world.services} == before

    @invariant()
    def nobody_has_what_is_anothers(self) -> None:
        users: dict[str, list[str]] = defaultdict(list)
        for key in self.world.services:
            for ip in self.world.ingress(key):
                users[ip].append(key)
        for keys in users.values():
            self._share_well(keys)

    def _share_well(self, keys: list[str]) -> None:
        views = [self.world.view(key) for key in keys]
        if len(views) < 2:
            return
        texts = {view.annotations.get("metallb.io/allow-shared-ip") for view in views}
        assert len(texts) == 1
        assert texts != {None}
        ports = [port for view in views for port in view.demand.ports]
        assert len(ports) == len(set(ports))
        backends = {
            tuple(view.demand.selector.items()) if view.external_traffic_policy == "Local" else ()
            for view in views
        }
        assert len(backends) == 1

    @invariant()
    def every_address_is_of_its_pool(self) -> None:
        if self.world.problems:
            return
        for key, item in self.world.services.items():
            pool = self.world.pool(key)
            ips = [ip_address(ip) for ip in self.world.ingress(key)]
            assert bool(pool) == bool(ips)
            if ips and pool in self.world.pools:
                spec = self.world.pools[pool]["spec"]
                spans = [s for s in map(parse_range, spec["addresses"]) if isinstance(s, Range)]
                assert all(any(ip in span for span in spans) for ip in ips)
            assert item["spec"]["type"] == "LoadBalancer" or not ips

    @invariant()
    def counters_are_what_is_in_use(self) -> None:
        used = {ip_address(ip) for key in self.world.services for ip in self.world.ingress(key)}
        counted = sum(sum(one.assigned.values()) for one in self.world.core.counters().values())
        assert counted == len(used)
        for one in self.world.core.counters().values():
            assert all(value >= 0 for value in one.available.values())

    @invariant()
    def a_pool_that_counts_otherwise_is_named(self) -> None:
        named, now = self.world.core.pools_to_count(), self.world.core.counters()
        assert {name for name in now if now[name] != self.counted.get(name)} <= named
        assert all(self.world.core.counters_of(name) == now[name] for name in now)
        self.counted = now

    @invariant()
    def nothing_is_written_where_nothing_changes(self) -> None:
        self.world.writes.clear()
        for key in self.world.services:
            self.world.core.handle_service(key, self.world.view(key))
        self.world.settle()
        assert self.world.writes == []


TestAllocation = Allocation.TestCase
TestAllocation.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
