"""The examples of docs/clarion.md are what the commands say."""

import re

import pytest

import clarion_examples
from clarion.cli import COMMANDS
from clarion.looking import HOW, WHERE
from clarion.options import OUTPUT
from plan.explain import NodeRule

ELSEWHERE = {
    "doctor": "doctor.md",
    "drain": "doctor.md",
    "log": "socket.md",
    "ring": "socket.md",
    "top": "socket.md",
    "undrain": "doctor.md",
}
PAGE = clarion_examples.PAGE.read_text()


def test_examples_are_those_of_today() -> None:
    assert clarion_examples.drawn(PAGE) == PAGE, "run python tests/support/clarion_examples.py"


def test_each_command_has_an_example() -> None:
    shown = {found[2].split()[0] for found in clarion_examples.MARKS.finditer(PAGE)}
    assert shown >= COMMANDS.keys() - {"completion", "schema"} - ELSEWHERE.keys()


@pytest.mark.parametrize(("command", "page"), ELSEWHERE.items())
def test_what_needs_a_speaker_or_a_cluster_has_its_page(command: str, page: str) -> None:
    assert f"clarion {command}" in (clarion_examples.PAGE.parent / page).read_text()
    assert f"`{command}`" in PAGE


def test_each_rule_is_explained() -> None:
    assert [rule for rule in NodeRule if f"`{rule.value}`" not in PAGE] == []


def test_each_common_option_is_explained() -> None:
    def probe() -> None:
        pass

    for option in (*WHERE, *HOW, OUTPUT):
        option(probe)
    flags = [each.opts[-1] for each in getattr(probe, "__click_params__", [])]
    assert len(flags) > 8
    assert [flag for flag in flags if not re.search(f"`(-o, )?{flag}[ `]", PAGE)] == []
