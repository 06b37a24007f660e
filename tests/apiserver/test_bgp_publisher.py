"""What a speaker tells a real API server of BGP, under no more rights than it needs for that."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import yaml

from apiserver import ApiServer
from cluster import LABELS, MANIFESTS
from kube.api.client import ApiClient, ApiError
from kube.api.state import METALLB, Scope
from speaker.cluster import bgp_publisher
from speaker.cluster.bgp_status import route_object_name
from speaker.cluster.cluster import Cluster

pytestmark = pytest.mark.timeout(180)

NS = "metallb-system"
COLLECTION = f"{METALLB}/namespaces/{NS}/servicebgpstatuses"
PODS = f"/api/v1/namespaces/{NS}/pods"
WEB, OTHER = "shop/web", "shop/db"
MINE, SECOND = route_object_name("a", WEB), route_object_name("a", WEB, 1)
CONFIGURATION = ["bgppeers", "bgpadvertisements", "bfdprofiles", "communities"]
RULES = [
    {"apiGroups": ["metallb.io"], "resources": CONFIGURATION, "verbs": ["list", "watch"]},
    {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["bgpextras"],
        "verbs": ["list", "watch"],
    },
    {
        "apiGroups": ["metallb.io"],
        "resources": ["servicebgpstatuses"],
        "verbs": ["list", "watch", "create", "delete"],
    },
    {
        "apiGroups": ["metallb.io"],
        "resources": ["servicebgpstatuses/status"],
        "verbs": ["patch"],
    },
]


class LossyClient(ApiClient):
    """A client of which some requests are lost, and the answers to some others."""

    def __init__(self, kubeconfig: str, rng: random.Random) -> None:
        super().__init__(kubeconfig)
        self.loss = 0.0
        self._rng = rng

    async def post(self, path: str, body: Any) -> bytes:
        return await self._perhaps(lambda: super(LossyClient, self).post(path, body))

    async def merge(self, path: str, body: Any) -> bytes:
        return await self._perhaps(lambda: super(LossyClient, self).merge(path, body))

    async def delete(self, path: str) -> bytes:
        return await self._perhaps(lambda: super(LossyClient, self).delete(path))

    async def _perhaps(self, request: Callable[[], Awaitable[bytes]]) -> bytes:
        lost = self._rng.random() < self.loss
        if lost and self._rng.random() < 0.5:
            raise ApiError(0, "lost on the way")
        answer = await request()
        if lost:
            raise ApiError(0, "the answer was lost")
        return answer


@pytest.fixture
def kubeconfig(server: ApiServer) -> str:
    """Of the shipped account, with what is needed for BGP besides, and nothing left from before."""
    for name in ("namespace", "serviceaccount", "rbac"):
        server.apply_all((MANIFESTS / "speaker" / f"{name}.yaml").read_text())
    server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    rbac = "rbac.authorization.k8s.io"
    meta = {"name": "bgp", "namespace": NS}
    server.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": RULES})
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "bgp"},
        "subjects": [{"kind": "ServiceAccount", "name": "speaker", "namespace": NS}],
    }
    server.apply(binding)
    for path in (COLLECTION, "/api/v1/namespaces/shop/events", f"/api/v1/namespaces/{NS}/events"):
        server.must("DELETE", path)
    for pod in server.get(PODS)["items"]:
        server.must("DELETE", f"{PODS}/{pod['metadata']['name']}?gracePeriodSeconds=0")
    for key in (WEB, OTHER):
        server.apply(_service(key))
    server.apply(_pod("speaker-a", "a"))
    return str(server.kubeconfig("speaker", server.account_token(NS, "speaker")))


def _service(key: str) -> dict[str, Any]:
    namespace, _, name = key.partition("/")
    meta = {"name": name, "namespace": namespace}
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _pod(name: str, node: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": NS, "labels": LABELS}
    spec = {"nodeName": node, "containers": [{"name": "speaker", "image": "clarion"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _object(name: str, node: str, service: str, *peers: str) -> dict[str, Any]:
    namespace, _, bare = service.partition("/")
    labels = {
        "metallb.io/node": node,
        "metallb.io/service-name": bare,
        "metallb.io/service-namespace": namespace,
    }
    said = {"node": node, "serviceName": bare, "serviceNamespace": namespace, "peers": list(peers)}
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "ServiceBGPStatus",
        "metadata": {"name": name, "namespace": NS, "labels": labels},
        "status": said,
    }


@asynccontextmanager
async def speaking(
    kubeconfig: str, client: ApiClient | None = None, labels: str = "app=metallb"
) -> AsyncIterator[Cluster]:
    """The side of a speaker on node `a` that speaks to the cluster, once it knows the cluster."""
    scope = Scope(node="a", namespace=NS, labels=labels, pod="speaker-a", bgp=True)
    known = asyncio.Event()
    log = structlog.get_logger()
    cluster = Cluster(
        client or ApiClient(kubeconfig),
        scope,
        time.monotonic,
        lambda *about: known.set(),
        log,
        lambda loop: None,
    )
    task = asyncio.create_task(cluster.run())
    try:
        async with asyncio.timeout(30):
            await known.wait()
        yield cluster
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(found: Callable[[], Any], what: str, within: float = 30.0) -> None:
    """Ask in a thread: what the cluster's side posts to this loop is not held up meanwhile."""
    end = time.monotonic() + within
    while not await asyncio.to_thread(found):
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


def _published(server: ApiServer) -> dict[str, tuple[str, str, list[str]]]:
    """By name of the object: node, service and peers of its status."""
    found = {}
    for item in server.get(COLLECTION)["items"]:
        status = item.get("status", {})
        service = f"{status.get('serviceNamespace')}/{status.get('serviceName')}"
        found[item["metadata"]["name"]] = status.get("node", ""), service, status.get("peers", [])
    return found


def _writes(server: ApiServer) -> Counter[str]:
    return Counter(
        verb
        for verb, resource, _ in server.audited()
        if resource == "servicebgpstatuses" and verb not in ("list", "watch")
    )


async def _silence(server: ApiServer) -> None:
    """Wait until nothing was written for a second. Who writes on and on never is silent."""

    def settled() -> bool:
        before = _writes(server)
        time.sleep(1.0)
        return _writes(server) == before

    await _until(settled, "it writes on and on")


def test_an_object_lives_as_long_as_it_has_a_peer(server: ApiServer, kubeconfig: str) -> None:
    async def scenario() -> None:
        async with speaking(kubeconfig) as cluster:
            cluster.activate()
            for peers, told in (
                (("r2", "r1"), ["r1", "r2"]),
                (("r1",), ["r1"]),
                ((), None),
                (("r3",), ["r3"]),
            ):
                wanted = {} if told is None else {MINE: ("a", WEB, told)}
                cluster.note_routes(WEB, peers)
                await _until(lambda now=wanted: _published(server) == now, str(peers))  # type: ignore[misc]
            await _silence(server)
            # It goes with the service too: whoever plans tells us of no peer then.
            before = _writes(server)
            cluster.note_routes(WEB, ("r3",))
            await _silence(server)
            assert _writes(server) == before
            cluster.note_routes(WEB, ())
            await _until(lambda: _published(server) == {}, "deleted")
            assert cluster.failed_writes == 0

    asyncio.run(scenario())


def test_an_object_has_the_labels_and_the_owner_of_metallb(
    server: ApiServer, kubeconfig: str
) -> None:
    async def scenario() -> None:
        async with speaking(kubeconfig) as cluster:
            cluster.note_routes(WEB, ("r1",))
            await _until(lambda: _published(server) == {MINE: ("a", WEB, ["r1"])}, "published")

    asyncio.run(scenario())
    meta = server.get(f"{COLLECTION}/{MINE}")["metadata"]
    pod = server.get(f"{PODS}/speaker-a")["metadata"]
    assert meta["labels"] == _object(MINE, "a", WEB)["metadata"]["labels"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "speaker-a", "uid": pod["uid"]}
    assert meta["ownerReferences"] == [owner]


def test_what_others_do_to_our_object_is_undone(server: ApiServer, kubeconfig: str) -> None:
    ours = {MINE: ("a", WEB, ["r1"])}
    path = f"{COLLECTION}/{MINE}"
    label: dict[str, Any] = {"metadata": {"labels": {"metallb.io/node": None}}}

    async def scenario() -> None:
        async with speaking(kubeconfig) as cluster:
            cluster.note_routes(WEB, ("r1",))
            await _until(lambda: _published(server) == ours, "published")
            server.merge(f"{path}/status", {"status": {"peers": ["lies"]}})
            await _until(lambda: _published(server) == ours, "rewritten")
            server.delete(path)
            await _until(lambda: _published(server) == ours, "made again")
            # Without our label it is not ours any more, and its name is taken.
            server.merge(path, label)
            both = ours | {SECOND: ("a", WEB, ["r1"])}
            await _until(lambda: _published(server) == both, "a second one")
            label["metadata"]["labels"]["metallb.io/node"] = "a"
            server.merge(path, label)
            await _until(lambda: _published(server) == ours, "one of two")
            await _silence(server)

    asyncio.run(scenario())


def test_objects_of_other_nodes_are_not_touched(server: ApiServer, kubeconfig: str) -> None:
    theirs = [_object("bgp-b", "b", WEB, "r1"), _object(MINE, "b", WEB)]
    # What is not written yet could be written by anybody.
    del theirs[1]["status"]
    for found in theirs:
        server.apply(found)
    before = {item["metadata"]["name"]: item for item in server.get(COLLECTION)["items"]}

    def others() -> dict[str, Any]:
        items = server.get(COLLECTION)["items"]
        return {
            item["metadata"]["name"]: item for item in items if item["metadata"]["name"] in before
        }

    async def scenario() -> None:
        async with speaking(kubeconfig) as cluster:
            cluster.activate()
            cluster.note_routes(WEB, ("r2",))
            ours = {SECOND: ("a", WEB, ["r2"])}
            await _until(lambda: ours.items() <= _published(server).items(), "published")
            cluster.note_routes(WEB, ())
            await _until(lambda: SECOND not in _published(server), "deleted")
            await _silence(server)
            assert cluster.failed_writes == 0

    asyncio.run(scenario())
    assert others() == before


def test_a_speaker_that_starts_again_takes_its_objects_over(
    server: ApiServer, kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of MetalLB's speaker on the same node too; what it was not told of goes, later."""
    monkeypatch.setattr(bgp_publisher, "GRACE", 0.5)
    left = [
        _object(MINE, "a", WEB, "r1"),
        _object("bgp-x7k2p", "a", OTHER, "r1", "r2"),
        _object("bgp-old", "a", "shop/gone", "r1"),
    ]
    for found in left:
        server.apply(found)
    before = {item["metadata"]["name"]: item for item in server.get(COLLECTION)["items"]}
    writes = _writes(server)

    def now() -> dict[str, Any]:
        return {item["metadata"]["name"]: item for item in server.get(COLLECTION)["items"]}

    async def scenario() -> None:
        async with speaking(kubeconfig) as cluster:
            cluster.note_routes(WEB, ("r1",))
            cluster.note_routes(OTHER, ("r2", "r1"))
            await _silence(server)
            assert _writes(server) == writes
            cluster.activate()
            await _until(lambda: "bgp-old" not in now(), "what is nobody's goes")
            await _silence(server)
            assert _writes(server) - writes == {"delete": 1}

    asyncio.run(scenario())
    assert now() == {name: item for name, item in before.items() if name != "bgp-old"}


def test_what_is_lost_on_the_way_is_written_again(server: ApiServer, kubeconfig: str) -> None:
    rng = random.Random(5)
    client = LossyClient(kubeconfig, rng)
    services = [f"shop/s{number}" for number in range(20)]
    wanted: dict[str, tuple[str, ...]] = {}

    def told() -> list[tuple[str, list[str]]]:
        return sorted((service, peers) for _, service, peers in _published(server).values())

    async def scenario() -> None:
        async with speaking(kubeconfig, client) as cluster:
            cluster.activate()
            client.loss = 0.3
            for _ in range(120):
                service = rng.choice(services)
                wanted[service] = tuple(rng.sample(["r1", "r2", "r3"], rng.randrange(4)))
                cluster.note_routes(service, wanted[service])
                await asyncio.sleep(rng.choice((0.0, 0.0, 0.02)))
            client.loss = 0.0
            expected = sorted((name, sorted(peers)) for name, peers in wanted.items() if peers)
            await _until(lambda: told() == expected, "all of it", 60.0)
            await _silence(server)
            assert told() == expected
            assert cluster.failed_writes > 0

    asyncio.run(scenario())


def _events(server: ApiServer, namespace: str, reason: str) -> list[tuple[str, str, str, int]]:
    """Kind, name, message and count of each."""
    items = server.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return [
        (
            item["involvedObject"]["kind"],
            item["involvedObject"]["name"],
            item["message"],
            item["count"],
        )
        for item in items
        if item["reason"] == reason
    ]


def test_an_event_says_in_metallb_s_words_that_it_begins(
    server: ApiServer, kubeconfig: str
) -> None:
    text = 'announcing from node "a" with protocol "bgp"'

    async def scenario() -> None:
        async with speaking(kubeconfig) as cluster:
            # More peers, or fewer, are no beginning.
            for peers in (("r1",), ("r1", "r2"), ("r2",), ()):
                cluster.note_routes(WEB, peers)
            # Events are sent in order.
            cluster.note_routes(OTHER, ("r1",))
            await _until(lambda: len(_events(server, "shop", "nodeAssigned")) == 2, "both")
            expected = [("Service", "db", text, 1), ("Service", "web", text, 1)]
            assert sorted(_events(server, "shop", "nodeAssigned")) == expected
            cluster.note_routes(WEB, ("r1",))
            again = ("Service", "web", text, 2)
            await _until(lambda: again in _events(server, "shop", "nodeAssigned"), "again")

    asyncio.run(scenario())


def test_an_engine_that_is_not_there_is_told_once_an_outage(
    server: ApiServer, kubeconfig: str
) -> None:
    async def scenario() -> None:
        async with speaking(kubeconfig) as cluster:
            for trouble in (
                "no engine: gone",
                "no engine: starting",
                None,
                None,
                "no engine: slow",
            ):
                cluster.note_engine(trouble)
            found = [("Pod", "speaker-a", f"no engine: {why}", 1) for why in ("gone", "slow")]
            await _until(lambda: len(_events(server, NS, "bgpEngine")) == 2, "two outages")
            assert sorted(_events(server, NS, "bgpEngine")) == found
        # A speaker that does not look for pods does not know its own.
        async with speaking(kubeconfig, labels="") as cluster:
            cluster.note_engine("no engine: gone")
            node = [("Node", "a", "no engine: gone", 1)]
            await _until(lambda: _events(server, "default", "bgpEngine") == node, "of the node")
            assert cluster.failed_writes == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("grace", [30, 0])
def test_our_pod_ends_when_it_is_deleted_and_not_before(
    server: ApiServer, kubeconfig: str, grace: int
) -> None:
    """Without grace it is gone at once, and nobody sees it end."""

    async def scenario() -> None:
        async with speaking(kubeconfig) as cluster:
            server.apply(_pod("speaker-b", "b"))
            server.must("DELETE", f"{PODS}/speaker-b?gracePeriodSeconds=30")
            # Our container begins again; and with an address we are a seed, which tells us that
            # all that came before has arrived.
            restarted = {"name": "speaker", "restartCount": 1, "image": "clarion", "imageID": ""}
            status = {"podIP": "192.0.2.7", "podIPs": [{"ip": "192.0.2.7"}]}
            status["containerStatuses"] = [{**restarted, "ready": False}]
            server.merge(f"{PODS}/speaker-a/status", {"status": status})
            await _until(lambda: cluster.seeds == ["192.0.2.7"], "the restart has arrived")
            assert not cluster.ending
            server.must("DELETE", f"{PODS}/speaker-a?gracePeriodSeconds={grace}")
            await _until(lambda: cluster.ending, "deleted")

    asyncio.run(scenario())


def test_a_peer_that_is_refused_shows_in_its_event_and_in_our_state(
    server: ApiServer, kubeconfig: str
) -> None:
    crd = yaml.safe_load((MANIFESTS / "crds" / "bgppeers.yaml").read_text())
    # Nobody answers for the conversion here, and nothing is stored in the old version.
    crd["spec"].pop("conversion", None)
    server.apply(crd)
    spec = {"myASN": 64512, "peerASN": 64501, "peerAddress": "192.0.2.1", "password": "geheim"}
    for name in ("r1", "r2"):
        meta = {"name": name, "namespace": NS}
        peer = {"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": meta}
        server.apply({**peer, "spec": spec})
    state = f"{METALLB}/namespaces/{NS}/configurationstates/speaker-a"

    def result() -> dict[str, Any]:
        status, found = server.request("GET", state)
        return dict(found.get("status", {})) if status == 200 else {}

    async def scenario() -> None:
        async with speaking(kubeconfig):
            await _until(lambda: result().get("result") == "Invalid", "invalid")
            await _until(lambda: _events(server, NS, "InvalidConfiguration"), "an event")
            server.delete(f"/apis/metallb.io/v1beta2/namespaces/{NS}/bgppeers/r2")
            await _until(lambda: result().get("result") == "Valid", "valid")

    asyncio.run(scenario())
    ((kind, name, message, _),) = _events(server, NS, "InvalidConfiguration")
    assert (kind, name) == ("BGPPeer", "r2")
    assert "already exists" in message
    assert "geheim" not in message
