"""Writes to the API to whom this speaker announces by BGP: ServiceBGPStatus.

As in `publisher`, each service has at most one writer at a time, which compares what is announced
with what the watch shows and acts on the difference: nothing is written in a steady state, and what
was lost on the way is written again.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from kube.api.bgp_state import OwnStatuses
from kube.api.client import ApiClient, ApiError
from kube.api.state import METALLB, Scope
from kube.api.turns import Turns
from kube.api.writes import KeyedQueue, unless
from speaker.cluster.bgp_status import KIND, reconcile_routes, routes_of
from speaker.cluster.status import Action, Create, Delete, Write, new_object

GRACE = 5.0
"""Seconds after the start for which an object stays whose service nobody has told us of. The engine
outlives a restart of the speaker: its sessions are up, and are heard of one after the other."""

_NOT_FOUND, _CONFLICT = 404, 409

Owners = Callable[[], list[dict[str, Any]]]


class BgpPublisher:
    """Keeps one object for each service that is announced; it goes with the last peer."""

    def __init__(
        self,
        client: ApiClient,
        statuses: OwnStatuses,
        scope: Scope,
        owners: Owners,
        requests: Turns,
        on_failure: Callable[[str, Exception], None],
    ) -> None:
        """`owners` gives the owner references of a new object; `requests` paces all that we ask."""
        self._client, self._statuses, self._owners = client, statuses, owners
        self._node, self._requests = scope.node, requests
        self._collection = f"{METALLB}/namespaces/{scope.namespace}/servicebgpstatuses"
        self._queue = KeyedQueue(self._write, on_failure)
        self._peers: dict[str, tuple[str, ...]] = {}
        """Until we have settled, with those that are announced no more."""
        self._taken: dict[str, set[str]] = {}
        """By service, names of ours that objects have which the watch does not show."""
        self._early: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._settled = False
        """Whether a service that we were not told of is announced to nobody."""
        statuses.on_change = self._handle_status_change

    def note(self, service: str, peers: Iterable[str]) -> bool:
        """Take to whom a service is announced now; tell if that begins."""
        before, now = self._peers.get(service, ()), tuple(sorted(set(peers)))
        if now or not self._settled:
            self._peers[service] = now
        else:
            self._peers.pop(service, None)
        self._queue.add(service)
        return bool(now) and not before

    def activate(self) -> None:
        """The start is over: soon what we were not told of is nobody's, and goes."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GRACE, self._settle)

    def close(self) -> None:
        """Stop writing."""
        self._queue.close()
        if self._timer is not None:
            self._timer.cancel()

    def _settle(self) -> None:
        self._settled = True
        self._peers = {service: peers for service, peers in self._peers.items() if peers}
        self._look(self._statuses.services())

    def _handle_status_change(self, services: set[str]) -> None:
        """Objects changed, or the first list of them is there: what came too early is due now."""
        self._look(services | self._early)
        self._early.clear()

    def _look(self, services: Iterable[str]) -> None:
        for service in services:
            self._queue.add(service)

    async def _write(self, service: str) -> bool:
        """Bring the objects of one service in line; tell if anything was asked for."""
        if not self._statuses.synced:
            self._early.add(service)
            return False
        peers = self._peers.get(service)
        if peers is None and not self._settled:
            return False
        if not peers:
            self._taken.pop(service, None)
        acted = False
        for action in self._actions(service, peers or ()):
            await self._requests.take()
            if self._peers.get(service) != peers:
                # It is looked at again at once.
                return False
            acted = True
            if not await self._do(action, service, peers or ()):
                break
        return acted

    def _actions(self, service: str, peers: tuple[str, ...]) -> list[Action]:
        found, taken = self._statuses.of(service), self._taken.get(service, ())
        return reconcile_routes(self._node, service, peers, found, taken)

    async def _do(self, action: Action, service: str, peers: tuple[str, ...]) -> bool:
        """Tell if what comes after it may be done."""
        match action:
            case Create(name):
                return await self._create(name, service)
            case Write(name):
                body = routes_of(self._node, service, peers)
                path = f"{self._collection}/{name}/status"
                await unless(_NOT_FOUND, self._client.merge(path, body))
            case Delete(name):
                await unless(_NOT_FOUND, self._client.delete(f"{self._collection}/{name}"))
        return True

    async def _create(self, name: str, service: str) -> bool:
        body = new_object(name, self._node, service, self._owners(), KIND)
        try:
            await self._client.post(self._collection, body)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            # Ours, and the watch shows it soon; or it has another node's label, and we leave it.
            self._taken.setdefault(service, set()).add(name)
            self._queue.add(service)
            return False
        return True
