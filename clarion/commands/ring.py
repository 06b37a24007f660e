"""`clarion ring`: the members as the running speaker sees them, and who watches whom."""

from collections.abc import Sequence

import click
import msgspec
from rich.console import Console

from clarion.answers import plain
from clarion.live.command import NODE_OPTION, running
from clarion.looking import Status
from clarion.options import OUTPUT
from clarion.render import bad, console, good, show_table, write_json
from process.local.protocol import SCHEMA
from process.told.rows import LiveMember

HEADINGS = (
    "name", "address", "state", "incarnation", "health", "mark", "flags", "key", "echo",
    "verdicts", "watches",
)  # fmt: skip


class RingAnswer(msgspec.Struct, frozen=True, tag_field="kind", tag="Ring", kw_only=True):
    """Of `clarion ring -o json`."""

    version: int = SCHEMA
    node: str
    """Whose view it is."""
    well: bool
    members: tuple[LiveMember, ...]


def answer(node: str, members: Sequence[LiveMember]) -> RingAnswer:
    """Return what the command tells: well where all live, with one key, and nobody is missed."""
    well = all(
        member.state in ("alive", "left") and not member.verdicts and member.key != "unproved"
        for member in members
    )
    return RingAnswer(node=node, well=well, members=tuple(members))


def draw(found: RingAnswer, shown: Console) -> None:
    """Write the table."""
    rows = [
        (
            plain(member.name),
            plain(member.address),
            good(member.state) if member.state == "alive" else bad(plain(member.state)),
            str(member.incarnation),
            "-" if member.health is None else str(member.health),
            plain(member.mark),
            named(member.flags),
            bad(member.key) if member.key == "unproved" else plain(member.key),
            plain(member.echo or "-"),
            bad(named(member.verdicts)) if member.verdicts else "-",
            named(member.watches),
        )
        for member in found.members
    ]
    show_table(shown, HEADINGS, rows)


def named(names: Sequence[str]) -> str:
    """Return names with commas."""
    return plain(",".join(names)) or "-"


@click.command()
@NODE_OPTION
@OUTPUT
def ring(node: str, output: str) -> None:
    """Show the members of the ring, and who watches whom."""
    with running(node) as speaker:
        found = answer(speaker.node, speaker.ring())
    if output == "json":
        write_json(found)
    else:
        draw(found, console())
    raise click.exceptions.Exit(Status.WELL if found.well else Status.FOUND)


if __name__ == "__main__":
    ring()
