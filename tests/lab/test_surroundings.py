"""What the faults are made of: a clock that is held back, rules that nft accepts, plans."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from netnslab.machines import manifests, rules
from netnslab.machines.held import HeldClock

# /proc/uptime is the kernel's own word; a minute is more than any machine takes to answer.
PROGRAM = """
import asyncio, sys, time
from pathlib import Path
def behind():
    up = float(Path("/proc/uptime").read_text().split()[0])
    return up - time.clock_gettime(time.CLOCK_BOOTTIME)
async def loop():
    return asyncio.get_running_loop().time() - time.monotonic_ns() / 1e9
for _ in sys.stdin:
    print(behind(), asyncio.run(loop()), sys.argv[1:], flush=True)
"""
A_MINUTE, AN_HOUR = 60.0, 3600.0


def test_a_held_clock_is_behind_for_the_whole_program(tmp_path: Path) -> None:
    clock, program = HeldClock(tmp_path / "clock"), tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [*clock.command(), sys.executable, str(program), "--flag"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as running:  # type: ignore[call-overload]
        seen = []
        for held in (0.0, AN_HOUR, AN_HOUR):
            clock.hold_back(held)
            running.stdin.write("\n")
            running.stdin.flush()
            behind, apart, *flags = running.stdout.readline().split()
            assert abs(float(apart)) < A_MINUTE
            assert flags == ["['--flag']"]
            seen.append(float(behind))
        running.stdin.close()
        assert running.wait(A_MINUTE) == 0
    assert [round(behind / AN_HOUR) for behind in seen] == [0, 1, 2]


@pytest.mark.root
@pytest.mark.parametrize(
    "script",
    [
        rules.silent_port("to-a"),
        rules.deaf_port("to-a"),
        rules.mute_port("to-a"),
        rules.one_way("to-a", "to-b"),
        rules.no_gossip(),
        rules.no_echo_requests(),
        rules.no_echo_replies(),
        rules.few_echo_requests(10),
        rules.network_policy(),
        rules.no_arp_for(["10.77.1.2", "10.77.1.3"]),
    ],
)
def test_nft_accepts_every_rule(script: str) -> None:
    command = ["unshare", "--net", "nft", "-f", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def documents(file: Path) -> dict[str, dict[str, object]]:
    """What a manifest holds, by kind; of one kind the last."""
    return {document["kind"]: document for document in yaml.safe_load_all(file.read_text())}


def test_an_edited_plan_selects_a_node_no_more(tmp_path: Path) -> None:
    nodes = {"node-1": "10.77.0.11", "node-2": "10.77.0.12"}
    manifests.write(tmp_path, ["10.77.1.1"], nodes, objects=True)
    made = documents(tmp_path / "nodes.yaml")["Node"]
    assert made["metadata"] == {"name": "node-2", "labels": {"lab/name": "node-2"}}
    before = documents(tmp_path / "metallb.yaml")["L2Advertisement"]["spec"]
    manifests.advertise(tmp_path, ["10.77.1.1"], ("node-2",))
    after = documents(tmp_path / "metallb.yaml")["L2Advertisement"]["spec"]
    assert isinstance(before, dict)
    unwanted = {"key": "lab/name", "operator": "NotIn", "values": ["node-2"]}
    assert after == {**before, "nodeSelectors": [{"matchExpressions": [unwanted]}]}
    assert not list(tmp_path.glob("*.partial"))


def test_without_objects_every_member_of_gossip_counts_as_a_node(tmp_path: Path) -> None:
    manifests.write(tmp_path, ["10.77.1.1"], {"node-1": "10.77.0.11"})
    assert not (tmp_path / "nodes.yaml").exists()
