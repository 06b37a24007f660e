"""One word, one meaning: a public class name stands once in what is shipped, simulator and lab."""

import ast
from pathlib import Path

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
LATER = ("controller/", "kube/api/lease.py")
"""Where classes still have names that stand elsewhere, as nobody has given them others yet."""
ITS_OWN = "each program has one, and no program sees another's"
NOT_YET = f"one of them is in {' or '.join(LATER)}"
TWICE = {
    "Cause": NOT_YET,
    "Cluster": ITS_OWN,
    "Create": NOT_YET,
    "Decision": NOT_YET,
    "Family": NOT_YET,
    "Figures": ITS_OWN,
    "Held": NOT_YET,
    "ImpossibleError": NOT_YET,
    "Reason": NOT_YET,
    "Refusal": NOT_YET,
    "Request": NOT_YET,
    "Settings": ITS_OWN,
    "Timing": NOT_YET,
    "Told": NOT_YET,
    "World": NOT_YET,
    "Write": NOT_YET,
}
"""The names that stand more than once, and why each may."""


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
    assert sorted(TWICE.keys() - twice.keys()) == []


def test_what_may_stand_twice_hides_nothing_else() -> None:
    """Without the controller and the lease, which are not through, there is no exception."""
    elsewhere = {
        name: [path for path in where if not path.startswith(LATER)]
        for name, where in places().items()
    }
    assert {name: where for name, where in elsewhere.items() if len(where) > 1} == {}
