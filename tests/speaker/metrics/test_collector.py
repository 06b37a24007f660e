"""What /metrics says of announcements is what is answered for; of gossip, what it counts."""

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import structlog

from gossip.io import Address
from gossip.slots import Cut
from gossip.stats import Ignored
from gossip.wire.errors import Refusal
from ownership.io import Announce
from speaker.cli import read_settings
from speaker.cli import speaker as command
from speaker.metrics.collector import Figures, make_registry
from speaker.ring.peers import Peers
from speaker.upkeep import Upkeep
from speaker.wire.layer2 import Layer2Stats

IP, SECOND = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")


def test_an_ip_whose_takeover_waits_is_not_announced_yet() -> None:
    """It is still the old owner that answers for it, so it is: elected, but not announced."""
    served = {IP}
    announced = {"shop/web": Announce("shop/web", (IP, SECOND), None, "member_dead")}
    figures = Figures(
        node="a",
        layer2=Layer2Stats(),
        announced=announced,
        serves=lambda ip, service: ip in served,
        owners=lambda: {"shop/web": "a"},
    )
    registry, _ = make_registry(figures)

    def series(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    def announces(ip: IPv4Address) -> float | None:
        labels = {"service": "shop/web", "protocol": "layer2", "node": "a", "ip": str(ip)}
        return series("metallb_speaker_announced", **labels)

    assert announces(IP) == 1
    assert announces(SECOND) is None
    assert series("clarion_leader", ip=str(SECOND)) == 1
    served.add(SECOND)
    assert announces(SECOND) == 1


def _peers(folder: Path, *flags: str) -> Peers:
    """Gossip up to where it would bind."""
    arguments = ["--node-name=n", f"--source={folder}", f"--metallb-files={folder}", *flags]
    settings = read_settings(command.make_context("speaker", arguments).params)
    log = structlog.get_logger()
    return Peers(settings, lambda: 0.0, lambda event: None, log, Upkeep(_fail, log))


def _fail(*_: Any) -> None:
    raise AssertionError


def test_what_gossip_refuses_is_shown_before_it_happens_for_the_first_time(tmp_path: Path) -> None:
    """Of a series that begins with its first count no increase is seen, so no alert is raised."""
    peers = _peers(tmp_path, "--ml-bindaddr=192.0.2.1")
    shown = peers.refusals()
    assert set(shown.values()) == {0}
    assert {str(reason) for reason in [*Refusal, *Ignored]} < shown.keys()
    assert {f"stream_{cut}" for cut in Cut} < shown.keys()
    assert peers.agent is not None
    peers.agent.swim.handle_datagram(b"\xff", Address("192.0.2.2", 7946), 0.0)
    assert peers.refusals()["unknown_type"] == 1
    assert (peers.stats().datagrams_received, peers.stats().bytes_received) == (1, 1)
    assert peers.streams() is peers.agent.streams


def test_where_nothing_gossips_there_is_nothing_to_refuse(tmp_path: Path) -> None:
    peers = _peers(tmp_path)
    assert peers.refusals() == {}
    assert peers.stats().datagrams_sent == peers.streams().bytes_sent == 0
