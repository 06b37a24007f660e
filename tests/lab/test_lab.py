"""The whole lab against stand-in speakers: a right one passes, wrong ones fail."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).with_name("standin.py")

pytestmark = [pytest.mark.root, pytest.mark.lab]


def lab(mode: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the lab with a stand-in that behaves in this mode."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'netns-lab'}:{ROOT}"}
    speaker = f"{sys.executable} {STAND_IN} {mode}"
    command = [sys.executable, "-m", "netnslab", "--speaker", speaker, *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=110, check=False
    )


def measured(file: Path) -> dict[str, Any]:
    """The result that the lab wrote."""
    document: dict[str, Any] = json.loads(file.read_text())
    return document


@pytest.mark.parametrize("scenario", ["power-off", "kill", "stop", "rejoin"])
def test_a_right_speaker_passes(scenario: str, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = lab("right", "run", scenario, "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    result = measured(file)
    assert result["ok"] is True
    assert {"scenario", "nodes", "settings", "commit", "runs", "bystanders", "ok"} <= set(result)
    row = result["runs"][0]
    assert row["owner_after"] == row["expected"]
    assert row["sent"] > 0
    bystanders = result["bystanders"]
    assert bystanders.pop("late") < 10
    assert bystanders == {"ips": 4 - len(result["runs"]), "lost": 0, "moves": 0, "silent_ms": 0.0}


def test_a_fault_is_repeated_without_rebuilding(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = lab("right", "run", "power-off", "--runs", "2", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["run"] for row in measured(file)["runs"]} == {1, 2}


def test_leaving_silently_fails_stop(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = lab("leaves-silently", "run", "stop", "--json", str(file))
    assert done.returncode == 1, done.stdout + done.stderr
    result = measured(file)
    assert result["ok"] is False
    assert all(row["silent_ms"] > 500 for row in result["runs"])


@pytest.mark.parametrize("scenario", ["power-off", "kill", "stop"])
def test_never_taking_over_fails(scenario: str, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = lab("never-takes-over", "run", scenario, "--json", str(file))
    assert done.returncode == 1, done.stdout + done.stderr
    result = measured(file)
    assert result["ok"] is False
    assert [row["owner_after"] for row in result["runs"]] == [None] * len(result["runs"])
    assert result["runs"]


def test_the_demo_fails_where_an_ip_does_not_come_back() -> None:
    done = lab("never-takes-over", "demo")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED" in done.stdout


def test_the_demo_passes_without_a_terminal() -> None:
    done = lab("right", "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "what the client saw" in done.stdout
