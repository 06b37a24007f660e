"""BFD between a whole speaker's engine and a router: profiles, echo, figures, no flap."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgp_stage import (
    COMES_UP,
    BgpStage,
    bfd_of,
    bgp_stage,
    manifest,
    service,
    set_up,
    up,
    usual,
)
from frr_container import missing_container
from speakers import Speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
FULL = {
    "receiveInterval": 250,
    "transmitInterval": 350,
    "detectMultiplier": 5,
    "echoMode": True,
    "echoInterval": 62,
    "passiveMode": True,
    "minimumTtl": 200,
}
ARRIVED = {
    "remote-receive-interval": 250,
    "remote-transmit-interval": 350,
    "remote-detect-multiplier": 5,
    "remote-echo-receive-interval": 62,
}
DEFAULT = {
    "remote-receive-interval": 300,
    "remote-transmit-interval": 300,
    "remote-detect-multiplier": 3,
}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[BgpStage]:
    with bgp_stage(tmp_path) as found:
        for host in (found.node, found.router.host):
            # Echoes are sent back by the peer's kernel.
            host.namespace.sysctl("ipv4/ip_forward", 1)
        lines = usual(found.node.ip, "bfd", "bfd profile echo")
        found.router.frr.configure("bfdd", ["bfd", "profile echo", "echo-mode", "exit", "exit"])
        set_up(found.router, 64501, lines)
        found.write("web-1", *service("web-1", "10.77.9.1"))
        yield found


def counts(stage: BgpStage) -> dict[str, Any]:
    """Return what the router's BFD daemon has counted."""
    said = stage.router.frr.say("bfdd", "enable", "show bfd peers counters json")
    return next((dict(each) for each in json.loads(said) if each["peer"] == stage.node.ip), {})


def arrives(stage: BgpStage, values: dict[str, int]) -> None:
    """Wait until the router's BFD daemon has heard these values, in a session that is up."""

    def heard() -> bool:
        state = bfd_of(stage.router, stage.node.ip)
        return {"status": "up", **values}.items() <= state.items()

    wait_until(heard, f"{values} at the router", COMES_UP)


def shows(running: Speaker, stage: BgpStage, name: str) -> float | None:
    peer = stage.router.host.ip
    return running.metric(f'metallb_bfd_{name}{{peer="{peer}",vrf="default"}}')


def test_profiles_arrive_at_the_router_and_nothing_flaps(stage: BgpStage) -> None:
    stage.write("profile", manifest("BFDProfile", "watch", {}))
    stage.peer(bfdProfile="watch")
    peer = stage.router.host.ip
    with stage.speaking() as running:
        stage.learns("10.77.9.1/32")
        arrives(stage, DEFAULT)
        wait_until(lambda: running.metric(up(peer, "bfd")) == 1, "up at the speaker")
        stage.write("profile", manifest("BFDProfile", "watch", FULL))
        arrives(stage, ARRIVED)
        echoes = counts(stage)["echo-packet-input"]
        wait_until(lambda: counts(stage)["echo-packet-input"] > echoes, "echoes at the router")
        for number in range(2, 30):
            stage.write(f"web-{number}", *service(f"web-{number}", f"10.77.9.{number}"))
        stage.learns("10.77.9.29/32")
        before = shows(running, stage, "control_packet_input") or 0.0
        wait_until(
            lambda: (shows(running, stage, "control_packet_input") or 0.0) > before, "counted"
        )
        assert (shows(running, stage, "control_packet_output") or 0.0) > 0
        assert (shows(running, stage, "echo_packet_output") or 0.0) > 0
        assert shows(running, stage, "session_up_events") == 1
        assert shows(running, stage, "session_down_events") == 0
        assert counts(stage)["session-down"] == 0
        assert stage.dropped() == 0
