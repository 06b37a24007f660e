"""The licence is the Apache License 2.0, whole and unchanged, and goes with what is built."""

import hashlib
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""SHA-256 of https://www.apache.org/licenses/LICENSE-2.0.txt, 11,358 bytes."""


def test_the_text_is_the_whole_of_it() -> None:
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == APACHE_2


def test_the_package_names_it_and_takes_it_along() -> None:
    """In PEP 639's form, which setuptools reads from version 77 on."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert whole["build-system"]["requires"] == ["setuptools>=77"]
    assert whole["project"]["license"] == "Apache-2.0"
    assert whole["project"]["license-files"] == ["LICENSE"]
