"""Draws the house from its files and imports: `python tests/support/architecture.py`.

Pictures and lists stand in docs/architecture.md, each between two marks: of the packages, of what
is inside those that have rooms, and of the files of each with the line that each begins with. A
house test holds the page to what there is.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
MARKS = re.compile(r"(<!-- (drawn|files): ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
HOUSE = (
    *(
        "sim",
        "speaker",
        "controller",
        "clarion",
        "engine",
        "ownership",
        "bgp",
        "plan",
        "arp",
        "ndp",
        "gossip",
        "kube",
        "link",
        "process",
    ),
)
THE_HOUSE = "the house"

Arrows = Mapping[str, frozenset[str]]


def arrows(graph: grimp.ImportGraph, box: Callable[[str], str | None]) -> Arrows:
    """Return for each box those that it imports at run time; `box` names a module's, if any."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in sorted(graph.modules):
        if (name := box(module)) is not None:
            others = map(box, graph.find_modules_directly_imported_by(module))
            found[name].update(other for other in others if other not in (None, name))
    return {name: frozenset(others) for name, others in found.items()}


def _reach(arrows: Arrows, name: str) -> frozenset[str]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        others = arrows.get(waiting.pop(), frozenset()) - seen
        seen |= others
        waiting += others
    return frozenset(seen)


def reduced(arrows: Arrows) -> Arrows:
    """Leave out the arrows that others imply, as in any drawing of layers."""
    return {
        name: frozenset(
            other
            for other in others
            if not any(other in _reach(arrows, third) for third in others - {other})
        )
        for name, others in arrows.items()
    }


def _package(module: str) -> str | None:
    return module.split(".")[0]


def _inside(package: str, module: str) -> str | None:
    first, *rest = module.split(".")
    return rest[0] if first == package and rest else None


def picture(graph: grimp.ImportGraph, of: str) -> Iterator[str]:
    """Yield the lines of one picture, in the language of mermaid."""
    found = arrows(graph, _package if of == THE_HOUSE else lambda module: _inside(of, module))
    where = ROOT if of == THE_HOUSE else ROOT / of
    yield "```mermaid"
    yield "flowchart TD"
    for name in sorted(found):
        yield f"    {name}[{name}{'/' if (where / name).is_dir() else ''}]"
    for name, others in sorted(reduced(found).items()):
        yield from (f"    {name} --> {other}" for other in sorted(others))
    yield "```"


def files(of: str) -> Iterator[str]:
    """Yield the rows of a list: the files of a package and what each of them says that it is."""
    yield "| file | what |"
    yield "|---|---|"
    for path in sorted((ROOT / of).rglob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text()))
        if path.stem.startswith("__") or said is None:
            continue
        first = said.split("\n\n")[0].replace("\n", " ")
        yield f"| `{path.relative_to(ROOT / of)}` | {first.replace('|', chr(92) + '|')} |"


def drawn(page: str) -> str:
    """Return the page with its pictures and lists as they have to be."""
    graph = grimp.build_graph(*HOUSE, exclude_type_checking_imports=True, cache_dir=None)

    def anew(found: re.Match[str]) -> str:
        lines = picture(graph, found[3]) if found[2] == "drawn" else files(found[3])
        return found[1] + "\n".join(lines) + "\n" + found[4]

    return MARKS.sub(anew, page)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(drawn(PAGE.read_text()))
