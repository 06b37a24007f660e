"""Every answer is what the schema says, and the schema stands in the documentation."""

import json
from typing import Any

import msgspec
import pytest

import clarion_examples
from clarion.answers import ANSWERS
from clarion.commands.schema import document
from clarion_command import run
from clarion_world import DUMP, WORLD
from json_schema import faults

FROM = ("--from", str(DUMP))
ASKED = [
    ("owners", *FROM),
    *(("explain", name, *FROM) for name in ("web", "192.168.1.101", "dns", "mail", "late", "x")),
    ("simulate", "--down", "worker-1,worker-3", *FROM),
    ("simulate", "--add", "worker-9", "--label", "worker-9", "rack=a", *FROM),
    ("simulate", "-f", str(WORLD), *FROM),
    ("check", str(WORLD)),
    ("check", str(DUMP.parent)),
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: " ".join(asked[:2]))
def test_an_answer_is_valid(asked: tuple[str, ...]) -> None:
    ran = run(*asked, "-o", "json")
    schema = document()
    assert faults(ran.data, schema, schema) == []
    assert ran.data["well"] is (ran.status == 0)
    msgspec.json.decode(ran.out, type=ANSWERS)


def test_the_schema_is_in_the_documentation_and_the_command_prints_it() -> None:
    text = clarion_examples.SCHEMA.read_text()
    assert text == clarion_examples.schema(), "run python tests/support/clarion_examples.py"
    assert json.loads(run("schema").out) == json.loads(text)


def _spoiled(data: Any, part: str) -> Any:
    match part:
        case "missing":
            del data["source"]
        case "unknown":
            data["colour"] = "red"
        case "type":
            data["owners"][0]["candidates"] = "3"
        case "kind":
            data["kind"] = "Owner"
    return data


@pytest.mark.parametrize("part", ["missing", "unknown", "type", "kind"])
def test_the_schema_refuses(part: str) -> None:
    data, schema = run("owners", *FROM, "-o", "json").data, document()
    assert faults(_spoiled(data, part), schema, schema)
