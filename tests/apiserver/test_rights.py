"""Takes one rule after the other from the shipped rights: the speaker without it says so.

So nothing is granted that is not needed. Three speakers of one cluster run at a time, each with an
account of its own that lacks another rule.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import cluster as clusters
import netns
from apiserver import object_path
from cluster import MANIFESTS, NAMESPACE, NODES, Cluster, service
from speakers import Speaker, wait_until

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

RIGHTS = list(yaml.safe_load_all((MANIFESTS / "speaker" / "rbac.yaml").read_text()))
RULES = [
    (role, index)
    for role, document in enumerate(RIGHTS)
    for index in range(len(document.get("rules", ())))
]
ROUNDS = [RULES[start : start + len(NODES)] for start in range(0, len(RULES), len(NODES))]


@pytest.fixture(scope="module")
def cluster(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Services enough for every speaker to own some, and no speaker."""
    if reason := netns.missing_right():
        pytest.skip(reason)
    with clusters.running(tmp_path_factory.mktemp("rights")) as made:
        for number in range(12):
            made.server.apply_all(service(f"web{number}", f"10.77.9.{number + 1}"))
        yield made


def _account(cluster: Cluster, node: str, without: tuple[int, int]) -> str:
    """Make an account for a node with all rules but one; give its token."""
    name = f"{node}-{without[0]}-{without[1]}"
    metadata = {"name": name, "namespace": NAMESPACE}
    cluster.server.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    for role, shipped in enumerate(RIGHTS):
        document = copy.deepcopy(shipped)
        document["metadata"]["name"] = name
        if "rules" in document and role == without[0]:
            del document["rules"][without[1]]
        if "subjects" in document:
            document["roleRef"]["name"] = name
            document["subjects"][0]["name"] = name
        cluster.server.apply(document)
    return cluster.server.account_token(NAMESPACE, name)


def _complaints(speaker: Speaker, resource: str) -> list[dict[str, Any]]:
    """Log lines in which the speaker names what it may not do with the resource."""
    words = f'resource "{resource}"'
    return [line for line in speaker.events() if words in str(line.get("error", ""))]


@pytest.mark.parametrize("missing", ROUNDS, ids=str)
def test_each_rule_is_missed_by_name(cluster: Cluster, missing: list[tuple[int, int]]) -> None:
    # The last round may have fewer rules than there are nodes.
    running = dict(zip(NODES, missing, strict=False))
    try:
        for node, without in running.items():
            config = cluster.server.kubeconfig(node, _account(cluster, node, without))
            cluster.start_with(node, config)
        for node, (role, index) in running.items():
            speaker = cluster.speakers[node]
            rule = RIGHTS[role]["rules"][index]
            (resource,) = rule["resources"]
            (group,) = rule["apiGroups"]
            wait_until(lambda s=speaker, r=resource: _complaints(s, r), f"no {resource}", 20)  # type: ignore[misc]
            complaint = _complaints(speaker, resource)[0]
            assert "403" in complaint["error"]
            assert f'API group "{group}"' in complaint["error"]
            reads = "list" in rule["verbs"]
            metric = "clarion_api_resources_behind" if reads else "clarion_api_failed_writes_total"
            assert (speaker.metric(metric) or 0) >= 1
            if reads:
                refused = speaker.metric('clarion_api_failed_reads_total{reason="refused"}')
                assert (refused or 0) >= 1
            if resource == "events":
                assert (speaker.metric("clarion_api_events_dropped_total") or 0) >= 1
    finally:
        cluster.stop()
        # What is right already would not be written again.
        for path in (clusters.STATUSES, clusters.STATES):
            for item in cluster.server.get(path)["items"]:
                cluster.server.delete(f"{path}/{item['metadata']['name']}")


def test_with_all_of_them_nothing_is_missed(cluster: Cluster) -> None:
    try:
        for node in NODES:
            cluster.start(node)
        for speaker in cluster.speakers.values():
            speaker.wait_for("ready")
        wait_until(lambda: len(cluster.owners()) == 12, "an object for each service", 20)
        wait_until(lambda: len(cluster.events("nodeAssigned")) >= 12, "events", 20)
        for speaker in cluster.speakers.values():
            assert "forbidden" not in speaker.log.read_text()
            assert speaker.metric("clarion_api_failed_writes_total") == 0
            assert speaker.metric("clarion_api_events_dropped_total") == 0
            assert speaker.metric('clarion_api_failed_reads_total{reason="refused"}') == 0
            assert speaker.metric('clarion_api_relists_total{kind="Service"}') == 0
            assert speaker.metric("clarion_api_resources_behind") == 0
    finally:
        cluster.stop()


def test_each_rule_is_of_one_resource() -> None:
    """So that taking one away takes away one thing; and the paths of the test are right."""
    assert len(RULES) == 11
    for role, index in RULES:
        rule = RIGHTS[role]["rules"][index]
        assert len(rule["resources"]) == len(rule["apiGroups"]) == 1
        assert object_path(RIGHTS[role]).startswith("/apis/rbac.authorization.k8s.io/v1/")
