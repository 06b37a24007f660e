"""What work costs on the machine of now: no bound of a test may depend on how fast that is.

A bound is a ratio of two costs taken in the same run, or a figure in seconds times `slowness`.
"""

import time
from collections.abc import Callable

TRIES = 5
REFERENCE = 0.05
"""Processor seconds of `calibrate` on the core that docs/gossip.md was measured on, at its best."""


def cost(work: Callable[[], object]) -> float:
    """Return the processor seconds of the cheapest of some tries: what disturbs only adds."""
    costs = []
    for _ in range(TRIES):
        begun = time.thread_time()
        work()
        costs.append(time.thread_time() - begun)
    return min(costs)


def calibrate() -> float:
    """Return the processor seconds of a fixed piece of work like ours: objects, dicts, calls."""
    begun = time.thread_time()
    rows = {}
    for number in range(60_000):
        key = f"n{number}"
        rows[key] = number, key.encode()
    total = 0
    for number, raw in rows.values():
        total += len(raw) + max(number, 1)
    assert total > 0
    return time.thread_time() - begun


def slowness() -> float:
    """Return by how much a bound in seconds has to be longer here and now; 1 on a fast machine."""
    return max(1.0, min(calibrate() for _ in range(TRIES)) / REFERENCE)
