"""A short run of every target, coverage-guided; the long ones are in docs/fuzzing.md."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
INPUTS = 60_000
LONGEST = 300
"""Seconds on a busy machine; it takes 20 of processor time in all."""
GROUPS = {
    "gossip": 18,
    "frames": 9,
    "kube": 5,
    "doors": 3,
    "engine": 3,
    "webhooks": 2,
    "secrets": 1,
}

pytestmark = [
    pytest.mark.timeout(LONGEST),
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None, reason="atheris has no build for this machine"
    ),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)


@pytest.mark.parametrize("group", GROUPS)
def test_no_find_in_a_short_run(group: str, tmp_path: Path) -> None:
    done = run(group, "--runs", str(INPUTS // len(GROUPS)), "--finds", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:-1]]
    assert len(rows) == GROUPS[group]
    for name, inputs, coverage, *_ in rows:
        assert int(inputs.replace(",", "")) > 0, name
        assert int(coverage.replace(",", "")) > 0, name


def test_a_find_fails_the_run_and_leaves_its_input(tmp_path: Path) -> None:
    """The runner itself, on the one target that exists only to be found."""
    done = run("self-test", "--runs", "100000", "--finds", str(tmp_path))
    assert done.returncode == 1, done.stdout
    found = re.search(r"self-test .* (\S+crash-\w+)$", done.stdout, re.M)
    assert found
    assert Path(found[1]).read_bytes().startswith(b"\x07\x2a")
    assert run("self-test", "--input", found[1]).returncode == 1
