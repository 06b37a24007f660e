"""Three speakers on a real API server, with the rights that the manifests give them."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cluster as clusters
import netns
from cluster import NODES, Cluster, service
from speakers import Speaker, wait_until

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

FREEZE = float(os.environ.get("CLARION_FREEZE", "8"))
"""Seconds; a minute of it: `CLARION_FREEZE=60 python -m pytest tests/apiserver -k frozen`."""
SERVICES = {f"default/web{n}": f"10.77.9.{n + 1}" for n in range(12)}


@pytest.fixture(scope="module")
def cluster(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Twelve services and three speakers that are ready."""
    if reason := netns.missing_right():
        pytest.skip(reason)
    with clusters.running(tmp_path_factory.mktemp("cluster")) as made:
        for name, ip in SERVICES.items():
            made.server.apply_all(service(name.split("/")[1], ip))
        for node in NODES:
            made.start(node)
        for speaker in made.speakers.values():
            speaker.wait_for("ready")
        yield made


def settled(cluster: Cluster) -> dict[str, str]:
    """Wait until every service has one owner and the objects say the same; return the owners."""

    def agree() -> dict[str, str] | None:
        announced = cluster.announced()
        everything = announced.keys() == SERVICES.keys()
        return announced if everything and announced == cluster.owners() else None

    owners: dict[str, str] = wait_until(agree, "one owner each, and objects that say so", 20)
    return owners


def settled_as(cluster: Cluster, before: dict[str, str]) -> None:
    """Wait until the owners are these: others learn of a new life by gossip, after its start."""
    wait_until(lambda: settled(cluster) == before, "everything as before", 20)


def moves(cluster: Cluster) -> int:
    """How often an owner changed, by the metrics, or anything was announced or withdrawn, by logs.

    A log line is written a moment after what it tells: wait until the logs say what is announced.
    """
    speakers = cluster.speakers.values()
    wait_until(lambda: _logged(cluster) == cluster.announced(), "the logs are written")
    lines = sum(len(_handed(speaker)) for speaker in speakers)
    return lines + sum(_changes_of_owner(speaker) for speaker in speakers)


def _logged(cluster: Cluster) -> dict[str, str]:
    found: dict[str, str] = {}
    for node, speaker in cluster.speakers.items():
        last = {line["service"]: line["event"] for line in _handed(speaker)}
        found |= {service: node for service, event in last.items() if event == "announce"}
    return found


def _handed(speaker: Speaker) -> list[dict[str, Any]]:
    return [line for line in speaker.events() if line["event"] in ("announce", "withdraw")]


def _changes_of_owner(speaker: Speaker) -> int:
    lines = speaker.get("/metrics")[1].splitlines()
    return sum(int(float(x.split()[-1])) for x in lines if x.startswith("clarion_moves_total{"))


def test_each_service_has_one_owner_on_the_wire_and_in_the_api(cluster: Cluster) -> None:
    # Who is ready first may own everything until the others are heard of.
    wait_until(lambda: set(settled(cluster).values()) == set(NODES), "every node owns some", 20)
    owners = settled(cluster)
    assert {name: cluster.answers(ip) for name, ip in SERVICES.items()} == owners
    for item in cluster.server.get(clusters.STATUSES)["items"]:
        (owner,) = item["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Pod", f"speaker-{item['status']['node']}")
        assert item["metadata"]["labels"]["metallb.io/node"] == item["status"]["node"]
        assert "interfaces" not in item["status"]


def test_every_move_is_an_event_and_the_state_is_valid(cluster: Cluster) -> None:
    owners = settled(cluster)

    def told() -> bool:
        messages = {
            (f"default/{event['involvedObject']['name']}", event["message"])
            for event in cluster.events("nodeAssigned")
        }
        return all(
            (name, f'announcing from node "{node}" with protocol "layer2"') in messages
            for name, node in owners.items()
        )

    wait_until(told, "an event for each service")
    # Nothing that was waited for so far comes after it: a slow disk may hold it up still.
    valid = {f"speaker-{node}": "Valid" for node in NODES}
    wait_until(lambda: _results(cluster) == valid, "a state of each speaker")


def _results(cluster: Cluster) -> dict[str, str | None]:
    states = cluster.server.get(clusters.STATES)["items"]
    return {item["metadata"]["name"]: item.get("status", {}).get("result") for item in states}


def test_a_steady_speaker_asks_for_nothing_but_its_watches(cluster: Cluster) -> None:
    settled(cluster)
    before = _quiet(cluster)
    time.sleep(4)
    asked = cluster.server.audited()
    assert [entry for entry in asked[before:] if entry[0] != "watch"] == []
    verbs = {verb for verb, _, user in asked if user.endswith(":metallb-system:speaker")}
    assert {"list", "watch", "create", "patch"} <= verbs, "that is how it would be seen"


def _quiet(cluster: Cluster) -> int:
    """Wait until what the start owes is written: nothing but watches for 1.5 s, the longest time
    for which anything rests before it is written. Return how many requests there were so far."""
    return cluster.server.until_idle(1.5, lambda asked: asked[0] == "watch")


def test_a_service_deleted_and_made_again_with_the_same_ip(cluster: Cluster) -> None:
    before = settled(cluster)
    path = "/api/v1/namespaces/default/services/web3"
    cluster.server.delete(path)
    wait_until(lambda: "default/web3" not in cluster.announced(), "the withdrawal")
    wait_until(lambda: "default/web3" not in cluster.owners(), "the object's deletion")
    cluster.server.apply_all(service("web3", SERVICES["default/web3"]))
    assert settled(cluster) == before


STALE = "metallb_k8s_client_config_stale_bool"
NONSENSE: dict[str, tuple[str, dict[str, Any]]] = {
    "a range that is reversed": ("ipaddresspools/pool", {"addresses": ["10.77.9.9-10.77.9.1"]}),
    "the same range twice": (
        "ipaddresspools/pool",
        {"addresses": ["10.77.8.0/21", "10.77.9.0/24"]},
    ),
    "a selector's key": (
        "l2advertisements/l2",
        {"nodeSelectors": [{"matchLabels": {"no key at all!": "x"}}]},
    ),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_an_object_edited_to_nonsense_and_back_changes_nothing(cluster: Cluster, what: str) -> None:
    before = settled(cluster)
    count, known = moves(cluster), _invalid(cluster).keys()
    name, spec = NONSENSE[what]
    (field,) = spec
    path = f"/apis/metallb.io/v1beta1/namespaces/metallb-system/{name}"
    good = cluster.server.get(path)["spec"].get(field)
    speakers = list(cluster.speakers.values())
    cluster.server.merge(path, {"spec": spec})
    try:
        wait_until(lambda: all(s.metric(STALE) == 1 for s in speakers), "stale everywhere")
        told = wait_until(lambda: _invalid(cluster).keys() - known, "an event")
        assert len(told) == 1, "one event, whoever finds the fault"
        event = _invalid(cluster)[told.pop()]
        assert event["involvedObject"]["name"] == name.split("/")[1]
        assert f"spec.{field}" in event["message"]
        wait_until(lambda: _state(cluster) == "Invalid", "state is Invalid")
        assert cluster.announced() == before
    finally:
        cluster.server.merge(path, {"spec": {field: good}})
    wait_until(lambda: all(s.metric(STALE) == 0 for s in speakers), "valid again")
    wait_until(lambda: _state(cluster) == "Valid", "state is Valid")
    assert cluster.announced() == before
    assert moves(cluster) == count


def _invalid(cluster: Cluster) -> dict[str, Any]:
    return {event["metadata"]["uid"]: event for event in cluster.events("InvalidConfiguration")}


def _state(cluster: Cluster) -> str | None:
    """None for an object that is not made yet, or has no status yet."""
    return _results(cluster).get("speaker-iris1")


def test_an_interface_that_is_missing_is_told_not_claimed(cluster: Cluster) -> None:
    settled(cluster)
    path = "/apis/metallb.io/v1beta1/namespaces/metallb-system/l2advertisements/l2"
    cluster.server.merge(path, {"spec": {"interfaces": ["eth7"]}})
    wait_until(lambda: cluster.owners() == {}, "no object claims anything")
    wait_until(lambda: cluster.events("announceFailed"), "events say so")
    cluster.server.merge(path, {"spec": {"interfaces": ["eth0", "eth7"]}})

    def listed() -> bool:
        items = cluster.server.get(clusters.STATUSES)["items"]
        return len(items) == len(SERVICES) and all(
            item.get("status", {}).get("interfaces") == [{"name": "eth0"}] for item in items
        )

    wait_until(listed, "the interface that is there")
    cluster.server.merge(path, {"spec": {"interfaces": None}})
    settled(cluster)


def test_failover_and_return(cluster: Cluster) -> None:
    before = settled(cluster)
    cluster.kill("iris1")
    after = settled(cluster)
    for name, node in before.items():
        assert after[name] == node if node != "iris1" else after[name] != "iris1"
    assert {name: cluster.answers(ip) for name, ip in SERVICES.items()} == after
    cluster.start("iris1").wait_for("ready")
    settled_as(cluster, before)


def test_a_frozen_server_moves_nothing_and_is_caught_up_with(cluster: Cluster) -> None:
    before = settled(cluster)
    count = moves(cluster)
    cluster.server.freeze()
    try:
        time.sleep(FREEZE)
        assert moves(cluster) == count
        assert cluster.announced() == before
        assert all(speaker.get("/readyz")[0] == 200 for speaker in cluster.speakers.values())
    finally:
        cluster.server.thaw()
    path = "/api/v1/namespaces/default/services/web3"
    cluster.server.delete(path)
    wait_until(lambda: "default/web3" not in cluster.announced(), "the change is seen", 30)
    cluster.server.apply_all(service("web3", SERVICES["default/web3"]))
    assert settled(cluster) == before


def test_a_token_rotated_under_a_running_speaker(cluster: Cluster, tmp_path: Path) -> None:
    """As in a pod. The old token is worth nothing any more when the server asks for it again."""
    before = settled(cluster)
    token = tmp_path / "token"
    token.write_text(cluster.server.account_token(clusters.NAMESPACE, "speaker"))
    cluster.kill("iris1")
    speaker = cluster.start_in_pod("iris1", tmp_path)
    speaker.wait_for("ready", timeout=30)
    settled_as(cluster, before)
    count = moves(cluster)
    account = f"/api/v1/namespaces/{clusters.NAMESPACE}/serviceaccounts/speaker"
    cluster.server.delete(account)
    cluster.server.apply_all((clusters.MANIFESTS / "speaker" / "serviceaccount.yaml").read_text())
    cluster.server.kill()
    cluster.server.start()
    refused = wait_until(
        lambda: [line for line in speaker.events("api") if "401" in line.get("error", "")],
        "the old token is refused",
        30,
    )
    assert "Unauthorized" in refused[0]["error"]
    assert speaker.get("/readyz")[0] == 200
    fresh = tmp_path / "fresh"
    fresh.write_text(cluster.server.account_token(clusters.NAMESPACE, "speaker"))
    fresh.replace(token)
    behind = "clarion_api_resources_behind"
    wait_until(lambda: speaker.metric(behind) == 0, "the new token is read", 30)
    assert moves(cluster) == count
    for node in ("iris2", "iris3"):
        # Theirs is gone with the account.
        cluster.kill(node)
        cluster.start(node).wait_for("ready", timeout=30)
    settled_as(cluster, before)
    assert not [line for line in speaker.events() if token.read_text()[:40] in str(line)]


def test_nothing_moves_while_the_api_server_is_gone(cluster: Cluster) -> None:
    before = settled(cluster)
    count = moves(cluster)
    token = cluster.server.account_token(clusters.NAMESPACE, "speaker")
    config = cluster.server.kubeconfig("later", token)
    cluster.server.compact()
    cluster.server.kill()
    time.sleep(3)
    assert moves(cluster) == count
    assert cluster.announced() == before
    # Gossip goes on without it.
    cluster.kill("iris2")
    wait_until(
        lambda: (
            (now := cluster.announced()).keys() == SERVICES.keys()
            and all(now[name] == node for name, node in before.items() if node != "iris2")
        ),
        "the others take over",
        20,
    )
    # A speaker that starts meanwhile says so, and answers for nothing.
    late = cluster.start_with("iris2", config)
    late.wait_for("start")
    status, text = wait_until(lambda: _not_ready(late), "not ready, because of the API")
    assert status == 503
    assert "/api" in text
    assert "metallb_speaker_announced{" not in late.get("/metrics")[1]
    cluster.server.start()
    late.wait_for("ready", timeout=30)
    settled_as(cluster, before)


def _not_ready(speaker: Speaker) -> tuple[int, str] | None:
    try:
        status, text = speaker.get("/readyz")
    except OSError:
        return None
    return (status, text) if "Cannot connect" in text else None
