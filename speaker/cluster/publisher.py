"""Writes to the API what this speaker does: ServiceL2Status, ConfigurationState and Events.

Each service has at most one writer at a time, which compares what is announced with what the watch
shows and acts on the difference. A change that comes meanwhile has it look again. So nothing is
written in a steady state, and what was lost on the way is written again.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from kube.api.client import ApiClient, ApiError
from kube.api.event_sender import EventSender, wall_clock
from kube.api.events import Event, EventRecorder
from kube.api.state import METALLB, KubernetesSource, Scope
from kube.api.turns import Turns
from kube.api.verdict import advice_of, new_state, state_status, verdict_of
from kube.api.writes import KeyedQueue, unless
from speaker.cluster import status
from speaker.upkeep import Part, survive

REQUEST_INTERVAL = 0.005
"""Seconds between two requests: one costs a millisecond, and hundreds of services move at once."""
STATE = "#state"
"""The key of our ConfigurationState; no service has such a name."""

_ALREADY_THERE, _NOT_FOUND = 409, 404

Wanted = Callable[[str], tuple[str, ...] | None]


class Publisher:
    """`wanted` tells where a service is announced: interfaces, () for all, None for nowhere."""

    def __init__(
        self,
        client: ApiClient,
        source: KubernetesSource,
        scope: Scope,
        wanted: Wanted,
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self.active = False
        """Whether elections are done, so that what is not announced is not ours."""
        self.failures = 0
        self._client, self._source, self._scope = client, source, scope
        self._wanted, self._log = wanted, log
        self._collection = f"{METALLB}/namespaces/{scope.namespace}/servicel2statuses"
        self.requests = Turns(REQUEST_INTERVAL)
        """Taken before each request, by whoever else publishes too."""
        self._queue = KeyedQueue(self._write, self.note_failure)
        self._deletions = KeyedQueue(self._delete, self.note_failure)
        """By `name service`: nothing waits for a deletion."""
        self._left_over: dict[str, asyncio.TimerHandle] = {}
        """What is to be deleted later, if nobody else does it."""
        self._doomed: set[str] = set()
        """Objects whose deletion is on its way."""
        recorder = EventRecorder(scope.node)
        self.sender = EventSender(client, recorder, clock, self.note_failure)
        self._verdict: tuple[str, str] | None = None
        self._advice = ""
        self._early: set[str] = set()
        source.on_status = self._handle_status_change
        source.on_state = self.handle_state_change

    def activate(self, announced: Iterable[str]) -> None:
        """Elections are done: look at what is announced and at what has an object."""
        self.active = True
        self.look({*announced, *self._source.services_with_status()})
        self._queue.add(STATE)

    def look(self, services: set[str]) -> None:
        """Something changed about these services, here or in their objects."""
        if self.active:
            for service in services:
                self._queue.add(service)

    def _handle_status_change(self, services: set[str]) -> None:
        """Objects changed, or the first list of them is there: what came too early is due now."""
        self.look(services | self._early)
        self._early.clear()

    def judge(self, errors: list[str], warnings: Iterable[str] = ()) -> None:
        """Publish whether the configuration is valid; `errors` says what is wrong with it,
        `warnings` what is most likely not as it was meant."""
        verdict, advice = verdict_of(errors), advice_of(warnings)
        if (verdict, advice) != (self._verdict, self._advice):
            self._verdict, self._advice = verdict, advice
            self._queue.add(STATE)

    def handle_state_change(self) -> None:
        """Somebody touched our ConfigurationState."""
        self._queue.add(STATE)

    def event(self, event: Event) -> None:
        """Send an event soon; the oldest are dropped where too many wait."""
        self.sender.add(event)

    def close(self) -> None:
        """Stop writing."""
        self._queue.close()
        self._deletions.close()
        for timer in self._left_over.values():
            timer.cancel()
        self.sender.close()

    # ---- ServiceL2Status

    async def _write(self, key: str) -> bool:
        """Bring the objects of one key in line; tell if anything was written."""
        if key == STATE:
            return await self._write_state()
        if not self._source.statuses.synced:
            self._early.add(key)
            return False
        interfaces = self._wanted(key)
        acted = False
        for action in self._actions(key):
            if isinstance(action, status.Delete):
                self._delete_soon(action, key)
                continue
            await self.requests.take()
            if self._wanted(key) != interfaces:
                # It is looked at again at once.
                return False
            await self._do(action, key, interfaces or ())
            acted = True
        return acted

    def _actions(self, service: str) -> list[status.Action]:
        found, wanted = self._source.statuses_of(service), self._wanted(service)
        return status.reconcile(self._scope.node, service, wanted, found, self._doomed)

    async def _do(
        self, action: status.Create | status.Write, service: str, interfaces: tuple[str, ...]
    ) -> None:
        node = self._scope.node
        match action:
            case status.Create(name):
                body = status.new_object(name, node, service, self._owners())
                await unless(_ALREADY_THERE, self._client.post(self._collection, body))
            case status.Write(name):
                body = status.status_of(node, service, interfaces)
                path = f"{self._collection}/{name}/status"
                await unless(_NOT_FOUND, self._client.merge(path, body))

    def _delete_soon(self, action: status.Delete, service: str) -> None:
        key = f"{action.name} {service}"
        if not action.after:
            self._deletions.add(key)
        elif key not in self._left_over:
            loop = asyncio.get_running_loop()
            self._left_over[key] = loop.call_later(action.after, self._clear_away, key)

    def _clear_away(self, key: str) -> None:
        del self._left_over[key]
        self._deletions.add(key)

    async def _delete(self, key: str) -> bool:
        """Delete an object, if that is still what to do with it."""
        name, _, service = key.partition(" ")
        await self.requests.take()
        if not any(
            isinstance(action, status.Delete) and action.name == name
            for action in self._actions(service)
        ):
            return False
        self._doomed.add(name)
        try:
            await unless(_NOT_FOUND, self._client.delete(f"{self._collection}/{name}"))
        except ApiError:
            self.look({service})
            raise
        finally:
            self._doomed.discard(name)
        return True

    def _owners(self) -> list[dict[str, Any]]:
        return status.owner_references(self._source.own_pod())

    # ---- ConfigurationState

    async def _write_state(self) -> bool:
        if self._verdict is None or not self._source.state.synced:
            return False
        now = self._source.own_state()
        wanted = *self._verdict, self._advice
        if now is not None and (now.result, now.summary, now.advice) == wanted:
            return False
        name = f"speaker-{self._scope.node}"
        collection = f"{METALLB}/namespaces/{self._scope.namespace}/configurationstates"
        if now is None:
            body = self._new_state(name)
            await unless(_ALREADY_THERE, self._client.post(collection, body))
        condition, wall = "configReconcilerValid", wall_clock()
        patch = state_status(condition, self._verdict, wall, self._advice)
        await unless(_NOT_FOUND, self._client.merge(f"{collection}/{name}/status", patch))
        return True

    def _new_state(self, name: str) -> dict[str, Any]:
        labels = {"component-type": "speaker", "node-name": self._scope.node}
        return new_state(name, labels, self._owners())

    def note_failure(self, key: str, error: Exception) -> None:
        """Count and log a request that failed; it is repeated, but for Events."""
        self.failures += 1
        if not isinstance(error, ApiError):
            survive(Part.API, error)
        self._log.info("publish", key=key, error=str(error))
