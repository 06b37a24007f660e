"""The folders: nothing forgotten, nothing twice, and what each way of installing brings."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2] / "manifests"
KUSTOMIZATIONS = sorted(ROOT.rglob("kustomization.yaml"))
FILES = sorted(path for path in ROOT.rglob("*.yaml") if path.name != "kustomization.yaml")


def _listed(kustomization: Path) -> list[Path]:
    content = yaml.safe_load(kustomization.read_text())
    assert content.keys() == {"apiVersion", "kind", "resources"}
    return [(kustomization.parent / entry).resolve() for entry in content["resources"]]


def _identity(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    metadata = entry["metadata"]
    return entry["apiVersion"], entry["kind"], metadata.get("namespace", ""), metadata["name"]


def test_every_file_is_listed_where_it_lies_and_only_once() -> None:
    listed = [path for entry in KUSTOMIZATIONS for path in _listed(entry) if path.is_file()]
    assert sorted(listed) == FILES


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_what_is_listed_exists(path: Path) -> None:
    for entry in _listed(path):
        # kubectl refuses a file outside its kustomization's own folder.
        assert entry.is_file() or (entry / "kustomization.yaml").is_file()
        assert entry.is_dir() or entry.parent == path.parent


def test_base_brings_everything_once(base: list[dict[str, Any]]) -> None:
    assert sorted(entry["kind"] for entry in base if entry["apiVersion"] != _CRD) == [
        "ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet", "Namespace", "Role",
        "RoleBinding", "Service", "ServiceAccount",
    ]  # fmt: skip
    names = [_identity(entry) for entry in base]
    assert len(set(names)) == len(names)


_CRD = "apiextensions.k8s.io/v1"


def test_the_overlay_brings_all_but_what_metallb_has(
    base: list[dict[str, Any]], overlay: list[dict[str, Any]]
) -> None:
    rest = [entry for entry in base if entry not in overlay]
    assert {entry["kind"] for entry in rest} == {"CustomResourceDefinition", "ConfigMap"}
    assert [entry for entry in base if entry in overlay] == overlay
    assert len(rest) + len(overlay) == len(base)


def test_namespaced_objects_are_in_the_namespace(base: list[dict[str, Any]]) -> None:
    wide = {"CustomResourceDefinition", "Namespace", "ClusterRole", "ClusterRoleBinding"}
    for entry in base:
        expected = None if entry["kind"] in wide else "metallb-system"
        assert entry["metadata"].get("namespace") == expected, _identity(entry)


def test_the_namespace_is_the_guides(
    base: list[dict[str, Any]], guide: list[dict[str, Any]]
) -> None:
    ours, theirs = (
        next(entry for entry in entries if entry["kind"] == "Namespace")
        for entries in (base, guide)
    )
    assert ours == theirs
