"""Takes one rule after the other from what is granted for BGP: the speaker without it says so.

What it writes there is proved by test_bgp_publisher.py.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import cluster as clusters
import netns
from bgp_cluster import COMES_UP, convert_nothing
from bgp_cluster import RIGHTS as GRANTED
from cluster import NAMESPACE, NODES, Cluster
from speakers import wait_until

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

RIGHTS = list(yaml.safe_load_all(GRANTED.read_text()))
READ = [
    (role, index)
    for role, document in enumerate(RIGHTS)
    for index, rule in enumerate(document.get("rules", ()))
    if "list" in rule["verbs"]
]
ROUNDS = [READ[start : start + len(NODES)] for start in range(0, len(READ), len(NODES))]
PEER = {"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1"}


@pytest.fixture(scope="module")
def cluster(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A peer that names a Secret, and no speaker."""
    if reason := netns.missing_right():
        pytest.skip(reason)
    with clusters.running(tmp_path_factory.mktemp("rights")) as made:
        convert_nothing(made)
        about = {"name": "tor", "namespace": NAMESPACE}
        spec = {**PEER, "passwordSecret": {"name": "tor"}}
        made.server.apply(
            {"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": about, "spec": spec}
        )
        yield made


def _config(cluster: Cluster, node: str, without: tuple[int, int]) -> Path:
    """Make an account for a node with all rules of layer 2, and all for BGP but one."""
    name = f"{node}-{without[0]}-{without[1]}"
    account = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
    about = {"name": name, "namespace": NAMESPACE}
    cluster.server.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about})
    shipped = yaml.safe_load_all((clusters.MANIFESTS / "speaker" / "rbac.yaml").read_text())
    documents = [(None, each) for each in shipped] + list(enumerate(copy.deepcopy(RIGHTS)))
    for role, document in documents:
        document["metadata"]["name"] += f"-{name}"
        if role == without[0]:
            del document["rules"][without[1]]
        if "subjects" in document:
            document["roleRef"]["name"] += f"-{name}"
            document["subjects"] = [account]
        cluster.server.apply(document)
    return cluster.server.kubeconfig(node, cluster.server.account_token(NAMESPACE, name))


def _forbidden(lines: list[dict[str, Any]]) -> set[str]:
    """Return the resources that the speaker says it may not read."""
    errors = [str(line.get("error", "")) for line in lines]
    return {error.split('resource "')[1].split('"')[0] for error in errors if "forbidden" in error}


@pytest.mark.parametrize("missing", ROUNDS, ids=str)
def test_each_rule_is_missed_by_name_and_no_other_one(
    cluster: Cluster, missing: list[tuple[int, int]], tmp_path: Path
) -> None:
    # The last round may have fewer rules than there are nodes.
    running = dict(zip(NODES, missing, strict=False))
    engine = ("env", f"CLARION_BGP_ENGINE={tmp_path}")
    try:
        for node, without in running.items():
            cluster.start_with(node, _config(cluster, node, without), *engine)
        for node, (role, index) in running.items():
            speaker = cluster.speakers[node]
            (resource,) = RIGHTS[role]["rules"][index]["resources"]
            wait_until(
                lambda s=speaker, r=resource: r in _forbidden(s.events()),  # type: ignore[misc]
                f"no {resource}",
                20,
            )
            # A right that has just been granted may not be known yet: that passes.
            wait_until(
                lambda s=speaker: s.metric("clarion_api_resources_behind") == 1,  # type: ignore[misc]
                f"{resource} alone",
                COMES_UP,
            )
            refused = speaker.metric('clarion_api_failed_reads_total{reason="refused"}')
            assert (refused or 0) >= 1
    finally:
        cluster.stop()


def test_each_rule_is_of_one_resource() -> None:
    assert len(READ) == 7
    for role, index in READ:
        assert len(RIGHTS[role]["rules"][index]["resources"]) == 1
