"""What users get wrong, or mean to be wrong: told once, and everybody else goes on being served."""

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

import apiserver as api
import controllers
from apiserver import ApiServer
from controllers import POOLS, SERVICES, pool, replicas, service
from history import Connection, History

STATE = (
    f"/apis/metallb.io/v1beta1/namespaces/{controllers.NAMESPACE}/configurationstates/controller"
)
FAMILIES = "10.96.0.0/16,fd00:96::/112"
HOSTILE = "\u0000\r\n\x1b[31m\u2028" + "x" * (200 << 10)
ASKED, FROM = "metallb.io/loadBalancerIPs", "metallb.io/address-pool"
SHOWN = "\\x00\\r\\n\\x1b[31m\\u2028"
"""How the beginning of `HOSTILE` is repeated."""


@pytest.fixture(scope="module")
def server(
    apiserver_binaries: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """A cluster of both families."""
    with api.running(tmp_path_factory.mktemp("dual"), cluster_ips=FAMILIES) as running:
        controllers.set_up(running)
        yield running


@pytest.fixture
def history(server: ApiServer) -> Iterator[History]:
    """Of a server without services and pools."""
    with History(server) as watched:
        yield watched
        with Connection(server) as connection:
            for name in watched.addresses():
                connection.must("DELETE", f"{SERVICES}/{name}")
            for item in connection.must("GET", POOLS)["items"]:
                connection.must("DELETE", f"{POOLS}/{item['metadata']['name']}")
        controllers.forget_lease(server)


def annotated(name: str, annotations: dict[str, str], **spec: Any) -> dict[str, Any]:
    made = service(name, **spec)
    made["metadata"]["annotations"] = annotations
    return made


def told_of(server: ApiServer, name: str) -> list[tuple[str, str, int]]:
    """Reason, message and count of the events about an object."""
    return sorted(
        (item["reason"], item["message"], item["count"])
        for item in controllers.events_about(server, name)
    )


def failed(name: str, why: str) -> tuple[str, str, int]:
    return "AllocationFailed", f'Failed to allocate IP for "default/{name}": {why}', 1


BAD = {
    "outside": (
        annotated("outside", {ASKED: "203.0.113.1"}),
        '["203.0.113.1"] is not allowed in config',
    ),
    "family": (
        annotated("family", {ASKED: "2001:db8::5"}),
        'requested loadBalancer IP(s) ["2001:db8::5"] does not match the ipFamily of the service',
    ),
    "twice": (
        annotated("twice", {ASKED: "10.30.0.7"}, loadBalancerIP="10.30.0.8"),
        f"{ASKED} and spec.loadBalancerIP are both set",
    ),
    "nopool": (annotated("nopool", {FROM: "absent"}), 'unknown pool "absent"'),
    "notthis": (
        annotated("notthis", {ASKED: "10.30.0.7", FROM: "other"}),
        'requested loadBalancer IP(s) ["10.30.0.7"] is not compatible with requested address pool '
        "other",
    ),
    "nonsense": (annotated("nonsense", {ASKED: "10.30.0.7.8"}), f'invalid {ASKED}: "10.30.0.7.8"'),
    "three": (
        annotated("three", {ASKED: "10.30.0.7,2001:db8::5,10.30.0.8"}),
        f"invalid {ASKED}: more than two addresses",
    ),
    "hostile-ip": (annotated("hostile-ip", {ASKED: HOSTILE}), None),
    "hostile-pool": (annotated("hostile-pool", {FROM: HOSTILE}), None),
    "hostile-both": (annotated("hostile-both", {ASKED: "10.30.0.7", FROM: HOSTILE}), None),
}


def test_a_bad_request_is_told_once_and_harms_nobody(
    server: ApiServer, history: History, tmp_path: Path
) -> None:
    server.apply(pool("large", "10.30.0.0/24", "2001:db8::/64"))
    server.apply(pool("other", "10.31.0.0/24"))
    with replicas(server, tmp_path, 1) as (one,), Connection(server) as connection:
        for name, (document, _) in BAD.items():
            connection.must("POST", SERVICES, document)
            connection.must("POST", SERVICES, service(f"good-{name}"))
        # An annotation as large as that is a key like any other.
        connection.must("POST", SERVICES, annotated("key", {"metallb.io/allow-shared-ip": HOSTILE}))
        history.until(lambda: history.served("good-") == len(BAD), "the others are served")
        history.until(lambda: history.served("key") == 1, "so is one with a strange key")
        for name in BAD:
            history.until(partial(told_of, server, name), f"{name} is told")
        # It is decided about anew, and says nothing new.
        server.merge(f"{SERVICES}/outside", {"metadata": {"labels": {"a": "b"}}})
        connection.must("POST", SERVICES, service("good-last"))
        history.until(lambda: history.served("good-last") == 1, "the last is served")
        history.until(lambda: told_of(server, "good-last"), "and told")
        for name, (_, why) in BAD.items():
            assert history.addresses(name) == {name: []}
            (found,) = told_of(server, name)
            assert found == failed(name, why) if why else SHOWN in found[1] and found[2] == 1
            assert found[1].isprintable()
            assert len(found[1]) < 400
        assert max(map(len, one.log.read_text().splitlines())) < 2_000
        assert one.metric("clarion_survived_total") == 0


def test_a_request_that_is_mended_is_served(
    server: ApiServer, history: History, tmp_path: Path
) -> None:
    server.apply(pool("large", "10.30.0.0/24"))
    with replicas(server, tmp_path, 1), Connection(server) as connection:
        connection.must("POST", SERVICES, annotated("web", {ASKED: "203.0.113.1"}))
        history.until(lambda: told_of(server, "web"), "it is told")
        server.merge(f"{SERVICES}/web", {"metadata": {"annotations": {ASKED: "10.30.0.9"}}})
        history.until(lambda: history.addresses() == {"web": ["10.30.0.9"]}, "it is served")


FOREIGN: dict[str, tuple[list[dict[str, str]], int]] = {
    "in-no-pool": ([{"ip": "203.0.113.9"}], 1),
    "hostname": ([{"hostname": "example.org"}], 0),
    "other-family": ([{"ip": "fe80::1"}], 0),
    "two-of-one-family": ([{"ip": "10.30.0.200"}, {"ip": "10.30.0.201"}], 0),
    "emptied": ([], 0),
}
"""What is written by hand, and in how many events a service is told that it may not keep it."""


def test_a_foreign_value_in_a_status_is_written_over(
    server: ApiServer, history: History, tmp_path: Path
) -> None:
    server.apply(pool("large", "10.30.0.0/24"))
    with replicas(server, tmp_path, 1), Connection(server) as connection:
        for name in ("untouched", *FOREIGN):
            connection.must("POST", SERVICES, service(name))
        history.until(lambda: history.served() == len(FOREIGN) + 1, "all are served")
        before = history.addresses("untouched")
        for name, (ingress, _) in FOREIGN.items():
            status = {"status": {"loadBalancer": {"ingress": ingress}}}
            server.merge(f"{SERVICES}/{name}/status", status)
            until(partial(has_one_of_ours, server, name), f"{name} has an address of ours again")
        assert history.addresses("untouched") == before
        server.apply(pool("later", "203.0.113.9/32"))
        # Events are sent one after the other, later than the statuses that they tell about.
        last = list(FOREIGN)[-1]
        until(lambda: times_allocated(server, last) == 2, "the last of them is told of")
        for name, (_, times) in FOREIGN.items():
            cleared = [told for told in told_of(server, name) if told[0] == "ClearAssignment"]
            assert [told[2] for told in cleared] == [1] * times
    assert history.doubles == []


def times_allocated(server: ApiServer, name: str) -> int:
    return sum(told[2] for told in told_of(server, name) if told[0] == "IPAllocated")


def has_one_of_ours(server: ApiServer, name: str) -> bool:
    ingress = server.get(f"{SERVICES}/{name}")["status"]["loadBalancer"].get("ingress", [])
    lone = len(ingress) == 1 and ingress[0].keys() == {"ip", "ipMode"}
    return lone and ingress[0]["ip"].startswith("10.30.0.")


def test_statuses_of_ours_that_somebody_changes_or_deletes(
    server: ApiServer, history: History, tmp_path: Path
) -> None:
    server.apply(pool("large", "10.30.0.0/24"))
    with replicas(server, tmp_path, 1), Connection(server) as connection:
        connection.must("POST", SERVICES, service("web"))
        counted = {"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 255, "availableIPv6": 0}
        until(lambda: server.get(f"{POOLS}/large").get("status") == counted, "it is counted")
        server.merge(f"{POOLS}/large/status", {"status": {"assignedIPv4": 77}})
        until(lambda: server.get(f"{POOLS}/large").get("status") == counted, "and counted again")
        until(lambda: state(server).get("result") == "Valid", "it is judged")
        before = server.get(STATE)["metadata"]["uid"]
        server.delete(STATE)
        until(lambda: state(server).get("result") == "Valid", "and judged again")
        assert server.get(STATE)["metadata"]["uid"] != before


BOTH = ["IPv4", "IPv6"]
POLICIES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "default": ({}, [4]),
    "six": ({"ipFamilies": ["IPv6"]}, [6]),
    "prefer": ({"ipFamilyPolicy": "PreferDualStack"}, [4, 6]),
    "prefer-six": ({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": BOTH[::-1]}, [4, 6]),
    "require": ({"ipFamilyPolicy": "RequireDualStack"}, [4, 6]),
}
"""What is asked of the API server, which fills in the rest, and which IP versions that gives."""


def test_the_families_that_the_server_fills_in(
    server: ApiServer, history: History, tmp_path: Path
) -> None:
    server.apply(pool("dual", "10.30.0.0/24", "2001:db8::/64"))
    with replicas(server, tmp_path, 1), Connection(server) as connection:
        for name, (spec, _) in POLICIES.items():
            connection.must("POST", SERVICES, service(name, **spec))
        history.until(lambda: history.served() == len(POLICIES), "all are served")
        for name, (_, versions) in POLICIES.items():
            (found,) = [ips for key, ips in history.addresses().items() if key == name]
            assert [ip_address(ip).version for ip in found] == versions
        # One wants less, another more than he had, and keeps what he has.
        one = {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}
        address = server.get(f"{SERVICES}/require")["spec"]["clusterIP"]
        server.merge(f"{SERVICES}/require", {"spec": {**one, "clusterIPs": [address]}})
        history.until(lambda: len(history.addresses("require")["require"]) == 1, "one is left")
        server.merge(f"{SERVICES}/default", {"spec": {"ipFamilyPolicy": "PreferDualStack"}})
        history.until(lambda: len(history.addresses("default")["default"]) == 2, "one is added")
    first = [move for move in history.moved if move[0] == "default"]
    assert [after[:1] for _, before, after in first] == [before for _, before, _ in first]


FAULTS: dict[str, tuple[list[str], str, str]] = {
    "reversed": (["10.40.0.9-10.40.0.1"], "spec.addresses[0]", "'10.40.0.9-10.40.0.1'"),
    "nonsense": (["192.0.2.0/28", "10.40.0-10.40.0.9"], "spec.addresses[1]", "'10.40.0-10.40.0.9'"),
    "overlapping": (["10.30.0.128/25"], "spec.addresses[0]", "overlaps '10.30.0.0/24' of pool"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_pool_is_told_once_and_the_last_good_ones_serve(
    server: ApiServer, history: History, tmp_path: Path, fault: str
) -> None:
    """No webhook is there to refuse it."""
    listed, field, message = FAULTS[fault]
    name = f"bad-{fault}"
    server.apply(pool("large", "10.30.0.0/24"))
    with replicas(server, tmp_path, 2) as running, Connection(server) as connection:
        connection.must("POST", SERVICES, service("early"))
        history.until(lambda: history.served() == 1, "it is served")
        # Who begins after the fault was made knows no good pools: so it is with MetalLB.
        history.until(lambda: all(one.ready for one in running), "both know the good pools")
        server.apply(pool(name, *listed))
        until(lambda: state(server).get("result") == "Invalid", "the fault is named")
        summary = state(server)["errorSummary"]
        # In MetalLB's words, which know no fields.
        assert f'"{name}"' in summary
        until(lambda: told_of(server, name), "an event names it, too")
        ((reason, text, count),) = told_of(server, name)
        assert (reason, count) == ("InvalidConfiguration", 1)
        assert text.startswith(f"{field}: ")
        assert message in text
        connection.must("POST", SERVICES, service("late"))
        history.until(lambda: history.served() == 2, "new ones are served")
        history.until(lambda: any(one.leads for one in running), "it is in the log who leads")
        first = next(one for one in running if one.leads)
        first.signal(signal.SIGTERM)
        assert first.process.wait(timeout=10) == 0
        connection.must("POST", SERVICES, service("later"))
        history.until(lambda: history.served() == 3, "also by the next leader")
        server.delete(f"{POOLS}/{name}")
        until(lambda: state(server).get("result") == "Valid", "it is gone")
    assert history.moved == []


def state(server: ApiServer) -> dict[str, Any]:
    code, found = server.request("GET", STATE)
    return dict(found.get("status", {})) if code == 200 else {}


def until(found: Callable[[], Any], what: str, within: float = 60.0) -> None:
    end = time.monotonic() + within
    while not found():
        assert time.monotonic() < end, what
        time.sleep(0.02)
