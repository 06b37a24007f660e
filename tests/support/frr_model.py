"""How FRR takes lines of configuration, as far as ours go: what it refuses is an error here."""

import re
from collections.abc import Iterable

from bgp import forms
from bgp.tree import Block


class RefusedTypingError(AssertionError):
    """The engine would not take the line here."""


def typed(root: Block, lines: Iterable[str]) -> None:
    """Change the tree as the engine's configuration changes by the lines."""
    path = [root]
    for line in lines:
        if line in forms.CLOSING:
            path.pop()
        elif line.startswith("no ") and _take_away(path[-1], line[3:]):
            continue
        else:
            block = path[-1].put(line)
            if forms.is_context(line):
                path.append(block)
    if len(path) != 1:
        raise RefusedTypingError("a context stays open")


def _take_away(context: Block, line: str) -> bool:
    """Remove what the negated line names; return whether it is no switch that is typed so."""
    if line.startswith(("bgp ebgp-requires", "bgp default", "bgp network", "echo", "passive")):
        return False
    whole = re.fullmatch(r"neighbor (\S+)(?: interface)?", line)
    if whole:
        _drop_neighbor(context, f"neighbor {whole[1]} ")
        return True
    slots = [forms.slot(context.line, line), line]
    gone = [slot for slot in context.below if slot in slots or slot.startswith(f"{line} profile")]
    if not gone:
        raise RefusedTypingError(f"nothing to remove: {line} in {context.line!r}")
    for slot in gone:
        del context.below[slot]
    return True


def _drop_neighbor(router: Block, start: str) -> None:
    found = [slot for slot in router.below if slot.startswith(start)]
    if not found:
        raise RefusedTypingError(f"no {start}")
    for slot in found:
        del router.below[slot]
    for block in router.below.values():
        for slot in [each for each in block.below if each.startswith(start)]:
            del block.below[slot]


def printed(root: Block) -> str:
    """Return what `show running-config` would print."""
    return "frr version 8.4.4\n!\n" + "\n".join(root.lines()) + "\n"
