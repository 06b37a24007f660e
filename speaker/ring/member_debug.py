"""`speaker --memberlist-debug`: asks the running speaker on this node for its member table."""

import click

from process.local.address import UntrustedError
from process.local.client import gather
from process.local.protocol import LocalProtocolError, LocalQuestion, LocalRefusal
from process.told.asking import PROGRAM
from speaker.ring.member_table import MemberRow, MemberTableError, lines, read_row


def ask(node: str) -> list[MemberRow]:
    """Return the table of the running speaker.

    Raises OSError where none answers in time, UntrustedError where another user's process does,
    and LocalProtocolError or MemberTableError where what it says is no table.
    """
    found = gather(PROGRAM, node, LocalQuestion(verb="members"))
    return [read_row(line.row) for line in found if line.row is not None]


def show(node: str) -> int:
    """Print the table; return the exit status."""
    try:
        rows = ask(node)
    except UntrustedError as error:
        return _fail(f"user {error.uid} listens in the place of the speaker on node {node}")
    except (LocalProtocolError, MemberTableError) as error:
        if getattr(error, "refusal", None) is LocalRefusal.CROWDED:
            return _fail(f"too many ask the speaker on node {node} now")
        return _fail(f"what answers on node {node} is no speaker: its answer makes no sense")
    except OSError:
        return _fail(f"no speaker answers on node {node}")
    for line in lines(rows):
        click.echo(line)
    return 0


def _fail(why: str) -> int:
    click.echo(f"speaker: {why}", err=True)
    return 1
