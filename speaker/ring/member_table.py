"""The member table that `--memberlist-debug` shows: read, and set in columns. Pure.

Names come from whoever has the gossip key, and the whole answer from whoever listens on an address
that any user of the machine may take: what is read is checked, and only ASCII that can be seen is
printed.
"""

from typing import Any

import msgspec

from gossip.io import MemberView

LONGEST_CELL = 256
"""Characters of a cell: the longest name of a Node is 253, and each column is as wide as its
widest cell."""
_COLUMNS = ("name", "address", "state", "incarnation", "health")


class MemberTableError(ValueError):
    """What was answered is no member table."""


class MemberRow(msgspec.Struct, frozen=True):
    """One member. Its health is known of ourselves only."""

    name: str
    address: str
    state: str
    incarnation: int
    health: int | None = None


def host_and_port(member: MemberView) -> str:
    """Return where a member gossips."""
    ip, port = member.address.ip, member.address.port
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def read_row(row: Any) -> MemberRow:
    """Read one row of the answer; raise MemberTableError."""
    try:
        return msgspec.convert(dict(zip(_COLUMNS, row, strict=False)), MemberRow)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise MemberTableError(str(error)) from None


def lines(rows: list[MemberRow]) -> list[str]:
    """Set the table in columns: ASCII that can be seen, without anything that moves a terminal."""
    cells = [[name.upper() for name in _COLUMNS]]
    cells += [[visible(getattr(row, name)) for name in _COLUMNS] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(_COLUMNS))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def visible(value: str | int | None) -> str:
    r"""Return the text with `\x1b` and the like for what is no visible ASCII; `-` for nothing.

    Escape sequences, line ends, marks that turn the direction of writing, letters that only look
    like those of another name: all of them are shown as what they are.
    """
    if value is None:
        return "-"
    text = str(value)
    shown = text[:LONGEST_CELL].encode("unicode_escape").decode("ascii")
    return shown if len(text) <= LONGEST_CELL else f"{shown}..."
