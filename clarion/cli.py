"""The command line. Each command stands in a file of its own; this one lists them."""

import sys
from importlib import import_module
from typing import Any

import click

from clarion.looking import Status
from clarion.sources.trouble import UnseenError

COMMANDS = {
    "check": "Judge manifests by file, line and field.",
    "completion": "Print what makes a shell complete this command.",
    "doctor": "Look for what is wrong with this node and the cluster, and say what mends it.",
    "drain": "Exclude NODE from load balancing, and wait until all its IPs and routes are handed"
    " over.",
    "explain": "Say why an IP or a service is announced where it is, or is not.",
    "log": "Show the last 4,000 decisions of this node's speaker, and why they were made.",
    "owners": "Show who owns each service IP, and who comes next.",
    "ring": "Show the members of the ring, and who watches whom.",
    "schema": "Print the JSON Schema of all answers.",
    "simulate": "Say what a change would move, and what it would leave without an owner.",
    "top": "Watch who owns what, and failovers as they happen.",
    "undrain": "Take off NODE the label that excludes it from load balancing.",
}
"""By name: the module of that name has it. The texts are for `--help`, which imports none."""

MOST = 500
"""Characters of a line about a fault."""


class Commands(click.Group):
    """Imports a command when it is called: `clarion owners` waits for no other one's libraries."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command; None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"clarion.commands.{cmd_name}"), cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def clarion() -> None:
    """Ask who announces which service IP, and why.

    Exit status: 0 all is well, 1 something wrong was found, 2 there was nothing to look at.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command; what cannot be looked at is one line and exit status 2."""
    try:
        status: Any = clarion.main(arguments, prog_name="clarion", standalone_mode=False)
    except click.ClickException as error:
        status = _refuse(error.format_message())
    except UnseenError as error:
        status = _refuse(str(error))
    except click.Abort:
        status = 130
    except Exception as error:
        # Exit status 1 would say that the cluster is to blame.
        status = _refuse(f"a fault of this program: {type(error).__name__}: {error}"[:MOST])
    sys.exit(int(status or Status.WELL))


def _refuse(message: str) -> int:
    line = " ".join(message.split())
    shown = "".join(letter if letter.isprintable() else "?" for letter in line)
    click.echo(f"clarion: {shown}", err=True)
    return Status.UNSEEN
