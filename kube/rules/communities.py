"""MetalLB's rules on BGP communities and their aliases, in its words. Pure."""

from collections.abc import Iterator, MutableSet

from kube.objects.bgp import Community
from kube.problem import Finding
from kube.rules.go_text import quote

_DIGITS = 12
"""More than the longest number of 32 bits has; leading zeros beyond are refused with the rest."""


def fault(text: str) -> str | None:
    """Say why the text is no community (`N:N` or `large:N:N:N`), or return None."""
    parts = text.split(":")
    if len(parts) == 2:
        return _sections(text, parts, 16)
    if len(parts) != 4:
        return f"invalid community format: {text[:80]}"
    if parts[0] != "large":
        expected = "large:<uint32>:<uint32>:<uint32>"
        return (
            "invalid community value: invalid marker for large community, expected community to "
            f"be of format {expected} but got {quote(text)} instead"
        )
    return _sections(text, parts[1:], 32)


def is_large(text: str) -> bool:
    """Tell if the text is a large community (RFC 8092)."""
    return text.count(":") == 3 and fault(text) is None


def numbers(text: str) -> tuple[int, ...]:
    """Return the two numbers of a community, or the three of a large one; `fault` found none."""
    return tuple(int(part) for part in text.removeprefix("large:").split(":"))


def alias_findings(community: Community, seen: MutableSet[str]) -> Iterator[Finding]:
    """Judge an object's aliases; `seen` are those of the objects before, and gets these."""
    for index, alias in enumerate(community.aliases):
        if (why := fault(alias.value)) is not None:
            text = f"parsing community {quote(alias.name)}: {why}"
            yield ("spec", "communities", index, "value"), text
        if alias.name in seen:
            text = f"duplicate definition of community {quote(alias.name)}"
            yield ("spec", "communities", index, "name"), text
        seen.add(alias.name)


def _sections(text: str, parts: list[str], bits: int) -> str | None:
    for part in parts:
        if (why := _no_number(part, bits)) is not None:
            error = quote(f"strconv.ParseUint: parsing {quote(part)}: {why}")
            section = f"invalid section {quote(part)} of community {quote(text)}"
            return f"invalid community value: {section}, err: {error}"
    return None


def _no_number(text: str, bits: int) -> str | None:
    if not (text.isascii() and text.isdecimal()):
        return "invalid syntax"
    return "value out of range" if len(text) > _DIGITS or int(text) >> bits else None
