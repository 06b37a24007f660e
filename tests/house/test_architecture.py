"""The page on architecture is the house as it stands."""

import re

import pytest

import architecture
from architecture import HOUSE, MARKS, PAGE, ROOT


def test_pictures_and_lists_are_those_of_today() -> None:
    page = PAGE.read_text()
    assert architecture.drawn(page) == page, "run python tests/support/architecture.py"


@pytest.mark.parametrize("package", HOUSE)
def test_every_package_has_its_list(package: str) -> None:
    lists = {found[3] for found in MARKS.finditer(PAGE.read_text()) if found[2] == "files"}
    assert package in lists


def test_every_file_that_is_named_exists() -> None:
    written = MARKS.sub("", PAGE.read_text())
    named = set(re.findall(r"`((?:\w[\w-]*/)+\w+\.(?:py|toml|md))`", written))
    assert len(named) > 10
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]
