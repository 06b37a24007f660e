"""`clarion ring`: the members as the running speaker sees them, and who watches whom."""

import sys
from collections.abc import Sequence

import click
import msgspec

from clarion.live.command import NODE_OPTION, running
from clarion.live.tables import lines
from clarion.options import OUTPUT
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


def table(found: RingAnswer) -> list[str]:
    """Return the lines of the table."""
    rows = [
        (
            member.name,
            member.address,
            member.state,
            str(member.incarnation),
            "-" if member.health is None else str(member.health),
            member.mark,
            ",".join(member.flags) or "-",
            member.key,
            member.echo or "-",
            ",".join(member.verdicts) or "-",
            ",".join(member.watches) or "-",
        )
        for member in found.members
    ]
    return list(lines(HEADINGS, rows))


@click.command()
@NODE_OPTION
@OUTPUT
def ring(node: str, output: str) -> None:
    """Show the members of the ring, and who watches whom."""
    with running(node) as speaker:
        found = answer(speaker.node, speaker.ring())
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        click.echo("\n".join(table(found)))
    sys.exit(0 if found.well else 1)


if __name__ == "__main__":
    ring()
