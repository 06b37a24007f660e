"""Writes what was decided: statuses of services and of pools, our verdict on the configuration.

Every write names the version that it was decided on, and is done only by who leads in that moment.
What was lost on the way is written again, as what is wanted is held against what a watch shows.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from structlog.typing import FilteringBoundLogger as Log

from controller.allocation.allocator import Counters
from controller.allocation.assignments import Assignments
from controller.allocation.io import ServiceEvent, StatusWrite
from controller.allocation.requests import ALLOCATED_FROM
from controller.cluster.watching import METALLB, STATE, Watching
from kube.api import events
from kube.api.client import ApiClient, ApiError
from kube.api.event_sender import EventSender, wall_clock
from kube.api.events import Event, EventRecorder, Involved
from kube.api.verdict import new_state, state_status, verdict_of
from kube.api.writes import KeyedQueue, unless
from kube.objects.core import Service
from kube.objects.metallb import PoolStatus
from kube.objects.reading import decode
from kube.problem import Problem
from process.survival import survive

COMPONENT = "metallb-controller"
EVENT_INTERVAL = 0.005
LAST_WRITES = 0.5
"""Seconds for writes under way at the end: who leads next is to find them done."""
MOST_EVENTS = 20_000
"""Events that may wait: two for each of 10,000 services, and 8 MiB."""
POOL_PAUSE = 1.0
"""Seconds between two writes of one pool's counters: each service that comes changes them."""
_ALREADY_THERE, _CONFLICT, _NOT_FOUND = 409, 409, 404


class Writer:
    """One queue for services, one for everything else; each key has one writer at a time."""

    def __init__(
        self,
        client: ApiClient,
        core: Assignments,
        watching: Watching,
        names: tuple[str, str],
        leads: Callable[[], bool],
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        """`names` are the namespace of the pools and the name of our pod."""
        self._client, self._core, self._watching = client, core, watching
        self._namespace, pod = names
        self._leads, self._log = leads, log
        self.on_written: Callable[[], None] = lambda: None
        self.failures = 0
        """Requests that failed, and are done again."""
        self.conflicts = 0
        """Writes that were refused, as the service had changed meanwhile."""
        self.writes = 0
        self._services = KeyedQueue(self._write_service, self._on_failure)
        self._others = KeyedQueue(self._write_other, self._on_failure, POOL_PAUSE)
        self.sender = EventSender(
            client,
            EventRecorder(pod, COMPONENT),
            clock,
            self._on_failure,
            EVENT_INTERVAL,
            MOST_EVENTS,
            # Addresses first: to tell of one takes as long as to write it.
            lambda: self._services.busy,
        )
        self._verdict: tuple[str, str] | None = None
        self._problems: frozenset[Problem] = frozenset()

    def look(self) -> None:
        """Write what is due, and tell what happened."""
        for key in self._core.due():
            self._services.add(key)
        for told in self._core.events():
            self._tell(told)
        if self._leads():
            for name in self._core.pools_to_count():
                self._others.add(name)

    def lead(self) -> None:
        """Publish from now on what only those who lead publish; also what was wrong before."""
        self._others.add(_STATE_KEY)
        for problem in sorted(self._problems, key=str):
            self._tell_of(problem)

    def judge(self, errors: list[str], problems: Sequence[Problem]) -> None:
        """Publish whether the configuration is valid: `errors` in MetalLB's words in the verdict,
        `problems` as Events of the objects, with the field."""
        self._verdict = verdict_of(errors)
        self._others.add(_STATE_KEY)
        for problem in problems:
            if problem not in self._problems:
                self._log.error("configuration", problem=str(problem))
                self._tell_of(problem)
        self._problems = frozenset(problems)

    def _tell_of(self, problem: Problem) -> None:
        subject = events.configuration_object(problem)
        if subject is not None and self._core.leads and self._leads():
            text = f"{problem.field}: {problem.message}" if problem.field else problem.message
            self.sender.add(events.invalid_configuration(subject, text))

    def look_at_pools(self) -> None:
        """Pools have changed: their statuses, perhaps, by another hand than ours."""
        leads = self._core.leads and self._leads()
        counters = self._core.counters() if leads else {}
        for pool in self._watching.all_pools():
            counted = counters.get(pool.name)
            if counted is not None and pool.status != _pool_status(counted):
                self._others.add(pool.name)

    def look_at_state(self) -> None:
        """Somebody touched our ConfigurationState."""
        self._others.add(_STATE_KEY)

    async def close(self) -> None:
        """Begin no write any more; those under way end, or are given up soon."""
        self.sender.close()
        self._others.close()
        await self._services.finish(LAST_WRITES)

    # ---- services

    async def _write_service(self, key: str) -> bool:
        write = self._core.wanted(key)
        if write is None or not self._leads():
            return False
        namespace, _, name = key.partition("/")
        path = f"/api/v1/namespaces/{namespace}/services/{name}/status"
        try:
            raw = await self._client.merge(path, _patch(write))
        except ApiError as error:
            if error.status not in (_CONFLICT, _NOT_FOUND):
                raise
            # A watch brings what it has become, and then it is decided about anew.
            self.conflicts += error.status == _CONFLICT
            return False
        self.writes += 1
        view, _ = decode("Service", raw)
        self._log_write(write)
        self._core.handle_written(key, cast(Service, view))
        self.on_written()
        return True

    def _log_write(self, write: StatusWrite) -> None:
        ips = [str(ip) for ip in write.ips]
        self._log.info("assign", service=write.service, ips=ips, pool=write.pool)

    # ---- pools, and what we think of them

    async def _write_other(self, key: str) -> bool:
        if not self._leads():
            return False
        return await (self._write_state() if key == _STATE_KEY else self._write_pool(key))

    async def _write_pool(self, name: str) -> bool:
        counters, pool = self._core.counters_of(name), self._watching.pool(name)
        if counters is None or pool is None:
            return False
        status = _pool_status(counters)
        if pool.status == status:
            return False
        path = f"{METALLB}/namespaces/{self._namespace}/ipaddresspools/{name}/status"
        await unless(_NOT_FOUND, self._client.merge(path, {"status": status}))
        return True

    async def _write_state(self) -> bool:
        if self._verdict is None or not self._watching.state.synced:
            return False
        now = self._watching.own_state()
        if now is not None and (now.result, now.summary) == self._verdict:
            return False
        collection = f"{METALLB}/namespaces/{self._namespace}/configurationstates"
        if now is None:
            body = new_state(STATE, {"component-type": "controller"}, [])
            await unless(_ALREADY_THERE, self._client.post(collection, body))
        patch = state_status("poolReconcilerValid", self._verdict, wall_clock())
        await unless(_NOT_FOUND, self._client.merge(f"{collection}/{STATE}/status", patch))
        return True

    # ---- what is told

    def _tell(self, told: ServiceEvent) -> None:
        view = self._watching.service(told.service)
        self._log.info("event", service=told.service, reason=told.reason, message=told.message)
        if view is not None:
            subject = Involved("v1", "Service", view.namespace, view.name, view.uid)
            self.sender.add(Event(subject, told.type, told.reason, told.message[:1000]))

    def _on_failure(self, key: str, error: Exception) -> None:
        self.failures += 1
        if not isinstance(error, ApiError):
            survive("api", error)
        self._log.info("publish", key=key, error=str(error))


_STATE_KEY = "#state"
"""No pool has such a name."""


def _patch(write: StatusWrite) -> dict[str, Any]:
    """Return a merge patch of status and annotation in one: conditional, by the version."""
    ingress = [{"ip": str(ip)} for ip in write.ips] or None
    return {
        "metadata": {
            "resourceVersion": write.version,
            "annotations": {ALLOCATED_FROM: write.pool or None},
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    }


def _pool_status(counters: Counters) -> PoolStatus:
    assigned, available = counters.assigned, counters.available
    return PoolStatus(assigned[4], assigned[6], available[4], available[6])
