"""All that an API server says of the services and leases, in its order and without a gap.

A watch shows each state that was ever kept, where a list shows one now and then: two services with
one address are seen even if it was so for no longer than one write.
"""

import http
import http.client
import json
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from apiserver import ADMIN, ApiServer, RefusedError

SERVICES = "/api/v1/services"
LEASES = "/apis/coordination.k8s.io/v1/leases"
PATIENCE = 150.0
"""Seconds without a line after which a watch is broken: longer than any server is frozen."""


class Connection:
    """One connection that is kept, for many requests of one thread."""

    def __init__(self, server: ApiServer, timeout: float = PATIENCE) -> None:
        context = ssl.create_default_context(cafile=str(server.directory / "ca.crt"))
        self._made = http.client.HTTPSConnection(
            server.ip, server.port, timeout=timeout, context=context
        )
        if server.host is None:
            self._made.connect()
        else:
            server.host.namespace.run(self._made.connect)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *error: object) -> None:
        self._made.close()

    def ask(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> http.client.HTTPResponse:
        """Do a request and return its answer, unread. Raises RefusedError."""
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": kind}
        self._made.request(method, path, None if body is None else json.dumps(body), headers)
        reply = self._made.getresponse()
        if reply.status >= 300:
            raise RefusedError(reply.status, reply.read().decode())
        return reply

    def must(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """Do a request and return the decoded answer. Raises RefusedError."""
        return json.loads(self.ask(method, path, body, kind).read())

    def create(self, path: str, body: Any) -> None:
        """Make an object, however often the server is too late to say that it has: one that stood
        still answers 504 to what waited for over its own limit of 60 s, and may have kept it.
        """
        late = False
        while True:
            try:
                self.must("POST", path, body)
                return
            except RefusedError as error:
                if late and error.status == http.HTTPStatus.CONFLICT:
                    return
                if error.status != http.HTTPStatus.GATEWAY_TIMEOUT:
                    raise
                late = True

    def cut(self) -> None:
        """End it from another thread, which finds the end of a stream."""
        if (opened := self._made.sock) is not None:
            with suppress(OSError):
                opened.shutdown(2)


class Follower:
    """Hands every change of a resource to `take`, in a thread of its own."""

    def __init__(self, server: ApiServer, path: str, take: Callable[[str, Any], None]) -> None:
        self._server, self._path, self._take = server, path, take
        self._connection = Connection(server)
        self._version = ""
        """Of the last object that was told."""
        self._ending = False
        self._lock = threading.Lock()
        """Whoever ends it finds the connection that is read from then on, or none is."""
        self.failure: BaseException | None = None
        self._list()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """End the thread; an error of it is raised here."""
        with self._lock:
            self._ending = True
            self._connection.cut()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _list(self) -> None:
        found = self._connection.must("GET", self._path)
        for item in found["items"]:
            self._take("ADDED", item)
        self._version = str(found["metadata"]["resourceVersion"])

    def _run(self) -> None:
        try:
            while not self._ending:
                self._watch()
        except BaseException as error:
            # Cut in the midst of a chunk, it is an error like any other.
            self.failure = None if self._ending else error

    def _watch(self) -> None:
        """Follow until the server ends it, as it does with who reads too slowly on a busy machine;
        the next watch begins where this one has ended, so nothing is missed."""
        path = f"{self._path}?watch=1&resourceVersion={self._version}"
        with self._connection, self._connection.ask("GET", path) as reply:
            for line in reply:
                event = json.loads(line)
                assert event["type"] != "ERROR", event
                self._take(event["type"], event["object"])
                self._version = event["object"]["metadata"]["resourceVersion"]
        with self._lock:
            if not self._ending:
                self._connection = Connection(self._server)


class Double(NamedTuple):
    """An address that several services had at one time."""

    ip: str
    services: tuple[str, ...]


class History:
    """Every state that the services of a server were in while this was open."""

    def __init__(self, server: ApiServer) -> None:
        self.doubles: list[tuple[Double, float]] = []
        """Each with the seconds for which it was so; those of now have none yet."""
        self.moved: list[tuple[str, list[str], list[str]]] = []
        """Service, what it had, and what it had then: also nothing."""
        self.changes = 0
        self._open: dict[Double, float] = {}
        self._holders: dict[str, str] = {}
        self._now: dict[str, list[str]] = {}
        self._users: dict[str, set[str]] = defaultdict(set)
        self._changed = threading.Condition()
        self._followers = [
            Follower(server, SERVICES, self._take_service),
            Follower(server, LEASES, self._take_lease),
        ]

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *error: object) -> None:
        for follower in self._followers:
            follower.close()

    # ---- what is there

    def until(self, found: Callable[[], Any], what: str, within: float = 90.0) -> Any:
        """Wait until a change makes `found` true, and return what it found."""
        end = time.monotonic() + within
        with self._changed:
            while not (result := found()):
                for follower in self._followers:
                    assert follower.failure is None, follower.failure
                assert time.monotonic() < end, f"{what}; now: {self._summary()}"
                # Some conditions are not of objects alone; those are looked at now and then.
                self._changed.wait(0.05)
        return result

    def addresses(self, prefix: str = "") -> dict[str, list[str]]:
        """Return the addresses of the services whose names begin so."""
        with self._changed:
            return {name: ips for name, ips in self._now.items() if name.startswith(prefix)}

    def served(self, prefix: str = "") -> int:
        """Return how many of them have an address."""
        return sum(1 for ips in self.addresses(prefix).values() if ips)

    def holder(self, namespace: str) -> str:
        """Return the pod that the lease of controllers in a namespace names, "" for none."""
        with self._changed:
            return self._holders.get(namespace, "").partition("_")[0]

    @property
    def shared_now(self) -> list[Double]:
        """The doubles that are not undone."""
        with self._changed:
            return list(self._open)

    # ---- inside

    def _summary(self) -> str:
        return f"{self.served()} of {len(self._now)} served, leases {self._holders}"

    def _take_lease(self, kind: str, item: Any) -> None:
        if item["metadata"]["name"] != "clarion-controller":
            return
        with self._changed:
            holder = item["spec"].get("holderIdentity") if kind != "DELETED" else None
            self._holders[item["metadata"]["namespace"]] = holder or ""
            self._changed.notify_all()

    def _take_service(self, kind: str, item: Any) -> None:
        name, balanced = item["metadata"]["name"], item["spec"].get("type") == "LoadBalancer"
        ingress = item.get("status", {}).get("loadBalancer", {}).get("ingress", [])
        ips = [entry["ip"] for entry in ingress if "ip" in entry]
        with self._changed:
            if kind == "DELETED" or not balanced:
                self._set(name, [])
                self._now.pop(name, None)
            else:
                if (before := self._now.get(name)) and ips != before:
                    self.moved.append((name, before, ips))
                self._set(name, ips)
            self.changes += 1
            self._changed.notify_all()

    def _set(self, name: str, ips: list[str]) -> None:
        before = self._now.get(name, [])
        for ip in before:
            self._users[ip].discard(name)
        for ip in ips:
            self._users[ip].add(name)
        self._now[name] = ips
        for ip in {*before, *ips}:
            self._look_at(ip)

    def _look_at(self, ip: str) -> None:
        users, now = self._users[ip], time.monotonic()
        for double in [double for double in self._open if double.ip == ip]:
            if double.services != tuple(sorted(users)):
                self.doubles.append((double, now - self._open.pop(double)))
        if len(users) > 1:
            self._open.setdefault(Double(ip, tuple(sorted(users))), now)
