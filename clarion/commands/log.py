"""`clarion log`: the last decisions of the running speaker, with their causes."""

import click
import msgspec

from clarion.live.command import NODE_OPTION, running
from clarion.options import OUTPUT
from process.told.rows import LiveRecord
from process.told.story import line


def text(record: LiveRecord, output: str) -> str:
    """Return a record as a line of people's, or of JSON."""
    return msgspec.json.encode(record).decode() if output == "json" else line(record)


def lost(count: int, output: str) -> str:
    """Return a line that says how many records nobody will read."""
    if output == "json":
        return msgspec.json.encode({"lost": count}).decode()
    return f"... {count} records came too fast to be shown"


@click.command()
@click.argument("about", default="", metavar="[IP|SERVICE|NODE]")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@NODE_OPTION
@OUTPUT
def log(about: str, follow: bool, node: str, output: str) -> None:
    """Show the last 4,000 decisions of this node's speaker, and why they were made."""
    with running(node) as speaker:
        if not follow:
            for record in speaker.log(about):
                click.echo(text(record, output))
            return
        for found in speaker.follow(about):
            shown = lost(found, output) if isinstance(found, int) else text(found, output)
            click.echo(shown)


if __name__ == "__main__":
    log()
