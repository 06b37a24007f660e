"""All judges together: what is said of what could not be looked at, and in which order."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from clarion.doctor import doctor
from clarion.doctor.cluster_objects import ObjectFacts
from clarion.doctor.documents import ClusterFacts
from clarion.doctor.examination import DoctorSight, blind_to, examine
from clarion.doctor.finding import DoctorCheck, Gravity
from clarion.doctor.proxy import ProxyFacts
from clarion.doctor.reach import PeerReach, ProbeAnswer
from kube.objects.core import Node
from kube.objects.metallb import IPAddressPool

POOL = IPAddressPool("lb", "pool", ("192.0.2.0/24",))
CLUSTER = ClusterFacts(ObjectFacts({"a": Node("a")}, pools=(POOL,)))
SILENT = PeerReach("b", "192.0.2.2", echo=ProbeAnswer.SILENT, tcp=ProbeAnswer.CLOSED)


def test_the_worst_comes_first() -> None:
    sight = DoctorSight(source="x", node="a", cluster=CLUSTER, peers=(SILENT,))
    found = examine(sight).findings
    assert [(each.severity, each.check) for each in found] == [
        (Gravity.ERROR, DoctorCheck.GOSSIP_TCP),
        (Gravity.ERROR, DoctorCheck.ADVERTISEMENTS),
        (Gravity.WARNING, DoctorCheck.ECHO),
    ]


def test_commands_name_the_namespace_that_it_is() -> None:
    sight = DoctorSight(source="x", namespace="lb", node="a", peers=(SILENT,))
    (found,) = (each for each in examine(sight).findings if each.check is DoctorCheck.GOSSIP_TCP)
    assert found.mend == ("kubectl -n lb get pods -o wide --field-selector spec.nodeName=b")


def test_nothing_is_said_of_a_check_that_could_not_be_made() -> None:
    proxy = replace(CLUSTER, proxy=ProxyFacts("ipvs", False))
    unseen = {DoctorCheck.KUBE_PROXY: "why\x1b[2J not"}
    answer = examine(DoctorSight(source="x", cluster=proxy, unseen=unseen))
    assert DoctorCheck.KUBE_PROXY not in {each.check for each in answer.findings}
    assert DoctorCheck.KUBE_PROXY not in answer.checks
    assert [each.reason for each in answer.unseen] == ["why?[2J not"]


def test_who_may_not_read_bgp_cannot_tell_that_a_pool_is_left_alone() -> None:
    blind = replace(CLUSTER, objects=replace(CLUSTER.objects, routes=None))
    assert examine(DoctorSight(source="x", cluster=blind)).findings == ()
    assert len(examine(DoctorSight(source="x", cluster=CLUSTER)).findings) == 1


def test_objects_that_cannot_be_read_are_a_finding() -> None:
    broken = ClusterFacts(ObjectFacts({}), problems=("IPAddressPool a: spec: is missing", "b"))
    (found,) = examine(DoctorSight(source="x", cluster=broken)).findings
    assert found.seen == "2 cannot be read, as IPAddressPool a: spec: is missing"


def test_each_kind_that_is_missing_blinds_what_needs_it() -> None:
    assert blind_to({}) == {}
    assert set(blind_to({"Service": "403"})) == {
        DoctorCheck.BOUND_IP,
        DoctorCheck.ARP_ANNOUNCE,
        DoctorCheck.OPTMEM,
    }
    assert blind_to({"ConfigMap": "403"}) == {DoctorCheck.KUBE_PROXY: "ConfigMap: 403"}


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(doctor, words)
    return result.exit_code, result.output


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "METALLB_NODE_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_without_cluster_and_node_nothing_was_looked_at(nowhere: None) -> None:
    status, text = run()
    assert status == 2
    assert "0 checks, 0 errors, 0 warnings, 17 not looked at" in text
    assert "not looked at: bound-ip: this machine is no node" in text


def test_a_kubeconfig_that_is_none_is_said_of_each_check(nowhere: None, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("nonsense")
    status, text = run("--kubeconfig", str(tmp_path / "config"))
    assert status == 2
    assert f"not looked at: nodes: {tmp_path}/config: " in text


def test_no_cluster_answers(nowhere: None, tmp_path: Path) -> None:
    # Port 1 of the loopback: nobody listens there.
    (tmp_path / "config").write_text(
        "{apiVersion: v1, kind: Config, current-context: x,"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}],"
        " users: [{name: u, user: {token: hidden}}],"
        " contexts: [{name: x, context: {cluster: c, user: u}}]}"
    )
    status, text = run("--kubeconfig", str(tmp_path / "config"))
    assert (status, "hidden" in text) == (2, False)
    assert "not looked at: nodes: " in text
