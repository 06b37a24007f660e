"""What commands that ask the running speaker have in common: options, and the exit status."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from clarion.live.speaker import LiveSpeaker, own_node
from clarion.looking import NODE
from process.told.rows import LiveError
from process.told.story import visible

UNSEEN = 2
"""The exit status where there was nothing to look at."""
NODE_OPTION = click.option(
    "--node", envvar=NODE, default="", show_envvar=True, help="Whose speaker, on this machine."
)


@contextmanager
def running(node: str) -> Iterator[LiveSpeaker]:
    """Give the speaker to ask; where there is nothing to look at, end with one line and 2."""
    try:
        yield LiveSpeaker(node or own_node())
    except LiveError as error:
        click.echo(f"clarion: {visible(str(error))}", err=True)
        sys.exit(UNSEEN)
    except KeyboardInterrupt:
        sys.exit(130)
