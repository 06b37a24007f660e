"""The parts of `attacked`: what strangers may log, what is recorded, what the attacks do."""

import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from subprocess import run

import pytest
import yaml

from netnslab.course.attacked import MEMORY, STAGED, strangers_lines
from netnslab.instruments import attacks
from netnslab.instruments.attacks import TICK, Crowd, Habit
from netnslab.instruments.recorder import Tape
from netnslab.machines import cgroups
from netnslab.machines.addresses import GOSSIP_PORT

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

TURNS = 20_000


def line(event: str, **rest: str) -> bytes:
    return json.dumps({"ts": 1.0, "level": "info", "event": event, **rest}).encode()


def test_a_death_may_be_told_once_and_all_else_is_counted() -> None:
    told = [
        line("verdict", node="node-1"),
        line("member", node="node-1", state="suspect"),
        line("member", node="node-1", state="dead"),
        line("announce", ip="10.77.1.1"),
        line("announce", ip="10.77.1.2"),
    ]
    assert strangers_lines(told).total() == 0
    assert strangers_lines([*told, told[0], told[4]]) == {"verdict": 1, "announce": 1}
    noise = [line("gossip", error="bad"), line("gossip", error="bad"), b"Traceback:", b"[1]"]
    assert strangers_lines(noise) == {"gossip": 2, "no JSON": 2}


def frames() -> list[bytes]:
    """A ring's words: a datagram, a stream of two segments of which one came twice, answers."""
    ends = IP(src="10.77.0.11", dst="10.77.0.12")
    back = IP(src="10.77.0.12", dst="10.77.0.11")
    out = {"sport": 40_000, "dport": GOSSIP_PORT}
    segments = [
        TCP(**out, seq=7, flags="S"),
        TCP(**out, seq=11, options=[("NOP", None)] * 12) / b"pull",
        TCP(**out, seq=8) / b"pus",
        TCP(**out, seq=8) / b"pus",
    ]
    packets = [
        ends / UDP(sport=GOSSIP_PORT, dport=GOSSIP_PORT) / b"ping",
        back / UDP(sport=GOSSIP_PORT, dport=9) / b"else",
        *(ends / segment for segment in segments),
        back / TCP(sport=GOSSIP_PORT, dport=40_000, seq=1) / b"answer",
    ]
    return [bytes(Ether(src="02:00:00:00:00:0b", dst="02:00:00:00:00:0c") / p) for p in packets]


def test_the_tape_has_what_was_said_to_the_port_in_its_order() -> None:
    tape = Tape()
    for frame in frames():
        # Short frames are padded on the wire.
        tape.take(frame.ljust(60, b"\0"))
    recorded = tape.recording()
    assert [bytes.fromhex(text) for text in recorded["datagrams"]] == [b"ping"]
    assert [bytes.fromhex(text) for text in recorded["streams"]] == [b"puspull"]


@contextmanager
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(5)
        yield made


def turns(crowd: Crowd, reached: Callable[[], bool]) -> None:
    """Goes on in virtual time until something of the kernel's has been reached."""
    for turn in count():
        crowd.tick(turn * TICK)
        if reached():
            return
        assert turn < TURNS


def habit(made: socket.socket, **rest: object) -> Habit:
    chosen = {"each": 3, "a_second": 1 / TICK, **rest}
    return Habit(port=made.getsockname()[1], **chosen)  # type: ignore[arg-type]


def test_a_crowd_keeps_its_number_and_replaces_who_was_sent_away() -> None:
    with listener() as made, closing(Crowd(["127.0.0.1"], habit(made))) as crowd:
        turns(crowd, lambda: crowd.done == 3)
        for turn in range(10):
            crowd.tick(100 + turn)
        assert crowd.done == 3
        made.accept()[0].close()
        turns(crowd, lambda: crowd.done == 4)


def test_a_crowd_makes_no_more_connections_a_second_than_it_may() -> None:
    chosen = {"each": 100, "a_second": 2}
    with listener() as made, closing(Crowd(["127.0.0.1"], habit(made, **chosen))) as crowd:
        for turn in range(round(2 / TICK)):
            crowd.tick(turn * TICK)
        assert crowd.done == 4


def test_a_script_longer_than_any_buffer_is_said_to_its_end_and_then_drips() -> None:
    script = bytes(range(251)) * 40_000
    chosen = {"each": 1, "script": lambda: script, "drip": b"+"}
    with listener() as made, closing(Crowd(["127.0.0.1"], habit(made, **chosen))) as crowd:
        crowd.tick(0)
        heard, got = made.accept()[0], bytearray()
        heard.setblocking(False)

        def listen() -> bool:
            with suppress(BlockingIOError):
                while data := heard.recv(1 << 20):
                    got.extend(data)
            return len(got) > len(script)

        with heard:
            turns(crowd, listen)
    assert got.rstrip(b"+") == script


def test_a_junk_stream_is_one_byte_short_of_its_end() -> None:
    crowd = attacks.junk(["127.0.0.1"])
    assert isinstance(crowd, Crowd)
    script = crowd._habit.script()
    assert script[:1] == b"\x0a"
    assert len(script) == 5 + int.from_bytes(script[1:5], "big") - 1


@pytest.mark.root
def test_who_takes_more_memory_than_its_group_may_have_is_killed_and_counted() -> None:
    taking = [sys.executable, "-c", "bytearray(256 << 20)"]
    group = cgroups.Group("test", 1.0, MEMORY)
    try:
        assert run([*group.join, sys.executable, "-c", ""], check=True).returncode == 0
        assert (group.kills(), 0 < group.peak() <= MEMORY << 20) == (0, True)
        assert run([*group.join, *taking], check=False).returncode == -9
        assert group.kills() == 1
    finally:
        group.close()
    assert not group.folder.exists()
    assert not group.memory.exists()


def test_the_scenario_gives_a_speaker_what_the_manifest_does() -> None:
    text = (Path(__file__).parents[2] / "manifests/speaker/daemonset.yaml").read_text()
    (container,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
    plan, limits = STAGED["attacked"], container["resources"]["limits"]
    assert limits == {"cpu": f"{plan.cpu * 1000:g}m", "memory": f"{plan.memory}Mi"}
