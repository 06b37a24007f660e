"""Holds a JSON value against a schema: the part of the language that our own schema uses.

Anything else in a schema is an error, so that nothing of it goes unheeded.
"""

from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
    "null": type(None),
}  # fmt: skip
_SAID = {"title", "description", "default", "$schema", "$defs", "discriminator"}
_HEEDED = {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "const"),
    *("anyOf", "$ref"),
}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> list[str]:
    """Return what is wrong with the value, nothing where it is valid."""
    unknown = schema.keys() - _SAID - _HEEDED
    assert not unknown, unknown
    return list(_faults(value, schema, root, at))


def _faults(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> Iterator[str]:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        yield from faults(value, root["$defs"][name], root, at)
    if "anyOf" in schema and all(faults(value, each, root, at) for each in schema["anyOf"]):
        yield f"{at}: none of the choices"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: is not {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: is none of {schema['enum']}"
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        yield f"{at}: is no {kind}"
    elif isinstance(value, dict):
        yield from _of_object(value, schema, root, at)
    elif isinstance(value, list) and "items" in schema:
        for index, entry in enumerate(value):
            yield from faults(entry, schema["items"], root, f"{at}[{index}]")


def _is(value: Any, kind: str) -> bool:
    # To Python True is a number.
    return isinstance(value, _TYPES[kind]) and isinstance(value, bool) is (kind == "boolean")


def _of_object(
    value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str
) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}.{name}: is missing"
    for name, entry in value.items():
        if name in properties:
            yield from faults(entry, properties[name], root, f"{at}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{at}.{name}: is not known"
