"""The folders: nothing forgotten, nothing twice, and what each way of installing brings."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2] / "manifests"
KUSTOMIZATIONS = sorted(ROOT.rglob("kustomization.yaml"))
FILES = sorted(path for path in ROOT.rglob("*.yaml") if path.name != "kustomization.yaml")


def _listed(kustomization: Path) -> list[Path]:
    content = yaml.safe_load(kustomization.read_text())
    made_here = {"patches", "configMapGenerator", "generatorOptions"}
    assert content.keys() - made_here == {"apiVersion", "kind", "resources"}
    patches = [patch["path"] for patch in content.get("patches", ()) if "path" in patch]
    listed = [*content["resources"], *patches]
    return [(kustomization.parent / entry).resolve() for entry in listed]


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
        "ClusterRole", "ClusterRole", "ClusterRoleBinding", "ClusterRoleBinding", "ConfigMap",
        "DaemonSet", "Deployment", "Namespace", "PodDisruptionBudget", "PodDisruptionBudget",
        "Role", "Role", "RoleBinding", "RoleBinding", "Service", "Service", "Service",
        "ServiceAccount", "ServiceAccount", "ValidatingWebhookConfiguration",
    ]  # fmt: skip
    names = [_identity(entry) for entry in base]
    assert len(set(names)) == len(names)


_CRD = "apiextensions.k8s.io/v1"


def _component(entry: dict[str, Any]) -> str:
    return str(entry["metadata"].get("labels", {}).get("component", ""))


def test_the_overlay_brings_all_but_what_metallb_has(
    base: list[dict[str, Any]], overlay: list[dict[str, Any]]
) -> None:
    rest = [entry for entry in base if entry not in overlay]
    controllers = [entry for entry in rest if _component(entry) == "controller"]
    others = {entry["kind"] for entry in rest if entry not in controllers}
    assert others == {"CustomResourceDefinition", "ConfigMap"}
    assert not any(_component(entry) == "controller" for entry in overlay)
    assert [entry for entry in base if entry in overlay] == overlay
    assert len(rest) + len(overlay) == len(base)


def test_namespaced_objects_are_in_the_namespace(base: list[dict[str, Any]]) -> None:
    wide = {
        "CustomResourceDefinition", "Namespace", "ClusterRole", "ClusterRoleBinding",
        "ValidatingWebhookConfiguration",
    }  # fmt: skip
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


def test_the_strict_overlay_makes_every_webhook_fail_and_changes_nothing_else(
    base: list[dict[str, Any]],
) -> None:
    folder = ROOT / "overlays" / "webhook-fail"
    content = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert content["resources"] == ["../../base"]
    (patch,) = content["patches"]
    (hooks,) = (entry for entry in base if entry["kind"] == patch["target"]["kind"])
    assert hooks["metadata"]["name"] == patch["target"]["name"]
    assert yaml.safe_load(patch["patch"]) == [
        {"op": "replace", "path": f"/webhooks/{number}/failurePolicy", "value": "Fail"}
        for number in range(len(hooks["webhooks"]))
    ]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_kubectl_renders_it(path: Path) -> None:
    run = subprocess.run(
        ["kubectl", "kustomize", str(path.parent)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    rendered = list(yaml.safe_load_all(run.stdout))
    hooks = [
        hook["failurePolicy"]
        for entry in rendered
        if entry["kind"] == "ValidatingWebhookConfiguration"
        for hook in entry["webhooks"]
    ]
    assert set(hooks) <= {"Fail" if path.parent.name == "webhook-fail" else "Ignore"}
