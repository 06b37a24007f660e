"""Drives one candidate for a Lease: does its requests, hands it what the watch brings."""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from kube.api.client import ApiClient, ApiError
from kube.api.lease import (
    Candidate,
    CreateLease,
    LeaseFailure,
    LeaseFigures,
    LeaseRequest,
    LeaseState,
    LeaseTiming,
    ReadLease,
    UpdateLease,
)
from kube.api.reflector import Key, Reflector, Resource
from kube.api.watch import Watcher
from kube.document import ManifestError
from kube.objects.coordination import Lease, LeaseRecord
from kube.objects.reading import decode

GROUP = "/apis/coordination.k8s.io/v1"
RELEASE_WITHIN = 1.5
"""Seconds that a release may take: after SIGTERM there are two for everything."""

OnChange = Callable[[bool], None]


def boot_clock() -> float:
    """Return seconds of a clock that also runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def make_identity(name: str) -> str:
    """Return a name for one life of one process: a restarted one is not taken for the last."""
    return f"{name}_{secrets.token_hex(8)}"


class Leadership:
    """Tells `on_change` whether this process leads. Whoever writes looks at `leads` right before.

    `run` goes on until `release` is done, or it is cancelled.
    """

    def __init__(
        self,
        client: ApiClient,
        lease: tuple[str, str],
        identity: str,
        on_change: OnChange,
        log: Log,
        timing: LeaseTiming | None = None,
    ) -> None:
        """`lease` is namespace and name; `identity` comes from `make_identity`."""
        namespace, name = lease
        self._client, self._on_change, self._log = client, on_change, log
        self._lease, self._identity = lease, identity
        self._timing = timing or LeaseTiming()
        self._collection = f"{GROUP}/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{name}"
        rng = random.Random()  # noqa: S311 - spreads requests only
        self._candidate = Candidate(identity, self._timing, rng, boot_clock())
        query = (("fieldSelector", f"metadata.name={name}"),)
        self._reflector = Reflector(Resource("Lease", self._collection, query), rng)
        self._watcher = Watcher(client, self._reflector, boot_clock, self._on_watched, log)
        self._woken, self._done = asyncio.Event(), asyncio.Event()
        self._told = False
        """What `on_change` was told last."""
        self._failures: Counter[LeaseFailure] = Counter()
        self._trouble = ""
        """The last failure that was logged, until a request succeeds."""

    @property
    def leads(self) -> bool:
        """Whether we may write now. One that wakes from a long stop finds False at once."""
        leads = self._candidate.leading(boot_clock())
        if self._told and not leads:
            # It has only just ended: `on_change` is to hear of it in the next turn of the loop.
            self._woken.set()
        return leads

    @property
    def holder(self) -> str:
        """The identity that the lease names; empty for nobody, or while nothing is known."""
        return self._candidate.holder

    def figures(self) -> LeaseFigures:
        """Return the figures of now."""
        candidate = self._candidate
        states = {state.value: state is candidate.state for state in LeaseState}
        failures = {failure.value: self._failures[failure] for failure in LeaseFailure}
        return LeaseFigures(states, candidate.age(boot_clock()), candidate.transitions, failures)

    async def run(self) -> None:
        """Watch the lease, and get and keep it if we can. Raises only what is a bug."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watcher.run())
            try:
                await self._drive(group)
            finally:
                watching.cancel()
                self._done.set()

    async def release(self) -> None:
        """Lead no more; return when nobody has to wait for us, or after `RELEASE_WITHIN` seconds.

        What is being written should be finished before. `run` has to go on meanwhile.
        """
        self._candidate.release(boot_clock())
        self._settle()
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_WITHIN):
                await self._done.wait()

    async def _drive(self, group: asyncio.TaskGroup) -> None:
        while not self._candidate.released:
            self._woken.clear()
            self._candidate.handle_timeout(boot_clock())
            self._tell()
            for request in self._candidate.requests(datetime.now(UTC)):
                group.create_task(self._fulfil(request))
            due = self._candidate.deadline()
            if self._woken.is_set():
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - boot_clock())):
                    await self._woken.wait()

    async def _fulfil(self, request: LeaseRequest) -> None:
        """Do one request and hand over what came of it."""
        try:
            async with asyncio.timeout(self._timing.timeout):
                found = await self._ask(request)
        except TimeoutError:
            self._fail(LeaseFailure.UNKNOWN, "no answer in time", 0.0)
        except ManifestError as error:
            self._fail(LeaseFailure.UNKNOWN, str(error), 0.0)
        except ApiError as error:
            if isinstance(request, ReadLease) and error.status == 404:
                self._candidate.handle_read(None, boot_clock())
            else:
                self._fail(_failure(request, error.status), str(error), error.retry_after)
        else:
            self._end_trouble()
            now = boot_clock()
            if isinstance(request, ReadLease):
                self._candidate.handle_read(found, now)
            else:
                self._candidate.handle_written(found, now)
        self._settle()

    async def _ask(self, request: LeaseRequest) -> Lease:
        """Raise ApiError, and ManifestError where the answer is no Lease."""
        match request:
            case ReadLease():
                body = bytes(await self._client.get(self._path))
            case CreateLease(record):
                metadata = {"namespace": self._lease[0], "name": self._lease[1]}
                body = await self._client.post(self._collection, _body(metadata, record))
            case UpdateLease(version, record):
                metadata = {"resourceVersion": version}
                body = await self._client.merge(self._path, _body(metadata, record))
        view, _ = decode("Lease", body)
        assert isinstance(view, Lease)  # noqa: S101 - by its kind
        return view

    def _on_watched(self, reflector: Reflector, changed: set[Key]) -> None:
        found = reflector.objects.get(self._lease)
        lease = found if isinstance(found, Lease) else None
        self._candidate.handle_watched(lease, boot_clock())
        self._settle()

    def _settle(self) -> None:
        self._tell()
        self._woken.set()

    def _tell(self) -> None:
        for leads in self._candidate.changes():
            self._log.info("lease", leads=leads, holder=self.holder, identity=self._identity)
            self._told = leads
            self._on_change(leads)

    def _fail(self, failure: LeaseFailure, reason: str, retry_after: float) -> None:
        self._candidate.handle_failure(failure, boot_clock(), retry_after)
        self._failures[failure] += 1
        # A conflict is how two find out who was first.
        if failure is not LeaseFailure.CONFLICT and failure.value != self._trouble:
            self._trouble = failure.value
            self._log.warning("lease", state="failing", failure=failure.value, error=reason)

    def _end_trouble(self) -> None:
        if self._trouble:
            self._trouble = ""
            self._log.info("lease", state="ok")


def _body(metadata: dict[str, str], record: LeaseRecord) -> dict[str, Any]:
    """Make a whole Lease, or a patch that leaves alone what others keep in it."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": record.duration,
            "acquireTime": record.acquired,
            "renewTime": record.renewed,
            "leaseTransitions": record.transitions,
        },
    }


def _failure(request: LeaseRequest, status: int) -> LeaseFailure:
    """Tell what an HTTP status, or 0 for no answer, means for the request."""
    if status == 409:
        return LeaseFailure.CONFLICT
    if status == 404 and isinstance(request, UpdateLease):
        return LeaseFailure.MISSING
    if 400 <= status < 500 and status not in (408, 429):
        return LeaseFailure.REFUSED
    return LeaseFailure.UNKNOWN
