"""Three processes and a Lease on a real API server: who leads after a kill, a stop, a farewell."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog

import lease_candidate
from apiserver import ApiServer
from kube.api.client import ApiClient
from kube.api.leading import Leadership, boot_clock
from kube.api.lease import LeaseTiming

NAMESPACE = "metallb-system"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
KILLED_WITHIN = 12.0
RELEASED_WITHIN = 1.0
STOP = 13.0
"""Seconds: longer than the lease, and than others take to get it."""
RIGHTS = """\
apiVersion: v1
kind: Namespace
metadata: {name: metallb-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: controller, namespace: metallb-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: leases, namespace: metallb-system}
rules:
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    resourceNames: [killed, stopped, told, frozen, steady]
    verbs: [get, list, watch, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: leases, namespace: metallb-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: leases}
subjects: [{kind: ServiceAccount, name: controller, namespace: metallb-system}]
"""


class Process:
    """One candidate; `told` is what it said so far."""

    def __init__(self, name: str, config: Path, lease: str, folder: Path) -> None:
        self.name = name
        self._log = folder / f"{lease}-{name}.jsonl"
        command = [sys.executable, lease_candidate.__file__]
        with self._log.open("wb") as out, (folder / f"{lease}-{name}.err").open("wb") as err:
            self.process = subprocess.Popen(
                [*command, str(config), NAMESPACE, lease, name], stdout=out, stderr=err
            )

    def said(self) -> list[dict[str, Any]]:
        lines = self._log.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def looks(self) -> list[dict[str, Any]]:
        return [line for line in self.said() if line["event"] == "looks"]

    @property
    def leads(self) -> bool:
        looks = self.looks()
        return bool(looks) and looks[-1]["leads"] and self.process.poll() is None

    def time_of(self, event: str) -> float:
        return next(float(line["at"]) for line in self.said() if line["event"] == event)

    def held(self, end: float) -> list[tuple[float, float]]:
        """From the first look that found that it leads to the last; `end` for one that goes on."""
        found, since = [], 0.0
        for look in self.looks():
            if look["leads"]:
                since = look["at"]
            else:
                found.append((since, float(look["last"])))
        return [*found, (since, end)] if self.leads else found


@contextmanager
def three(server: ApiServer, lease: str, folder: Path) -> Iterator[list[Process]]:
    config = server.kubeconfig(lease, server.account_token(NAMESPACE, "controller"))
    processes = [Process(name, config, lease, folder) for name in "abc"]
    try:
        yield processes
    finally:
        for one in processes:
            one.process.kill()
            one.process.wait()


def until(found: Callable[[], Any], what: str, within: float = 60.0) -> Any:
    end = time.monotonic() + within
    while not (result := found()):
        assert time.monotonic() < end, what
        time.sleep(0.005)
    return result


def leader(processes: list[Process]) -> Process:
    found = until(lambda: [one for one in processes if one.leads], "nobody leads")
    assert len(found) == 1
    return found[0]  # type: ignore[no-any-return]


def all_watch(processes: list[Process], lease: str, server: ApiServer) -> None:
    """Wait until the followers have had the time of a renewal to see one."""
    for one in processes:
        until(lambda one=one: one.said(), f"{one.name} does not start")  # type: ignore[misc]
    renewals = set[str]()

    def renewed_twice() -> bool:
        renewals.add(server.get(f"{LEASES}/{lease}")["spec"]["renewTime"])
        return len(renewals) > 2

    until(renewed_twice, "no renewal")


def never_two(processes: list[Process]) -> None:
    now = boot_clock()
    spans = sorted(span for one in processes for span in one.held(now))
    for (_, end), (start, _) in pairwise(spans):
        assert end < start, spans


@pytest.fixture(scope="module")
def rights(server: ApiServer) -> None:
    server.apply_all(RIGHTS)


def killed(server: ApiServer, folder: Path) -> float:
    with three(server, "killed", folder) as processes:
        first = leader(processes)
        all_watch(processes, "killed", server)
        at = boot_clock()
        first.process.kill()
        first.process.wait()
        rest = [one for one in processes if one is not first]
        second = leader(rest)
        never_two(rest)
        return float(second.looks()[-1]["at"]) - at


def stopped(server: ApiServer, folder: Path) -> float:
    with three(server, "stopped", folder) as processes:
        first = leader(processes)
        all_watch(processes, "stopped", server)
        rest = [one for one in processes if one is not first]
        first.process.send_signal(signal.SIGSTOP)
        at = boot_clock()
        second = leader(rest)
        time.sleep(max(0.0, at + STOP - boot_clock()))
        first.process.send_signal(signal.SIGCONT)
        until(lambda: not first.leads, "it goes on leading")
        # No look since it goes on has found that it leads.
        assert first.looks()[-1]["last"] < at + STOP / 2
        time.sleep(1.0)
        never_two(processes)
        assert second.leads
        return float(second.looks()[-1]["at"]) - at


def told(server: ApiServer, folder: Path) -> float:
    with three(server, "told", folder) as processes:
        first = leader(processes)
        all_watch(processes, "told", server)
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(10.0) == 0
        rest = [one for one in processes if one is not first]
        second = leader(rest)
        never_two(processes)
        spec = server.get(f"{LEASES}/told")["spec"]
        assert spec["holderIdentity"].startswith(f"{second.name}_")
        assert spec["leaseDurationSeconds"] == 10
        assert spec["leaseTransitions"] == 1
        return float(second.looks()[-1]["at"]) - first.time_of("told")


@pytest.mark.usefixtures("rights")
def test_another_leads_after_a_kill_a_stop_and_a_farewell(
    server: ApiServer, tmp_path: Path
) -> None:
    """Side by side, as each of them mostly waits."""
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(run, server, tmp_path) for run in (killed, stopped, told)]
        took = dict(zip(("killed", "stopped", "told"), [run.result() for run in runs], strict=True))
    print({name: round(seconds, 3) for name, seconds in took.items()})
    assert took["killed"] <= KILLED_WITHIN
    assert took["stopped"] <= KILLED_WITHIN
    assert took["told"] <= RELEASED_WITHIN


@pytest.mark.usefixtures("rights")
def test_frozen_server_ends_the_lead_and_another_begins_after_it(
    server: ApiServer, tmp_path: Path
) -> None:
    with three(server, "frozen", tmp_path) as processes:
        first = leader(processes)
        all_watch(processes, "frozen", server)
        server.freeze()
        at = boot_clock()
        try:
            until(lambda: not first.leads, "it leads on without a renewal", 12.0)
            ended = float(first.looks()[-1]["last"]) - at
            time.sleep(max(0.0, at + 14.0 - boot_clock()))
            assert not any(one.leads for one in processes)
        finally:
            thawed = boot_clock()
            server.thaw()
        second = leader(processes)
        began = float(second.looks()[-1]["at"]) - thawed
        never_two(processes)
        print(f"ended {ended:.3f} s after the freeze, began {began:.3f} s after the thaw")
        # A lease is 10 s, and ends a second earlier for who holds it.
        assert ended <= 9.5
        assert began <= 5.0


@pytest.mark.usefixtures("rights")
def test_steady_state_has_no_call_but_renewals(server: ApiServer) -> None:
    """Also: what the server stores of a lease is what was sent, and a foreign field stays."""
    config = str(server.kubeconfig("steady", server.account_token(NAMESPACE, "controller")))
    asyncio.run(_steady(server, config))


class _Counting(ApiClient):
    def __init__(self, kubeconfig: str) -> None:
        super().__init__(kubeconfig)
        self.calls: list[str] = []

    async def get(self, path: str, query: Any = None) -> bytearray:
        self.calls.append("list" if query else "get")
        return await super().get(path, query)

    async def post(self, path: str, body: Any) -> bytes:
        self.calls.append("create")
        return await super().post(path, body)

    async def merge(self, path: str, body: Any) -> bytes:
        self.calls.append("patch")
        return await super().merge(path, body)


async def _steady(server: ApiServer, config: str) -> None:
    clients = [_Counting(config) for _ in range(2)]
    for client in clients:
        await client.open()
    timing = LeaseTiming(duration=3, renew=0.4, margin=0.5, silence=30.0)
    both = [
        Leadership(client, (NAMESPACE, "steady"), name, _ignore, structlog.get_logger(), timing)
        for client, name in zip(clients, "ab", strict=True)
    ]
    tasks = [asyncio.create_task(one.run()) for one in both]
    end = time.monotonic() + 30.0
    while not any(one.leads for one in both) or not all(one.holder for one in both):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    path = f"{LEASES}/steady"
    server.merge(path, {"metadata": {"labels": {"kept": "yes"}}})
    await asyncio.sleep(1.0)
    begun = [len(client.calls) for client in clients]
    await asyncio.sleep(4.0)
    calls = [client.calls[n:] for client, n in zip(clients, begun, strict=True)]
    led = next(n for n, one in enumerate(both) if one.leads)
    assert calls[1 - led] == []
    assert set(calls[led]) == {"patch"}
    print(f"{len(calls[led])} renewals in 4 s, nothing else")
    await asyncio.gather(*(one.release() for one in both))
    await asyncio.gather(*tasks)
    found = server.get(path)
    assert found["metadata"]["labels"] == {"kept": "yes"}
    assert not found["spec"].get("holderIdentity")
    assert found["spec"]["leaseDurationSeconds"] == 1
    for client in clients:
        await client.close()


def _ignore(leads: bool) -> None:
    pass
