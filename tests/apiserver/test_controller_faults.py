"""Controllers on a real API server that are all gone, replaced one by one, or cut off from it; and
addresses that somebody else writes.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import controllers
import machine
from apiserver import ApiServer
from controllers import POOLS, SERVICES, Controller, pool, replicas, service
from history import Connection, History

pytestmark = pytest.mark.timeout(240)

FREEZE = float(os.environ.get("CLARION_FREEZE", "13"))
"""Seconds, longer than the lease of 10; a minute of it: `CLARION_FREEZE=60`."""
LIVE = int(os.environ.get("CLARION_LIVE", "200"))
"""Services that stay, while others come and go."""
UNDONE_WITHIN = 1.0
COMERS = 0.1
"""Seconds between two services that come."""
CONFLICTS = "clarion_allocator_conflicts_total"


@pytest.fixture(scope="module")
def made(server: ApiServer) -> ApiServer:
    controllers.set_up(server)
    return server


@pytest.fixture
def history(made: ApiServer) -> Iterator[History]:
    """Of a server with one large pool and no services."""
    made.apply(pool("large", "10.20.0.0/16"))
    with History(made) as watched:
        yield watched
        with Connection(made) as connection:
            for name in watched.addresses():
                connection.must("DELETE", f"{SERVICES}/{name}")
        made.delete(f"{POOLS}/large")
        controllers.forget_lease(made)


def create(server: ApiServer, names: list[str]) -> None:
    with Connection(server) as connection:
        for name in names:
            connection.create(SERVICES, service(name, allocateLoadBalancerNodePorts=False))


def set_status(server: ApiServer, name: str, *ips: str, pool: str = "large") -> None:
    """Write a status by hand, as another controller would."""
    annotations = {"metallb.io/ip-allocated-from-pool": pool}
    status = {"loadBalancer": {"ingress": [{"ip": ip} for ip in ips]}}
    body = {"metadata": {"annotations": annotations}, "status": status}
    server.merge(f"{SERVICES}/{name}/status", body)


def leader(history: History, running: list[Controller], other_than: str = "") -> Controller:
    def found() -> Controller | None:
        led = (one for one in running if one.leads and one.name != other_than)
        return next(led, None)

    one = history.until(found, f"nobody leads but {other_than!r}")
    assert isinstance(one, Controller)
    return one


def end_all(running: list[Controller]) -> None:
    for one in running:
        one.signal(signal.SIGTERM)
    assert [one.process.wait(timeout=10) for one in running] == [0] * len(running)


def test_all_controllers_are_gone_and_come_back(
    made: ApiServer, history: History, tmp_path: Path
) -> None:
    """Scenario 2 of the guide; and what was written meanwhile is put in order by the first."""
    with replicas(made, tmp_path) as running:
        create(made, ["a", "b"])
        history.until(lambda: history.served() == 2, "both are served")
        # One that has only just begun knows no signal yet.
        history.until(lambda: all(one.ready for one in running), "all are ready")
        end_all(running)
    before = history.addresses()
    create(made, ["c", "d"])
    set_status(made, "d", *before["a"])
    history.until(lambda: history.addresses("d") == {"d": before["a"]}, "two have one address")
    versions = {name: _version(made, name) for name in ("a", "b", "c", "d")}
    # Time in which nobody is there to change anything: it is what is tested.
    time.sleep(1.0)
    assert versions == {name: _version(made, name) for name in versions}
    assert history.addresses("c") == {"c": []}
    with replicas(made, tmp_path) as running:
        history.until(
            lambda: history.addresses("c")["c"] and not history.shared_now, "c is served, d is not"
        )
        history.until(lambda: history.served() == 4, "all are served")
        assert leader(history, running).metric(CONFLICTS) == 1
    after = history.addresses()
    assert (after["a"], after["b"]) == (before["a"], before["b"])
    assert [name for name, _, _ in history.moved] == ["d"]
    assert versions["a"] == _version(made, "a")


def _version(server: ApiServer, name: str) -> str:
    return str(server.get(f"{SERVICES}/{name}")["metadata"]["resourceVersion"])


@pytest.mark.parametrize("how", ["of one that is served", "of one that is new"])
def test_an_address_written_to_a_second_service_is_taken_back(
    made: ApiServer, history: History, tmp_path: Path, how: str
) -> None:
    """As a second leader would, who was stopped for so long that the API took its write."""
    with replicas(made, tmp_path) as running:
        one = leader(history, running)
        create(made, ["owner"])
        history.until(lambda: history.served() == 1, "the owner is served")
        owned = history.addresses("owner")["owner"]
        create(made, ["thief"])
        if how == "of one that is served":
            history.until(lambda: history.served() == 2, "both are served")
        set_status(made, "thief", *owned)
        history.until(lambda: history.doubles, "it was seen")
        history.until(lambda: not history.shared_now and history.served() == 2, "and undone")
        ((double, seconds),) = history.doubles
        assert double == (owned[0], ("owner", "thief"))
        assert seconds < UNDONE_WITHIN * machine.slowness()
        assert history.addresses("owner") == {"owner": owned}
        assert one.metric(CONFLICTS) == 1
        print(f"an address in two services for {seconds * 1e3:.0f} ms")
    others = [move for move in history.moved if move[0] != "thief"]
    assert others == []


def churn(server: ApiServer, stop: threading.Event, rest: list[str]) -> None:
    """Have services come and go, ten a second, until told to stop; `rest` are those that stay."""
    number = 0
    with Connection(server) as connection:
        while not stop.wait(COMERS):
            name = f"comer-{number}"
            made = service(name, allocateLoadBalancerNodePorts=False)
            connection.must("POST", SERVICES, made)
            rest.append(name)
            number += 1
            if len(rest) > 10:
                connection.must("DELETE", f"{SERVICES}/{rest.pop(0)}")


def test_a_rolling_restart_moves_no_address(
    made: ApiServer, history: History, tmp_path: Path
) -> None:
    """The leader is replaced each time: that hands over three times."""
    config, stop, rest = controllers.shipped_config(made), threading.Event(), list[str]()
    comers = threading.Thread(target=churn, args=(made, stop, rest))
    with replicas(made, tmp_path) as first:
        running = list(first)
        try:
            create(made, [f"live-{n}" for n in range(LIVE)])
            history.until(lambda: history.served("live-") == LIVE, "all are served")
            before = history.addresses("live-")
            comers.start()
            for number in range(3):
                old = leader(history, running)
                end_all([old])
                running.remove(old)
                new = controllers.start(config, f"new-{number}", tmp_path)
                running.append(new)
                history.until(partial(getattr, new, "ready"), f"{new.name} is ready")
            stop.set()
            comers.join()
            history.until(lambda: history.served("comer-") == len(rest), "the last are served")
        finally:
            stop.set()
            for one in running:
                one.end()
    assert history.addresses("live-") == before
    assert (history.moved, history.doubles, history.shared_now) == ([], [], [])


def test_a_server_that_stands_still_loses_nothing(
    made: ApiServer, history: History, tmp_path: Path
) -> None:
    """In the midst of a burst, and for longer than the lease: whoever leads stops to."""
    with replicas(made, tmp_path) as running:
        one = leader(history, running)
        names = [f"s{n}" for n in range(60)]
        burst = threading.Thread(target=create, args=(made, names))
        burst.start()
        history.until(lambda: history.served() >= 10, "some are served")
        made.freeze()
        began = time.monotonic()
        try:
            history.until(lambda: not one.leads, "the leader sees that its lease ends")
            stopped = time.monotonic() - began
            # A server that says nothing: it is what is tested.
            time.sleep(max(0.0, FREEZE - stopped))
        finally:
            made.thaw()
        burst.join()
        history.until(lambda: history.served() == len(names), "all are served")
        assert all(other.process.poll() is None for other in running)
        print(f"frozen for {FREEZE:.0f} s; the leader stopped to decide after {stopped:.1f} s")
    assert (history.moved, history.doubles, history.shared_now) == ([], [], [])
    found: list[Any] = [ip for ips in history.addresses().values() for ip in ips]
    assert len(set(found)) == len(names)
