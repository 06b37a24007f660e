"""Each alert fires when it should, and not otherwise: by promtool, as Prometheus itself judges."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from prometheus_rules import FOLDER, groups, rules, write_rules

# As text: `0x40` is forty zeros here, and no number in the words of YAML.
CASES: dict[str, Any] = yaml.load(
    (Path(__file__).parent / "alerts.yaml").read_text(), Loader=yaml.BaseLoader
)
RULES = {rule["alert"]: rule for rule in rules()}
GUIDE = Path(__file__).parents[1] / "golden" / "guide"

FIRED_IN = [
    Path(__file__).parent / "test_fires.py",
    Path(__file__).parents[1] / "apiserver" / "test_alerts.py",
]
NEVER_FIRED = {
    "MetalLBControllerDown": "it looks at kube-state-metrics, which look at a Deployment",
    "MetalLBControllerCritical": "so does this",
    "MetalLBSpeakerDown": "and this at a DaemonSet",
}
"""Alerts that no real fault raises in a test, and why."""

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: install the package prometheus"
)


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def case(alert: str, kind: str) -> dict[str, Any]:
    """Return one case in promtool's own form."""
    found = CASES[alert][kind]
    series = found["series"].items()
    labels = RULES[alert]["labels"] | found.get("labels", {})
    fired = [{"exp_labels": labels}] if kind == "fires" else []
    return {
        "name": f"{alert} {kind}",
        "interval": "15s",
        "input_series": [{"series": name, "values": text} for name, text in series],
        "alert_rule_test": [{"eval_time": found["at"], "alertname": alert, "exp_alerts": fired}],
    }


def test_every_alert_has_its_cases() -> None:
    assert CASES.keys() == RULES.keys()
    assert sum(len(group["rules"]) for group in groups()) == len(RULES)
    assert all(each.keys() == {"fires", "quiet"} for each in CASES.values())


@needs_promtool
def test_each_alert_fires_and_keeps_quiet(tmp_path: Path) -> None:
    bare = json.loads(json.dumps(groups()))
    for group in bare:
        for rule in group["rules"]:
            # promtool compares them too: what they name is looked at below.
            del rule["annotations"]
    write_rules(tmp_path / "rules.yaml", bare)
    tests = [case(alert, kind) for alert in CASES for kind in ("fires", "quiet")]
    test = {"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": tests}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", tmp_path / "test.yaml")


@needs_promtool
def test_promtool_finds_nothing_in_them(tmp_path: Path) -> None:
    write_rules(tmp_path / "rules.yaml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yaml")


@pytest.mark.parametrize("alert", RULES)
def test_what_it_says_names_only_labels_that_it_has(alert: str) -> None:
    labels = CASES[alert]["fires"].get("labels", {})
    for text in RULES[alert]["annotations"].values():
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= labels.keys()


@pytest.mark.parametrize("alert", RULES)
def test_it_is_severe_in_one_of_two_ways(alert: str) -> None:
    assert RULES[alert]["labels"] in ({"severity": "critical"}, {"severity": "warning"})


def test_the_guides_alerts_are_there_as_they_stand_there() -> None:
    [path] = [path for path in GUIDE.rglob("*.yaml") if "MetalLBControllerDown" in path.read_text()]
    [theirs] = yaml.safe_load_all(path.read_text())
    for rule in theirs["spec"]["groups"][0]["rules"]:
        ours = RULES[rule["alert"]]
        assert ours["expr"].split() == rule["expr"].split()
        assert (ours["for"], ours["labels"]) == (rule["for"], rule["labels"])


def test_it_stands_where_the_operator_looks_for_it() -> None:
    for path in FOLDER.glob("rules-*.yaml"):
        metadata = yaml.safe_load(path.read_text())["metadata"]
        assert metadata["namespace"] == "monitoring"
        assert metadata["labels"] == {"app": "metallb", "prometheus": "k8s", "role": "alert-rules"}


def test_each_alert_is_raised_by_a_real_fault_or_it_is_said_why_not() -> None:
    text = "".join(path.read_text() for path in FIRED_IN)
    calls = re.findall(r"\.(?:fires|wait_for_alert)\((.*?)\)\n", text, re.DOTALL)
    fired = set(re.findall(r'"(\w+)"', "".join(calls)))
    assert RULES.keys() - fired == NEVER_FIRED.keys()
