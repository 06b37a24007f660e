"""The speaker: its processor time for one change of a real API server, and what BGP adds to it."""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mixed_bgp
from bench.bgp.engine_cost import services
from bench.client import processor_seconds, resident_mib
from bgp_stage import COMES_UP, BgpStage, bgp_stage, manifest
from cluster import NODES
from mixed_bgp import MixedRing, prefix
from netns import Host
from speakers import wait_until

ROOT = Path(__file__).parents[2]
FEW, MANY = 1, 1_000
CHANGES, CHUNKS = 25, 4
RESTS = 2.0
SETTLES = 30.0
"""Seconds until all services have been announced at layer 2, five times each."""
ELSEWHERE = ("without", "before")
"""Machines beside the node and the router."""


def of_a_change(folder: Path) -> dict[str, Any]:
    """Return milliseconds of processor for a service that comes, for one whose endpoints go and
    come back, and for one that goes.

    All of it counts: objects read, plan, lines typed, log, Events and ServiceBGPStatus written. A
    service that comes is three changes: it is made, gets its IP, and its endpoints. Of several
    times the cheapest: what else runs on the machine only adds, by cold caches.
    """
    with mixed_bgp.silent(folder) as ring:
        running = ring.start_ours(NODES[0])
        ring.service(1, *NODES)
        ring.goes_to(prefix(1), NODES[0])
        pid = running.process.pid
        idle = _spent(pid, lambda: time.sleep(RESTS)) / RESTS
        works = {"come": _come, "endpoints_go": _empty, "endpoints_come": _fill, "go": _go}
        found: dict[str, list[float]] = defaultdict(list)
        for start in range(2, 2 + CHUNKS * CHANGES, CHANGES):
            for name, work in works.items():
                doing = partial(work, ring, range(start, start + CHANGES))
                found[name].append(_per_change(pid, idle, doing))
    return {f"ms_{name}": min(each) for name, each in found.items()}


def _come(ring: MixedRing, numbers: range) -> None:
    for number in numbers:
        ring.service(number, *NODES)
    _told(ring, numbers)


def _empty(ring: MixedRing, numbers: range) -> None:
    for number in numbers:
        ring.endpoints(number)
    _forgotten(ring, numbers)


def _fill(ring: MixedRing, numbers: range) -> None:
    for number in numbers:
        ring.endpoints(number, *NODES)
    _told(ring, numbers)


def _go(ring: MixedRing, numbers: range) -> None:
    for number in numbers:
        ring.withdraw(number)
    _forgotten(ring, numbers)


def _told(ring: MixedRing, numbers: range) -> None:
    ring.goes_to(prefix(numbers[-1]), NODES[0])
    wait_until(lambda: ring.statuses(numbers[-1]), "its status", COMES_UP)
    time.sleep(RESTS)


def _forgotten(ring: MixedRing, numbers: range) -> None:
    ring.goes_to(prefix(numbers[-1]))
    wait_until(lambda: not ring.statuses(numbers[-1]), "no status", COMES_UP)
    time.sleep(RESTS)


def _spent(pid: int, work: Callable[[], None]) -> float:
    before = processor_seconds(pid)
    work()
    return processor_seconds(pid) - before


def _per_change(pid: int, idle: float, work: Callable[[], None]) -> float:
    """Return milliseconds for each change, without what it takes at rest."""
    began = time.monotonic()
    spent = _spent(pid, work)
    return 1000 * (spent - idle * (time.monotonic() - began)) / CHANGES


def of_memory(folder: Path, before: Path | None) -> dict[str, Any]:
    """Return MiB of a speaker with BGP and of one without, and of one of another checkout."""
    found: dict[str, Any] = {}
    for count in (FEW, MANY):
        (own := folder / str(count)).mkdir()
        with bgp_stage(own, "tor", *ELSEWHERE) as stage:
            found |= {f"{name}_{count}": mib for name, mib in _sizes(stage, count, before).items()}
    return found


def _sizes(stage: BgpStage, count: int, before: Path | None) -> dict[str, float]:
    """All at the same time, each on a machine of its own, with the same folder and at layer 2."""
    stage.pool("10.78.0.0/16")
    stage.write("l2", manifest("L2Advertisement", "l2", {"ipAddressPools": ["pool"]}))
    stage.peer()
    stage.write("web", *services(count))
    engine = ("--bgp-engine", str(stage.container.folder))
    hosts, trees = stage.topology.nodes, {"with": ROOT, "without": ROOT}
    if before is not None:
        trees["before"] = before
    with ExitStack() as stack:
        pids = {
            name: stack.enter_context(
                _speaker(
                    stage.node if name == "with" else hosts[name],
                    tree,
                    stage.folder,
                    *(engine if name == "with" else ()),
                )
            )
            for name, tree in trees.items()
        }
        stage.learns("10.78.0.1/32")
        time.sleep(SETTLES)
        return {name: resident_mib(pid) for name, pid in pids.items()}


@contextmanager
def _speaker(host: Host, tree: Path, source: Path, *flags: str) -> Iterator[int]:
    """Run the speaker of a checkout; yield its number."""
    command = [
        *("env", "-C", str(tree), f"PYTHONPATH={tree}", sys.executable, "-m", "speaker"),
        *("--source", str(source), "--node-name", "node-1", "--host", host.ip),
        *("--log-level", "warn", *flags),
    ]
    process = host.namespace.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
