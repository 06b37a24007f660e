"""A folder whose BGP is wanted: what changes in it, and what a broken file leaves in force."""

from pathlib import Path

from kube.bgp_config import BgpConfig
from kube.files.directory import _Directory
from kube.snapshot import Snapshot

PEER = """
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router}
spec: {myASN: 64512, peerASN: 64501, peerAddress: 192.0.2.1, passwordSecret: {name: s}}
"""
SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: s}
type: kubernetes.io/basic-auth
stringData: {password: %s}
"""


def _snapshot(told: tuple[Snapshot, object] | None) -> Snapshot:
    assert told is not None
    return told[0]


def _passwords(snapshot: Snapshot) -> list[str]:
    return [found.password for found in snapshot.bgp.sessions] if snapshot.bgp else []


def test_a_password_is_rotated_by_a_changed_file(tmp_path: Path) -> None:
    (tmp_path / "peer.yaml").write_text(PEER)
    secret = tmp_path / "secret.yaml"
    secret.write_text(SECRET % "one")
    directory = _Directory(tmp_path, "metallb-system", bgp_of="n1")
    assert _passwords(_snapshot(directory.load())) == ["one"]
    secret.write_text(SECRET % "two")
    assert _passwords(_snapshot(directory.poll(forced=True))) == ["two"]


def test_what_is_broken_leaves_the_last_good_state(tmp_path: Path) -> None:
    (tmp_path / "peer.yaml").write_text(PEER)
    secret = tmp_path / "secret.yaml"
    secret.write_text(SECRET % "one")
    directory = _Directory(tmp_path, "metallb-system", bgp_of="n1")
    directory.load()
    secret.unlink()
    assert _passwords(_snapshot(directory.poll(forced=True))) == ["one"]
    (tmp_path / "peer.yaml").write_text("{")
    assert _passwords(_snapshot(directory.poll(forced=True))) == ["one"]
    (tmp_path / "peer.yaml").unlink()
    assert _snapshot(directory.poll(forced=True)).bgp == BgpConfig()


def test_who_names_no_node_reads_nothing_of_bgp(tmp_path: Path) -> None:
    (tmp_path / "peer.yaml").write_text(PEER)
    assert _snapshot(_Directory(tmp_path, "metallb-system").load()).bgp is None
