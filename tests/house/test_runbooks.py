"""Every alert has its runbook, every expression names metrics that exist, and none is forgotten."""

import json
import re
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric

from controller import metrics as controllers
from controller.webhooks.metrics import WebhookMetrics
from plan.release import Options
from process.logs import logger
from prometheus_rules import FOLDER, rules
from speaker.bgp.metrics import BgpCollector
from speaker.bgp.routing import Deaf, Routing, RoutingSettings
from speaker.metrics.collector import Figures, make_registry
from speaker.wire.layer2 import Layer2Stats

RUNBOOKS = (Path(__file__).parents[2] / "docs" / "runbooks.md").read_text()
COMMANDS = {
    *("owners", "explain", "simulate", "check", "log", "doctor", "drain", "undrain", "top", "ring"),
}
OF_KUBE_STATE_METRICS = {
    "kube_deployment_status_replicas_available",
    "kube_deployment_spec_replicas",
    "kube_daemonset_status_number_unavailable",
    "kube_daemonset_status_number_ready",
    "kube_daemonset_status_desired_number_scheduled",
}
OF_PROMETHEUS = {"up", "ALERTS"}
NAME = re.compile(r"\b(?:up|ALERTS|(?:clarion|metallb|kube|process|python)_\w+)\b")


def sections() -> dict[str, str]:
    """Return the text below each heading."""
    parts = re.split(r"^## (.+)\n", RUNBOOKS, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def scraped(families: Iterable[Metric]) -> Iterator[str]:
    """Yield names as Prometheus stores them."""
    for each in families:
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        yield from (each.name + suffix for suffix in suffixes.get(each.type, ("",)))


@cache
def existing() -> frozenset[str]:
    figures = Figures("a", Layer2Stats(), {}, lambda ip, service: False, dict)
    bgp = RoutingSettings(Path("/nowhere"), Options("a"))
    sources: list[Iterable[Metric]] = [
        make_registry(figures)[0].collect(),
        BgpCollector(Routing(bgp, Deaf(), time.monotonic, logger())).collect(),
        controllers.make_registry(controllers.Figures()).collect(),
        WebhookMetrics(["/x"]).collect(),
    ]
    found = {name for families in sources for name in scraped(families)}
    return frozenset(found | OF_KUBE_STATE_METRICS | OF_PROMETHEUS)


def named(expression: str) -> set[str]:
    """Return the names of metrics in an expression; what stands in quotes is none."""
    return set(NAME.findall(re.sub(r"\"[^\"]*\"", '""', expression)))


def dashboard_expressions() -> list[str]:
    board = json.loads((FOLDER / "dashboard.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert list(sections()) == [*dict.fromkeys(sections())]
    assert sections().keys() == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize("alert", sections())
def test_a_runbook_begins_with_a_command_that_exists(alert: str) -> None:
    text = sections()[alert].lstrip()
    assert text.startswith("`clarion ")
    assert set(re.findall(r"`clarion (\w+)", text)) <= COMMANDS


@pytest.mark.parametrize("rule", [*rules()], ids=lambda rule: str(rule["alert"]))
def test_an_alert_names_metrics_that_exist_and_its_runbook(rule: dict[str, Any]) -> None:
    names = named(rule["expr"])
    assert names
    assert names <= existing()
    assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("expression", dashboard_expressions())
def test_the_dashboard_names_metrics_that_exist(expression: str) -> None:
    names = named(expression)
    assert names
    assert names <= existing()


def test_a_name_that_does_not_exist_is_found() -> None:
    expression = 'sum by (node) (clarion_nonsense{reason="clarion_moves_total"}) > 0'
    assert named(expression) - existing() == {"clarion_nonsense"}
