"""The Kubernetes side of the daemon in one piece: the source, the seeds and what is published."""

from collections.abc import Callable, Iterable
from typing import Any

from kube.client import Client, ConfigError
from kube.objects import Pod
from kube.problem import Problem, Severity
from kube.snapshot import Snapshot
from speaker import events
from speaker.events import Subject
from speaker.publisher import Publisher, Wanted
from speaker.source_files import SourceError
from speaker.source_kubernetes import KubernetesSource, OnChange, Scope

OnSeeds = Callable[[list[str]], None]


class Cluster:
    """Has the doors of a source (`run`, `reload`) and is told what the daemon does."""

    def __init__(
        self,
        client: Client,
        scope: Scope,
        clock: Callable[[], float],
        wanted: Wanted,
        on_change: OnChange,
        log: Any,
    ) -> None:
        self.on_seeds: OnSeeds = lambda seeds: None
        self.seeds: list[str] = []
        """IP texts of the speaker pods, ours too."""
        self._client, self._scope, self._log = client, scope, log
        self._source = KubernetesSource(client, scope, clock, self._take, log)
        self._source.on_pods = self._take_pods
        self._publisher = Publisher(client, self._source, scope, wanted, clock, log)
        self._on_change = on_change
        self._snapshot = Snapshot()
        self._errors: frozenset[Problem] = frozenset()

    async def run(self) -> None:
        """Watch until cancelled. Raises `SourceError` where there is no way to the API server."""
        try:
            await self._client.open()
        except ConfigError as error:
            raise SourceError(f"Kubernetes API: {error}") from None
        try:
            await self._source.run()
        finally:
            self._publisher.close()
            await self._client.close()

    def reload(self) -> None:
        """Nothing to do on SIGHUP: the watches are always current."""

    @property
    def waiting_for(self) -> str | None:
        """Why there is no snapshot yet."""
        return self._source.waiting_for

    @property
    def behind(self) -> int:
        """How many kinds of object may be out of date."""
        return self._source.behind

    @property
    def failed_writes(self) -> int:
        """How many requests to publish something failed so far."""
        return self._publisher.failures

    # ---- what the daemon did

    def settled(self, announced: Iterable[str]) -> None:
        """Elections are done; what is not announced now is not ours."""
        if not self._publisher.active:
            self._publisher.activate(announced)

    def changed(self, services: Iterable[str]) -> None:
        """These services are, or are no longer, announced, or on other interfaces."""
        self._publisher.look(set(services))

    def assigned(self, service: str) -> None:
        """This node announces the service from now on."""
        if (subject := self._service(service)) is not None:
            self._publisher.event(events.node_assigned(subject, self._scope.node))

    def failed(self, service: str, ip: str, interfaces: list[str]) -> None:
        """This node owns the service and has none of the interfaces for it."""
        if (subject := self._service(service)) is not None:
            event = events.announce_failed(subject, self._scope.node, ip, interfaces)
            self._publisher.event(event)

    # ---- what comes in

    def _take(
        self, snapshot: Snapshot, problems: tuple[Problem, ...], changed: frozenset[str] | None
    ) -> None:
        self._snapshot = snapshot
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        configured = [problem for problem in errors if _subject(problem) is not None]
        self._publisher.judge([str(problem) for problem in configured])
        for problem in configured:
            subject = _subject(problem)
            if subject is not None and problem not in self._errors:
                text = f"{problem.field}: {problem.message}" if problem.field else problem.message
                self._publisher.event(events.invalid_configuration(subject, text))
        self._errors = frozenset(errors)
        self._on_change(snapshot, problems, changed)

    def _take_pods(self, pods: list[Pod]) -> None:
        self.seeds = sorted({pod.ip for pod in pods if pod.ip})
        self.on_seeds(self.seeds)

    def _service(self, service: str) -> Subject | None:
        found = self._snapshot.services.get(service)
        if found is None:
            return None
        return Subject("v1", "Service", found.namespace, found.name, found.uid)


def _subject(problem: Problem) -> Subject | None:
    """Name the configuration object that a problem is about: `Kind namespace/name`."""
    kind, _, where = problem.object.partition(" ")
    namespace, slash, name = where.partition("/")
    if kind not in ("IPAddressPool", "L2Advertisement") or not slash:
        return None
    return Subject("metallb.io/v1beta1", kind, namespace, name)
