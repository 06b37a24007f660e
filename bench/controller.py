"""`python -m bench.controller [NAME...]`: the controller on a real API server, all on one machine.

NAME is one or more of the keys of `SCENARIOS`; all by default. Prints a table, and keeps what was
found in `bench/controller.json`. Being root is needed for the limited one alone.
"""

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "netns-lab"), str(ROOT / "tests" / "support"), str(ROOT)]

import apiserver  # noqa: E402
import controllers  # noqa: E402
from apiserver import ApiServer  # noqa: E402
from bench.api_crowd import Arrivals, Crowd  # noqa: E402
from bench.decisions import decisions  # noqa: E402
from controllers import Controller  # noqa: E402
from limits import cpu_limit, resident  # noqa: E402

RESULTS = Path(__file__).with_name("controller.json")
SERVICES, MANY, POOLS = 5_000, 10_000, 50
RATE, SECONDS = 20, 40
"""New services a second, and for how long."""
MILLIS = 200
QUIET, STEADY = 5.0, 20.0
"""Seconds until all is told, at least; seconds in which nothing may be asked but the lease."""
LONGEST = 400.0


@contextmanager
def cluster(pools: int) -> Iterator[tuple[ApiServer, Crowd]]:
    """A fresh API server with our kinds and some pools, and somebody who makes services."""
    with tempfile.TemporaryDirectory() as folder, apiserver.running(Path(folder)) as server:
        controllers.set_up(server)
        for number in range(pools):
            addresses = f"10.20.{number}.0/24" if pools > 1 else "10.20.0.0/16"
            server.apply(controllers.pool(f"pool{number:02}", addresses))
        crowd = Crowd(server)
        try:
            yield server, crowd
        finally:
            crowd.close()


@contextmanager
def controller(server: ApiServer, *prefix: str) -> Iterator[Controller]:
    """One replica under the shipped rights, with the log level of the shipped manifest."""
    token = server.account_token(controllers.NAMESPACE, "controller")
    config = server.kubeconfig("controller", token)
    flags = ("--webhook-mode", "disabled", "--log-level", "info")
    one = Controller("controller-0", config, server.directory, *flags, prefix=prefix)
    try:
        yield one
    except Exception:
        print(f"controller: exit status {one.process.poll()}", one.log.read_text()[-3000:])
        raise
    finally:
        one.end()


def start(services: int, pools: int, *prefix: str) -> dict[str, Any]:
    """Start with all services pending: the time, the work and the memory until all have one."""
    with cluster(pools) as (server, crowd):
        crowd.store(services)
        with Arrivals(server) as arrivals:
            began = time.monotonic()
            with controller(server, *prefix) as one:
                arrivals.wait_for(services, LONGEST)
                took = time.monotonic() - began
                row = {"seconds": round(took, 1), "cpu_s": _cpu(one)}
                row |= {"peak_mib": _peak(one)}
                return row | _afterwards(server, one, services)


def _afterwards(server: ApiServer, one: Controller, services: int) -> dict[str, Any]:
    """Wait until all is told as well; then nothing may be asked but watches and the lease."""
    before, quiet = -1, QUIET
    while (count := len(server.audited())) - before > quiet:
        before = count
        time.sleep(QUIET)
    found = Counter(" ".join(ask[:2]) for ask in server.audited())
    row: dict[str, Any] = {
        "cpu_s_with_events": _cpu(one),
        "requests_a_service": round(sum(found.values()) / services, 2),
        "requests": dict(found.most_common(8)),
        "events_dropped": one.metric("clarion_api_events_dropped_total"),
    }
    time.sleep(STEADY)
    after = Counter(" ".join(ask[:2]) for ask in server.audited()) - found
    row["asked_in_a_steady_state"] = dict(after)
    return row | {"peak_mib_in_the_end": _peak(one), "rss_mib": _rss(one)}


def limited() -> dict[str, Any]:
    """The same start with the processor time of the shipped manifest's limit."""
    with cpu_limit(MILLIS) as limit:
        return start(SERVICES, 1, *limit.join) | {"periods_throttled": limit.throttled()}


def arriving() -> dict[str, Any]:
    """From creation to address, as services come one by one to a controller that is at rest."""
    with cluster(1) as (server, crowd), controller(server) as one, Arrivals(server) as arrivals:
        crowd.create(["first"])
        arrivals.wait_for(1, LONGEST)
        time.sleep(QUIET)
        cpu = _cpu(one)
        names = [f"s{number:05}" for number in range(RATE * SECONDS)]
        sent, answered = crowd.create_steadily(names, RATE)
        used = _cpu(one) - cpu
        arrivals.wait_for(len(names) + 1, LONGEST)
        row: dict[str, Any] = {"services": len(names), "cpu_percent": round(100 * used / SECONDS)}
        for title, since in (("from_sent", sent), ("from_answer", answered)):
            delays = sorted(max(0.0, arrivals.at[name] - since[name]) for name in names)
            for part, index in (("p50", len(delays) // 2), ("p99", len(delays) * 99 // 100)):
                row[f"{title}_{part}_ms"] = round(1e3 * delays[index], 1)
            row[f"{title}_worst_ms"] = round(1e3 * delays[-1], 1)
        return row


def _cpu(one: Controller) -> float:
    """Return the processor time of all threads, ended or not."""
    fields = Path(f"/proc/{one.process.pid}/stat").read_text().rpartition(")")[2].split()
    return round((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), 2)


def _peak(one: Controller) -> float:
    status = Path(f"/proc/{one.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def _rss(one: Controller) -> float:
    return round(resident(one.process.pid)[0], 1)


SCENARIOS: dict[str, Callable[[], dict[str, Any]]] = {
    "decisions": lambda: decisions(SERVICES, 1) | {"many": decisions(MANY, POOLS)},
    "start": lambda: start(SERVICES, 1),
    "arriving": arriving,
    "many": lambda: start(MANY, POOLS),
    "limited": limited,
}


def main() -> None:
    """Run what is named and print what was found."""
    names = sys.argv[1:] or list(SCENARIOS)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names:
        found[name] = SCENARIOS[name]()
        for title, value in found[name].items():
            print(f"| {name} | {title} | {value} |", flush=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
