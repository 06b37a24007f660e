"""The live view: what is counted, what is pointed at, and how long it is at most."""

from clarion.live.board import DECISIONS, MOST_ROWS, Board
from process.told.rows import LiveOwner, LiveRecord


def owner(number: int, name: str | None, state: str) -> LiveOwner:
    ip, service = f"192.0.2.{number}", f"ns/s{number}"
    return LiveOwner(ip, service, name, None, None, None, state, None, None)


def test_owners_are_counted_and_what_is_not_well_is_named() -> None:
    board = Board("a")
    rows = [owner(1, "a", "owned"), owner(2, "b", "elsewhere"), owner(3, "b", "elsewhere")]
    rows += [owner(4, "a", "contested"), owner(5, None, "unowned")]
    shown = list(board.lines(rows))
    assert shown[0] == "node a: 5 IPs, 2 owners, 2 not well"
    assert [line.split() for line in shown[2:5]] == [["OWNER", "IPS"], ["a", "2"], ["b", "2"]]
    assert [line.split() for line in shown[7:9]] == [
        ["192.0.2.4", "ns/s4", "a", "contested", "-"],
        ["192.0.2.5", "ns/s5", "nobody", "unowned", "-"],
    ]


def test_the_last_decisions_stay_and_the_view_is_bounded() -> None:
    board = Board("a\x1b")
    for number in range(1, 100, 2):
        board.take([LiveRecord(number, 0.0, "quiet"), LiveRecord(number + 1, 0.0, "quiet")])
    board.take([])
    assert board.newest == 100
    rows = [owner(number % 250, f"n{number}\x1b", "asking") for number in range(1_000)]
    shown = list(board.lines(rows))
    assert len(shown) <= 2 * MOST_ROWS + DECISIONS + 8
    assert all(line.isprintable() for line in shown)
    assert f"and {1_000 - MOST_ROWS} more IPs" in shown
