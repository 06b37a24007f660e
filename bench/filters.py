"""`python -m bench.filters`: what the kernel filter costs with ranges of pools and with single IPs.

For each program: instructions, milliseconds to make it, and nanoseconds that a question about
another IP costs more than in front of a socket that takes nothing. Needs root.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "netns-lab"), str(ROOT / "tests" / "support"), str(ROOT)]

from bench.client import question  # noqa: E402
from dualstack import dualstack  # noqa: E402
from link import filter as programs  # noqa: E402
from link.attach import attach  # noqa: E402
from link.filter import DROP_ALL, Program, arp_program  # noqa: E402

FRAMES, ROUNDS = 20_000, 7
MAC = bytes.fromhex("02000000000c")
BASE = int(IPv4Address("10.77.1.0"))


def scattered(count: int) -> frozenset[IPv4Address]:
    """Addresses that make no ranges."""
    return frozenset(IPv4Address(BASE + 2 * number) for number in range(count))


def filled(count: int, pools: int) -> frozenset[IPv4Address]:
    """Pools that are filled from the bottom: so many ranges."""
    each = count // pools
    return frozenset(
        IPv4Address(BASE + 4096 * pool + number) for pool in range(pools) for number in range(each)
    )


PROGRAMS: dict[str, Callable[[], Program]] = {
    "1 range": partial(arp_program, MAC, filled(1_000, 1)),
    "4 ranges": partial(arp_program, MAC, filled(1_000, 4)),
    "100 scattered": partial(arp_program, MAC, scattered(100)),
    "1,000 scattered": partial(arp_program, MAC, scattered(1_000)),
}


def main() -> None:
    """Print the table."""
    with dualstack("client", "node") as machines:
        sender, receiver = machines["client"].raw(0x0806), machines["node"].raw(0x0806)
        frame = question(machines["client"], "10.77.0.99")
        times: dict[str, list[float]] = {name: [] for name in ("nothing", *PROGRAMS)}
        for _ in range(ROUNDS):
            for name, found in times.items():
                attach(receiver, PROGRAMS[name]() if name in PROGRAMS else DROP_ALL)
                # A frame between virtual links is filtered before its sender's call returns.
                began = time.thread_time()
                for _ in range(FRAMES):
                    sender.send(frame)
                found.append((time.thread_time() - began) / FRAMES)
    nothing = statistics.median(times.pop("nothing"))
    print("| service IPs | instructions | ms to make | ns a foreign question |\n|---|---|---|---|")
    for name, found in times.items():
        size, made = _make(PROGRAMS[name])
        more = (statistics.median(found) - nothing) * 1e9
        print(f"| {name} | {size:,} | {made * 1e3:.1f} | {more:.0f} |")


def _make(program: Callable[[], Program]) -> tuple[int, float]:
    """Return the length of a program and the processor seconds that making it takes, median."""
    times = []
    for _ in range(ROUNDS):
        programs._about.cache_clear()
        began = time.thread_time()
        made = program()
        times.append(time.thread_time() - began)
    return len(made), statistics.median(times)


if __name__ == "__main__":
    main()
