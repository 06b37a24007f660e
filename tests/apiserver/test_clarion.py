"""The command `clarion` at a real API server: by kubeconfig, page by page, and it only reads."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import apiserver as api
import clarion_world
import cluster
from clarion.sources import api as source
from clarion_command import Ran, run
from clarion_world import DUMP, WORLD

ACCOUNT = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: metallb-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
  - apiGroups: [""]
    resources: [nodes, services]
    verbs: [list]
  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [list]
  - apiGroups: [metallb.io]
    resources: [ipaddresspools, l2advertisements, bgpadvertisements, bgppeers, bfdprofiles,
                communities]
    verbs: [list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: metallb-system}]
"""


@pytest.fixture(scope="module")
def config(server: api.ApiServer) -> str:
    """A kubeconfig of an administrator, of a server that has the world in it."""
    server.apply_all(WORLD.read_text())
    server.apply_all(ACCOUNT)
    return str(server.kubeconfig("admin"))


def asked(ran: Ran) -> Any:
    """Return an answer without the name of where it was looked."""
    return {**ran.data, "source": "", "remarks": []}


QUESTIONS = [
    ("owners",),
    ("explain", "shop/web"),
    ("explain", "10.0.100.53"),
    ("explain", "late"),
    ("simulate", "--down", "worker-1"),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_it_says_of_the_cluster_what_it_says_of_its_dump(
    config: str, question: tuple[str, ...]
) -> None:
    live = run(*question, "--kubeconfig", config, "-o", "json")
    dumped = run(*question, "--from", str(DUMP), "-o", "json")
    assert live.status == dumped.status
    assert asked(live) == asked(dumped)
    assert live.data["source"] == f"cluster of {config}"


def test_a_dump_of_now_says_the_same_and_can_be_judged(config: str) -> None:
    text = clarion_world.dump(Path(config))
    assert asked(run("owners", "--from", "-", "-o", "json", stdin=text.encode())) == asked(
        run("owners", "--from", str(DUMP), "-o", "json")
    )
    ran = run("check", "-", stdin=text.encode())
    assert (ran.status, ran.out.count("error")) == (0, 1), ran.out


def test_pages_are_put_together(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = asked(run("owners", "--kubeconfig", config, "-o", "json"))
    monkeypatch.setattr(source, "PAGE", 3)
    assert asked(run("owners", "--kubeconfig", config, "-o", "json")) == expected
    monkeypatch.setattr(source, "MOST_PAGES", 2)
    ran = run("owners", "--kubeconfig", config)
    assert (ran.status, ran.out) == (2, "")
    assert "more than 6 objects" in ran.err


def test_the_context_counts(config: str, server: api.ApiServer) -> None:
    content = yaml.safe_load(Path(config).read_text())
    content["contexts"].append({"name": "other", "context": {"cluster": "c", "user": "nobody"}})
    content["users"].append({"name": "nobody", "user": {"token": "wrong"}})
    two = server.directory / "two.kubeconfig"
    two.write_text(json.dumps(content))
    assert run("owners", "--kubeconfig", str(two)).status == 1
    assert run("owners", "--kubeconfig", str(two), "--context", "x").status == 1
    refused = run("owners", "--kubeconfig", str(two), "--context", "other")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err == "clarion: Service: cannot be listed: 401 Unauthorized\n"


def test_it_lists_and_does_nothing_else_and_may_lack_namespaces(
    config: str, server: api.ApiServer
) -> None:
    token = server.account_token("metallb-system", "reader")
    mine = str(server.kubeconfig("reader", token))
    before = len(server.audited())
    ran = run("owners", "--kubeconfig", mine, "-o", "json")
    assert asked(ran) == asked(run("owners", "--from", str(DUMP), "-o", "json"))
    (remark,) = ran.data["remarks"]
    assert remark["message"] == (
        "may not be listed by this account, and count as absent: Namespace"
    )
    done = server.audited()[before:]
    assert {verb for verb, _, _ in done} == {"list"}
    assert "secrets" not in {resource for _, resource, _ in done}


def test_a_speaker_s_own_account_is_enough_for_layer_2(config: str, server: api.ApiServer) -> None:
    """In its pod the command has the speaker's rights: the shipped ones, without BGP's."""
    for name in ("serviceaccount", "rbac"):
        server.apply_all((cluster.MANIFESTS / "speaker" / f"{name}.yaml").read_text())
    token = server.account_token("metallb-system", "speaker")
    ran = run("owners", "--kubeconfig", str(server.kubeconfig("speaker", token)), "-o", "json")
    whole = run("owners", "--from", str(DUMP), "-o", "json").data["owners"]
    assert {row["ip"]: row["owner"] for row in ran.data["owners"]} == {
        row["ip"]: row["owner"] for row in whole
    }
    (remark,) = ran.data["remarks"]
    kinds = "Namespace, BGPAdvertisement, BGPPeer, BFDProfile, Community"
    assert remark["message"].endswith(f"count as absent: {kinds}")


def test_a_server_that_is_not_there(config: str, server: api.ApiServer) -> None:
    content = yaml.safe_load(Path(config).read_text())
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    gone = server.directory / "gone.kubeconfig"
    gone.write_text(json.dumps(content))
    ran = run("owners", "--kubeconfig", str(gone))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("clarion: Service: cannot be listed: ")
