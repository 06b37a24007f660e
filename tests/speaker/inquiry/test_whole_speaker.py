"""Whole speakers, asked through their sockets as `clarion` asks: who owns what, and why."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path

import pytest

import stall_probe
from clarion.live.explained import LiveIP, LiveLink, LiveNode
from clarion.live.speaker import LiveSpeaker
from machine import slowness
from netns import Host, missing_right
from netnslab.machines.topology import Topology
from process.told.rows import LiveError, LiveOwner, LiveRecord, read_record
from process.told.story import line
from small_ring import NODES, small_ring, three_nodes
from speakers import MANIFEST, VIP, Speaker, ask, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]

SERVICE = "default/web"
MANY = 500
"""Services of one test: reading their manifests takes a while."""
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    """Three nodes and a client on one bridge."""
    with three_nodes() as made:
        yield made


@pytest.fixture
def ring(topology: Topology, tmp_path: Path) -> Iterator[dict[str, Speaker]]:
    """Three speakers that know each other; one of them has announced the IP."""
    with small_ring(topology, tmp_path, MANIFEST.format(name="web", ip=VIP)) as running:
        yield running


def owner_of(speakers: dict[str, Speaker]) -> str:
    """Wait until all speakers name the same owner, and it has announced the IP."""

    def found() -> str | None:
        rows = [owned(running.host, name) for name, running in speakers.items()]
        owners = {row.owner for row in rows}
        own = next((row for row in rows if row.state == "owned"), None)
        announced = own and own.takeover and own.takeover.announced
        return own.owner if own and announced and len(owners) == 1 else None

    return str(wait_until(found, "one owner"))


def owned(host: Host, name: str) -> LiveOwner:
    [row] = host.namespace.run(LiveSpeaker(name).owners)
    return row


def watches(host: Host, name: str, other: str) -> bool:
    """Tell whether a node hears the kernel of another: else only gossip finds its death."""
    members = host.namespace.run(LiveSpeaker(name).ring)
    return any(member.name == other and member.echo == "answers" for member in members)


def kinds(records: list[LiveRecord]) -> list[str]:
    return [record.kind for record in records]


def first(records: list[LiveRecord], kind: str, **fields: str) -> int:
    """Return the place of the first record of this kind, with these fields."""
    for place, record in enumerate(records):
        about = {"node": record.node, **record.details}
        if record.kind == kind and fields.items() <= about.items():
            return place
    raise AssertionError(f"no {kind} {fields} in\n" + "\n".join(map(line, records)))


def test_the_log_tells_a_failover_from_the_lost_echo_to_the_confirmed_client(
    topology: Topology, ring: dict[str, Speaker]
) -> None:
    owner = owner_of(ring)
    heir = str(owned(topology.nodes[owner], owner).next)
    host, client = topology.nodes[heir], topology.client
    followed: list[LiveRecord | int] = []

    def follow() -> None:
        try:
            for found in LiveSpeaker(heir).follow(VIP):
                followed.append(found)
        except LiveError:
            # The speaker was killed.
            pass

    following = threading.Thread(target=lambda: host.namespace.run(follow))
    following.start()
    for name in set(NODES) - {owner}:
        wait_until(partial(watches, topology.nodes[name], name, owner), f"{name} watches {owner}")
    before = host.namespace.run(LiveSpeaker(heir).log)[-1].number
    assert ask(client, VIP) == topology.nodes[owner].mac
    topology.take_out([topology.nodes[owner]])
    ring[owner].process.kill()

    def story() -> list[LiveRecord] | None:
        # Whoever came first may have owned it before: that is another story.
        records: list[LiveRecord] = host.namespace.run(LiveSpeaker(heir).log, VIP, before)
        return records if "confirmed" in kinds(records) else None

    records = wait_until(story, "a client that confirms")
    print("\n".join(map(line, records)))
    places = [
        first(records, "missed", node=owner, link="eth0"),
        first(records, "verdict", node=owner, link="eth0", state="gone"),
        first(records, "elected", node=heir, previous=owner),
        first(records, "asked", link="eth0"),
        first(records, "announced", node=heir, reason="bars"),
        first(records, "confirmed", link="eth0", client=client.ip),
    ]
    assert places == sorted(places)
    verdict = records[places[1]]
    assert set(str(verdict.details["witnesses"]).split(",")) <= set(NODES) - {owner}
    # All of it took less than memberlist needs to find a death.
    assert 0 <= records[places[4]].at - records[places[0]].at < 5.0
    row = owned(host, heir)
    assert (row.owner, row.state, row.interfaces) == (heir, "owned", ["eth0"])
    assert row.takeover is not None
    assert row.takeover.previous == owner
    # Each answer tells the moment by the date of its own time.
    assert row.since == pytest.approx(records[places[2]].at, abs=0.1)
    # Who followed has read the same, as it happened.
    last = records[-1].number
    wait_until(lambda: any(getattr(each, "number", 0) >= last for each in followed), "all of it")
    told = [each for each in followed if isinstance(each, LiveRecord)]
    numbers = [record.number for record in told]
    assert numbers == sorted(set(numbers))
    assert {record.number for record in records[places[0] :]} <= set(numbers)
    topology.heal()
    ring[heir].process.kill()
    following.join(10.0)
    assert not following.is_alive()


def test_the_ring_and_the_reasons_are_told_by_every_speaker(
    topology: Topology, ring: dict[str, Speaker]
) -> None:
    owner = owner_of(ring)
    for name in NODES:
        host = topology.nodes[name]
        members = host.namespace.run(LiveSpeaker(name).ring)
        assert [member.name for member in members] == [
            name,
            *(other for other in NODES if other != name),
        ]
        assert {member.mark for member in members} == {"clarion"}
        assert {member.key for member in members} == {"proved"}
        assert all(set(member.watches) == set(NODES) - {member.name} for member in members)
        rows = host.namespace.run(LiveSpeaker(name).explain, VIP)
        nodes = [row for row in rows if isinstance(row, LiveNode)]
        assert next(row.node for row in nodes if row.admitted) == owner
        assert {row.rule for row in nodes} == {"admitted"}
        [ip] = [row for row in rows if isinstance(row, LiveIP)]
        why = None if name == owner else "not_announced"
        assert ip.links == [LiveLink("eth0", why)]
    echoes = {
        member.echo
        for member in topology.nodes[owner].namespace.run(LiveSpeaker(owner).ring)
        if member.name != owner
    }
    assert echoes <= {"answers", "unknown"}


def run_clarion(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return host.namespace.run(
        subprocess.run, command, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT,
        env={**os.environ, "METALLB_NODE_NAME": host.name},
    )  # fmt: skip


def test_the_commands_show_it_to_people_and_to_programs(
    topology: Topology, ring: dict[str, Speaker]
) -> None:
    owner = owner_of(ring)
    host = topology.nodes[owner]
    shown = run_clarion(host, "clarion.commands.ring")
    assert (shown.returncode, shown.stderr) == (0, "")
    header, *rows = shown.stdout.splitlines()
    assert header.split()[:3] == ["NAME", "ADDRESS", "STATE"]
    assert rows[0].split()[0] == owner
    answer = json.loads(run_clarion(host, "clarion.commands.ring", "-o", "json").stdout)
    assert (answer["kind"], answer["well"], len(answer["members"])) == ("Ring", True, 3)
    told = run_clarion(host, "clarion.commands.log", VIP).stdout.splitlines()
    assert any(f"{VIP} ({SERVICE}): first announcement" in text for text in told)
    lines = run_clarion(host, "clarion.commands.log", "-o", "json").stdout.splitlines()
    numbers = [json.loads(text)["number"] for text in lines]
    assert numbers == sorted(set(numbers)) != []
    owners = run_clarion(host, "clarion", "owners")
    assert (owners.returncode, owners.stderr) == (0, "")
    assert owners.stdout.splitlines()[1].split()[:3] == [VIP, SERVICE, owner]
    told = json.loads(run_clarion(host, "clarion", "explain", VIP, "-o", "json").stdout)
    assert (told["kind"], told["node"], told["well"]) == ("LiveExplanation", owner, True)
    assert [row["kind"] for row in told["rows"]] == ["service", *["node"] * 3, "ip"]
    nobody = run_clarion(host, "clarion.commands.log", "--node", "node-9")
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert nobody.stderr == "clarion: no speaker answers on node node-9\n"


def test_asking_holds_no_turn_of_the_loop(topology: Topology, tmp_path: Path) -> None:
    """Many services, and all that may ask, ask at once and again."""
    source, probe = tmp_path / "manifests", tmp_path / "turns"
    source.mkdir()
    first, second = MANIFEST.split("---\n", 2)[:2], MANIFEST.split("---\n", 2)[2]
    ips = [f"10.77.{9 + number // 250}.{number % 250 + 1}" for number in range(MANY)]
    services = [second.format(name=f"web-{number}", ip=ip) for number, ip in enumerate(ips)]
    pool = first[0].replace("10.77.9.0/24", "10.77.0.0/16")
    (source / "a.yaml").write_text("---\n".join([pool.format(), first[1].format(), *services]))
    host = topology.nodes["node-1"]
    with speaker(host, source, log=tmp_path / "log", probe=probe) as running:
        wait_until(lambda: len(running.events("announce")) == MANY, "all are announced", 120.0)
        probe.write_text("")

        def ask_all() -> None:
            for _ in range(5):
                assert len(LiveSpeaker("node-1").owners()) == MANY
                LiveSpeaker("node-1").log()
                LiveSpeaker("node-1").log(ips[0])
                LiveSpeaker("node-1").explain(ips[0])
                assert running.get("/")[0] == 200

        asking = [threading.Thread(target=host.namespace.run, args=(ask_all,)) for _ in range(6)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(60.0)
        turns = stall_probe.turns(probe)
    longest = max(turns, key=attrgetter("cpu"), default=None)
    assert longest is None or longest.cpu <= 0.005 * slowness(), longest


def test_a_fatal_error_leaves_the_record_in_the_last_lines(
    topology: Topology, tmp_path: Path
) -> None:
    source = tmp_path / "manifests"
    source.mkdir()
    (source / "a.yaml").write_text(MANIFEST.format(name="web", ip=VIP))
    host = topology.nodes["node-1"]
    with speaker(host, source, log=tmp_path / "log", fault="source_raises") as running:
        running.wait_for("announce", ip=VIP)
        kept = host.namespace.run(LiveSpeaker("node-1").log)
        running.process.send_signal(signal.SIGHUP)
        assert running.process.wait(20) == 1
    names = [event["event"] for event in running.events()]
    assert names.index("fatal") < names.index("flight_record") < names.index("stop")
    found = [row for event in running.events("flight_record") for row in event["records"]]
    told = sorted((read_record(row) for row in found), key=lambda record: record.number)
    assert [record.kind for record in told[: len(kept)]] == [record.kind for record in kept]
    assert {"elected", "announced"} <= set(kinds(told))
