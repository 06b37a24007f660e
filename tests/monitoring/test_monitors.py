"""What is scraped, and how: monitors beside the Services, pods and ports that there are."""

import json
from pathlib import Path
from typing import Any

import yaml

from prometheus_rules import FOLDER

MANIFESTS = FOLDER.parent
GUIDE = Path(__file__).parents[1] / "golden" / "guide" / "metallb-servicemonitor.yaml"


def read(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def test_the_pod_monitor_finds_the_speakers() -> None:
    [monitor] = read(FOLDER / "podmonitor.yaml")
    [daemonset] = read(MANIFESTS / "speaker" / "daemonset.yaml")
    labels = daemonset["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    [container] = daemonset["spec"]["template"]["spec"]["containers"]
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in [port["name"] for port in container["ports"]]
    # Our labels `service` and `node` would be renamed otherwise.
    assert endpoint["honorLabels"] is True


def test_the_service_monitor_finds_the_controller_and_nothing_twice() -> None:
    [monitor] = read(FOLDER / "servicemonitor.yaml")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    services = [
        each
        for name in ("speaker", "controller")
        for each in read(MANIFESTS / name / "service.yaml")
        if wanted.items() <= each["metadata"]["labels"].items()
    ]
    [endpoint] = monitor["spec"]["endpoints"]
    found = [
        each["metadata"]["name"]
        for each in services
        if endpoint["port"] in [port["name"] for port in each["spec"]["ports"]]
    ]
    assert found == ["controller"]
    assert endpoint["honorLabels"] is True


def test_the_guides_service_monitor_finds_both() -> None:
    [theirs] = read(GUIDE)
    wanted = theirs["spec"]["selector"]["matchLabels"]
    for name in ("speaker", "controller"):
        found = [
            each
            for each in read(MANIFESTS / name / "service.yaml")
            if wanted.items() <= each["metadata"]["labels"].items()
            and "monitoring" in [port["name"] for port in each["spec"]["ports"]]
        ]
        assert len(found) == 1


def test_the_dashboard_is_brought_as_grafanas_sidecar_expects_it() -> None:
    [kustomization] = read(FOLDER / "kustomization.yaml")
    [made] = kustomization["configMapGenerator"]
    assert made["files"] == ["dashboard.json"]
    assert kustomization["generatorOptions"]["labels"] == {"grafana_dashboard": "1"}
    board = json.loads((FOLDER / "dashboard.json").read_text())
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(places) + 1))
    # A ConfigMap holds 1 MiB, and every variable offers all at once without naming each.
    assert len((FOLDER / "dashboard.json").read_bytes()) < 1 << 18
    queried = [each for each in board["templating"]["list"] if each["type"] == "query"]
    assert [each["allValue"] for each in queried] == [".*"] * 3
