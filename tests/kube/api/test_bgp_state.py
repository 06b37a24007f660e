"""BGP's objects from an API server: nothing is known before all is, and errors change nothing."""

import asyncio
import json
import time
from base64 import b64encode
from typing import Any

import structlog

from kube.api import state
from kube.api.bgp_state import MAX_SECRETS
from kube.api.client import ApiClient
from kube.api.reflector import Failure, Reflector
from kube.api.state import KubernetesSource, Scope
from kube.bgp_config import BgpConfig
from kube.objects.metallb import BGPStatus
from kube.problem import Problem, Severity
from kube.snapshot import Snapshot

NS, NODE = "metallb-system", "n1"


class FedSource:
    """A source whose reflectors are fed by hand."""

    def __init__(self, bgp: bool = True) -> None:
        scope = Scope(node=NODE, namespace=NS, bgp=bgp)
        log = structlog.get_logger()
        self.source = KubernetesSource(ApiClient(), scope, time.monotonic, self._take, log)
        self.snapshot = Snapshot()
        self.problems: tuple[Problem, ...] = ()
        self.told = 0

    def _take(self, snapshot: Snapshot, problems: tuple[Problem, ...], changed: object) -> None:
        self.snapshot, self.problems = snapshot, problems
        self.told += 1

    @property
    def parts(self) -> dict[str, Reflector]:
        """All of BGP's reflectors: by the end of the path, or by the name of the Secret."""
        bgp = self.source._bgp
        assert bgp is not None
        return {
            found.resource.query[0][1].partition("=")[2]
            if found.resource.query
            else found.resource.path.rpartition("/")[2]: found
            for found in bgp.reflectors
        }

    def feed(self, reflector: Reflector, *items: dict[str, Any]) -> None:
        body = {"metadata": {"resourceVersion": "1"}, "items": list(items)}
        found = reflector.begin_page(json.dumps(body).encode())
        assert found is not None
        reflector.add(found)
        changed = reflector.end_page()
        owner = self.source if reflector in self.source._own() else self.source._bgp
        assert owner is not None
        owner._take(reflector, changed)

    def begin(self) -> None:
        for empty in (self.source.services, self.source.slices, self.source.advertisements):
            self.feed(empty)
        self.feed(
            self.source.pools, {"metadata": _meta("pool"), "spec": {"addresses": ["10.0.0.0/24"]}}
        )
        self.feed(self.source.nodes, _node("a"))

    def begin_bgp(self, *peers: dict[str, Any]) -> None:
        for name, reflector in self.parts.items():
            self.feed(reflector, *(peers if name == "bgppeers" else ()))

    def passwords(self) -> list[str] | None:
        bgp = self.snapshot.bgp
        return None if bgp is None else [found.password for found in bgp.sessions]

    def errors(self) -> list[str]:
        return [str(found) for found in self.problems if found.severity is Severity.ERROR]


def _meta(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NS, "resourceVersion": "2"}


def _node(rack: str) -> dict[str, Any]:
    return {"metadata": {"name": NODE, "resourceVersion": "2", "labels": {"rack": rack}}}


def _peer(secret: str = "", **spec: Any) -> dict[str, Any]:
    spec = {"myASN": 64512, "peerASN": 64501, "peerAddress": "192.0.2.1", **spec}
    if secret:
        spec["passwordSecret"] = {"name": secret}
    return {"metadata": _meta("router"), "spec": spec}


def _secret(name: str, password: str) -> dict[str, Any]:
    data = {"password": b64encode(password.encode()).decode()}
    return {"metadata": _meta(name), "type": "kubernetes.io/basic-auth", "data": data}


async def _settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def _run(scenario: Any) -> None:
    saved, state.SETTLE = state.SETTLE, 0.0
    try:
        asyncio.run(scenario())
    finally:
        state.SETTLE = saved


def test_nothing_of_bgp_is_asked_for_unless_it_is_wanted() -> None:
    source = FedSource(bgp=False).source
    kinds = {found.resource.kind for found in source._watched()}
    assert not kinds & {"BGPPeer", "BGPAdvertisement", "BFDProfile", "Community", "PasswordSecret"}
    assert "ServiceBGPStatus" not in kinds
    assert source.bgp_statuses is None


def test_layer_2_does_not_wait_for_bgp_and_bgp_is_not_known_before_all_of_it_is() -> None:
    async def scenario() -> None:
        fed = FedSource()
        fed.begin()
        await _settle()
        assert (fed.told, fed.snapshot.bgp) == (1, None)
        fed.begin_bgp(_peer("s"))
        await _settle()
        # The Secret is not there yet: is it missing, or only not read?
        assert (fed.snapshot.bgp, fed.errors()) == (None, [])
        fed.feed(fed.parts["s"], _secret("s", "one"))
        await _settle()
        assert fed.passwords() == ["one"]

    _run(scenario)


def test_without_objects_nothing_is_wanted() -> None:
    async def scenario() -> None:
        fed = FedSource()
        fed.begin()
        fed.begin_bgp()
        await _settle()
        assert fed.snapshot.bgp == BgpConfig()

    _run(scenario)


def test_only_secrets_that_peers_name_are_watched() -> None:
    async def scenario() -> None:
        fed = FedSource()
        fed.begin()
        fed.begin_bgp(_peer("s"))
        fed.feed(fed.parts["s"], _secret("s", "one"))
        fed.feed(fed.parts["bgppeers"], _peer("t"))
        assert ("s" in fed.parts, "t" in fed.parts) == (False, True)
        path = f"/api/v1/namespaces/{NS}/secrets"
        assert fed.parts["t"].resource.path == path
        await _settle()
        assert fed.passwords() is None
        fed.feed(fed.parts["t"], _secret("t", "two"))
        await _settle()
        assert fed.passwords() == ["two"]
        fed.feed(fed.parts["bgppeers"], _peer())
        await _settle()
        assert ("t" in fed.parts, fed.passwords()) == (False, [""])

    _run(scenario)


def test_one_config_map_is_asked_for_by_its_name_and_bgp_waits_for_it() -> None:
    async def scenario() -> None:
        fed = FedSource()
        fed.begin()
        maps = fed.parts["bgpextras"]
        assert maps.resource.path == f"/api/v1/namespaces/{NS}/configmaps"
        assert maps.resource.query == (("fieldSelector", "metadata.name=bgpextras"),)
        for name, reflector in fed.parts.items():
            if name != "bgpextras":
                fed.feed(reflector, *([_peer()] if name == "bgppeers" else ()))
        await _settle()
        assert (fed.snapshot.bgp, fed.errors()) == (None, [])
        maps.handle_failure(Failure.REFUSED, "403: forbidden")
        fed.feed(fed.parts["communities"])
        fed.source._handle_bgp()
        await _settle()
        assert fed.snapshot.bgp is None
        assert fed.errors() == [f"error: ConfigMap {NS}/bgpextras: cannot be read: 403: forbidden"]
        fed.feed(maps, {"metadata": _meta("bgpextras"), "data": {"extras": "hostname a"}})
        await _settle()
        assert fed.snapshot.bgp is not None
        assert (fed.snapshot.bgp.extras, fed.errors()) == ("hostname a", [])
        fed.feed(maps, {"metadata": _meta("bgpextras"), "data": {"extras": "!\ndo write"}})
        await _settle()
        assert fed.snapshot.bgp.extras == "hostname a"
        assert "data.extras: line 2: is a command" in fed.errors()[0]

    _run(scenario)


def test_names_that_would_select_other_secrets_are_not_asked_for() -> None:
    async def scenario() -> None:
        fed = FedSource()
        fed.begin()
        fed.begin_bgp(_peer("s,metadata.name=t"))
        await _settle()
        assert len(fed.parts) == 5
        assert "secret ref not found" in fed.errors()[0]

    _run(scenario)


def test_a_bounded_number_of_secrets_is_watched() -> None:
    async def scenario() -> None:
        fed = FedSource()
        some = [
            {**_peer(f"s{n}"), "metadata": _meta(f"router-{n}")} for n in range(MAX_SECRETS + 9)
        ]
        fed.feed(fed.parts["bgppeers"], *some)
        assert len(fed.parts) == 5 + MAX_SECRETS

    _run(scenario)


def test_an_error_leaves_the_last_good_configuration() -> None:
    async def scenario() -> None:
        fed = FedSource()
        fed.begin()
        fed.begin_bgp(_peer("s"))
        fed.feed(fed.parts["s"], _secret("s", "one"))
        await _settle()
        fed.feed(fed.parts["s"])
        await _settle()
        assert fed.passwords() == ["one"]
        assert "secret ref not found" in fed.errors()[0]
        fed.feed(fed.parts["s"], _secret("s", "two"))
        await _settle()
        assert (fed.passwords(), fed.errors()) == (["two"], [])
        # Pools that are not valid hold all of it back, and what is broken does too.
        fed.feed(fed.source.pools, {"metadata": _meta("pool"), "spec": {"addresses": ["x"]}})
        fed.feed(fed.parts["s"], _secret("s", "three"))
        await _settle()
        assert fed.passwords() == ["two"]

    _run(scenario)


def test_an_object_that_cannot_be_read_leaves_the_last_good_configuration() -> None:
    async def scenario() -> None:
        fed = FedSource()
        fed.begin()
        fed.begin_bgp(_peer("s"))
        fed.feed(fed.parts["s"], _secret("s", "one"))
        await _settle()
        broken = {"metadata": _meta("other"), "spec": {"myASN": "x"}}
        fed.feed(fed.parts["bgppeers"], _peer("s"), broken)
        fed.feed(fed.parts["s"], _secret("s", "two"))
        await _settle()
        assert fed.passwords() == ["one"]
        assert "spec.myASN" in fed.errors()[0]

    _run(scenario)


def test_a_secret_that_may_not_be_read_is_named() -> None:
    async def scenario() -> None:
        fed = FedSource()
        fed.begin()
        fed.begin_bgp(_peer("s"))
        fed.parts["s"].handle_failure(Failure.REFUSED, "403")
        fed.feed(fed.parts["communities"])
        await _settle()
        assert fed.errors() == [f"error: Secret {NS}/s: cannot be read: 403"]
        assert fed.passwords() is None

    _run(scenario)


def test_labels_of_our_node_choose_the_peers() -> None:
    async def scenario() -> None:
        fed = FedSource()
        fed.begin()
        fed.begin_bgp(_peer(nodeSelectors=[{"matchLabels": {"rack": "b"}}]))
        await _settle()
        assert fed.passwords() == []
        fed.feed(fed.source.nodes, _node("b"))
        await _settle()
        assert fed.passwords() == [""]

    _run(scenario)


def test_relists_are_counted_by_kind_however_many_secrets_there_are() -> None:
    async def scenario() -> None:
        fed = FedSource()
        some = [{**_peer(name), "metadata": _meta(f"router-{name}")} for name in "st"]
        fed.feed(fed.parts["bgppeers"], *some)
        for name in "ssttt":
            fed.feed(fed.parts[name])
        assert fed.source.relists()["PasswordSecret"] == 3

    _run(scenario)


def _status(name: str, service: str, *peers: str, **labels: str) -> dict[str, Any]:
    space, _, bare = service.partition("/")
    service_labels = {"metallb.io/service-name": bare, "metallb.io/service-namespace": space}
    meta = {**_meta(name), "labels": {"metallb.io/node": NODE, **service_labels, **labels}}
    said = {"node": NODE, "serviceName": bare, "serviceNamespace": space, "peers": list(peers)}
    return {"metadata": meta, "status": said}


def test_what_our_node_says_of_its_routes_is_kept_by_service() -> None:
    source = FedSource().source
    statuses = source.bgp_statuses
    assert statuses is not None
    told: list[set[str]] = []
    statuses.on_change = told.append
    reflector = statuses.reflector
    assert reflector in source._watched()
    # Of other nodes nothing is even asked for.
    assert reflector.resource.query == (("labelSelector", f"metallb.io/node={NODE}"),)
    assert not statuses.synced

    def feed(*items: dict[str, Any]) -> set[str]:
        body = {"metadata": {"resourceVersion": "1"}, "items": list(items)}
        reflector.add(reflector.begin_page(json.dumps(body).encode()) or [])
        statuses._take(reflector, reflector.end_page())
        return told[-1]

    assert feed() == set()
    assert statuses.synced
    first = _status("bgp-1", "shop/web", "r2", "r1")
    assert feed(first, _status("bgp-2", "shop/db")) == {"shop/web", "shop/db"}
    view = BGPStatus(NS, "bgp-1", NODE, "shop/web", (NODE, "shop/web"), ("r2", "r1"))
    assert list(statuses.of("shop/web")) == [view]
    # One changes hands, one is new beside it, one is gone.
    moved = _status("bgp-1", "shop/db", "r1")
    third = {"metadata": {**_meta("bgp-3"), "labels": moved["metadata"]["labels"]}}
    assert feed(moved, third) == {"shop/web", "shop/db"}
    assert {found.name for found in statuses.of("shop/db")} == {"bgp-1", "bgp-3"}
    assert {found.status for found in statuses.of("shop/db")} == {(NODE, "shop/db"), ("", "/")}
    assert list(statuses.of("shop/web")) == []
    assert list(statuses.services()) == ["shop/db"]
    assert feed() == {"shop/db"}
    assert not statuses.services()


def test_a_status_that_cannot_be_listed_holds_up_nothing() -> None:
    async def scenario() -> None:
        fed = FedSource()
        fed.begin()
        fed.begin_bgp(_peer())
        statuses = fed.source.bgp_statuses
        assert statuses is not None
        statuses.reflector.handle_failure(Failure.REFUSED, "403 forbidden")
        await _settle()
        assert fed.source.waiting_for is None
        assert fed.source.behind == 1
        assert fed.passwords() == [""]
        assert fed.errors() == []

    _run(scenario)
