"""A run is the same in every process: whatever is sent comes in an order that no hash decides."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TRACES = Path(__file__).parents[1] / "support" / "traces.py"


def played(scenario: str, seed: int, hash_seed: int) -> str:
    command = [sys.executable, str(TRACES), str(seed), str(seed), scenario]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(("scenario", "seed"), [("partition-2-2", 1), ("deaf", 1)])
def test_whatever_strings_hash_to(scenario: str, seed: int) -> None:
    with ThreadPoolExecutor(2) as processes:
        one, two = processes.map(lambda number: played(scenario, seed, number), (0, 1))
    assert one == two
    assert one.startswith(f"{scenario} {seed} ")
