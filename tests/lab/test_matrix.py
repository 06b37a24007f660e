"""The matrix resumes, and the report shows what the files say."""

import json
from pathlib import Path
from typing import Any

import pytest

from netnslab.course.scenarios import SCENARIOS
from netnslab.machines.laboratory import LabOptions
from netnslab.results import matrix, tables


def test_the_full_matrix_knows_every_scenario_of_both_families() -> None:
    for family in (4, 6):
        known = {cell.scenario for cell in matrix.FULL if cell.family == family}
        assert known == set(SCENARIOS)
    names = [cell.name for cell in matrix.FULL]
    assert len(set(names)) == len(names)
    assert len({cell.name for cell in matrix.SHORT}) == len(matrix.SHORT)


def test_a_cell_says_how_to_repeat_it() -> None:
    cell = matrix.Cell("power-off", 20, 6, nodes=8, services=200)
    assert cell.name == "power-off-8x200-ipv6"
    assert cell.arguments() == [
        "power-off",
        "--runs=20",
        "--family=6",
        "--nodes=8",
        "--services=200",
    ]


@pytest.mark.parametrize(
    ("text", "commit", "expected"),
    [
        ('{"commit": "abc"}', "abc", True),
        ('{"commit": "abc"}', "def", False),
        ('{"commit": "abc-dirty"}', "abc-dirty", False),
        ('{"comm', "abc", False),
        ("{}", "abc", False),
    ],
)
def test_only_a_result_of_this_commit_is_kept(
    text: str, commit: str, expected: bool, tmp_path: Path
) -> None:
    file = tmp_path / "cell.json"
    assert not matrix.done(file, commit)
    file.write_text(text)
    assert matrix.done(file, commit) is expected


def result(**change: Any) -> dict[str, Any]:
    """What `lab run --json` writes, as far as the table reads it."""
    summary = {"faults": 3, "sent": 900, "lost": 7, "tcp_connects": 90, "tcp_failed": 2}
    times = {"outage_ms_p50": 320.4, "outage_ms_p99": 410.0}
    silent = {"silent_ms_p50": 300.0, "silent_ms_p99": 350.0}
    counts = {"tcp_reset": 4, "moves_most": 1, "dual_answer_ms_most": 0.0}
    return {
        "scenario": "power-off",
        "family": 4,
        "nodes": 3,
        "services": 4,
        "duration": 0.0,
        "settings": {"limits": {"outage_ms": [500, 1000]}},
        "machine": {"cpus": 2, "kernel": "6.1", "python": "3.11"},
        "commit": "abcdef0123456789",
        "summary": {**summary, **times, **silent, **counts},
        "notes": [],
        "failures": [],
        "ok": True,
        **change,
    }


def test_the_page_is_made_from_the_files_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    (tmp_path / "a.json").write_text(json.dumps(result()))
    failed = result(scenario="kill", summary={}, ok=False, failures=["nobody answered"])
    (tmp_path / "b.json").write_text(json.dumps(failed))
    assert tables.write(tmp_path, page) == 2
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert (
        "| power-off | 3, 4 | IPv4 | 3 | 320 / 410 (of 500 / 1000) | 300 / 350 | 7 of 900 |" in text
    )
    assert "`kill` IPv4 missed: nobody answered" in text
    assert "Commit abcdef012345; 2 cores, kernel 6.1, Python 3.11." in text
    tables.write(tmp_path, page)
    assert page.read_text() == text


def test_a_result_remembers_what_failed_before_it_and_the_page_shows_it(tmp_path: Path) -> None:
    page, file = tmp_path / "page.md", tmp_path / "a.json"
    page.write_text(f"{tables.BEGIN}\n{tables.END}\n")
    failed = matrix.Attempt("failed", ("run 1 10.77.1.1: lost 3 is over 0",))
    matrix.remember(file, [failed])
    assert not file.exists()
    file.write_text(json.dumps(result(runs=[{"ip": "10.77.1.1"}])))
    matrix.remember(file, [matrix.Attempt("unusable", output="nft refused a rule"), failed])
    document = json.loads(file.read_text())
    assert [one["outcome"] for one in document["earlier_attempts"]] == ["unusable", "failed"]
    assert document["earlier_attempts"][0]["output"] == "nft refused a rule"
    assert {**document, "earlier_attempts": None} == result(
        runs=[{"ip": "10.77.1.1"}], earlier_attempts=None
    )
    tables.write(tmp_path, page)
    text = page.read_text()
    assert "| ok, attempt 3 |" in text
    assert "- `power-off` IPv4, attempt 1: unusable\n" in text
    assert "- `power-off` IPv4, attempt 2: run 1 10.77.1.1: lost 3 is over 0\n" in text


def test_attempts_end_with_the_first_good_one_and_the_last_result_tells_of_all(
    tmp_path: Path,
) -> None:
    """A lab that fails at first: its results are real, its runs are not."""
    outcomes = iter([("failed", False), ("ok", True), ("ok", True)])

    def attempt(cell: matrix.Cell, options: LabOptions, file: Path) -> matrix.Attempt:
        outcome, ok = next(outcomes)
        file.write_text(json.dumps(result(ok=ok, runs=[])))
        return matrix.Attempt(outcome)

    plan = matrix.Plan(short=True, only="kill*", folder=tmp_path, retries=3)
    made = list(matrix.tries(matrix.Cell("kill"), LabOptions(), plan, attempt))
    assert [one.outcome for one in made] == ["failed", "ok"]
    document = json.loads((tmp_path / "kill-ipv4.json").read_text())
    assert [one["outcome"] for one in document["earlier_attempts"]] == ["failed"]


def test_a_folder_without_results_and_a_page_without_place_are_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no results"):
        tables.write(tmp_path, page)
    (tmp_path / "a.json").write_text(json.dumps(result()))
    with pytest.raises(ValueError, match="no place"):
        tables.write(tmp_path, page)
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(ValueError, match=r"b\.json holds no result"):
        tables.load(tmp_path)
