"""One word, one meaning: a public class name stands once in what is shipped, simulator and lab."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "speaker",
    "controller",
    "clarion",
    "engine",
    "ownership",
    "bgp",
    "plan",
    "gossip",
    "arp",
    "ndp",
    "link",
    "kube",
    "process",
    "sim",
    "netns-lab/netnslab",
)
TWICE = ("Cluster", "Figures", "Settings")
"""The names that stand more than once: each program has one, and no program sees another's."""
PROGRAMS = ("speaker/", "controller/", "engine/", "sim/", "netns-lab/")


def class_names(path: Path) -> list[str]:
    body = ast.parse(path.read_text()).body
    names = [node.name for node in body if isinstance(node, ast.ClassDef)]
    return [name for name in names if not name.startswith("_")]


def places() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for name in class_names(path):
                found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


def test_each_class_has_a_name_of_its_own() -> None:
    """One of the list that stands once again has to leave it."""
    found = places()
    assert len(found) > 400
    twice = {name: where for name, where in found.items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in TWICE} == {}
    assert sorted(set(TWICE) - twice.keys()) == []


@pytest.mark.parametrize("name", TWICE)
def test_what_may_stand_twice_stands_once_in_a_program(name: str) -> None:
    programs = [next(p for p in PROGRAMS if path.startswith(p)) for path in places()[name]]
    assert len(set(programs)) == len(programs)
