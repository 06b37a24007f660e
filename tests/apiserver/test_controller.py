"""Real controllers on a real API server: addresses, events, counters, and who leads."""

import base64
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import controllers
from apiserver import ApiServer
from controllers import POOLS, SERVICES, Controller, Witness, addresses, pool, replicas, service

STATE = (
    f"/apis/metallb.io/v1beta1/namespaces/{controllers.NAMESPACE}/configurationstates/controller"
)
KEY = f"/api/v1/namespaces/{controllers.NAMESPACE}/secrets/memberlist"
OF_A_LEADER = {("patch", "leases"), ("get", "leases"), ("watch", "leases")}
"""Verb and resource of what a leader asks for while nothing happens."""
RELEASED_WITHIN, KILLED_WITHIN = 1.0, 12.0


@pytest.fixture(scope="module")
def made(server: ApiServer) -> ApiServer:
    controllers.set_up(server)
    return server


@pytest.fixture
def clean(made: ApiServer) -> Iterator[ApiServer]:
    yield made
    for name in addresses(made):
        made.delete(f"{SERVICES}/{name}")
    for item in made.get(POOLS)["items"]:
        made.delete(f"{POOLS}/{item['metadata']['name']}")
    controllers.forget_lease(made)


def until(found: Callable[[], Any], what: str, within: float = 60.0) -> Any:
    end = time.monotonic() + within
    while not (result := found()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return result


def create(server: ApiServer, documents: list[dict[str, Any]]) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(partial(server.must, "POST", SERVICES), documents))


def leader(running: list[Controller]) -> Controller:
    found = until(lambda: next((one for one in running if one.leads), None), "nobody leads")
    assert isinstance(found, Controller)
    return found


def all_served(server: ApiServer, count: int) -> bool:
    found = addresses(server)
    return len(found) == count and all(found.values())


def verdict(server: ApiServer) -> str | None:
    code, state = server.request("GET", STATE)
    return state.get("status", {}).get("result") if code == 200 else None


def events_of(server: ApiServer, name: str) -> set[tuple[str, str, str]]:
    return {
        (item["type"], item["reason"], item["message"])
        for item in controllers.events_about(server, name)
    }


def test_the_path_of_a_service_and_of_a_pool(clean: ApiServer, tmp_path: Path) -> None:
    """In one life of one controller: given, told, counted, waited for, and given back."""
    server = clean
    with replicas(server, tmp_path, 1, "--ml-secret-name", "memberlist") as (one,):
        until(lambda: one.leads, "it does not lead")
        create(server, [service("web"), service("shop")])
        server.apply(pool("small", "192.0.2.7/32"))
        until(lambda: sorted(map(len, addresses(server).values())) == [0, 1], "one is served")
        web, shop = "web", "shop"
        if addresses(server)[shop]:
            web, shop = shop, web
        told = until(lambda: events_of(server, shop), "the other is told why not")
        until(lambda: len(events_of(server, shop)) >= 2, "and which pools were looked at")
        told = events_of(server, shop)
        failed = f'Failed to allocate IP for "default/{shop}": no available IPs'
        assert ("Warning", "AllocationFailed", failed) in told
        why = "small: none of its IPv4 addresses is free"
        assert ("Warning", "AllocationPending", why) in told
        until(lambda: events_of(server, web), "who is served is told, too")
        assert events_of(server, web) == {("Normal", "IPAllocated", 'Assigned IP ["192.0.2.7"]')}
        status = {"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 0, "availableIPv6": 0}
        until(lambda: server.get(f"{POOLS}/small").get("status") == status, "the pool is counted")
        # What another hand writes there does not stay.
        server.merge(f"{POOLS}/small/status", {"status": {"assignedIPv4": 7}})
        until(lambda: server.get(f"{POOLS}/small").get("status") == status, "counted once more")
        until(lambda: verdict(server) == "Valid", "the configuration is judged")
        assert one.metric("metallb_allocator_allocation_failures_total") >= 1
        assert "This replica leads." in one.page("/")
        server.delete(f"{SERVICES}/{web}")
        until(lambda: addresses(server) == {shop: ["192.0.2.7"]}, "who waited is served")
        found = server.get(f"{SERVICES}/{shop}")["metadata"]["annotations"]
        assert found == {"metallb.io/ip-allocated-from-pool": "small"}
        # The schema cannot see what takes two objects to tell.
        server.apply(pool("bad", "192.0.2.0/24"))
        until(lambda: verdict(server) == "Invalid", "the fault is named")
        assert "overlaps" in server.get(STATE)["status"]["errorSummary"]
        server.delete(f"{POOLS}/bad")
        until(lambda: verdict(server) == "Valid", "and gone")
        # It is made beside all that was waited for so far.
        until(lambda: server.request("GET", KEY)[0] == 200, "the gossip key is made")
        secret = server.get(KEY)
        assert len(base64.b64decode(base64.b64decode(secret["data"]["secretkey"]))) == 128
        # The last events and counts of pools are written later than the verdict; a count rests 1 s.
        requests = server.until_idle(2.0, lambda asked: asked[:2] in OF_A_LEADER)
        before = [item["metadata"]["resourceVersion"] for item in server.get(SERVICES)["items"]]
        # Time in which nothing happens: it is what is tested.
        time.sleep(3.0)
        after = [item["metadata"]["resourceVersion"] for item in server.get(SERVICES)["items"]]
        assert before == after
        others = {ask[:2] for ask in server.audited()[requests:]}
        assert others <= OF_A_LEADER, others


def test_a_leader_that_is_told_to_end_hands_over_at_once(clean: ApiServer, tmp_path: Path) -> None:
    server = clean
    server.apply(pool("large", "10.20.0.0/16"))
    with replicas(server, tmp_path) as running, Witness(server) as witness:
        first = leader(running)
        create(server, [service(f"s{n}") for n in range(20)])
        until(lambda: all_served(server, 20), "all are served")
        first.signal(signal.SIGTERM)
        began = time.monotonic()
        create(server, [service("late")])
        until(lambda: addresses(server)["late"], "another serves")
        took = time.monotonic() - began
        assert first.process.wait(timeout=5) == 0
        print(f"SIGTERM to an address by another leader: {took:.2f} s")
    assert took < RELEASED_WITHIN + 0.5
    assert (witness.doubles, witness.moved) == ([], [])
    assert witness.looks > 10


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_leader_that_dies_or_stands_still_in_a_burst(
    clean: ApiServer, tmp_path: Path, how: str
) -> None:
    server = clean
    server.apply(pool("large", "10.20.0.0/16"))
    with replicas(server, tmp_path) as running, Witness(server) as witness:
        first = leader(running)
        create(server, [service(f"s{n}") for n in range(60)])
        # In the midst of the burst, as soon as some are served and others are not.
        until(lambda: any(addresses(server).values()), "some are served")
        first.signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        began = time.monotonic()
        create(server, [service(f"t{n}") for n in range(60)])
        second = leader([one for one in running if one is not first])
        took = time.monotonic() - began
        if how == "stopped":
            first.signal(signal.SIGCONT)
            until(lambda: not first.leads, "it sees that another leads")
        until(lambda: all_served(server, 120), "all are served")
        print(f"{how}: {second.name} leads after {took:.1f} s")
    assert took < KILLED_WITHIN
    assert (witness.doubles, witness.moved) == ([], [])
    assert len({ip for ips in addresses(server).values() for ip in ips}) == 120
