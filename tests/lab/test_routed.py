"""The routed network on real FRR and BIRD: right nodes pass, wrong ones and idle ones fail."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netnslab.routed.engine import DAEMONS, PROGRAMS
from netnslab.routed.routers import BIRD

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(
        not all((PROGRAMS / name).exists() for name in DAEMONS), reason="FRR is not installed"
    ),
]


def lab(scenario: str, *arguments: str, converge: int = 25) -> subprocess.CompletedProcess[str]:
    """Runs one scenario; nodes of the tests' own are found beside this file."""
    path = f"{ROOT / 'netns-lab'}:{ROOT}:{Path(__file__).parent}"
    command = [sys.executable, "-m", "netnslab", f"--converge={converge}", "run", scenario]
    return subprocess.run(
        [*command, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


TIMED = ("gone_ms", "back_ms", "margin_ms", "last_loss_ms")
"""Bounds that a busy machine may miss; that they are judged, the arithmetic's tests hold."""


def passed(file: Path, scenario: str, *arguments: str) -> dict[str, Any]:
    """The one row of a run that kept every bound but those of time."""
    done = lab(scenario, *arguments, "--json", str(file))
    assert done.returncode in (0, 1), done.stdout + done.stderr
    document: dict[str, Any] = json.loads(file.read_text())
    failures = [text for text in document["failures"] if not any(word in text for word in TIMED)]
    assert failures == []
    assert document["ok"] is (not document["failures"])
    assert {"scenario", "detection", "session", "settings", "machine", "commit"} <= set(document)
    (row,) = document["runs"]
    assert row["sent"] > row["flows"] > 0
    return dict(row)


def test_a_dead_node_is_withdrawn_by_bfd_in_both_families(tmp_path: Path) -> None:
    more = ("--detection", "bfd-300x3", "--family", "dual")
    row = passed(tmp_path / "r.json", "bgp-power-off", *more)
    assert row["flows"] == 256
    # Three intervals after the last packet, sent up to one before the fault; the hold time is 90 s.
    assert 400 < row["gone_ms"] < 20_000
    assert 0 < row["lost"] < row["sent"]
    assert row["others_lost"] == row["strays"] == row["resets"] == 0


@pytest.mark.skipif(not BIRD.exists(), reason="BIRD is not installed")
def test_bird_judges_alike_with_passwords(tmp_path: Path) -> None:
    more = ("--router", "bird", "--session", "ebgp-md5", "--detection", "bfd-300x3")
    assert 400 < passed(tmp_path / "r.json", "bgp-silence", *more)["gone_ms"] < 20_000


def test_a_planned_stop_loses_nothing_without_addresses_too(tmp_path: Path) -> None:
    more = ("--session", "unnumbered", "--family", "dual", "--detection", "nothing")
    row = passed(tmp_path / "r.json", "bgp-stop", *more)
    assert row["lost"] == 0
    assert row["margin_ms"] > 0


def test_two_routers_of_which_one_dies_and_returns(tmp_path: Path) -> None:
    row = passed(
        tmp_path / "r.json", "bgp-peer-failure", "--detection", "hold-3", "--duration", "1"
    )
    assert row["strays"] == row["resets"] == 0


@pytest.mark.parametrize("scenario", ["bgp-power-off", "bgp-peer-failure"])
def test_doing_nothing_fails_before_the_fault(scenario: str, tmp_path: Path) -> None:
    """The same steps lead up to every fault: one and two routers stand for all."""
    file = tmp_path / "r.json"
    done = lab(scenario, "--contestant", "idle", "--json", str(file), converge=2)
    assert done.returncode == 1, done.stdout + done.stderr
    document = json.loads(file.read_text())
    assert document["ok"] is False
    assert document["runs"] == []


@pytest.mark.parametrize(
    ("node", "scenario", "word"),
    [("Abrupt", "bgp-stop", "margin_ms"), ("Forgetful", "bgp-config-storm", "strays")],
)
def test_a_wrong_node_fails(node: str, scenario: str, word: str) -> None:
    more = ("--contestant", f"wrong_nodes:{node}", "--detection", "nothing")
    done = lab(scenario, *more, "--duration", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert word in done.stdout


def test_a_contestant_that_is_none_is_named() -> None:
    done = lab("bgp-stop", "--contestant", "wrong_nodes:Nobody")
    assert done.returncode == 2
    assert "wrong_nodes:Nobody" in done.stderr
