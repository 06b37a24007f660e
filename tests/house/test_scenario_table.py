"""The table of memberlist's own test scenarios in docs/gossip.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADING = "## memberlist's own test scenarios"
ROW = re.compile(r"^\| (?!---|upstream)(.+?) \| (.+) \|$", re.MULTILINE)
LEAST_ROWS = 110


def rows() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "gossip.md").read_text().split(HEADING)[1]
    return ROW.findall(text.split("\n## ")[0])


def test_every_row_names_a_test_or_says_why_there_is_none() -> None:
    found = rows()
    assert len(found) >= LEAST_ROWS
    assert not [what for what, here in found if "`test_" not in here and "because" not in here]


def test_every_test_that_the_table_names_exists() -> None:
    folders = tuple(ROOT / "tests" / name for name in ("gossip", "ownership", "speaker"))
    source = "\n".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    existing = set(re.findall(r"def (test_\w+)\(", source))
    named = {name for _, here in rows() for name in re.findall(r"`(test_\w+)`", here)}
    assert named <= existing, f"no such tests: {sorted(named - existing)}"
