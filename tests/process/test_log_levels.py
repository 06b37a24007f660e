"""Each word of `--log-level`, in a process of its own: what is set up stays set up."""

import subprocess
import sys

import pytest

from process.logs import LEVELS

CODE = """
import sys
from process import logs
logs.configure(sys.argv[1])
log = logs.logger()
for name in ("debug", "info", "warning", "error"):
    getattr(log, name)(name)
logs.finish()
"""
SHOWN = {"all": 4, "debug": 4, "info": 3, "warn": 2, "error": 1, "none": 0}


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_shows_what_it_says(level: str) -> None:
    made = subprocess.run(
        [sys.executable, "-c", CODE, level], capture_output=True, text=True, check=True
    )
    assert len(made.stdout.splitlines()) == SHOWN[level]
