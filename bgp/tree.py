"""FRR's configuration as a tree: what was printed or wanted, and the lines from one to the other.

A context (`router bgp 64512`) holds lines and contexts. Each line has a slot, of which a context
has one: `neighbor 192.0.2.1 timers` for `neighbor 192.0.2.1 timers 3 9`. Typing a line of the same
slot takes the place of the old one. What is in no form of ours has itself as its slot, and is never
removed: somebody else wants it there. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from bgp import forms

MOST_BYTES = 64 << 20
"""Of a configuration that is printed; 100,000 prefixes are 5 MB."""
MOST_DEPTH = 4


class ConfigurationError(ValueError):
    """What was printed is no configuration."""


@dataclass(slots=True)
class Block:
    """A line, and what stands below it if it opens a context; the root has an empty line."""

    line: str = field(default="", repr=False)
    """It may hold a password."""
    below: dict[str, "Block"] = field(default_factory=dict, repr=False)

    def put(self, line: str) -> "Block":
        """Set a line, in the place of the one in its slot; a context keeps what is below it."""
        line = forms.canonical(line)
        block = self.below.setdefault(forms.slot(self.line, line), Block())
        block.line = line
        return block

    def get(self, line: str) -> "Block | None":
        """Return the block in the slot of the line."""
        return self.below.get(forms.slot(self.line, forms.canonical(line)))

    def lines(self, depth: int = 0) -> Iterator[str]:
        """Yield the text, indented as the engine prints it."""
        for block in self.below.values():
            yield " " * depth + block.line
            yield from block.lines(depth + 1)


def parse(text: str) -> Block:
    """Read what `show running-config` printed. Raises `ConfigurationError`."""
    if len(text) > MOST_BYTES:
        raise ConfigurationError("a configuration that is too long")
    root = Block()
    path = [root]
    for raw in text.split("\n"):
        line = raw.strip()
        if not line or line[0] in "!#" or line in forms.CLOSING:
            continue
        depth = min(len(raw) - len(raw.lstrip(" ")), len(path) - 1, MOST_DEPTH)
        del path[depth + 1 :]
        path.append(path[depth].put(line))
    forms.complete(root)
    return root


def merge(into: Block, other: Block) -> None:
    """Lay the other tree over this one: its lines win.

    New ones come before the contexts, as families know the neighbours alone that are there.
    """
    new = {
        slot: Block(block.line)
        for slot, block in other.below.items()
        if slot not in into.below and not forms.is_context(block.line)
    }
    if new:
        before = list(
            takewhile(lambda each: not forms.is_context(each[1].line), into.below.items())
        )
        into.below = dict(before) | new | into.below
    for slot, block in other.below.items():
        mine = into.below.setdefault(slot, Block(block.line))
        mine.line = block.line
        merge(mine, block)


def ordered(root: Block) -> Block:
    """Return it with what refers to others at the end: a list that is not there refuses all."""
    slots = sorted(root.below, key=lambda slot: root.below[slot].line.startswith("router "))
    return Block(root.line, {slot: root.below[slot] for slot in slots})


def difference(running: Block, wanted: Block, theirs: Block | None = None) -> list[str]:
    """Return the lines that lead from what runs to what is wanted; none where nothing is to do.

    `theirs`: lines that run and that others wanted once, and want no more. Contexts that are ours
    and not wanted go first where a wanted one would be refused beside them, and last where
    something may still refer to them.
    """
    theirs = theirs or Block()
    first, last = _superfluous(running, wanted, theirs)
    return [*first, *_additions(running, wanted, theirs), *last]


def _superfluous(running: Block, wanted: Block, theirs: Block) -> tuple[list[str], list[str]]:
    first: list[str] = []
    last: list[str] = []
    for slot, block in running.below.items():
        if slot not in wanted.below and _goes(running, slot, theirs):
            place = last if forms.referred_to(block.line) else first
            place.append(forms.negation(slot, block.line))
    return forms.without_implied(first), last


def _goes(running: Block, slot: str, theirs: Block) -> bool:
    """Whether a line that is not wanted is to be taken back."""
    block = running.below[slot]
    return forms.ours(running.line, block) or (
        slot in theirs.below and not forms.outlasts_its_lines(block.line)
    )


def _additions(running: Block, wanted: Block, theirs: Block) -> Iterator[str]:
    numbered = _numbered(running)
    for slot, block in wanted.below.items():
        old = running.below.get(slot)
        if forms.is_context(block.line):
            yield from _entered(old, block, theirs.below.get(slot))
        elif (old is None or old.line != block.line) and block.line not in numbered:
            yield block.line
    for slot, block in theirs.below.items():
        context = slot in running.below and forms.outlasts_its_lines(block.line)
        if slot not in wanted.below and context:
            yield from _entered(running.below[slot], Block(block.line), block)


def _numbered(running: Block) -> set[str]:
    """Return entries of lists, without the numbers that the engine gives them."""
    lines = (block.line for block in running.below.values() if not running.line)
    return {forms.without_number(line) for line in lines}


def _entered(old: Block | None, block: Block, theirs: Block | None = None) -> Iterator[str]:
    """Enter a context where something is to do in it, and leave it again."""
    if old is not None and forms.must_begin_anew(old.line, block.line):
        yield forms.negation("", old.line)
        old = None
    new = old is None or old.line != block.line
    before = _remaining(old, block) if old is not None else Block(block.line)
    inner = difference(before, block, theirs)
    if inner or (new and not forms.may_be_empty(block.line)):
        yield from entered(block.line, inner)


def _remaining(old: Block, wanted: Block) -> Block:
    """Return what is left of a router once the neighbours that nobody wants are gone.

    They take their lines in the address families with them.
    """
    gone = neighbors(old) - neighbors(wanted)
    if not gone:
        return old
    ways = tuple(f"neighbor {each} " for each in gone)
    left = Block(old.line)
    for slot, block in old.below.items():
        if forms.is_context(block.line):
            kept = {key: each for key, each in block.below.items() if not key.startswith(ways)}
            left.below[slot] = Block(block.line, kept)
        else:
            left.below[slot] = block
    return left


def neighbors(router: Block) -> set[str]:
    """Return the neighbours of a router, by the engine's names."""
    found = (forms.neighbor(block.line) for block in router.below.values())
    return {each for each in found if each is not None}


def entered(context: str, inner: Iterable[str]) -> Iterator[str]:
    """Yield the lines with the way into their context and out of it."""
    yield context
    yield from inner
    yield "exit-address-family" if context.startswith("address-family ") else "exit"
