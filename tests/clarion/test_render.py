"""Tables on a terminal and in a pipe."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from clarion.render import MANY, good, show_table, some

ROWS = [("10.0.0.1", good("worker-1"), "[red]x[/red]"), ("2001:db8::1", Text("nobody"), "")]
PLAIN = """\
IP            OWNER      WHY
10.0.0.1      worker-1   [red]x[/red]
2001:db8::1   nobody
"""


def _shown(rows: list[tuple[str | Text, ...]], terminal: bool) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=terminal, width=60, markup=False, color_system="standard"
    )
    show_table(console, ("ip", "owner", "why"), rows)
    return stream.getvalue()


def test_a_pipe_gets_columns_without_colour() -> None:
    assert _shown([*ROWS], terminal=False) == PLAIN


def test_a_terminal_gets_colour_and_the_same_words() -> None:
    text = _shown([*ROWS], terminal=True)
    assert "\x1b[32mworker-1" in text
    assert "[red]x[/red]" in text
    assert text.replace("\x1b", "") != text


def test_many_rows_are_set_alike_everywhere() -> None:
    rows: list[tuple[str | Text, ...]] = [*ROWS] * MANY
    assert _shown(rows, terminal=True) == _shown(rows, terminal=False)
    assert _shown(rows, terminal=True).startswith(PLAIN)


def test_a_pipe_folds_nothing() -> None:
    long = "a" * 500
    assert long in _shown([(long, "", "")], terminal=False)


@pytest.mark.parametrize(
    ("names", "text"), [(None, "all"), ((), "-"), (("eth0", "eth1"), "eth0,eth1")]
)
def test_names(names: tuple[str, ...] | None, text: str) -> None:
    assert some(names) == text
