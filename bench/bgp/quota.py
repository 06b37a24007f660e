"""BFD while FRR's container has 200m of a processor and the segment a storm: how often it flaps.

Two routers, one watched every 50 ms and one every 300 ms, three times each. A storm of questions
for addresses that nobody has reaches all machines. Every few seconds all routes change, so that
bgpd takes what it can get of the same quota.

The routers stand for other machines, so that their own BFD has real-time priority here.
"""

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.bgp import usage
from bench.bgp.engine_cost import services
from bgp_stage import ITS_AS, BgpStage, bfd_of, bgp_stage, manifest, set_up, usual
from limits import CpuLimit, cpu_limit
from netns import Host
from netnslab.instruments.instrument import Instrument
from speakers import wait_until

INTERVALS = {"slow": 300, "fast": 50}
"""Router to the milliseconds between two packets of BFD."""
STORM = "stranger"
RATE = 20_000
PREFIXES = 1_000
MILLIS, REALTIME_MILLIS = 200, 100
CHANGES_EVERY = 5.0
WITHIN = 90.0
PRIORITY = 1


def measure(folder: Path, seconds: float, realtime: bool) -> dict[str, Any]:
    """Return how often each session went down, and how often the quota was used up."""
    with ExitStack() as stack:
        limit = stack.enter_context(cpu_limit(MILLIS))
        limit.grant_realtime(REALTIME_MILLIS)
        stage = stack.enter_context(bgp_stage(folder, *INTERVALS, STORM, realtime=realtime))
        _limited(stage, limit)
        stage.pool("10.78.0.0/16")
        stage.write("web", *services(PREFIXES))
        for name, interval in INTERVALS.items():
            _watching(stage, name, interval)
        stack.enter_context(stage.speaking())
        wait_until(lambda: all(_is_up(stage, name) for name in INTERVALS), "BFD is up", WITHIN)
        before, throttled = _flaps(stage), limit.throttled()
        used, began = usage.seconds(usage.engine_pids(stage.container)), time.monotonic()
        rate = _storm(stage, seconds)
        found = {name: flaps - before[name] for name, flaps in _flaps(stage).items()}
        spent = usage.seconds(usage.engine_pids(stage.container)) - used
        return {
            **{f"flaps_bfd_{INTERVALS[name]}": flaps for name, flaps in found.items()},
            "realtime": _has_realtime(stage),
            "seconds": time.monotonic() - began,
            "storm_per_s": rate,
            "periods_throttled": limit.throttled() - throttled,
            "cpu_percent": 100 * spent / (time.monotonic() - began),
        }


def _limited(stage: BgpStage, limit: CpuLimit) -> None:
    """Put the container into the group, before it has started a daemon."""
    stage.container.wait_for("ready")
    limit.take(stage.container.first)


def _watching(stage: BgpStage, name: str, interval: int) -> None:
    router, times = stage.routers[name], ("receive-interval", "transmit-interval")
    lines = [f"{each} {interval}" for each in times]
    router.frr.configure("bfdd", ["bfd", f"profile {name}", *lines, "exit", "exit"])
    set_up(router, ITS_AS, usual(stage.node.ip, "bfd", f"bfd profile {name}"))
    pid = router.frr.processes["bfdd"].pid
    os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(PRIORITY))
    both = {"receiveInterval": interval, "transmitInterval": interval}
    stage.write(f"profile-{name}", manifest("BFDProfile", name, both))
    stage.peer(name, bfdProfile=name)


def _is_up(stage: BgpStage, name: str) -> bool:
    wanted = {"status": "up", "remote-transmit-interval": INTERVALS[name]}
    return wanted.items() <= bfd_of(stage.routers[name], stage.node.ip).items()


def _flaps(stage: BgpStage) -> dict[str, int]:
    return {name: _downs(stage, name) for name in INTERVALS}


def _downs(stage: BgpStage, name: str) -> int:
    said = stage.routers[name].frr.say("bfdd", "enable", "show bfd peers counters json")
    return sum(each["session-down"] for each in json.loads(said))


def _storm(stage: BgpStage, seconds: float) -> float:
    """Ask, and change all routes now and then; return the questions a second."""
    host: Host = stage.topology.nodes[STORM]
    storm = Instrument("storm", host, {"mac": host.mac, "rate": RATE, "family": 4})
    try:
        until, number = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            number += 1
            stage.pool("10.78.0.0/16", communities=[f"64500:{number % 2 + 1}"])
            time.sleep(min(CHANGES_EVERY, max(0.0, until - time.monotonic())))
        return float(storm.ask("rate"))
    finally:
        storm.close()


def _has_realtime(stage: BgpStage) -> bool:
    return os.sched_getscheduler(stage.container.pids()["bfdd"]) == os.SCHED_RR
