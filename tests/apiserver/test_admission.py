"""The recorded cases of the webhooks, asked of the real API server, which asks us by HTTPS.

With our schemas much is refused before a webhook is asked: the verdict is MetalLB's, in the words
of the schema. With schemas as loose as MetalLB's the answers are MetalLB's, code and text.
"""

import base64
import copy
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

import apiserver as api
import cluster
from admission import CASES, EMPTY, FIELDS, PATHS, world_with
from controller.admission.conversion import convert
from controller.admission.review import answer
from controller.admission.world import AdmissionWorld

PLURALS = {
    "IPAddressPool": "ipaddresspools",
    "L2Advertisement": "l2advertisements",
    "BGPAdvertisement": "bgpadvertisements",
    "BGPPeer": "bgppeers",
    "BFDProfile": "bfdprofiles",
    "Community": "communities",
}
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/clarion"
THEIR_RULES = ("serviceSelectors", "oldSelf", "getSeconds() >= 1", "getMilliseconds")
"""Parts of the rules that MetalLB's own schemas have; all others of ours are for its code."""
NOT_CHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was "
    "invalid; correct the existing errors to complete validation"
)


def _path(kind: str, name: str = "") -> str:
    version = "v1beta2" if kind == "BGPPeer" else "v1beta1"
    base = f"/apis/metallb.io/{version}/namespaces/{cluster.NAMESPACE}/{PLURALS[kind]}"
    return f"{base}/{name}" if name else base


def _world(server: api.ApiServer) -> AdmissionWorld:
    """What is there now. The one that writes waits for the answer, so nothing else changes."""
    found = []
    for kind in FIELDS:
        found += [{**item, "kind": kind} for item in server.get(_path(kind))["items"]]
    return world_with(EMPTY, found)


@contextmanager
def _serving(server: api.ApiServer) -> Iterator[int]:
    """Answer reviews by HTTPS with the server's own certificate; give the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            path = self.path.partition("?")[0]
            reply = convert(body) if path == "/convert" else answer(path, body, _world(server))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.directory / "server.crt", server.directory / "server.key")
    web.socket = context.wrap_socket(web.socket, server_side=True)
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    try:
        yield web.server_address[1]
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


def _webhook(kind: str, port: int, bundle: str) -> dict[str, Any]:
    version = "v1beta2" if kind == "BGPPeer" else "v1beta1"
    operations = ["CREATE", "DELETE" if kind == "BFDProfile" else "UPDATE"]
    return {
        "name": f"{PLURALS[kind]}.validation.test",
        "clientConfig": {"url": f"https://127.0.0.1:{port}{PATHS[kind]}", "caBundle": bundle},
        "rules": [
            {
                "apiGroups": ["metallb.io"],
                "apiVersions": [version],
                "operations": operations,
                "resources": [PLURALS[kind]],
            }
        ],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }


def _loosened(schema: Any) -> Any:
    """Drop what our schemas refuse for MetalLB's code, and its schemas do not."""
    if isinstance(schema, list):
        return [_loosened(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    loose = {key: _loosened(value) for key, value in schema.items() if key != "anyOf"}
    if loose.get("x-kubernetes-list-type") == "set":
        loose["x-kubernetes-list-type"] = "atomic"
    if isinstance(loose.get("pattern"), str):
        del loose["pattern"]
    if isinstance(loose.get("enum"), list) and "DoesNotExist" in loose["enum"]:
        del loose["enum"]
    if isinstance(rules := loose.pop("x-kubernetes-validations", None), list):
        kept = [rule for rule in rules if any(part in rule["rule"] for part in THEIR_RULES)]
        loose |= {"x-kubernetes-validations": kept} if kept else {}
    return loose


def _loose_crds(folder: Path) -> list[Path]:
    paths = []
    for path in cluster.CRDS:
        crd = copy.deepcopy(yaml.safe_load(path.read_text()))
        for version in crd["spec"]["versions"]:
            version["schema"] = _loosened(version["schema"])
        paths.append(folder / path.name)
        paths[-1].write_text(yaml.safe_dump(crd))
    return paths


@pytest.fixture(scope="module", params=["our schemas", "schemas as loose as MetalLB's"])
def judged(
    request: pytest.FixtureRequest,
    apiserver_binaries: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[api.ApiServer, bool]]:
    """A server that asks our webhooks, and whether its schemas are ours."""
    ours = request.param == "our schemas"
    with api.running(tmp_path_factory.mktemp("apiserver")) as server:
        folder = tmp_path_factory.mktemp("crds")
        server.install_crds(cluster.CRDS if ours else _loose_crds(folder))
        for name in (cluster.NAMESPACE, "team-a"):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            server.must("POST", "/api/v1/namespaces", namespace)
        with _serving(server) as port:
            _register(server, port)
            yield server, ours


def _register(server: api.ApiServer, port: int) -> None:
    bundle = base64.b64encode((server.directory / "ca.crt").read_bytes()).decode()
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "clarion"},
        "webhooks": [_webhook(kind, port, bundle) for kind in PATHS],
    }
    server.must("POST", CONFIGURATION.rpartition("/")[0], configuration)
    _until_asked(server)


def _until_asked(server: api.ApiServer) -> None:
    """The server learns of its webhooks by a watch: wait until one has refused."""
    nowhere = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "Community",
        "metadata": {"name": "probe", "namespace": "team-a"},
    }
    path = _path("Community").replace(cluster.NAMESPACE, "team-a") + "?dryRun=All"
    asked = threading.Event()
    for _ in range(600):
        status, reply = server.request("POST", path, nowhere)
        if status == 403:
            expected = f"resource must be created in {cluster.NAMESPACE} namespace"
            assert reply["message"].endswith(expected)
            return
        asked.wait(0.05)
    raise AssertionError("the webhooks are never asked")


@pytest.fixture
def empty(judged: tuple[api.ApiServer, bool]) -> tuple[api.ApiServer, bool]:
    """The server without objects of the cases before."""
    server, _ = judged
    for kind in PLURALS:
        for item in server.get(_path(kind))["items"]:
            server.delete(_path(kind, item["metadata"]["name"]))
    return judged


def _do(server: api.ApiServer, step: dict[str, Any]) -> tuple[int, str]:
    if step["do"] == "create":
        found = step["object"]
        status, reply = server.request("POST", _path(found["kind"]), found)
    elif step["do"] == "apply":
        path = api.object_path(step["object"]) + "?fieldManager=test&force=true"
        kind = "application/apply-patch+yaml"
        status, reply = server.request("PATCH", path, step["object"], kind)
    elif step["do"] == "delete":
        status, reply = server.request("DELETE", step["path"])
    else:
        kind = "application/merge-patch+json"
        status, reply = server.request("PATCH", step["path"], step["patch"], kind)
    return status, reply.get("message", "") if status >= 300 else ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].partition("/")[2])
def test_the_server_answers_as_with_metallb(
    empty: tuple[api.ApiServer, bool], case: dict[str, Any]
) -> None:
    server, ours = empty
    for step in case["steps"]:
        expected = step["answer"]
        code, message = _do(server, step)
        if step["do"] == "apply":
            # A service of a case before may still be there.
            assert code in (200, 201)
        elif ours and expected["by"] == "webhook" and code == 422:
            assert " is invalid: " in message
        elif ours and NOT_CHECKED in message:
            # Our schemas have rules more, which the server leaves out where a type is wrong.
            subject, _, what = expected["message"].partition(" is invalid: ")
            text = f"{subject} is invalid: [{what}, {NOT_CHECKED}]"
            assert (code, message) == (expected["code"], text)
        else:
            assert (code, message) == (expected["code"], expected["message"])


CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io"
PEER: dict[str, Any] = {
    "apiVersion": "metallb.io/v1beta2",
    "kind": "BGPPeer",
    "metadata": {"name": "q", "namespace": cluster.NAMESPACE},
    "spec": {"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "holdTime": "90s"},
}


def _convert_by(server: api.ApiServer, conversion: dict[str, Any]) -> None:
    server.merge(CRD, {"spec": {"conversion": conversion}})


def _spec(server: api.ApiServer, version: str, name: str) -> dict[str, Any]:
    found = server.get(_path("BGPPeer", name).replace("v1beta2", version))
    assert found["apiVersion"] == f"metallb.io/{version}"
    spec: dict[str, Any] = found["spec"]
    return spec


def test_the_server_converts_peers_by_our_webhook(empty: tuple[api.ApiServer, bool]) -> None:
    server, _ = empty
    hooks = server.get(CONFIGURATION)["webhooks"]
    client = {**hooks[0]["clientConfig"]}
    client["url"] = client["url"].partition("/validate")[0] + "/convert"
    # The shipped schema names a Service, which nobody stands behind here.
    client["service"] = None
    webhook = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
    _convert_by(server, {"strategy": "Webhook", "webhook": webhook})
    try:
        old = {**PEER, "apiVersion": "metallb.io/v1beta1"}
        _until_converted(server, old)
        server.must("POST", _path("BGPPeer").replace("v1beta2", "v1beta1"), old)
        assert _spec(server, "v1beta1", "q") == {**PEER["spec"], "peerPort": 179}
        stored = {"peerPort": 179, "disableMP": False, "dualStackAddressFamily": False}
        assert _spec(server, "v1beta2", "q") == {**PEER["spec"], **stored}
    finally:
        _convert_by(server, {"strategy": "None", "webhook": None})


def _until_converted(server: api.ApiServer, old: dict[str, Any]) -> None:
    """The server takes the new strategy up some time later: wait until it has asked us.

    Only our conversion leaves out a port that is zero, so that the default of v1beta2 comes in.
    """
    asked = threading.Event()
    probe = {**old, "spec": {**old["spec"], "peerPort": 0}}
    for _ in range(600):
        code, _ = server.request("POST", _path("BGPPeer").replace("v1beta2", "v1beta1"), probe)
        if code == 201:
            port = _spec(server, "v1beta2", "q")["peerPort"]
            server.delete(_path("BGPPeer", "q"))
            if port == 179:
                return
        asked.wait(0.05)
    raise AssertionError("no conversion is ever asked for")
