"""The whole lab against stand-in speakers: a right one passes, wrong ones fail."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netnslab.course.scenarios import SCENARIOS
from netnslab.course.strike import Scenario
from netnslab.machines.cgroups import PREFIX, V1, V2

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).with_name("standin.py")
CONTROLLER = STAND_IN.with_name("standin_controller.py")
SLOW = ("--limits", "memberlist")

pytestmark = [pytest.mark.root, pytest.mark.lab]


def lab(mode: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the lab with a stand-in that behaves in this mode."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'netns-lab'}:{ROOT}"}
    speaker = f"{sys.executable} {STAND_IN} {mode}"
    # Whoever does nothing shall not be waited for any longer than it takes the others.
    patience = ["--converge", "2" if mode == "idle" else "20", "--settle", "3", "--watch", "2"]
    options = [*patience, "--speaker", speaker]
    command = [sys.executable, "-m", "netnslab", *options, *arguments]
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
    done = lab("right", "run", scenario, *SLOW, "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    result = measured(file)
    assert result["ok"] is True
    assert {"scenario", "nodes", "settings", "commit", "runs", "bystanders", "ok"} <= set(result)
    row = result["runs"][0]
    assert row["owner_after"] == row["expected"]
    assert row["sent"] > 0
    bystanders = result["bystanders"]
    assert bystanders["ips"] == 4 - len(result["runs"])
    harmed = ("lost", "moves", "silent_ms", "claimants", "tcp_reset", "astray")
    assert [bystanders[name] for name in harmed] == [0] * len(harmed)


def test_many_ips_are_asked_of_the_nodes_kernels(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = lab("right", "run", "power-off", "--services", "60", *SLOW, "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = measured(file)["runs"]
    assert len(rows) > 10
    assert all(0 < row["lost"] < row["sent"] for row in rows)


def test_a_fault_is_repeated_without_rebuilding(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    lab("right", "run", "power-off", *SLOW, "--runs", "2", "--json", str(file))
    rows = measured(file)["runs"]
    assert {row["run"] for row in rows} == {1, 2}
    assert all(row["owner_after"] == row["expected"] != row["owner_before"] for row in rows)


def test_leaving_silently_fails_stop(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = lab("leaves-silently", "run", "stop", "--json", str(file))
    assert done.returncode == 1, done.stdout + done.stderr
    result = measured(file)
    assert result["ok"] is False
    assert all(row["silent_ms"] > 1000 for row in result["runs"])


def takes_over(plan: Scenario) -> bool:
    """Whether a static owner cannot be right; `rejoin` cannot even begin with one."""
    return not (plan.calm or plan.everyone or plan is SCENARIOS["rejoin"])


def unlike() -> list[str]:
    """The scenarios that differ in more than how long they last, and how it is looked at."""
    same = {
        replace(plan, duration=0.0, watch=0.0, rate=0): name for name, plan in SCENARIOS.items()
    }
    return sorted(same.values())


@pytest.mark.parametrize("scenario", [name for name in unlike() if takes_over(SCENARIOS[name])])
def test_not_taking_over_fails(scenario: str, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    duration = str(min(SCENARIOS[scenario].duration, 3.0))
    done = lab("never-takes-over", "run", scenario, "--duration", duration, "--json", str(file))
    assert done.returncode == 1, done.stdout + done.stderr
    result = measured(file)
    assert result["ok"] is False
    assert [row["takeover_ms"] for row in result["runs"]] == [None] * len(result["runs"]) != []


@pytest.mark.parametrize("scenario", ["rejoin", "rolling", "loss", "quota", "partition-2-2"])
def test_doing_nothing_fails_before_the_fault(scenario: str, tmp_path: Path) -> None:
    """The same steps lead up to every fault: one cluster of each kind stands for all."""
    file = tmp_path / "result.json"
    done = lab("idle", "run", scenario, "--json", str(file))
    assert done.returncode == 1, done.stdout + done.stderr
    result = measured(file)
    assert result["ok"] is False
    assert result["runs"] == []


@pytest.mark.parametrize(
    ("mode", "scenario", "duration", "word"),
    [
        ("nervous", "blink-250", 0.25, "moves"),
        ("right", "gossip-cut", 4.0, "dual_answer_ms"),
        ("hasty", "thaw", 4.0, "before it had heard from anybody"),
    ],
    ids=["nervous", "owns-all-without-gossip", "claims-before-contact"],
)
def test_lack_of_calm_fails(mode: str, scenario: str, duration: float, word: str) -> None:
    done = lab(mode, "run", scenario, "--duration", str(duration))
    assert done.returncode == 1, done.stdout + done.stderr
    assert word in done.stdout


def test_loss_is_measured_and_a_right_speaker_bears_it() -> None:
    done = lab("right", "run", "loss", "--duration", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    share = re.search(r"([0-9.]+) % of \d+ round trips of ARP failed", done.stdout)
    assert share is not None
    assert 11 < float(share[1]) < 27


def test_quota_limits_the_speakers_and_leaves_no_group_behind(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = lab("right", "run", "quota", *SLOW, "--duration", "3", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    notes = " ".join(measured(file)["notes"])
    assert "node-5: " in notes
    rate = re.search(r"storm of (\d+)", notes)
    assert rate is not None
    assert int(rate[1]) > 1_000
    assert not [*V1.glob(f"{PREFIX}*"), *V2.glob(f"{PREFIX}*")]


def demo(speaker: str, controller: str = "right") -> subprocess.CompletedProcess[str]:
    return lab(speaker, "demo", "--controller", f"{sys.executable} {CONTROLLER} {controller}")


def test_the_demo_fails_where_an_ip_does_not_come_back() -> None:
    done = demo("never-takes-over")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED" in done.stdout


@pytest.mark.parametrize("controller", ["idle", "broken"])
def test_the_demo_fails_where_nobody_gives_addresses(controller: str) -> None:
    # "idle": a controller is not waited for any longer than speakers that do nothing.
    done = demo("idle", controller)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED the controller did not give the addresses out" in done.stdout
    assert ("cannot go on" in done.stdout) == (controller == "broken")


def test_the_demo_shows_the_whole_path_without_a_terminal() -> None:
    done = demo("right")
    assert done.returncode == 0, done.stdout + done.stderr
    said = iter(done.stdout.splitlines())
    for expected in (
        r"service-1: has no address",
        r"starting a controller",
        r"service-1: has (10\.77\.\S+) from pool lab",
        r"starting 3 speakers",
        r"service-1: node-[123] owns 10\.77\.\S+ and answers ARP: 10\.77\.\S+ is at [0-9a-f:]{17}$",
        r"cutting the power of",
        r" *what the client saw",
    ):
        assert any(re.match(expected, line) for line in said), f"{expected}\n{done.stdout}"
