"""What processor time one decision of the allocating core takes, without a server."""

import statistics
import time
from typing import Any

from controller.allocation.assignments import Assignments
from controller.allocation.pools import Pools
from kube.config import judge
from kube.objects.core import Demand, Port, Service
from kube.objects.metallb import IPAddressPool

ROUNDS = 5


def decisions(services: int, pools: int) -> dict[str, Any]:
    """Return the microseconds a decision in a start with all pending, and for one more after it."""
    rounds = [_round(services, pools) for _ in range(ROUNDS)]
    return {
        f"{name}_us": round(1e6 * statistics.median(row[number] for row in rounds), 1)
        for number, name in enumerate(("of_all", "of_one_more_p50", "of_one_more_worst"))
    }


def _round(services: int, pools: int) -> tuple[float, float, float]:
    core = Assignments()
    specs = [
        IPAddressPool("metallb-system", f"pool{n:02}", (f"10.{20 + n}.0.0/16",))
        for n in range(pools)
    ]
    config, problems = judge(specs, [])
    if config is None:
        raise ValueError(problems)
    core.set_pools(Pools(specs, config))
    core.lead()
    for number in range(services):
        core.handle_service(f"default/s{number}", _service(number))
    began = time.thread_time()
    core.settle(lambda: False)
    taken = time.thread_time() - began
    each = []
    for number in range(services, services + 1000):
        began = time.thread_time()
        core.handle_service(f"default/s{number}", _service(number))
        core.settle(lambda: False)
        each.append(time.thread_time() - began)
    return taken / services, statistics.median(each), max(each)


def _service(number: int) -> Service:
    demand = Demand(
        ("10.96.0.1",), ("IPv4",), "SingleStack", (Port("TCP", 80),), {}, str(number), "2026-01-01"
    )
    return Service("default", f"s{number}", type="LoadBalancer", demand=demand)
