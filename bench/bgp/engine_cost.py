"""FRR's container with 1,000 prefixes and 4 peers: its memory, and its processor time at rest."""

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.bgp import usage
from bgp_stage import (
    ITS_AS,
    BgpStage,
    Manifest,
    bfd_of,
    bgp_stage,
    manifest,
    service,
    set_up,
    usual,
)
from speakers import wait_until

PEERS = ("left", "right", "third", "fourth")
PREFIXES = 1_000
INTERVALS = (300, 50)
"""Milliseconds between two packets of BFD."""
WITHIN = 90.0
RESTS = 5.0
LASTS, WINDOWS = 8.0, 5
FAST = "fast"
"""What the routers' own profile is called: no slower than any that is measured."""


def services(count: int) -> list[Manifest]:
    """Return so many services, each with an IP of the pool 10.78.0.0/16."""
    found: list[Manifest] = []
    for number in range(count):
        found += service(f"web-{number}", f"10.78.{number // 250}.{number % 250 + 1}")
    return found


def measure(folder: Path) -> dict[str, Any]:
    """Return MiB, and percents of a core by interval."""
    with ExitStack() as stack:
        stage = stack.enter_context(bgp_stage(folder, *PEERS))
        stage.pool("10.78.0.0/16")
        stage.write("web", *services(PREFIXES))
        for name in PEERS:
            _watching(stage, name)
            stage.peer(name, bfdProfile="watch")
        _profile(stage, INTERVALS[0])
        stack.enter_context(stage.speaking())
        wait_until(lambda: all(_heard(stage, name) == PREFIXES for name in PEERS), "routes", WITHIN)
        idle = {f"idle_percent_bfd_{ms}": _at_rest(stage, ms) for ms in INTERVALS}
        pids = usage.engine_pids(stage.container)
        flaps = sum(stage.dropped(name) for name in PEERS)
        memory = {"rss_mib": usage.resident(pids), "pss_mib": usage.proportional(pids)}
        return {"peers": len(PEERS), "prefixes": PREFIXES, **memory, **idle, "flaps": flaps}


def _watching(stage: BgpStage, name: str) -> None:
    router, (_, fast) = stage.routers[name], INTERVALS
    times = (f"receive-interval {fast}", f"transmit-interval {fast}")
    router.frr.configure("bfdd", ["bfd", f"profile {FAST}", *times, "exit", "exit"])
    set_up(router, ITS_AS, usual(stage.node.ip, "bfd", f"bfd profile {FAST}"))


def _profile(stage: BgpStage, interval: int) -> None:
    times = {"receiveInterval": interval, "transmitInterval": interval}
    stage.write("profile", manifest("BFDProfile", "watch", times))


def _heard(stage: BgpStage, name: str) -> int:
    said = stage.routers[name].frr.say("bgpd", "enable", "show bgp ipv4 unicast summary json")
    return sum(peer.get("pfxRcd", 0) for peer in json.loads(said).get("peers", {}).values())


def _at_rest(stage: BgpStage, interval: int) -> float:
    """Return percents of a core at this interval, what the speaker asks each second included.

    Of several times the cheapest: what else runs on the machine only adds, by cold caches.
    """
    _profile(stage, interval)
    wait_until(lambda: all(_agreed(stage, name, interval) for name in PEERS), "BFD is up", WITHIN)
    time.sleep(RESTS)
    pids = usage.engine_pids(stage.container)
    return min(_percent(pids) for _ in range(WINDOWS))


def _percent(pids: list[int]) -> float:
    before, began = usage.seconds(pids), time.monotonic()
    time.sleep(LASTS)
    return 100 * (usage.seconds(pids) - before) / (time.monotonic() - began)


def _agreed(stage: BgpStage, name: str, interval: int) -> bool:
    state = bfd_of(stage.routers[name], stage.node.ip)
    wanted = {"status": "up", "remote-transmit-interval": interval}
    return wanted.items() <= state.items()
