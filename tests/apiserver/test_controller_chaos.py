"""Leaders that are killed, or stand still until another leads, in bursts of new services.

Each round has an own cluster: three replicas, a lease, a pool and a class of services. As a round
mostly waits for a lease to end, several are played side by side on one API server. For more:
`CLARION_CHAOS=100 CLARION_BURST=500 python -m pytest -s tests/apiserver/test_controller_chaos.py`.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import controllers
import machine
from apiserver import ApiServer
from controllers import Controller, pool, service
from history import Connection, History

ROUNDS = int(os.environ.get("CLARION_CHAOS", "10"))
"""Of each kind."""
BURST = int(os.environ.get("CLARION_BURST", "60"))
"""Services of one round."""
STILL = float(os.environ.get("CLARION_STILL", "0"))
"""Seconds for which a leader stands still at least: it goes on when another leads."""
CLUSTERS = min(ROUNDS, 10 if BURST < 200 else 4)
"""How many rounds are played side by side: one API server has to keep up with all of them."""
SERVICES = "/api/v1/namespaces/default/services"
UNDONE_WITHIN = 1.0
"""Seconds for which two may have one address, where the API itself took the write."""
KINDS = ("stopped", "killed")
pytestmark = pytest.mark.timeout(120 + (120 if BURST < 200 else 300) * ROUNDS // CLUSTERS)


@dataclass(slots=True)
class Fleet:
    """Three replicas in a namespace of their own, for a class of services of their own."""

    name: str
    history: History
    config: Path
    folder: Path
    running: list[Controller] = field(default_factory=list)
    started: int = 0

    def fill(self) -> None:
        """Start replicas until there are three."""
        while len(self.running) < 3:
            self.started += 1
            name = f"{self.name}-{self.started}"
            flags = ("--namespace", self.name, "--lb-class", f"example.org/{self.name}")
            self.running.append(controllers.start(self.config, name, self.folder, *flags))

    def leader(self, other_than: str = "") -> Controller:
        """The replica that the lease names; waits for one, or for another one."""
        names = {one.name: one for one in self.running}

        def found() -> Controller | None:
            holder = self.history.holder(self.name)
            return names.get(holder) if holder != other_than else None

        one = self.history.until(found, f"nobody leads {self.name} but {other_than!r}")
        assert isinstance(one, Controller)
        return one

    def end(self) -> None:
        """Kill all."""
        for one in self.running:
            one.end()


@contextmanager
def fleets(server: ApiServer, history: History, folder: Path) -> Iterator[list[Fleet]]:
    config = controllers.shipped_config(server)
    made = [Fleet(f"chaos-{n}", history, config, folder) for n in range(CLUSTERS)]
    for number, fleet in enumerate(made):
        controllers.set_up_in(server, fleet.name)
        own = pool("own", f"10.{20 + number}.0.0/16")
        own["metadata"]["namespace"] = fleet.name
        server.apply(own)
    try:
        yield made
    finally:
        for fleet in made:
            fleet.end()


def wanted(fleet: Fleet, name: str) -> dict[str, Any]:
    """A service of the fleet's class; as node ports are few, it has none."""
    spec = {"loadBalancerClass": f"example.org/{fleet.name}"}
    return service(name, allocateLoadBalancerNodePorts=False, **spec)


def create(server: ApiServer, documents: list[dict[str, Any]]) -> None:
    with Connection(server) as connection:
        for document in documents:
            connection.must("POST", SERVICES, document)


def play(server: ApiServer, fleet: Fleet, kind: str, number: int) -> tuple[int, list[str]]:
    """Play one round; return how many were served when the leader was hit, and all addresses."""
    name, rng = f"{fleet.name}-{kind}-{number}", random.Random(f"{fleet.name} {kind} {number}")
    documents = [wanted(fleet, f"{name}-{n}") for n in range(BURST)]
    history, prefix, half = fleet.history, f"{name}-", BURST // 2
    fleet.fill()
    first = fleet.leader()
    early = threading.Thread(target=create, args=(server, documents[:half]))
    early.start()
    # In the midst of the burst: some are served, at least half of them are not even there.
    least = rng.randint(1, half)
    history.until(lambda: history.served(prefix) >= least, f"{least} of {name} served")
    first.signal(signal.SIGSTOP if kind == "stopped" else signal.SIGKILL)
    hit, until = history.served(prefix), time.monotonic() + STILL
    early.join()
    create(server, documents[half:])
    fleet.leader(other_than=first.name)
    if kind == "stopped":
        # It goes on with what it was about to write, in the moment in which another begins.
        time.sleep(max(0.0, until - time.monotonic()))
        first.signal(signal.SIGCONT)
    history.until(lambda: history.served(prefix) == BURST, f"all of {name} served")
    history.until(lambda: not history.shared_now, "what two have is one's again")
    judge(fleet, kind, prefix)
    assert first.process.poll() is None or kind == "killed"
    found = [ip for ips in history.addresses(prefix).values() for ip in ips]
    if kind == "killed":
        first.end()
        fleet.running.remove(first)
    with Connection(server) as connection:
        # One by one: all at once would be one request, which the server gives a minute.
        for document in documents:
            connection.must("DELETE", f"{SERVICES}/{document['metadata']['name']}")
    return hit, found


def judge(fleet: Fleet, kind: str, prefix: str) -> None:
    """Look at what the services of a round have had.

    One that was stopped between its last look at the lease and its write does the write when it
    goes on. The API takes it if the service is still as it was, and the address may be another's
    by then: that has to be undone, and counted.
    """
    history = fleet.history
    found = [(one, took) for one, took in history.doubles if one.services[0].startswith(prefix)]
    moved = {name for name, _, _ in history.moved if name.startswith(prefix)}
    if kind == "killed":
        assert (found, moved) == ([], set())
        return
    assert all(took < UNDONE_WITHIN * machine.slowness() for _, took in found)
    assert moved <= {name for one, _ in found for name in one.services}
    if found:
        print(f"{prefix}: {found}")
        assert fleet.leader().metric("clarion_allocator_conflicts_total") >= len(found)


def play_all(server: ApiServer, fleet: Fleet) -> list[tuple[str, int, list[str]]]:
    """Play the fleet's share of the rounds."""
    share = range(int(fleet.name.rpartition("-")[2]), ROUNDS, CLUSTERS)
    return [(kind, *play(server, fleet, kind, n)) for n in share for kind in KINDS]


def test_no_address_is_given_twice_whoever_dies_or_stands_still(
    server: ApiServer, tmp_path: Path
) -> None:
    controllers.set_up(server)
    with History(server) as history, fleets(server, history, tmp_path) as made:
        with ThreadPoolExecutor(CLUSTERS) as threads:
            played = [
                one for found in threads.map(lambda f: play_all(server, f), made) for one in found
            ]
        twice = len(history.doubles)
    for kind in KINDS:
        rounds = [(hit, ips) for found, hit, ips in played if found == kind]
        assert len(rounds) == ROUNDS
        assert all(len(set(ips)) == BURST for _, ips in rounds)
        print(f"{kind}: {len(rounds)} rounds of {BURST}, hit at {sorted(hit for hit, _ in rounds)}")
    print(f"{history.changes} changes of services seen, {twice} with an address of another's")
