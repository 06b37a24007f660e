"""docs/security.md claims nothing without a test that exists."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
SCENARIO = re.compile(r"`netns-lab/lab run ([\w-]+)`")
PENDING = "<!-- test: pending"
LEAST_CLAIMS = 30


def claims() -> list[str]:
    """The last cell of each row of those tables that name their proof."""
    found, proved = [], False
    for line in PAGE.splitlines():
        if not line.startswith("|"):
            proved = False
        elif line.endswith("| proved by |"):
            proved = True
        elif proved and not line.startswith("|---"):
            found.append(line.strip("| ").rsplit(" | ", 1)[-1])
    return found


@pytest.mark.parametrize(("file", "name"), sorted(set(TEST.findall(PAGE))))
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    source = (ROOT / file).read_text()
    assert re.search(rf"^\s*(?:async )?def {name}\(", source, re.MULTILINE)


def test_a_scenario_that_is_named_exists() -> None:
    known = "\n".join(path.read_text() for path in (ROOT / "netns-lab/netnslab").rglob("*.py"))
    named = SCENARIO.findall(PAGE)
    assert named
    assert [name for name in named if f'    "{name}": ' not in known] == []


def test_every_claim_names_its_proof() -> None:
    found = claims()
    assert len(found) >= LEAST_CLAIMS
    proved = (TEST, SCENARIO)
    bare = [cell for cell in found if not any(kind.search(cell) for kind in proved)]
    assert [cell for cell in bare if PENDING not in cell] == []


def test_the_policy_keeps_pods_from_the_speakers_ports_only() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    others, nodes = yaml.safe_load(text)["spec"]["egress"]
    excepted = [block for to in others["to"] for block in to.get("ipBlock", {}).get("except", [])]
    assert excepted == [to["ipBlock"]["cidr"] for to in nodes["to"]]
    allowed = {"TCP": set[int](), "UDP": set[int]()}
    for ports in nodes["ports"]:
        allowed[ports["protocol"]] |= set(range(ports["port"], ports["endPort"] + 1))
    every = set(range(1, 1 << 16))
    assert {name: every - found for name, found in allowed.items()} == {
        "TCP": {7472, 7946},
        "UDP": {7946},
    }
