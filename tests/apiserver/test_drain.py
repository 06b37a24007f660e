"""`clarion drain` and `undrain` on a real API server, and with real speakers."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import cluster as clusters
import netns
from apiserver import ApiServer, RefusedError
from clarion.drain.command import drain
from clarion.undrain.command import undrain
from cluster import NODES, STATUSES, Cluster, service
from plan.service import EXCLUDE_LABEL
from speaker.cluster.status import new_object, object_name, status_of
from speakers import wait_until

ROUTES = STATUSES.replace("l2", "bgp")
WEB, DNS = "default/web", "default/dns"


@pytest.fixture(scope="module")
def admin(server: ApiServer) -> Path:
    """A kubeconfig of one who may do anything, and a cluster with two services."""
    server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metallb-system"}})
    server.apply_all(clusters.POOL)
    server.apply_all(service("web", "10.77.9.1"))
    server.apply_all(service("dns", "10.77.9.2"))
    return server.kubeconfig("admin")


@pytest.fixture
def nodes(server: ApiServer, admin: Path) -> Iterator[None]:
    """Two nodes without a label, of which the first announces all."""
    for name in ("a", "b"):
        server.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    announce(server, "a", WEB)
    announce(server, "a", DNS)
    yield
    for kind in (STATUSES, ROUTES):
        server.request("DELETE", kind)
    for name in ("a", "b"):
        server.delete(f"/api/v1/nodes/{name}")


def announce(server: ApiServer, node: str, name: str) -> None:
    """Write the object that a speaker writes."""
    made = object_name(node, name)
    server.must("POST", STATUSES, new_object(made, node, name, []))
    server.merge(f"{STATUSES}/{made}/status", status_of(node, name, ()))


def announce_route(server: ApiServer, node: str, name: str) -> None:
    body = new_object(f"bgp-{node}", node, name, [], "ServiceBGPStatus")
    server.must("POST", ROUTES, body)


def withdraw(server: ApiServer, node: str, name: str) -> None:
    server.delete(f"{STATUSES}/{object_name(node, name)}")


def is_labelled(server: ApiServer, node: str) -> bool:
    labels = server.get(f"/api/v1/nodes/{node}")["metadata"].get("labels", {})
    return EXCLUDE_LABEL in labels


@contextmanager
def handing_over(
    server: ApiServer, *names: str, to: str, first: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Once it is labelled, another node announces these services, and then it gives them up."""

    def act() -> None:
        with suppress(RefusedError):
            wait_until(lambda: is_labelled(server, "a"), "the label", 30)
            first()
            for name in names:
                if to:
                    announce(server, to, name)
                withdraw(server, "a", name)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def run(command: click.Command, admin: Path, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, [*more, "--kubeconfig", str(admin)])
    return result.exit_code, result.output


def run_json(command: click.Command, admin: Path, *more: str) -> tuple[int, Any]:
    status, text = run(command, admin, *more, "-o", "json")
    return status, json.loads(text)


def test_all_is_handed_over(server: ApiServer, admin: Path, nodes: None) -> None:
    with handing_over(server, WEB, DNS, to="b"):
        status, found = run_json(drain, admin, "a")
    assert is_labelled(server, "a")
    assert (status, found["kind"], found["well"], found["left"]) == (0, "Drained", True, [])
    assert [(row["service"], row["ips"], row["nodes"]) for row in found["moved"]] == [
        (DNS, ["10.77.9.2"], ["b"]),
        (WEB, ["10.77.9.1"], ["b"]),
    ]
    assert run(undrain, admin, "a") == (0, "a: the label is off, it may announce again\n")
    assert not is_labelled(server, "a")
    assert run(undrain, admin, "a") == (0, "a: it had no label\n")


def test_what_is_still_there_when_the_time_is_up(
    server: ApiServer, admin: Path, nodes: None
) -> None:
    with handing_over(server, WEB, to="b"):
        status, text = run(drain, admin, "a", "--timeout", "3")
    assert status == 1
    assert "default/web (layer2, 10.77.9.1): handed over to b" in text
    assert "default/dns (layer2, 10.77.9.2): still announced by a" in text
    assert "1 of 2 handed over" in text
    assert "`clarion undrain a` takes it off" in text
    assert is_labelled(server, "a")


def test_what_nobody_has_taken_is_a_loss(server: ApiServer, admin: Path, nodes: None) -> None:
    with handing_over(server, WEB, DNS, to=""):
        status, found = run_json(drain, admin, "a", "--timeout", "4")
    assert (status, found["well"]) == (1, False)
    assert [row["service"] for row in found["orphans"]] == [DNS, WEB]


def test_an_heir_may_take_its_time_to_say_so(server: ApiServer, admin: Path, nodes: None) -> None:
    """It answers before it writes so, and the objects of hundreds of services take seconds."""
    late = threading.Timer(4.0, announce, (server, "b", WEB))
    with handing_over(server, WEB, DNS, to=""):
        announce(server, "b", DNS)
        late.start()
        status, found = run_json(drain, admin, "a")
    late.join()
    assert (status, found["orphans"]) == (0, [])


def test_an_api_server_that_is_away_for_a_while(
    server: ApiServer, admin: Path, nodes: None
) -> None:
    def restart() -> None:
        server.kill()
        server.start()

    with handing_over(server, WEB, DNS, to="b", first=restart):
        status, found = run_json(drain, admin, "a", "--timeout", "90")
    assert (status, len(found["moved"])) == (0, 2)


def test_routes_are_waited_for_as_well(server: ApiServer, admin: Path, nodes: None) -> None:
    announce_route(server, "a", WEB)
    announce_route(server, "b", WEB)
    with handing_over(server, WEB, DNS, to="b"):
        status, found = run_json(drain, admin, "a", "--timeout", "3")
    assert status == 1
    assert [(row["protocol"], row["nodes"]) for row in found["left"]] == [("bgp", ["a", "b"])]


@pytest.mark.parametrize("name", ["nobody", "../pods", "a b", ""])
def test_an_unknown_node_is_refused(server: ApiServer, admin: Path, nodes: None, name: str) -> None:
    for command in (drain, undrain):
        status, text = run(command, admin, name)
        assert (status, text.count("\n")) == (2, 1)


def test_a_drain_that_leaves_services_without_a_node_is_refused_unless_forced(
    server: ApiServer, admin: Path, nodes: None
) -> None:
    server.merge("/api/v1/nodes/b", {"metadata": {"labels": {EXCLUDE_LABEL: ""}}})
    status, text = run(drain, admin, "a")
    assert (status, text.count("\n")) == (2, 1)
    assert "default/dns, default/web (2 services)" in text
    assert not is_labelled(server, "a")
    status, _ = run(drain, admin, "a", "--force", "--timeout", "1")
    assert status == 1
    assert is_labelled(server, "a")


def test_who_may_not_write_is_told_so(server: ApiServer, admin: Path, nodes: None) -> None:
    stranger = server.kubeconfig("stranger", "no-such-token")
    status, text = run(drain, stranger, "a")
    assert (status, text.count("\n")) == (2, 1)
    assert not is_labelled(server, "a")


def test_an_interrupted_drain_leaves_the_label_and_says_so(
    server: ApiServer, admin: Path, nodes: None
) -> None:
    code = "from clarion.drain.command import drain; drain()"
    # A shell has what it starts in the background ignore SIGINT, and so would all that those start.
    heedful = ["env", "--default-signal=INT"]
    command = [*heedful, sys.executable, "-c", code, "a", "--kubeconfig", str(admin)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: is_labelled(server, "a"), "the label", 30)
            process.send_signal(signal.SIGINT)
            _, text = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, is_labelled(server, "a")) == (130, True)
    assert "the label stays on node a, `clarion undrain a` takes it off" in text


# ---- real speakers

SERVICES = {f"default/web{n}": f"10.77.9.{n + 1}" for n in range(12)}


@pytest.fixture(scope="module")
def cluster(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
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
    def agree() -> dict[str, str] | None:
        owners = cluster.announced()
        whole = owners.keys() == SERVICES.keys() and set(owners.values()) == set(NODES)
        return owners if whole and owners == cluster.owners() else None

    owners: dict[str, str] = wait_until(agree, "each node owns some, and objects say so", 40)
    return owners


def in_namespace(cluster: Cluster, node: str, name: str, *words: str) -> tuple[int, str]:
    """Run a command where the API server and the speakers are reached."""
    admin = cluster.server.kubeconfig("admin")
    code = f"from clarion.{name} import {name}; {name}()"
    output = cluster.folder / f"{name}-{time.monotonic_ns()}"
    with output.open("wb") as file:
        process = cluster.hosts[node].namespace.start(
            [sys.executable, "-c", code, *words, "--kubeconfig", str(admin)],
            stdout=file.fileno(),
            stderr=subprocess.STDOUT,
        )
        status = process.wait(90)
    return status, output.read_text()


@pytest.mark.root
@pytest.mark.timeout(240)
def test_a_node_of_real_speakers_hands_over_all_it_has(cluster: Cluster) -> None:
    before = settled(cluster)
    mine = sorted(name for name, node in before.items() if node == NODES[0])
    status, text = in_namespace(cluster, "api", "drain", NODES[0], "--ask-speaker", "-o", "json")
    found = json.loads(text)
    assert (status, found["left"], found["orphans"]) == (0, [], [])
    assert sorted(row["service"] for row in found["moved"]) == mine
    # What it says is true on the wire at once: nothing is waited for.
    answering = {name: cluster.answers(SERVICES[name]) for name in mine}
    assert answering == {row["service"]: row["nodes"][0] for row in found["moved"]}
    assert NODES[0] not in answering.values()
    status, _ = in_namespace(cluster, "api", "undrain", NODES[0])
    assert status == 0
    wait_until(lambda: settled(cluster) == before, "all as before", 40)
