"""scenarios.toml is one table for two worlds: each reads what it plays, both refuse the same."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

from netnslab.course import limits, scenario_table, scenarios
from netnslab.results import report
from sim import failover_scenarios, record
from sim import scenario_table as simulated

ROOT = Path(__file__).parents[2]
FILE = ROOT / "scenarios.toml"
TABLE: dict[str, dict[str, Any]] = tomllib.loads(FILE.read_text())
PLAYED = {
    world: [name for name, row in TABLE.items() if world in row.get("worlds", simulated.WORLDS)]
    for world in simulated.WORLDS
}
BOTH = [name for name in PLAYED["simulator"] if name in PLAYED["lab"]]

# ---- every name is known


def test_each_world_plays_all_that_the_table_gives_it_and_nothing_else() -> None:
    assert len(BOTH) > 30
    assert set(PLAYED["simulator"] + PLAYED["lab"]) == set(TABLE)
    assert list(failover_scenarios.SCENARIOS) == PLAYED["simulator"]
    assert set(failover_scenarios.DRAWS) == set(PLAYED["simulator"])
    assert list(scenarios.SCENARIOS) == list(limits.FAILOVER) == PLAYED["lab"]
    assert set(scenarios.STAGED) == set(PLAYED["lab"])


def test_results_and_pages_name_scenarios_of_the_table() -> None:
    named = {
        json.loads(path.read_text())["scenario"] for path in (ROOT / "docs/failover").glob("*.json")
    }
    assert named
    assert named <= set(PLAYED["lab"])
    page = (ROOT / "docs/failover.md").read_text()
    rows = set(re.findall(r"^\| ([\w-]+) \| \d+ \| \d+ / ", page, re.MULTILINE))
    assert rows
    assert rows <= set(PLAYED["simulator"])


# ---- one thing in both worlds


@pytest.mark.parametrize("name", BOTH)
def test_what_is_said_once_holds_in_both_worlds(name: str) -> None:
    here, there = failover_scenarios.SCENARIOS[name], scenario_table.TABLE[name]
    staged, row = scenarios.SCENARIOS[name], TABLE[name]
    assert here.what == there.what == row["what"]
    assert here.nodes == there.nodes == staged.nodes
    assert (here.services or here.nodes + 1) == there.services == staged.services
    assert here.groups == there.groups
    assert here.uplink == there.uplink == staged.uplink
    if here.victims is not None:
        assert here.victims == scenario_table.how_many(staged.victims, staged.nodes)
    for field in ("silent", "moves", "dual", "lasts", "median_dual"):
        if not any(field in row.get(world, {}) for world in simulated.WORLDS):
            if field == "lasts":
                assert sum(here.lasts or (0.0, 0.0)) / 2 == there.lasts == staged.duration
            else:
                assert getattr(here, field) == getattr(there, field)


def test_half_is_three_of_five_everywhere() -> None:
    assert failover_scenarios.SCENARIOS["half"].victims == 3
    assert scenario_table.how_many(scenarios.SCENARIOS["half"].victims, 5) == 3


def test_no_world_forgives_more_than_the_other_without_a_word() -> None:
    """A bound that differs stands below a comment that says why, or with one in its line."""
    lines = FILE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(lab|simulator)\.(silent|moves|dual|lasts|median_dual) = ", line):
            begin = max(n for n in range(number) if lines[n].startswith("["))
            said = [text for text in lines[begin:number] if text.startswith("#")]
            above = lines[begin - 1].startswith("#")
            assert said or above or "#" in line, f"scenarios.toml:{number + 1}: {line}: why?"


# ---- both refuse what makes no sense, and say where

GOOD = 'what = "x"\nnodes = 3\nvictims = 1\nsilent = 1.0\nmoves = 1\n'
READERS: list[tuple[Callable[[str, str], Any], type[Exception]]] = [
    (simulated.parse, simulated.ScenarioTableError),
    (scenario_table.parse, scenario_table.LabTableError),
]


@pytest.mark.parametrize(("parse", "error"), READERS, ids=simulated.WORLDS)
@pytest.mark.parametrize(
    ("text", "field"),
    [
        (GOOD + "silence = 2.0\n", "silence"),
        (GOOD + "lab.rate = 5\nsimulator.rate = 5\n", "{world}.rate"),
        (GOOD + 'lab.silent = "long"\nsimulator.silent = "long"\n', "{world}.silent"),
        (GOOD.replace("silent = 1.0", "silent = true"), "silent"),
        (GOOD.replace("silent = 1.0", "silent = inf"), "silent"),
        (GOOD.replace("silent = 1.0\n", ""), "silent"),
        (GOOD.replace('what = "x"\n', ""), "what"),
        (GOOD.replace('"x"', '""'), "what"),
        (GOOD.replace("nodes = 3", "nodes = 1"), "nodes"),
        (GOOD.replace("nodes = 3", "nodes = 3.0"), "nodes"),
        (GOOD.replace("moves = 1", "moves = -1"), "moves"),
        (GOOD.replace("victims = 1\n", ""), "victims"),
        (GOOD.replace("victims = 1", "victims = 3"), "victims"),
        (GOOD.replace("victims = 1", 'victims = "most"'), "victims"),
        (GOOD + "groups = [1, 2]\n", "victims"),
        (GOOD.replace("victims = 1", "groups = [2, 2]"), "groups"),
        (GOOD.replace("victims = 1", "groups = [3]"), "groups"),
        (GOOD + "lasts = [2.0, 1.0]\n", "lasts"),
        (GOOD + "lasts = [1.0, 2.0, 3.0]\n", "lasts"),
        (GOOD + "lasts = 0\n", "lasts"),
        (GOOD + 'quorum = "most"\n', "quorum"),
        (GOOD + "uplink = 1\n", "uplink"),
        (GOOD + 'heals = "yes"\n', "heals"),
        (GOOD + "worlds = []\n", "worlds"),
        (GOOD + 'worlds = ["lab", "reality"]\n', "worlds"),
        (GOOD + 'worlds = ["lab"]\nsimulator.dual = 1\n', "simulator"),
        (GOOD + 'worlds = ["simulator"]\nlab.dual = 1\n', "lab"),
        (GOOD + "lab = 1\n", "lab"),
        (GOOD + "median = 1.5\n", "median"),
        (GOOD + "median_dual = 1\n", "median_dual"),
    ],
)
def test_one_line_says_which_field_of_which_scenario(
    parse: Callable[[str, str], Any], error: type[Exception], text: str, field: str
) -> None:
    world = simulated.WORLDS[[one for one, _ in READERS].index(parse)]
    parse(f"[a-fault]\n{GOOD}", "table.toml")
    with pytest.raises(error) as caught:
        parse(f"[good]\n{GOOD}\n[a-fault]\n{text}", "table.toml")
    assert str(caught.value).startswith(f"table.toml: a-fault: {field.format(world=world)}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("parse", "error"), READERS, ids=simulated.WORLDS)
@pytest.mark.parametrize("text", ["[torn", "a = 1\na = 2\n", "stray = 1\n"])
def test_what_is_no_table_is_refused_by_name(
    parse: Callable[[str, str], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=r"^table\.toml: "):
        parse(text, "table.toml")


def test_a_missing_file_is_named() -> None:
    missing = Path("/nowhere/scenarios.toml")
    with pytest.raises(simulated.ScenarioTableError, match=r"^/nowhere/scenarios\.toml: "):
        simulated.load(missing)
    with pytest.raises(scenario_table.LabTableError, match=r"^/nowhere/scenarios\.toml: "):
        scenario_table.load(missing)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("[half]\nnode = 5\n", "half: node: no such field"),
        (f"[half]\n{GOOD}", "not in the table"),
    ],
)
@pytest.mark.parametrize("command", [("netnslab", "run", "half"), ("sim.failover",)])
def test_a_command_ends_with_one_line_about_a_wrong_table(
    command: tuple[str, ...], wrong: str, named: str, tmp_path: Path
) -> None:
    """A checkout of its own, whose table is wrong."""
    for folder in ("netns-lab", "sim"):
        copytree(ROOT / folder, tmp_path / folder, ignore=ignore_patterns("__pycache__"))
    (tmp_path / "scenarios.toml").write_text(wrong)
    places = (tmp_path / "netns-lab", tmp_path, ROOT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    last = done.stderr.splitlines()[-1]
    assert done.returncode != 0
    assert f"{tmp_path}/scenarios.toml: " in last
    assert named in last


# ---- a result is of one table


def test_results_of_another_table_are_results_of_other_code(tmp_path: Path) -> None:
    table = tmp_path / record.TABLE
    table.write_text("")
    before = record.code_digest(tmp_path)
    table.write_text("# another\n")
    assert record.code_digest(tmp_path) != before
    assert (ROOT / record.TABLE) == FILE == simulated.FILE == scenario_table.FILE
    assert FILE.name in report.MEASURED
