"""The speaker under the pod's limit of 200m CPU: in a storm, and while it reads and is scraped."""

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.client import Asker, Latency, processor_seconds, storm
from dualstack import Machine, dualstack, manifests
from limits import CpuLimit, cpu_limit
from netnslab.results.oracle import owner
from speakers import Speaker, speaker

MILLIS = 200
STORM = 50_000
STORM_SECONDS = 10.0
BUSY_SECONDS = 40.0
SCRAPE_EVERY, REREAD_EVERY = 5.0, 10.0
COUNTED = {"answers", "lost", "kernel_lost", "periods_throttled", "suspected"}
PAUSE = 0.0005
NAMES = ("node", "peer")
BARE_VIP = "10.78.0.2"
"""What `bench.bare` answers for, beside the speaker and without its limit: no process in Python can
take less here."""


@dataclass(frozen=True)
class Limited:
    """A limited speaker, `vip` which it owns, and its group."""

    machines: dict[str, Machine]
    running: Speaker
    peer: Speaker
    vip: str
    source: Path
    limit: CpuLimit


@contextmanager
def limited(ips: list[str]) -> Iterator[Limited]:
    """Two speakers that gossip and share the IPs; that of `node` is limited once it is at work."""
    vip = next(ip for ip in ips if owner(ip, NAMES) == "node")
    with (
        dualstack("client", "node", "stranger", "peer", "bare") as machines,
        tempfile.TemporaryDirectory() as temporary,
        cpu_limit(MILLIS) as limit,
    ):
        source = manifests(Path(temporary) / "source", *ips)
        # The peer gossips and no more: on these cores, which it shares with all others, it would
        # be woken by each question too, as candidate for the IP. On its own it disturbs nobody.
        elsewhere = manifests(Path(temporary) / "elsewhere", "10.78.0.1")
        node, peer = machines["node"].host, machines["peer"].host
        with (
            speaker(
                peer, elsewhere, *_gossip(peer.ip, node.ip), log=Path(temporary) / "peer"
            ) as other,
            speaker(node, source, *_gossip(node.ip, peer.ip), log=Path(temporary) / "node") as ours,
        ):
            ours.wait_for("announce", timeout=30.0, ip=vip)
            bare = machines["bare"].namespace.start(
                [sys.executable, "-m", "bench.bare", "eth0", BARE_VIP]
            )
            time.sleep(8.0)
            limit.take(ours.process.pid)
            yield Limited(machines, ours, other, vip, source, limit)
            for child in (bare, ours.process):
                child.kill()
                child.wait()


def _gossip(own: str, other: str) -> tuple[str, ...]:
    return ("--ml-bindaddr", own, "--ml-bindport", "7946", "--join", other)


def in_storm(ips: list[str], rounds: int) -> dict[str, Any]:
    """50,000 foreign questions a second: what the answers take, and what gossip thinks."""
    with limited(ips) as given:
        seen = given.running.metric('clarion_dropped_total{reason="not_announced"}') or 0
        rows = []
        for _ in range(rounds):
            child = storm(given.machines["stranger"], STORM, STORM_SECONDS)
            rows.append(_asked(given, STORM_SECONDS, _wait))
            os.waitpid(child, 0)
        dropped = given.running.metric('clarion_dropped_total{reason="not_announced"}') or 0
        return _together(rows) | {"foreign_that_passed_the_filter": dropped - seen}


def _together(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds; what is counted is the sum of them."""
    counted = {name: sum(row[name] for row in rows) for name in COUNTED}
    measured = {
        name: round(statistics.median(row[name] for row in rows), 1)
        for name in rows[0].keys() - COUNTED
    }
    each = [row["p99_wire_us"] for row in rows]
    return counted | dict(sorted(measured.items())) | {"p99_wire_us_of_each_round": each}


def while_busy(ips: list[str]) -> dict[str, Any]:
    """A scrape every 5 s, and the folder of 1,000 services changed every 10 s."""
    with limited(ips) as given:

        def disturb(until: float) -> None:
            began = time.monotonic()
            scrapes = rereads = 0
            while (now := time.monotonic()) < until:
                if now - began >= SCRAPE_EVERY * (scrapes + 1):
                    scrapes += 1
                    given.running.get("/metrics")
                if now - began >= REREAD_EVERY * (rereads + 1):
                    rereads += 1
                    _change(given.source, rereads)
                time.sleep(0.05)

        return _asked(given, BUSY_SECONDS, disturb)


def _change(source: Path, number: int) -> None:
    """Rewrite the one file, as a person's editor does, with one port changed."""
    file = source / "all.yaml"
    text = file.read_text().replace("port: 80", f"port: {80 + number}", 1)
    new = source / ".new"
    new.write_text(text)
    new.rename(file)


def _asked(given: Limited, seconds: float, meanwhile: Callable[[float], None]) -> dict[str, Any]:
    pid, throttled, suspected = (
        given.running.process.pid,
        given.limit.throttled(),
        _suspicions(given),
    )
    before = processor_seconds(pid)
    ips = (given.vip, given.machines["peer"].ip, BARE_VIP)
    askers = [Asker(given.machines["client"], ip) for ip in ips]
    until = time.monotonic() + seconds
    thread = threading.Thread(target=meanwhile, args=(until,))
    thread.start()
    found: list[list[Latency]] = [[], [], []]
    lost = [0, 0, 0]
    while time.monotonic() < until:
        # In turn: our answers, those of the peer's kernel for its own address, the bare loop's.
        for number, asker in enumerate(askers):
            some, missed = asker.latencies(20, PAUSE)
            found[number] += some
            lost[number] += missed
    thread.join()
    for asker in askers:
        asker.close()
    row: dict[str, Any] = {
        "answers": len(found[0]),
        "lost": lost[0],
        "kernel_lost": lost[1],
        "worst_ms": round(max(latency.read for latency in found[0]) * 1e3, 1),
        "periods_throttled": given.limit.throttled() - throttled,
        "millis_used": round((processor_seconds(pid) - before) / seconds * 1e3),
        "suspected": _suspicions(given) - suspected,
    }
    for prefix, some in zip(("", "kernel_", "bare_"), found, strict=True):
        row |= _percentiles(prefix, some)
    return row


def _percentiles(prefix: str, found: list[Latency]) -> dict[str, float]:
    """Microseconds until the asker had read the answer, and until it was on the asker's link."""
    row = {}
    for suffix, values in (
        ("us", sorted(latency.read for latency in found)),
        ("wire_us", sorted(latency.wire for latency in found)),
    ):
        for percent in (50, 99):
            at = values[len(values) * percent // 100]
            row[f"{prefix}p{percent}_{suffix}"] = round(at * 1e6, 1)
    return row


def _suspicions(given: Limited) -> int:
    return sum(
        event.get("state") in ("suspect", "dead")
        for running in (given.running, given.peer)
        for event in running.events("member")
    )


def _wait(until: float) -> None:
    time.sleep(max(0.0, until - time.monotonic()))
