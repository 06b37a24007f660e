"""The times and the port of a peer, from its BGPPeer to what a real router agrees to and sees."""

import json
import socket
import struct
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bgp_stage import COMES_UP, ITS_AS, MY_AS, BgpStage, bgp_stage, service, set_up
from frr_container import missing_container
from frr_engine import ask_vty
from netns import Host
from speakers import wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
MOST = 65535
HIGHEST_PORT = 16384
"""That a BGPPeer may name."""
Spec = dict[str, str | None]
FIRST: tuple[tuple[Spec, int, int], ...] = (
    ({"holdTime": "3s", "keepaliveTime": "1s"}, 3, 1),
    ({"holdTime": "0s"}, 0, 0),
    ({"holdTime": f"{MOST}s"}, MOST, MOST // 3),
    ({"holdTime": None, "keepaliveTime": "10s"}, 30, 10),
    # FRR takes a third of the hold time: without keepalives the session would end.
    ({"holdTime": "1m30s", "keepaliveTime": "0s"}, 90, 30),
)
"""What a BGPPeer says, and what is agreed on: hold time and keepalive, in seconds."""
THEN: tuple[tuple[Spec, int, int], ...] = (
    ({"holdTime": None}, 180, 60),
    ({"holdTime": "3.9s", "keepaliveTime": "1.9s"}, 3, 1),
    ({"holdTime": "9s", "keepaliveTime": "9s"}, 9, 3),
    ({"holdTime": "10s"}, 10, 3),
    ({"holdTime": "0s", "keepaliveTime": "0s"}, 0, 0),
)
ROUTERS = [f"tor-{number}" for number in range(len(FIRST))]


def agreed(stage: BgpStage, name: str) -> tuple[str, int, int, int]:
    """Return the state of a session, its hold time as either side has it, and our keepalive, s."""
    theirs = stage.routers[name].neighbor(stage.node.ip)
    text = ask_vty(stage.container.folder / "bgpd.vty", ("enable", "show bgp neighbors json"))[1][1]
    ours: dict[str, Any] = json.loads(text).get(stage.routers[name].host.ip, {})
    hold, keepalive = "bgpTimerHoldTimeMsecs", "bgpTimerKeepAliveIntervalMsecs"
    found = theirs.get(hold, -1), ours.get(hold, -1), ours.get(keepalive, -1)
    return (theirs.get("bgpState", ""), *(each // 1000 for each in found))


def test_the_times_of_peers_are_agreed_on_at_their_edges(tmp_path: Path) -> None:
    with bgp_stage(tmp_path, *ROUTERS) as stage, stage.speaking() as running:
        for name in ROUTERS:
            # So long that ours decides.
            peer = f"{stage.node.ip} timers {MOST // 3} {MOST}"
            retry = f"{stage.node.ip} timers connect 1"
            lines = [f"{stage.node.ip} remote-as {MY_AS}", peer, retry]
            set_up(stage.routers[name], ITS_AS, lines)
        for cases in (FIRST, THEN):
            for name, (spec, hold, keepalive) in zip(ROUTERS, cases, strict=True):
                stage.peer(name, **spec)
                wanted = ("Established", hold, hold, keepalive)
                again = Again(stage, name)
                wait_until(lambda: again.agreed() == wanted, f"{spec}: {wanted}", COMES_UP)  # noqa: B023
        assert running.metric("clarion_bgp_refused_lines_total") == 0


class Again:
    """Times are agreed on when a session begins: each look at an old one begins another."""

    def __init__(self, stage: BgpStage, name: str) -> None:
        self._stage, self._name = stage, name
        self._typed = ""

    def agreed(self) -> tuple[str, int, int, int]:
        """Return what is agreed on, and end the session if it is older than what is typed now."""
        vty = self._stage.container.folder / "bgpd.vty"
        if not vty.exists():
            return "", -1, -1, -1
        ip = self._stage.routers[self._name].host.ip
        running = ask_vty(vty, ("enable", "show running-config"))[1][1]
        typed = "".join(line for line in running.splitlines() if f"neighbor {ip} timers" in line)
        if typed != self._typed:
            self._typed = typed
            ask_vty(vty, ("enable", f"clear bgp {ip}"))
        return agreed(self._stage, self._name)


def test_a_peer_at_another_port_is_dialled_there(tmp_path: Path) -> None:
    with bgp_stage(tmp_path, listen=HIGHEST_PORT) as stage, stage.speaking():
        stage.peer(peerPort=HIGHEST_PORT)
        stage.write("web", *service("web", "10.77.9.1"))
        stage.learns("10.77.9.1/32")
        assert stage.router.neighbor(stage.node.ip)["portLocal"] == HIGHEST_PORT


@pytest.mark.parametrize("connect", [1, 4])
def test_a_peer_that_refuses_is_dialled_again_after_its_time(tmp_path: Path, connect: int) -> None:
    with (
        bgp_stage(tmp_path, listen=HIGHEST_PORT) as stage,
        stage.speaking(),
        Calls(stage.router.host) as calls,
    ):
        stage.peer(connectTime=f"{connect}s")
        at = [next(calls) for _ in range(4)]
    # The first follows a start, which has a time of its own.
    between = [after - before for before, after in pairwise(at[1:])]
    assert min(between) > 0.9 * connect
    # Half the machine's patience: 120 s is what the engine would wait by itself.
    assert min(between) < connect + COMES_UP


class Calls:
    """Times at which somebody has asked for a connection to BGP's port of a machine."""

    def __init__(self, host: Host) -> None:
        self._tap = host.namespace.run(
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        )
        self._tap.settimeout(2 * COMES_UP)

    def __enter__(self) -> Iterator[float]:
        return self._times()

    def __exit__(self, *error: object) -> None:
        self._tap.close()

    def _times(self) -> Iterator[float]:
        while True:
            packet = self._tap.recv(2048)
            tcp = packet[(packet[0] & 15) * 4 :]
            if packet[9] != socket.IPPROTO_TCP or len(tcp) < 20:
                continue
            (port,) = struct.unpack("!H", tcp[2:4])
            if port == 179 and tcp[13] & 0x12 == 0x02:
                yield time.monotonic()
