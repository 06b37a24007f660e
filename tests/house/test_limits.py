"""The house's limits that no linter knows: length of files and functions, and words never used."""

import ast
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 700
SHORTER = dict.fromkeys(("bgp", "clarion", "controller", "engine", "ownership", "speaker"), 500)
"""Folders at the root that are read most, and most by newcomers."""
LONGEST_FUNCTION = 70
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
    "netns-lab",
    "tests",
)
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> list[Function]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def lines(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_and_functions_are_short(path: Path) -> None:
    most = SHORTER.get(path.relative_to(ROOT).parts[0], LONGEST_FILE)
    assert len(path.read_text().splitlines()) <= most
    long = {node.name: lines(node) for node in functions(path) if lines(node) > LONGEST_FUNCTION}
    assert not long


def test_simulator_and_lab_have_no_class_of_one_name() -> None:
    """They tell of the same faults in other words; a name that is in both means two things."""
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        folder = path.relative_to(ROOT).parts[0]
        if folder in ("sim", "netns-lab"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(places) > 50
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_the_median_function_is_short() -> None:
    lengths = sorted(
        lines(node) for path in SOURCES if "tests" not in path.parts for node in functions(path)
    )
    assert lengths[len(lengths) // 2] <= 12


def test_what_an_ip_address_is_stands_in_one_place() -> None:
    """Beside kube, which imports nothing of ours, and so says it for itself."""
    product = [path for path in SOURCES if not {"tests", "netns-lab"} & set(path.parts)]
    found = [path for path in product if "\nIPAddress = " in path.read_text()]
    assert found == [ROOT / "kube/address.py", ROOT / "link/address.py"]


@pytest.mark.parametrize("module", ["speaker.daemon", "gossip.swim", "arp.responder"])
def test_the_whole_of_scapy_is_never_imported(module: str) -> None:
    """scapy.all costs 83 MiB and opens sockets; the lean import keeps its vendor tables out."""
    code = (
        f"import {module}, sys; assert 'scapy.all' not in sys.modules; "
        "manuf = sys.modules.get('scapy.libs.manuf'); assert manuf is None or not manuf.DATA"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_scapy_neither_reads_nor_leaves_tables_in_the_cache_folder(tmp_path: Path) -> None:
    """A full table that another program left in ~/.cache would be loaded: 16 MiB."""
    code = "import ownership.announcing.frames, scapy.data; assert len(scapy.data.MANUFDB) == 0"
    folder = tmp_path / "scapy"
    folder.mkdir()
    content = {"id": hashlib.sha256(b"").hexdigest(), "content": {"02:00:00": ("x", "x")}}
    (folder / "manufdb.pickle").write_bytes(pickle.dumps(content))
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60, env=environment)
    assert [path.name for path in folder.iterdir()] == ["manufdb.pickle"]


def test_requirements_are_pinned_by_hash_and_name_no_host() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        pins = [line for line in text.splitlines() if "==" in line]
        assert pins
        assert "://" not in text
        assert text.count("--hash=sha256:") >= len(pins)


MOST_MODULES = 15
CROWDED = {"gossip": 29}
"""One folder may be larger: it is memberlist, whose parts know each other well."""


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in SOURCES if "tests" not in path.relative_to(ROOT).parts[:1]}),
    ids=lambda folder: str(folder.relative_to(ROOT)),
)
def test_a_folder_holds_few_modules(folder: Path) -> None:
    """Who looks for something reads a folder's names, not a page about them."""
    modules = [path for path in folder.glob("*.py") if not path.stem.startswith("__")]
    assert len(modules) <= CROWDED.get(folder.name, MOST_MODULES)
