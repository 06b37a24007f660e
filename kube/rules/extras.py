"""What the lines of `bgpextras` must look like before the engine sees any of them. Pure.

They are the engine's own language, which it alone knows in full: what it refuses is told when it
has refused it. Refused here is what would be more than one line, what leads out of the
configuration, and what takes away what the peers stand on. FRR takes abbreviations, so they are
looked for too.
"""

import re
from collections.abc import Iterator, Mapping

MOST_BYTES = 256 << 10
"""A quarter of what an object may have."""
MOST_LINES = 4_000
LONGEST_LINE = 1_000
"""Characters."""
CLOSING = frozenset({"exit", "end", "exit-address-family", "exit-vrf", "exit-route-map"})
"""What leaves a context. No word of it reaches the engine: we leave the contexts that we enter."""

_BLANKS = re.compile(r"[ \t]+")
_ROUTER = re.compile(r"router bgp (\d{1,10})(?: vrf (\S+))?")
_NEVER = tuple(
    (re.compile(pattern), why)
    for pattern, why in (
        (r"(e|ex|exi|exit|en|end|q|qu|qui|quit)(-.*)?|exit\b.*", "leave a context by `exit`"),
        (r"do\b.*", "is a command, and no configuration"),
        (r"no router\b.*", "would take away the sessions of all peers"),
        (r"(no )?router\b.*", "must be `router bgp AS`, with or without `vrf NAME`"),
        (r"(log f|dump )\S*.*", "has the engine write a file"),
        (r".*\| .*", "has a pipe in it"),
    )
)
Fault = tuple[int, str]
"""The number of a line, from 1, and what is wrong with it; 0: the whole text. Never the line: it
may hold a password."""


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, each with its number; comments and blanks do not."""
    for number, raw in enumerate(text.split("\n"), 1):
        line = _BLANKS.sub(" ", raw).strip()
        if line and line[0] not in "!#":
            yield number, line


def fault(text: str) -> Fault | None:
    """Return the first thing that is wrong, whatever peers there are; None where all is well."""
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        return 0, f"has more than {MOST_BYTES} bytes"
    if text.count("\n") > MOST_LINES:
        return 0, f"has more than {MOST_LINES} lines"
    found = ((number, _why(line)) for number, line in lines(text))
    return next(((number, why) for number, why in found if why is not None), None)


def stray_router(text: str, numbers: Mapping[str, int]) -> Fault | None:
    """Return the first router of a VRF that has another AS number than its peers have.

    `numbers`: our own AS by VRF, empty for the one without a name. The engine has one router a VRF.
    """
    for number, line in lines(text):
        found = _ROUTER.fullmatch(line)
        if found is None:
            continue
        vrf = "" if found[2] in (None, "default") else found[2]
        if numbers.get(vrf, int(found[1])) != int(found[1]):
            return number, f"is not the router of the peers, whose myASN is {numbers[vrf]}"
    return None


def _why(line: str) -> str | None:
    """Say what is wrong with a line."""
    if not line.isprintable():
        return "has control characters"
    if len(line) > LONGEST_LINE:
        return f"has more than {LONGEST_LINE} characters"
    if line in CLOSING or _ROUTER.fullmatch(line):
        return None
    return next((why for pattern, why in _NEVER if pattern.fullmatch(line)), None)
