"""MetalLB's rules on BGP communities and their aliases, in its words. Pure."""

from collections.abc import Iterator

from controller.admission.go_text import quote
from controller.admission.world import BGPType, World
from kube.objects.bgp import Community

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


def refusals(community: Community, world: World) -> Iterator[str]:
    """Return MetalLB's objections to an object's aliases among those of all others."""
    if world.bgp is BGPType.NATIVE:
        for alias in community.aliases:
            if is_large(alias.value):
                pair = f"{{{quote(alias.name)} {quote(alias.value)}}}"
                yield (
                    "native BGP mode only supports legacy communities, BGP community CR "
                    f"{quote(community.name)} has non legacy community {pair}"
                )
    others = (entry for name, entry in world.communities.items() if name != community.name)
    seen = {alias.name for entry in others for alias in entry.aliases}
    for alias in community.aliases:
        if (why := fault(alias.value)) is not None:
            yield f"parsing community {quote(alias.name)}: {why}"
        if alias.name in seen:
            yield f"duplicate definition of community {quote(alias.name)}"
        seen.add(alias.name)
