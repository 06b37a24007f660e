"""`clarion completion`: click's own scripts for shells."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_CLARION_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete this command: `source <(clarion completion bash)`."""
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click knows the three of them
    click.echo(found(ctx.find_root().command, {}, "clarion", VARIABLE).source())
