"""The shipped rights of the controller, request by request, with a token of its account.

`NEEDED` is every kind of request that the controller does. With the shipped rights each of them is
fulfilled; without just its own verb each is refused; and nothing else is granted.
"""

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from apiserver import ApiServer, encoded
from cluster import MANIFESTS, NAMESPACE, POOL
from speakers import wait_until

FOLDER = MANIFESTS / "controller"
RIGHTS = list(yaml.safe_load_all((FOLDER / "rbac.yaml").read_text()))
CORE, LEASES, CRDS = "/api/v1", "/apis/coordination.k8s.io/v1", "/apis/apiextensions.k8s.io/v1"
HOOKS, APPS = "/apis/admissionregistration.k8s.io/v1", "/apis/apps/v1"
OURS, PEERS = "/apis/metallb.io/v1beta1", "/apis/metallb.io/v1beta2"
MERGE = "application/merge-patch+json"
CONFIGURATIONS, KINDS = "validatingwebhookconfigurations", "customresourcedefinitions"
WEBHOOKS, PEER_KIND = "metallb-webhook-configuration", "bgppeers.metallb.io"
KEY, CERTIFICATE, LEASE = "memberlist", "metallb-webhook-cert", "clarion-controller"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: what RBAC calls it, and what is sent. `space` is empty for the whole cluster."""

    api: str
    resource: str
    verb: str
    name: str = ""
    space: str = NAMESPACE
    body: Any = None
    bound: bool = False
    """Whether the right is to this name alone."""

    def right(self) -> tuple[str, str, str, str]:
        group = self.api.split("/")[2] if self.api.startswith("/apis/") else ""
        return group, self.resource, self.name if self.bound else "", self.verb

    def send(self, server: ApiServer, token: str) -> tuple[int, Any]:
        """Do it with a token; return the status and the answer."""
        kind, _, part = self.resource.partition("/")
        where = f"{self.api}/namespaces/{self.space}/{kind}" if self.space else f"{self.api}/{kind}"
        one = f"{where}/{self.name}" + (f"/{part}" if part else "")
        chosen = f"fieldSelector=metadata.name%3D{self.name}" if self.bound else ""
        match self.verb:
            case "get":
                return server.request("GET", one, token=token)
            case "list":
                return server.request("GET", f"{where}?{chosen}", token=token)
            case "watch":
                query = f"watch=true&timeoutSeconds=1&{chosen}"
                return server.request("GET", f"{where}?{query}", token=token)
            case "create":
                return server.request("POST", where, self.body, token=token)
            case "update":
                return server.request("PUT", one, server.get(one), token=token)
            case _:
                return server.request("PATCH", one, self.body, MERGE, token)


def _read(api: str, resource: str, verbs: str, **more: Any) -> list[Ask]:
    return [Ask(api, resource, verb, **more) for verb in verbs.split()]


def _named(api: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    group = api.removeprefix("/apis/").removeprefix("/api/")
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name}, **more}


ADDRESS = {
    "metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "pool"}},
    # A status can be written here and nothing else.
    "spec": {"externalTrafficPolicy": "Local"},
    "status": {"loadBalancer": {"ingress": [{"ip": "10.77.8.1"}]}},
}
EVENT = _named(
    CORE, "Event", "web.1", reason="IPAllocated", message="x", type="Normal",
    involvedObject={"kind": "Service", "name": "web", "namespace": "default"},
)  # fmt: skip
LABELLED = {"metadata": {"labels": {"a": "b"}}}
STATE = _named(OURS, "ConfigurationState", "controller")
VALID = {"status": {"result": "Valid"}}
COUNTED = {"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 2047, "availableIPv6": 0}

NEEDED = [
    # Who asks for an address, and gets it.
    *_read(CORE, "services", "list watch", space=""),
    Ask(CORE, "services", "get", "web", "default"),
    Ask(CORE, "services/status", "patch", "web", "default", ADDRESS),
    *_read(CORE, "namespaces", "list watch", space=""),
    *_read(CORE, "nodes", "list watch", space=""),
    Ask(CORE, "events", "create", "", "default", EVENT),
    Ask(CORE, "events", "patch", "web.1", "default", {"count": 2}),
    # The configuration.
    *_read(OURS, "ipaddresspools", "get list watch", name="pool"),
    *_read(OURS, "l2advertisements", "get list watch", name="l2"),
    *_read(OURS, "bgpadvertisements", "get list watch", name="bgp"),
    *_read(PEERS, "bgppeers", "get list watch", name="peer"),
    *_read(OURS, "bfdprofiles", "get list watch", name="fast"),
    *_read(OURS, "communities", "get list watch", name="names"),
    # Reports.
    Ask(OURS, "ipaddresspools/status", "patch", "pool", body={"status": COUNTED}),
    Ask(OURS, "configurationstates", "create", body=STATE),
    *_read(OURS, "configurationstates", "get list watch", name="controller"),
    Ask(OURS, "configurationstates", "patch", "controller", body=LABELLED),
    Ask(OURS, "configurationstates/status", "patch", "controller", body=VALID),
    # Who leads.
    Ask(LEASES, "leases", "create", body=_named(LEASES, "Lease", LEASE)),
    *_read(LEASES, "leases", "get list watch", name=LEASE, bound=True),
    Ask(LEASES, "leases", "patch", LEASE, body={"spec": {"holderIdentity": "a"}}, bound=True),
    # The gossip key and the certificate.
    Ask(CORE, "secrets", "create", body=_named(CORE, "Secret", KEY)),
    *_read(CORE, "secrets", "get list watch", name=KEY, bound=True),
    *_read(CORE, "secrets", "get list watch update", name=CERTIFICATE, bound=True),
    Ask(CORE, "secrets", "patch", CERTIFICATE, body={"data": {"ca.crt": "Y2E="}}, bound=True),
    Ask(APPS, "deployments", "get", "controller", bound=True),
    # The CA, where the API server looks for it.
    *_read(HOOKS, CONFIGURATIONS, "get list watch", name=WEBHOOKS, space="", bound=True),
    Ask(HOOKS, CONFIGURATIONS, "patch", WEBHOOKS, "", LABELLED, bound=True),
    *_read(CRDS, KINDS, "get list watch", name=PEER_KIND, space="", bound=True),
    Ask(CRDS, KINDS, "patch", PEER_KIND, "", LABELLED, bound=True),
]  # fmt: skip

SPACE = f"/namespaces/{NAMESPACE}"
FORBIDDEN = [
    # Other Secrets, and a list that would show them; the key itself cannot be changed.
    ("GET", f"{CORE}{SPACE}/secrets"),
    ("GET", f"{CORE}/secrets"),
    ("GET", f"{CORE}{SPACE}/secrets/other"),
    ("GET", f"{CORE}/namespaces/default/secrets/{KEY}"),
    ("POST", f"{CORE}/namespaces/default/secrets"),
    ("PATCH", f"{CORE}{SPACE}/secrets/other"),
    ("PATCH", f"{CORE}{SPACE}/secrets/{KEY}"),
    ("PUT", f"{CORE}{SPACE}/secrets/{KEY}"),
    ("DELETE", f"{CORE}{SPACE}/secrets/{KEY}"),
    ("DELETE", f"{CORE}{SPACE}/secrets/{CERTIFICATE}"),
    # Services but for their status, nodes but to look at them.
    ("PATCH", f"{CORE}/namespaces/default/services/web"),
    ("PUT", f"{CORE}/namespaces/default/services/web"),
    ("DELETE", f"{CORE}/namespaces/default/services/web"),
    ("PUT", f"{CORE}/namespaces/default/services/web/status"),
    ("PATCH", f"{CORE}/nodes/iris1"),
    ("PATCH", f"{CORE}/nodes/iris1/status"),
    ("GET", f"{CORE}/pods"),
    ("GET", f"{CORE}{SPACE}/pods"),
    ("POST", f"{CORE}{SPACE}/pods"),
    ("GET", f"{CORE}{SPACE}/configmaps"),
    ("GET", f"{CORE}/events"),
    # Other leases: those of other programs, and of nodes.
    ("GET", f"{LEASES}{SPACE}/leases"),
    ("GET", f"{LEASES}{SPACE}/leases/other"),
    ("PATCH", f"{LEASES}{SPACE}/leases/other"),
    ("PUT", f"{LEASES}/namespaces/kube-node-lease/leases/iris1"),
    ("POST", f"{LEASES}/namespaces/default/leases"),
    ("DELETE", f"{LEASES}{SPACE}/leases/{LEASE}"),
    # The configuration is the operator's.
    ("GET", f"{OURS}/ipaddresspools"),
    ("PATCH", f"{OURS}{SPACE}/ipaddresspools/pool"),
    ("DELETE", f"{OURS}{SPACE}/ipaddresspools/pool"),
    ("POST", f"{PEERS}{SPACE}/bgppeers"),
    ("POST", f"{OURS}{SPACE}/servicel2statuses"),
    ("DELETE", f"{OURS}{SPACE}/configurationstates/controller"),
    # Webhooks and kinds of others, its own Deployment, its own rights.
    ("GET", f"{HOOKS}/validatingwebhookconfigurations"),
    ("PATCH", f"{HOOKS}/validatingwebhookconfigurations/other"),
    ("DELETE", f"{HOOKS}/validatingwebhookconfigurations/{WEBHOOKS}"),
    ("GET", f"{HOOKS}/mutatingwebhookconfigurations"),
    ("GET", f"{CRDS}/customresourcedefinitions"),
    ("PATCH", f"{CRDS}/customresourcedefinitions/ipaddresspools.metallb.io"),
    ("DELETE", f"{CRDS}/customresourcedefinitions/{PEER_KIND}"),
    ("GET", f"{APPS}{SPACE}/deployments"),
    ("PATCH", f"{APPS}{SPACE}/deployments/controller"),
    ("GET", f"{APPS}{SPACE}/deployments/other"),
    ("POST", f"{CORE}{SPACE}/serviceaccounts/controller/token"),
    ("PATCH", f"/apis/rbac.authorization.k8s.io/v1{SPACE}/roles/clarion-controller"),
]

OBJECTS = """\
{apiVersion: v1, kind: Node, metadata: {name: iris1}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: metallb-webhook-cert, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: bgp, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: peer, namespace: metallb-system}
spec: {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: names, namespace: metallb-system}
"""


@pytest.fixture(scope="module")
def made(server: ApiServer) -> ApiServer:
    """The server with the controller's manifests, and something of each kind that it reads."""
    server.apply_all((MANIFESTS / "speaker" / "namespace.yaml").read_text())
    for name in ("serviceaccount", "rbac", "deployment"):
        server.apply_all((FOLDER / f"{name}.yaml").read_text())
    server.apply_all(OBJECTS)
    server.apply_all(POOL)
    # No webhook is called in this test: their rules are emptied.
    (hooks,) = yaml.safe_load_all((FOLDER / "webhooks.yaml").read_text())
    server.apply({**hooks, "webhooks": []})
    return server


def _granted() -> list[tuple[str, str, str, str]]:
    return [
        (rule["apiGroups"][0], rule["resources"][0], name, verb)
        for role in RIGHTS
        for rule in role.get("rules", ())
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    ]


def test_every_right_has_its_request_and_every_request_its_right() -> None:
    for role in RIGHTS:
        for rule in role.get("rules", ()):
            assert len(rule["resources"]) == len(rule["apiGroups"]) == 1
            assert rule.get("resourceNames") != []
    assert sorted(_granted()) == sorted(ask.right() for ask in NEEDED)


def _token(server: ApiServer, name: str, without: tuple[str, str, str, str]) -> str:
    """Make an account that has all shipped rights but one; return its token."""
    account = {"name": name, "namespace": NAMESPACE}
    server.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    for shipped in RIGHTS:
        document = copy.deepcopy(shipped)
        document["metadata"]["name"] = name
        if "rules" in document:
            document["rules"] = [_less(rule, without) for rule in document["rules"]]
            document["rules"] = [rule for rule in document["rules"] if rule["verbs"]]
        else:
            document["roleRef"]["name"] = document["subjects"][0]["name"] = name
        server.apply(document)
    return server.account_token(NAMESPACE, name)


def _less(rule: dict[str, Any], without: tuple[str, str, str, str]) -> dict[str, Any]:
    (group,), (resource,) = rule["apiGroups"], rule["resources"]
    where = (group, resource, *rule.get("resourceNames", [""]))
    verbs = [verb for verb in rule["verbs"] if (*where, verb) != without]
    return {**rule, "verbs": verbs}


@pytest.fixture(scope="module")
def reduced(made: ApiServer) -> Iterator[dict[int, str]]:
    """For the number of each request, a token that lacks the right to it and no other."""
    with ThreadPoolExecutor(8) as pool:
        tokens = pool.map(
            lambda number: _token(made, f"without-{number}", NEEDED[number].right()),
            range(len(NEEDED)),
        )
        yield dict(enumerate(tokens))


def test_with_the_shipped_rights_every_request_is_fulfilled(made: ApiServer) -> None:
    token = made.account_token(NAMESPACE, "controller")
    # The server takes rights up a moment after they were stored: the last one of each role.
    _wait_for_rights(made, token, ())
    made.request("DELETE", f"{LEASES}{SPACE}/leases/{LEASE}")
    waiting = [ask for ask in NEEDED if ask.verb == "watch"]
    others = [ask for ask in NEEDED if ask.verb != "watch"]
    answers = {ask.right(): ask.send(made, token) for ask in others}
    with ThreadPoolExecutor(len(waiting)) as pool:
        for ask, answer in zip(
            waiting, pool.map(lambda a: a.send(made, token), waiting), strict=True
        ):
            answers[ask.right()] = answer
    assert {right: reply for right, (status, reply) in answers.items() if status >= 300} == {}


def _wait_for_rights(server: ApiServer, token: str, missing: tuple[str, ...]) -> None:
    """Wait until both roles count for the account: something else of each is allowed."""
    controls = {
        ("", "nodes", "", "list"): f"{CORE}/nodes",
        ("", "namespaces", "", "list"): f"{CORE}/namespaces",
        ("metallb.io", "communities", "", "list"): f"{OURS}{SPACE}/communities",
        ("metallb.io", "bfdprofiles", "", "list"): f"{OURS}{SPACE}/bfdprofiles",
    }
    for right, path in controls.items():
        if right != missing:
            wait_until(
                lambda p=path: server.request("GET", p, token=token)[0] == 200,  # type: ignore[misc]
                f"{token[:8]} may {right}",
                20,
            )


@pytest.mark.parametrize(
    "number", range(len(NEEDED)), ids=lambda n: "-".join(filter(None, NEEDED[n].right()))
)
def test_without_its_right_the_request_is_refused(
    made: ApiServer, reduced: dict[int, str], number: int
) -> None:
    ask, token = NEEDED[number], reduced[number]
    _wait_for_rights(made, token, ask.right())
    if ask.verb == "update":
        _exists(made, ask)
    status, reply = ask.send(made, token)
    assert status == 403
    assert f'resource "{ask.resource}"' in reply["message"]


def _exists(server: ApiServer, ask: Ask) -> None:
    """Make the lease, which is put back as it is, where no test before has made it."""
    if ask.resource == "leases":
        server.request("POST", f"{LEASES}{SPACE}/leases", _named(LEASES, "Lease", LEASE))


@pytest.mark.parametrize(("method", "path"), FORBIDDEN)
def test_nothing_else_is_granted(made: ApiServer, method: str, path: str) -> None:
    token = made.account_token(NAMESPACE, "controller")
    _wait_for_rights(made, token, ())
    kind = MERGE if method == "PATCH" else "application/json"
    body: Any = None if method in ("GET", "DELETE") else {}
    status, reply = made.request(method, path, body, kind, token)
    assert status == 403, reply


def test_an_address_and_its_pool_are_one_request_and_a_spec_is_left_alone(made: ApiServer) -> None:
    token = made.account_token(NAMESPACE, "controller")
    _wait_for_rights(made, token, ())
    (ask,) = (each for each in NEEDED if each.resource == "services/status")
    assert ask.send(made, token)[0] == 200
    found = made.get(f"{CORE}/namespaces/default/services/web")
    assert found["status"]["loadBalancer"]["ingress"][0]["ip"] == "10.77.8.1"
    assert found["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] == "pool"
    assert found["spec"]["externalTrafficPolicy"] == "Cluster"


def test_the_ca_goes_in_by_name_without_touching_the_rest(made: ApiServer) -> None:
    token = made.account_token(NAMESPACE, "controller")
    _wait_for_rights(made, token, ())
    ca = encoded((made.directory / "ca.crt").read_text())
    path = f"{CRDS}/customresourcedefinitions/{PEER_KIND}"
    change = {"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": ca}}}}}
    assert made.request("PATCH", path, change, MERGE, token)[0] == 200
    client = made.get(path)["spec"]["conversion"]["webhook"]["clientConfig"]
    assert (client["caBundle"], client["service"]["path"]) == (ca, "/convert")
    # Shipped again, by an operator who updates: what the controller has put in stays.
    made.apply_all((MANIFESTS / "crds" / "bgppeers.yaml").read_text())
    assert made.get(path)["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] == ca


def test_the_ca_goes_into_each_webhook_by_its_name(made: ApiServer) -> None:
    token = made.account_token(NAMESPACE, "controller")
    _wait_for_rights(made, token, ())
    ca = encoded((made.directory / "ca.crt").read_text())
    (shipped,) = yaml.safe_load_all((FOLDER / "webhooks.yaml").read_text())
    path = f"{HOOKS}/validatingwebhookconfigurations/{WEBHOOKS}"
    made.apply(shipped)
    try:
        # A merge would replace the whole list: this patch finds each by its name.
        change = [
            {"name": hook["name"], "clientConfig": {"caBundle": ca}} for hook in shipped["webhooks"]
        ]
        strategic = "application/strategic-merge-patch+json"
        status, stored = made.request("PATCH", path, {"webhooks": change}, strategic, token)
        assert status == 200
        for found in (stored, made.apply(shipped)):
            clients = [hook["clientConfig"] for hook in found["webhooks"]]
            assert [client["caBundle"] for client in clients] == [ca] * 6
            assert {client["service"]["port"] for client in clients} == {443}
    finally:
        made.apply({**shipped, "webhooks": []})
        made.merge(path, {"webhooks": None})
