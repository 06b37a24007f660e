"""The same cluster is the same, however it was dumped."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from clarion.sources import dumps
from clarion.sources.picture import merged
from clarion_command import run
from clarion_world import DUMP, WORLD
from kube.files.manifest import Most
from kube.snapshot import Reading

LIST: dict[str, Any] = yaml.safe_load(DUMP.read_text())


def owners(*arguments: str, stdin: bytes = b"") -> Any:
    data = run("owners", *arguments, "-o", "json", stdin=stdin).data
    return data["owners"], data["pending"]


EXPECTED = owners("--from", str(DUMP))


def test_json_is_read_as_yaml_is(tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(LIST))
    assert owners("--from", str(path)) == EXPECTED


def test_the_standard_input_is_read_as_a_file_is() -> None:
    assert owners("--from", "-", stdin=DUMP.read_bytes()) == EXPECTED


def test_a_folder_of_single_objects(tmp_path: Path) -> None:
    for index, item in enumerate(LIST["items"]):
        folder = tmp_path / item["kind"]
        folder.mkdir(exist_ok=True)
        (folder / f"{index}.json").write_text(json.dumps(item))
    (tmp_path / ".hidden.yaml").write_text("a: [")
    (tmp_path / "notes.txt").write_text("a: [")
    assert owners("--from", str(tmp_path)) == EXPECTED


def test_what_is_dumped_twice_counts_once(tmp_path: Path) -> None:
    for name in ("all", "again"):
        (tmp_path / f"{name}.yaml").write_text(DUMP.read_text())
    assert owners("--from", str(tmp_path)) == EXPECTED


def test_the_manifests_that_the_cluster_was_made_of() -> None:
    """A server fills in what manifests leave out."""
    assert owners("--from", str(WORLD)) == EXPECTED


@pytest.mark.parametrize("content", [b"a: [", b"{", b"\xff\xfe\xfd", b"[1]", b"- 1"])
def test_what_is_no_manifest_cannot_be_looked_at(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    ran = run("owners", "--from", str(tmp_path))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("clarion: a.yaml:")


def test_a_broken_object_costs_only_itself(tmp_path: Path) -> None:
    broken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"type": 7}}
    path = tmp_path / "all.json"
    path.write_text(json.dumps({**LIST, "items": [*LIST["items"], broken]}))
    assert owners("--from", str(path)) == EXPECTED
    data = run("owners", "--from", str(path), "-o", "json").data
    assert [(found["object"], found["field"]) for found in data["remarks"]] == [
        ("Service x", "spec.type")
    ]


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dumps, "MOST", Most(size=1_000))
    ran = run("owners", "--from", str(DUMP))
    assert (ran.status, ran.err) == (2, f"clarion: {DUMP}: longer than 1000 bytes\n")
    ran = run("owners", "--from", "-", stdin=b" " * 1_001)
    assert (ran.status, ran.err) == (2, "clarion: stdin: longer than 1000 bytes\n")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_bytes(b" " * 600)
    ran = run("owners", "--from", str(tmp_path))
    assert (ran.status, ran.err) == (2, f"clarion: {tmp_path}: longer than 1000 bytes\n")
    monkeypatch.setattr(dumps, "MAX_FILES", 2)
    for name in "abc":
        (tmp_path / f"{name}.yaml").write_text("")
    ran = run("owners", "--from", str(tmp_path))
    assert (ran.status, ran.err) == (2, f"clarion: {tmp_path}: more than 2 files\n")


def test_json_has_lines_where_it_is_judged(tmp_path: Path) -> None:
    pool = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "p", "namespace": "metallb-system"},
        "spec": {"addresses": ["10.0.0.0/99"]},
    }
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(pool, indent=2))
    assert "pool.json:10: error: " in run("check", str(path)).out


def test_merging_keeps_what_is_wrong() -> None:
    one, other = Reading(ignored=frozenset({"Pod"})), Reading(broken=frozenset({("a", "b", "c")}))
    found = merged([one, other], "x")
    assert (found.ignored, found.broken) == (one.ignored, other.broken)
