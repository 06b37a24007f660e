"""Whole runs: every scenario, many seeds, the digest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.run import plan_faults, plan_setup, simulate
from sim.scenarios import SCENARIOS
from sim.soak import LARGEST, SMALLEST, cluster_size, soak

ROOT = Path(__file__).parents[2]
SEEDS = 200


def command(*arguments: str, hash_seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    line = [sys.executable, "-m", "sim", *arguments]
    done = subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    return done.stdout


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_scenario_breaks_no_rule(scenario: str) -> None:
    result = simulate(plan_setup(6, 2, 2), plan_faults(6, 2, scenario), scenario)
    assert result.violations == [], result.command()


@pytest.mark.parametrize("scenario", ["random", "partition", "all-but-one"])
def test_digest_is_the_same_under_any_hash_seed(scenario: str) -> None:
    arguments = ("--nodes", "12", "--seed", "4", "--scenario", scenario)
    outputs = {command(*arguments, hash_seed=hash_seed) for hash_seed in (0, 1, 4242)}
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()[-1]) == 64


def test_digest_tells_seeds_and_faults_apart() -> None:
    runs = [("crash", 1), ("crash", 2), ("kill", 1)]
    digests = {
        simulate(plan_setup(4, seed, 1), plan_faults(4, seed, name), name).digest
        for name, seed in runs
    }
    assert len(digests) == len(runs)


def test_random_clusters_are_small_and_large() -> None:
    sizes = [cluster_size(seed) for seed in range(SEEDS)]
    assert min(sizes) >= SMALLEST
    assert max(sizes) <= LARGEST
    assert max(sizes) - min(sizes) > 40


@pytest.mark.timeout(900)
def test_random_scenarios_break_no_rule() -> None:
    broken = [result for result in soak(0, SEEDS, 2) if not result.ok]
    told = [f"{result.command()}: {result.violations[0]}" for result in broken]
    assert told == []
