"""What a host without a key can do to whole speakers by TCP: keep nobody out, cost no memory, no
log lines."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from arp.packet import ArpPacket, Operation, decode, encode
from gossip.slots import KNOWN_BYTES
from limits import resident
from link import frame
from link.frame import EthernetFrame, EtherType
from link.mac import BROADCAST, ZERO
from netns import Host, missing_right, segment
from ownership.election.election import order
from speakers import MANIFEST, Speaker, speaker, wait_until
from strangers import Idlers, junk, reset

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]

NODES = ("node-1", "node-2", "node-3")
IPS = [
    ip
    for ip in (f"10.77.9.{last}" for last in range(1, 100))
    if order(NODES, ip) != order(NODES[:2], ip) and order(NODES, ip)[0] != "node-3"
][:4]
"""Such as node-3 does not own, so that its return moves nothing."""
MIB = 1024 * 1024
MOST_OF_A_STRANGER = 4 * MIB
MOST_OF_A_MEMBER = 2 * KNOWN_BYTES + 4 * MIB
"""Its whole budget, once more while a frame is opened, and what else there may be."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Host]]:
    with segment([*NODES, "mallory", "asker"]) as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    for index, ip in enumerate(IPS):
        whole = MANIFEST.format(name=f"web-{index}", ip=ip)
        # The pool and its advertisement once.
        (folder / f"{index}.yaml").write_text(whole if index == 0 else whole.split("---\n", 2)[2])
    return folder


@pytest.fixture
def flags(hosts: dict[str, Host], tmp_path: Path) -> dict[str, tuple[str, ...]]:
    secret = tmp_path / "secretkey"
    secret.write_text("a secret of more than sixteen bytes")
    seeds = ",".join(hosts[name].ip for name in NODES)
    return {
        name: (
            f"--ml-bindaddr={hosts[name].ip}",
            f"--join={seeds}",
            f"--ml-secret-key-path={secret}",
        )
        for name in NODES
    }


@pytest.fixture
def pair(
    hosts: dict[str, Host], source: Path, flags: dict[str, tuple[str, ...]], tmp_path: Path
) -> Iterator[tuple[Speaker, Speaker]]:
    """Two speakers that know each other."""
    with (
        speaker(hosts["node-1"], source, *flags["node-1"], log=tmp_path / "one") as first,
        speaker(hosts["node-2"], source, *flags["node-2"], log=tmp_path / "two") as second,
    ):
        first.wait_for("member", node="node-2", state="alive")
        second.wait_for("member", node="node-1", state="alive")
        for one in (first, second):
            one.wait_for("ready")
        yield first, second


def alive(running: Speaker) -> float | None:
    return running.metric('clarion_members{state="alive"}')


def answers(host: Host, ip: str, within: float = 0.1) -> set[str]:
    """Ask for an IP by broadcast; the MACs of all that answer."""

    def ask() -> set[str]:
        found, end = set[str](), time.monotonic() + within
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EtherType.ARP)) as raw:
            raw.bind(("eth0", EtherType.ARP))
            own = raw.getsockname()[4]
            request = ArpPacket(Operation.REQUEST, own, IPv4Address(host.ip), ZERO, IPv4Address(ip))
            payload = encode(request)
            raw.send(frame.encode(EthernetFrame(BROADCAST, own, EtherType.ARP, payload)))
            while (left := end - time.monotonic()) > 0:
                raw.settimeout(left)
                with suppress(TimeoutError):
                    reply = decode(raw.recv(2048)[14:])
                    if reply.operation is Operation.REPLY and str(reply.sender_ip) == ip:
                        found.add(reply.sender_mac.hex(":"))
        return found

    return host.namespace.run(ask)


def test_idle_connections_make_no_second_owner_and_keep_nobody_out(
    pair: tuple[Speaker, Speaker],
    hosts: dict[str, Host],
    source: Path,
    flags: dict[str, tuple[str, ...]],
    tmp_path: Path,
) -> None:
    asker, third = hosts["asker"], hosts["node-3"]
    with (
        Idlers(hosts["mallory"], [hosts["node-1"], hosts["node-2"]], 130) as idlers,
        speaker(third, source, *flags["node-3"], log=tmp_path / "three") as starting,
    ):
        for _ in range(100):
            for ip in IPS:
                assert third.mac not in answers(asker, ip)
            if starting.events("ready"):
                break
        made = starting.wait_for("contact", state="made")
        assert made["by"] == "exchange"
        # The exchange may have been with the other one, who tells of it by gossip.
        wait_until(lambda: alive(pair[0]) == 3, "the third is known to the first")
        assert idlers.closed >= 100
        wait_until(lambda: [len(answers(asker, ip)) for ip in IPS] == [1] * len(IPS), "one each")


@contextmanager
def growth(pid: int) -> Iterator[list[float]]:
    """How many bytes the process has at most more than at the beginning."""
    grown: list[float] = []
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = resident(pid)[0]
    yield grown
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    grown.append(int(peak.split()[1]) * 1024 - before * MIB)


def test_unfinished_frames_cost_no_more_memory_than_their_budget(
    pair: tuple[Speaker, Speaker], hosts: dict[str, Host]
) -> None:
    """48 MiB in all, by a stranger and by whoever shares the address of a member."""
    first, _ = pair
    victim = hosts["node-1"]
    with growth(first.process.pid) as by_stranger, junk(hosts["mallory"], victim, 6, 8 * MIB):
        assert first.metric("clarion_contact") == 1
    with (
        growth(first.process.pid) as by_member,
        junk(hosts["node-2"], victim, 12, 4 * MIB) as taken,
    ):
        assert first.metric("clarion_contact") == 1
    assert sum(taken) > KNOWN_BYTES
    assert by_stranger[0] < MOST_OF_A_STRANGER
    assert by_member[0] < MOST_OF_A_MEMBER
    assert first.metric('clarion_dropped_total{reason="gossip_stream_stranger_long"}') == 6
    assert (first.metric('clarion_dropped_total{reason="gossip_stream_budget"}') or 0) > 5
    for one in pair:
        assert alive(one) == 2


def cut(running: Speaker) -> float:
    """How many streams it has cut, for whatever reason."""
    lines = running.get("/metrics")[1].splitlines()
    counts = [line for line in lines if 'reason="gossip_stream_' in line]
    return sum(float(line.split()[-1]) for line in counts)


def set_link(host: Host, state: str) -> None:
    def change() -> None:
        with IPRoute() as netlink:
            netlink.link("set", ifname="eth0", state=state)

    host.namespace.run(change)


def test_resets_and_a_dead_link_are_counted_and_said_once_a_minute(
    pair: tuple[Speaker, Speaker], hosts: dict[str, Host]
) -> None:
    first, _ = pair
    reset(hosts["mallory"], hosts["node-1"], 500)
    wait_until(lambda: cut(first) >= 500, "all of them are counted")
    first.wait_for("gossip_refused")
    node = hosts["node-1"]
    set_link(node, "down")
    first.wait_for("gossip", where="udp send")
    first.wait_for("member", node="node-2", state="dead", timeout=30.0)
    set_link(node, "up")
    lines = first.events("gossip") + first.events("gossip_refused")
    failed = wait_until(
        lambda: first.metric('clarion_dropped_total{reason="gossip_udp_send_failed"}'), "counted"
    )
    assert failed > 10
    assert len(lines) <= 5
    assert len(first.events("exchange_failed")) <= 3
