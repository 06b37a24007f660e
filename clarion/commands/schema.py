"""`clarion schema`: what `-o json` writes, as a JSON Schema."""

import json

import click

from clarion.answers import document


@click.command()
def schema() -> None:
    """Print the JSON Schema of all answers."""
    click.echo(json.dumps(document(), indent=2))
