"""The Kubernetes side of the daemon in one piece: the source, the seeds and what is published.

All of it runs in a thread with a loop of its own. TLS, HTTP and JSON take a millisecond a response,
and dozens of them may come together: a question on the wire waits for none.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from kube.api import events
from kube.api.client import ApiClient, ConfigError
from kube.api.events import Event, Involved
from kube.api.state import KubernetesSource, OnChange, Scope
from kube.files.directory import SourceError
from kube.objects.core import Pod
from kube.problem import Problem, Severity
from kube.snapshot import Snapshot
from process.loop_thread import LoopThread, Mailbox
from speaker.cluster.bgp_publisher import BgpPublisher
from speaker.cluster.own_pod import OwnPod
from speaker.cluster.publisher import Publisher
from speaker.cluster.status import owner_references

OnSeeds = Callable[[list[str]], None]


class Cluster:
    """Has the doors of a source (`run`, `reload`) and is told what the daemon does.

    What is public belongs to the daemon's loop; what has `_there` in its name runs in the thread.
    """

    def __init__(
        self,
        client: ApiClient,
        scope: Scope,
        clock: Callable[[], float],
        on_change: OnChange,
        log: Log,
        listen: Callable[[asyncio.AbstractEventLoop], None],
    ) -> None:
        """`listen` has the loop of the thread report what fails in it."""
        self.on_seeds: OnSeeds = lambda seeds: None
        self.seeds: list[str] = []
        """IP texts of the speaker pods, ours too."""
        self.ending = False
        """Whether our own Pod was deleted; a container that restarts alone is no end."""
        self._client, self._scope, self._log = client, scope, log
        self._listen = listen
        self._here, self._thread = Mailbox(), LoopThread("kubernetes")
        self._settled = False
        self._source = KubernetesSource(client, scope, clock, self._take_there, log)
        self._source.on_pods = self._take_pods_there
        # Where a service is announced, as the daemon has said: the thread's own copy.
        self._where: dict[str, tuple[str, ...]] = {}
        self._publisher = Publisher(client, self._source, scope, self._where.get, clock, log)
        self._routes = self._make_routes()
        self._own_pod = OwnPod(scope.pod)
        self._outage = False
        """Whether the cluster was told that BGP has no engine."""
        self._on_change = on_change
        self._snapshot = Snapshot()
        self._problems: tuple[Problem, ...] = ()
        """What the source found."""
        self._beside: tuple[Problem, ...] = ()
        """What BGP found besides: in services, at the engine."""
        self._errors: frozenset[Problem] = frozenset()

    def _make_routes(self) -> BgpPublisher | None:
        if self._source.bgp_statuses is None:
            return None
        return BgpPublisher(
            self._client,
            self._source.bgp_statuses,
            self._scope,
            lambda: owner_references(self._source.own_pod()),
            self._publisher.requests,
            self._publisher.note_failure,
        )

    async def run(self) -> None:
        """Watch until cancelled. Raises `SourceError` where there is no way to the API server."""
        self._here.open()
        try:
            await self._thread.run(self._run_there())
        finally:
            self._here.close()

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

    def dropped_events(self) -> int:
        """Count the Events that were not published: too many waited, or the request failed."""
        return self._publisher.sender.dropped

    def relists(self) -> Mapping[str, int]:
        """Count by kind how often everything was listed again, as a watch could not go on."""
        return self._source.relists()

    def failed_reads(self) -> Mapping[str, int]:
        """Count by reason how often a list or a watch failed; each is repeated."""
        return self._source.failed_reads()

    # ---- what the daemon did

    def activate(self) -> None:
        """Elections are done; what is not announced now is not ours."""
        if not self._settled:
            self._settled = True
            self._thread.inbox.post(self._activate_there)

    def note_change(self, service: str, interfaces: tuple[str, ...] | None) -> None:
        """The service is announced on these interfaces now: () on all, None on none."""
        self._thread.inbox.post(self._take_change_there, service, interfaces)

    def note_assignment(self, service: str) -> None:
        """This node announces the service from now on."""
        self._thread.inbox.post(self._event_there, service, events.node_assigned)

    def note_failure(self, service: str, ip: str, interfaces: list[str]) -> None:
        """This node owns the service and has none of the interfaces for it."""
        self._thread.inbox.post(self._event_there, service, events.announce_failed, ip, interfaces)

    def note_foreign_answer(self, service: str, ip: str, node: str) -> None:
        """Another node's kernel answers for an IP of the service, though its speaker does not."""
        self._thread.inbox.post(self._event_there, service, events.foreign_answer, ip, node)

    def note_routes(self, service: str, peers: tuple[str, ...]) -> None:
        """This node announces the service by BGP to these BGPPeers now; (): no more."""
        self._thread.inbox.post(self._take_routes_there, service, peers)

    def note_engine(self, trouble: str | None) -> None:
        """BGP is wanted and does not work, as `trouble` says; None: it works, or is not wanted."""
        self._thread.inbox.post(self._take_engine_there, trouble)

    def note_problems(self, problems: tuple[Problem, ...]) -> None:
        """What is wrong for BGP alone is this now, beside what the source found."""
        self._thread.inbox.post(self._take_problems_there, problems)

    # ---- in the thread

    async def _run_there(self) -> None:
        self._listen(asyncio.get_running_loop())
        try:
            await self._client.open()
        except ConfigError as error:
            raise SourceError(f"Kubernetes API: {error}") from None
        try:
            await self._source.run()
        finally:
            self._publisher.close()
            if self._routes is not None:
                self._routes.close()
            await self._client.close()

    def _activate_there(self) -> None:
        self._publisher.activate(self._where)
        if self._routes is not None:
            self._routes.activate()

    def _take_change_there(self, service: str, interfaces: tuple[str, ...] | None) -> None:
        if interfaces is None:
            self._where.pop(service, None)
        else:
            self._where[service] = interfaces
        self._publisher.look({service})

    def _take_routes_there(self, service: str, peers: tuple[str, ...]) -> None:
        if self._routes is not None and self._routes.note(service, peers):
            self._event_there(service, events.node_assigned, "bgp")

    def _take_engine_there(self, trouble: str | None) -> None:
        if trouble is not None and not self._outage:
            self._publisher.event(events.engine_trouble(self._self_there(), trouble))
        self._outage = trouble is not None

    def _self_there(self) -> Involved:
        """What an event is about that is about this speaker: its Pod, else its Node."""
        pod = self._source.own_pod()
        if pod is None:
            return events.node_subject(self._scope.node)
        return Involved("v1", "Pod", pod.namespace, pod.name, pod.uid)

    def _event_there(self, service: str, make: Callable[..., Event], *about: Any) -> None:
        found = self._snapshot.services.get(service)
        if found is not None:
            subject = Involved("v1", "Service", found.namespace, found.name, found.uid)
            self._publisher.event(make(subject, self._scope.node, *about))

    def _take_there(
        self, snapshot: Snapshot, problems: tuple[Problem, ...], changed: frozenset[str] | None
    ) -> None:
        # First the daemon: what is published about it may fail.
        self._here.post(self._on_change, snapshot, problems, changed)
        self._snapshot, self._problems = snapshot, problems
        self._judge_there()

    def _take_problems_there(self, problems: tuple[Problem, ...]) -> None:
        self._beside = problems
        self._judge_there()

    def _judge_there(self) -> None:
        """Publish what is wrong with the configuration."""
        problems = (*self._problems, *self._beside)
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        configured = [
            problem for problem in errors if events.configuration_object(problem) is not None
        ]
        advised = [problem for problem in problems if _advises(problem)]
        self._publisher.judge(list(map(str, configured)), list(map(str, advised)))
        for problem in configured:
            subject = events.configuration_object(problem)
            if subject is not None and problem not in self._errors:
                text = f"{problem.field}: {problem.message}" if problem.field else problem.message
                self._publisher.event(events.invalid_configuration(subject, text))
        self._errors = frozenset(errors)

    def _take_pods_there(self, pods: list[Pod]) -> None:
        self._own_pod.handle_pods(self._source.own_pod(), pods)
        self._here.post(self._take_ending, self._own_pod.ending)
        self._here.post(self._take_seeds, sorted({pod.ip for pod in pods if pod.ip}))

    def _take_ending(self, ending: bool) -> None:
        self.ending = ending

    def _take_seeds(self, seeds: list[str]) -> None:
        self.seeds = seeds
        self.on_seeds(seeds)


def _advises(problem: Problem) -> bool:
    """Whether it is a warning of what people have configured, services too."""
    warns = problem.severity is Severity.WARNING
    return warns and (
        events.configuration_object(problem) is not None or problem.object.startswith("Service ")
    )
