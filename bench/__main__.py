"""`python -m bench`: interleaved rounds, a JSON file, and the figures of docs/performance.md.

Needs root. Each responder has a segment of its own, so that a storm meets one of them at a time.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "netns-lab"), str(ROOT / "tests" / "support"), str(ROOT)]

from bench.announcing import announce_times  # noqa: E402
from bench.client import Asker, Latency, processor_seconds, resident_mib, storm  # noqa: E402
from bench.limited import in_storm, while_busy  # noqa: E402
from bench.turns import longest_turns  # noqa: E402
from dualstack import Machine, dualstack, index_of, manifests  # noqa: E402

ROUNDS = 5
STORM = 20_000
STORM_SECONDS = 1.0
THROUGHPUT_SECONDS = 0.7
SERVICES = 1_000
VIP = "10.77.1.1"


@dataclass
class Responder:
    """One way to answer and what was measured of it; `pid` is None for the kernel."""

    name: str
    machines: dict[str, Machine]
    pid: int | None
    latencies: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    lost: int = 0
    answers: list[float] = field(default_factory=list)
    per_answer: list[float] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)

    def note(self, condition: str, found: list[Latency]) -> None:
        """Take the latencies of one round."""
        self.latencies[condition].append(sorted(latency.read for latency in found))
        self.latencies[f"{condition}_wire"].append(sorted(latency.wire for latency in found))


def service_ips(count: int) -> list[str]:
    """Addresses that make no ranges: every other one."""
    return [f"10.77.{1 + n // 120}.{1 + 2 * (n % 120)}" for n in range(count)]


@contextmanager
def process(machine: Machine, *arguments: str) -> Iterator[int]:
    """Run Python with these arguments in the machine's namespace."""
    null = os.open(os.devnull, os.O_WRONLY)
    command = [sys.executable, *arguments]
    child = machine.namespace.start(command, stdout=null, stderr=subprocess.STDOUT)
    os.close(null)
    try:
        yield child.pid
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def responders(stack: ExitStack) -> list[Responder]:
    """Build the three segments and start what answers in each."""
    made = [stack.enter_context(dualstack("client", "node", "stranger")) for _ in range(4)]
    kernel, ours, bare, naive = made
    kernel["node"].netlink(
        lambda nl: nl.addr("add", index=index_of(nl, "eth0"), address=VIP, prefixlen=32)
    )
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    source = manifests(folder / "source", *service_ips(SERVICES))
    flags = ["--source", str(source), "--node-name", "node", "--port", "0", "--log-level", "warn"]
    pid = stack.enter_context(process(ours["node"], "-m", "speaker", *flags))
    bare_pid = stack.enter_context(process(bare["node"], "-m", "bench.bare", "eth0", VIP))
    naive_pid = stack.enter_context(process(naive["node"], "-m", "bench.naive", "eth0", VIP))
    return [
        Responder("kernel", kernel, None),
        Responder("clarion", ours, pid),
        Responder("bare", bare, bare_pid),
        Responder("scapy", naive, naive_pid),
    ]


def used(responder: Responder) -> float:
    """Processor seconds so far."""
    return processor_seconds(responder.pid) if responder.pid else 0.0


def measure(responder: Responder) -> None:
    """One round for one responder."""
    count = 15 if responder.name == "scapy" else 500
    asker = Asker(responder.machines["client"], VIP)
    found, lost = asker.latencies(count, 0.0005)
    responder.note("idle", found)
    child = storm(responder.machines["stranger"], STORM, STORM_SECONDS)
    before = used(responder)
    os.waitpid(child, 0)
    responder.foreign.append((used(responder) - before) / (STORM * STORM_SECONDS) * 100_000)
    child = storm(responder.machines["stranger"], STORM, STORM_SECONDS)
    found, lost_in_storm = asker.latencies(count, 0.0005)
    responder.note("storm", found)
    os.waitpid(child, 0)
    before = used(responder)
    answers = asker.throughput(THROUGHPUT_SECONDS)
    responder.answers.append(answers / THROUGHPUT_SECONDS)
    responder.per_answer.append((used(responder) - before) / max(1, answers))
    responder.lost += lost + lost_in_storm
    asker.close()


def summary(responder: Responder) -> dict[str, Any]:
    """What goes into the file: microseconds, medians over the rounds."""
    row: dict[str, Any] = {"lost": responder.lost}
    for condition, found in responder.latencies.items():
        for percent in (50, 99):
            each = [values[len(values) * percent // 100] for values in found if values]
            row[f"{condition}_p{percent}_us"] = round(statistics.median(each) * 1e6, 1)
    row["answers_per_s"] = round(statistics.median(responder.answers))
    row["cpu_us_per_answer"] = round(statistics.median(responder.per_answer) * 1e6, 1)
    row["cpu_s_per_100000_foreign"] = round(statistics.median(responder.foreign), 4)
    row["rss_mib"] = round(resident_mib(responder.pid), 1) if responder.pid else None
    return row


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows as Markdown."""
    columns = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for column in columns:
        values = [str(row[column]) for row in rows.values()]
        lines.append(f"| {column} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write bench/results.json, print the table. A number of rounds may be given."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with ExitStack() as stack:
        found = responders(stack)
        # Until the five rounds of 15,000 announcements are out.
        time.sleep(15.0)
        for _ in range(rounds):
            for responder in found:
                measure(responder)
        rows = {responder.name: summary(responder) for responder in found}
    ips = service_ips(SERVICES)
    more = {
        "announcing": announce_times(ips, rounds),
        "longest_turns": longest_turns(ips),
        "limited_in_storm": in_storm(ips, rounds),
        "limited_while_busy": while_busy(ips),
    }
    result = {
        "kernel": os.uname().release.partition("-")[0],
        "load": os.getloadavg()[0],
        "rounds": rounds,
        "responders": rows,
        **more,
    }
    (ROOT / "bench" / "results.json").write_text(json.dumps(result, indent=2) + "\n")
    print(table(rows))
    print(json.dumps(more, indent=2))


if __name__ == "__main__":
    main()
