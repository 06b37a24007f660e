"""The member table for people: nothing in it reaches a terminal but visible ASCII."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.ring.member_table import (
    LONGEST_CELL,
    MemberRow,
    MemberTableError,
    lines,
    read_row,
    visible,
)

ROW = MemberRow("node-1", "10.0.0.1:7946", "alive", 7, 0)
FIELDS: list[Any] = ["node-1", "10.0.0.1:7946", "alive", 7, 0]


def test_a_row_is_read_and_shown() -> None:
    rows = [read_row(FIELDS), read_row(["node-2", "[fd00::2]:7946", "dead", 2**32 - 1, None])]
    assert rows[0] == ROW
    assert lines(rows)[2].split() == ["node-2", "[fd00::2]:7946", "dead", "4294967295", "-"]


@pytest.mark.parametrize(
    "row",
    [
        None,
        5,
        [],
        {},
        ["a"],
        [5, *FIELDS[1:]],
        [*FIELDS[:4], "\x1b"],
        [*FIELDS[:3], "7", 0],
        [*FIELDS[:3], 1.5, 0],
        [["a"], *FIELDS[1:]],
    ],
    ids=range(10),
)
def test_what_is_no_row_is_one_error(row: Any) -> None:
    with pytest.raises(MemberTableError):
        read_row(row)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("a\u202eb\u2066c\u200f", r"a\u202eb\u2066c\u200f"),
        ("\x9b31m\x7f\x00", r"\x9b31m\x7f\x00"),
        ("n\u043ede-1", r"n\u043ede-1"),
        ("\ud800", r"\ud800"),
        ("\\x1b", r"\\x1b"),
    ],
)
def test_what_is_not_visible_is_shown_as_what_it_is(name: str, shown: str) -> None:
    assert visible(name) == shown


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters()))
def test_a_line_is_visible_ascii(name: str, address: str) -> None:
    for line in lines([ROW, MemberRow(name, address, "dead", 1)]):
        assert line.isascii()
        assert line.isprintable()


def test_a_long_name_is_cut() -> None:
    assert visible("a" * LONGEST_CELL) == "a" * LONGEST_CELL
    assert visible("a" * 1_000_000) == "a" * LONGEST_CELL + "..."
