"""What the cluster's source tells of changes is enough to keep the plans right."""

import asyncio
import json
import time
from typing import Any

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.api import state
from kube.api.client import ApiClient
from kube.api.reflector import Failure, Reflector
from kube.api.state import KubernetesSource, Scope, _all
from kube.objects.core import Pod, Service
from kube.problem import Problem
from kube.snapshot import Snapshot
from plan.planner import Planner, plan
from plan.release import Options

NODE = "n1"
OPTIONS = Options(own_node=NODE)
NAMES = ["one", "two"]


class Fed:
    """A source whose reflectors are fed by hand, and a planner that follows it."""

    def __init__(self) -> None:
        scope = Scope(node=NODE, namespace="m", labels="app=metallb")
        log = structlog.get_logger()
        self.source = KubernetesSource(ApiClient(), scope, time.monotonic, self._take, log)
        self.source.on_pods = self._pods
        self.planner = Planner(OPTIONS)
        self.snapshot = Snapshot()
        self.pods: list[list[Pod]] = []

    def _take(
        self,
        snapshot: Snapshot,
        problems: tuple[Problem, ...],
        changed: frozenset[str] | None,
    ) -> None:
        self.snapshot = snapshot
        self.planner.take(snapshot, changed)
        while self.planner.pending:
            self.planner.advance()

    def _pods(self, pods: list[Pod]) -> None:
        self.pods.append(pods)

    def list(self, reflector: Reflector, *items: dict[str, Any]) -> None:
        body = {"metadata": {"resourceVersion": "1"}, "items": list(items)}
        found = reflector.begin_page(json.dumps(body).encode())
        assert found is not None
        reflector.add(found)
        self.source._take(reflector, reflector.end_page())

    def event(self, reflector: Reflector, kind: str, item: dict[str, Any]) -> None:
        line = json.dumps({"type": kind, "object": item}).encode()
        if changed := reflector.event(line):
            self.source._take(reflector, changed)

    def begin(self) -> None:
        """List everything: nothing but a pool, its advertisement and a node."""
        source = self.source
        for empty in (source.services, source.slices, source.pods):
            self.list(empty)
        pool = {"metadata": _meta("pool"), "spec": {"addresses": ["10.0.0.0/24"]}}
        self.list(source.pools, pool)
        self.list(source.advertisements, {"metadata": _meta("l2"), "spec": {}})
        self.list(source.nodes, _node("a"))

    def check(self) -> None:
        """The plans are those that planning all anew would give."""
        expected, problems = plan(self.snapshot, OPTIONS)
        assert dict(self.planner.plans) == expected
        assert sorted(self.planner.problems(), key=str) == sorted(problems, key=str)
        services = list(_all(self.source.services, Service))
        assert dict(self.snapshot.services) == {found.key: found for found in services}


def _meta(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "m", "resourceVersion": "2", **more}


def _node(label: str) -> dict[str, Any]:
    return {"metadata": {"name": NODE, "resourceVersion": "2", "labels": {"side": label}}}


def _service(name: str, ip: str, lb_class: str | None) -> dict[str, Any]:
    return {
        "metadata": _meta(name),
        "spec": {"type": "LoadBalancer", "loadBalancerClass": lb_class},
        "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
    }


def _slice(name: str, service: str, ready: bool) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": service}
    endpoints = [{"conditions": {"ready": ready}, "nodeName": NODE}]
    return {"metadata": _meta(name, labels=labels), "endpoints": endpoints}


async def _settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


NAME = st.sampled_from(NAMES)
EVENT = st.sampled_from(["MODIFIED", "MODIFIED", "DELETED"])
IP = st.sampled_from(["10.0.0.1", "10.0.0.1", "10.1.0.1"])
SLICES = st.tuples(st.just("slices"), EVENT, st.builds(_slice, NAME, NAME, st.booleans()))
STEPS = st.one_of(
    st.tuples(
        st.just("services"),
        EVENT,
        st.builds(_service, NAME, IP, st.sampled_from([None, None, None, "x"])),
    ),
    SLICES,
    SLICES,
    st.tuples(st.just("nodes"), st.just("MODIFIED"), st.builds(_node, st.sampled_from("ab"))),
    st.tuples(
        st.just("advertisements"),
        st.just("MODIFIED"),
        st.builds(
            lambda side: {
                "metadata": _meta("l2"),
                "spec": {"nodeSelectors": [{"matchLabels": {"side": side}}]},
            },
            st.sampled_from("ab"),
        ),
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(STEPS, st.booleans()), min_size=10, max_size=25))
def test_the_plans_follow_the_events(steps: list[tuple[Any, bool]]) -> None:
    """Slices that change hands too; and changes that are told together."""

    async def scenario() -> None:
        fed = Fed()
        fed.begin()
        for (kind, event, item), wait in steps:
            fed.event(getattr(fed.source, kind), event, item)
            if wait:
                await _settle()
                fed.check()
        await _settle()
        fed.check()

    saved, state.SETTLE = state.SETTLE, 0.0
    try:
        asyncio.run(scenario())
    finally:
        state.SETTLE = saved


def test_pods_are_told_when_they_change_and_when_our_own_node_does() -> None:
    async def scenario() -> None:
        fed = Fed()
        fed.begin()
        told = len(fed.pods)
        pod = {"metadata": _meta("speaker-x"), "spec": {"nodeName": "n2"}}
        fed.event(fed.source.pods, "ADDED", {**pod, "status": {"podIP": "192.0.2.2"}})
        assert [p.ip for p in fed.pods[-1]] == ["192.0.2.2"]
        fed.event(fed.source.nodes, "ADDED", {"metadata": {"name": "n2", "labels": {"a": "b"}}})
        assert len(fed.pods) == told + 1
        fed.event(fed.source.nodes, "MODIFIED", _node("b"))
        assert len(fed.pods) == told + 2

    asyncio.run(scenario())


def test_our_own_pod_is_known_to_end_and_yields_to_the_next_one_on_our_node() -> None:
    async def scenario() -> None:
        fed = Fed()
        fed.begin()
        gone = {"deletionTimestamp": "2026-11-20T10:00:00Z"}
        spec = {"nodeName": NODE}
        fed.event(fed.source.pods, "ADDED", {"metadata": _meta("a", uid="1"), "spec": spec})
        assert fed.pods[-1] == [Pod("m", "a", "1", NODE)]
        ending = {"metadata": _meta("a", uid="1", **gone), "spec": spec}
        fed.event(fed.source.pods, "MODIFIED", ending)
        assert fed.pods[-1] == [Pod("m", "a", "1", NODE, ending=True)]
        assert fed.source.own_pod() == fed.pods[-1][0]
        fed.event(fed.source.pods, "ADDED", {"metadata": _meta("b", uid="2"), "spec": spec})
        assert fed.source.own_pod() == Pod("m", "b", "2", NODE)

    asyncio.run(scenario())


def test_a_list_or_a_watch_that_fails_is_counted_by_reason() -> None:
    source = Fed().source
    assert source.failed_reads() == {failure.name.lower(): 0 for failure in Failure}
    source.nodes.handle_failure(Failure.GONE, "410")
    source.pools.handle_failure(Failure.GONE, "410")
    source.services.handle_failure(Failure.TOO_LONG, "a page")
    counted = {reason: times for reason, times in source.failed_reads().items() if times}
    assert counted == {"gone": 2, "too_long": 1}


def test_a_list_after_the_first_one_is_counted_by_kind() -> None:
    async def scenario() -> None:
        fed = Fed()
        fed.begin()
        assert set(fed.source.relists().values()) == {0}
        fed.list(fed.source.nodes, _node("a"))
        relisted = {kind: times for kind, times in fed.source.relists().items() if times}
        assert relisted == {"Node": 1}

    asyncio.run(scenario())
