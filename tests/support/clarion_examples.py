"""Runs the examples of docs/clarion.md: `python tests/support/clarion_examples.py`.

Each stands between two marks, of which the first says the command. They are run where the dumps
are, so that names are short; a test holds the page to what the commands say today.
"""

import json
import os
import re
import shlex
from pathlib import Path

from clarion.commands.schema import document
from clarion_command import run
from clarion_world import FOLDER

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clarion.md"
SCHEMA = ROOT / "docs" / "clarion.schema.json"
MARKS = re.compile(r"(<!-- example: ([^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def drawn(page: str) -> str:
    """Return the page with its examples as they have to be."""
    before = Path.cwd()
    os.chdir(FOLDER)
    try:
        return MARKS.sub(_example, page)
    finally:
        os.chdir(before)


def _example(found: re.Match[str]) -> str:
    ran = run(*shlex.split(found[2]))
    text = f"$ clarion {found[2]}\n{ran.out}{ran.err}$ echo $?\n{ran.status}\n"
    return f"{found[1]}```console\n{text}```\n{found[3]}"


def schema() -> str:
    """Return the text of the schema's file."""
    return json.dumps(document(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
    SCHEMA.write_text(schema())
