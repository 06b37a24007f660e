"""`clarion schema`: what `-o json` writes, as a JSON Schema."""

import json
from typing import Any

import click
import msgspec

from clarion.answers import ANSWERS
from clarion.commands.ring import RingAnswer
from clarion.doctor.finding import Diagnosis
from clarion.drain.duties import Drained, Undrained
from clarion.live.views import LiveExplanation, LiveOwners

EVERY_ANSWER = ANSWERS | Diagnosis | Drained | Undrained | RingAnswer | LiveOwners | LiveExplanation


def document() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of all answers."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "clarion -o json",
        **msgspec.json.schema(EVERY_ANSWER),
    }


@click.command()
def schema() -> None:
    """Print the JSON Schema of all answers."""
    click.echo(json.dumps(document(), indent=2))
