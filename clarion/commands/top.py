"""`clarion top`: who owns what, and failovers as they happen, until it is interrupted."""

import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from clarion.live.board import Board
from clarion.live.command import NODE_OPTION, running
from clarion.live.speaker import LiveSpeaker

EVERY = 1.0


def picture(board: Board, speaker: LiveSpeaker) -> Text:
    """Ask the speaker, and return what is to be seen now. Nothing of it is read as markup."""
    board.take(speaker.log(after=board.newest))
    return Text("\n".join(board.lines(speaker.owners())))


def watch(
    board: Board, speaker: LiveSpeaker, every: float, rest: Callable[[float], None] = time.sleep
) -> None:
    """Show it again and again on the whole screen."""
    with Live(picture(board, speaker), screen=True, auto_refresh=False) as view:
        while True:
            rest(every)
            view.update(picture(board, speaker), refresh=True)


@click.command()
@click.option("--every", type=click.FloatRange(0.2, 3600), default=EVERY, help="Seconds.")
@NODE_OPTION
def top(every: float, node: str) -> None:
    """Watch who owns what, and failovers as they happen.

    Where there is no terminal it shows one picture, and ends.
    """
    with running(node) as speaker:
        board = Board(speaker.node)
        if Console().is_terminal:
            watch(board, speaker, every)
        else:
            click.echo(picture(board, speaker).plain)


if __name__ == "__main__":
    top()
