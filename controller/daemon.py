"""The controller itself: makes every part, starts them, and stops them again."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from controller.cluster import gossip_secret
from controller.cluster.cluster import Cluster
from controller.gate import Gate
from controller.metrics import Figures, make_registry
from controller.settings import Settings
from kube.api.client import ConfigError, from_environment
from kube.api.leading import Leadership, boot_clock, make_identity
from process import interpreter, logs
from process.ending import EXIT_FAILURE, Ending
from process.health import Health, HttpServer
from process.tls import Certificates

LEASE = "clarion-controller"
HEARTBEAT = 1.0
"""Seconds between two signs that the loop turns."""


class Daemon:
    """One replica. `run` returns the exit status."""

    def __init__(self, settings: Settings, log: Log) -> None:
        """Make every part; none of them opens anything yet."""
        self._settings, self._log = settings, log
        self._ending = Ending(log)
        self._survived = 0
        self._client = from_environment(log)
        lease = (settings.namespace, LEASE)
        identity = make_identity(settings.pod_name)
        self._leadership = Leadership(self._client, lease, identity, self._on_change, log)
        self.cluster = Cluster(
            self._client,
            (settings.namespace, settings.pod_name),
            settings.lb_class,
            lambda: self._leadership.leads,
            boot_clock,
            log,
        )
        self._gate = None
        if settings.serves_webhooks:
            watching, leads = self.cluster.watching, self._keeps_certificates
            self._gate = Gate(self._client, watching, settings, leads, boot_clock, log)
        self._health = Health()
        self._health.not_ready, self._health.trouble = None, self._trouble
        self._health.tell(log)
        self._figures = self._gather()
        self._helpers: set[asyncio.Task[Any]] = set()

    def _gather(self) -> Figures:
        cluster, watching, writer = self.cluster, self.cluster.watching, self.cluster.writer
        return Figures(
            leads=lambda: cluster.core.leads,
            pools=cluster.core.counters,
            decided=cluster.core.figures,
            waiting=cluster.core.waiting,
            updates=lambda: cluster.updates,
            loaded=lambda: cluster.loaded,
            stale=lambda: cluster.stale,
            api_behind=lambda: watching.behind,
            api_relists=watching.relists,
            api_failed_reads=watching.failed_reads,
            api_failed_writes=lambda: writer.failures,
            api_conflicts=lambda: writer.conflicts,
            api_writes=lambda: writer.writes,
            api_dropped_events=lambda: writer.sender.dropped,
            http_refused=self._health.refused.counts,
            log_lines_dropped=logs.dropped,
            survived=lambda: self._survived,
        )

    # ---- from the start to the end

    async def run(self) -> int:
        """Start every part, wait for a signal or a fatal error, stop every part."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._raised)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.handle_signal)
        self._log.info("start", pod=self._settings.pod_name, pid=os.getpid())
        async with AsyncExitStack() as parts:
            try:
                await self._start(parts)
                await self._ending.stop.wait()
            except (OSError, ConfigError) as error:
                self._ending.fail(str(error))
            except Exception as error:
                self._ending.fail(f"start: {type(error).__name__}: {error}", error)
        self._log.info("stop", pod=self._settings.pod_name, error=self._ending.failure)
        return self._ending.status

    async def _start(self, parts: AsyncExitStack) -> None:
        self._serve(parts)
        await self._client.open()
        parts.push_async_callback(self._client.close)
        self._keep(parts, self._beat(), "heartbeat")
        self._keep(parts, self.cluster.watching.run(), "watch")
        for name, work in self._gate.parts().items() if self._gate is not None else ():
            self._keep(parts, work, name)
        if self._settings.allocates:
            parts.callback(self.cluster.close)
            self._keep(parts, self._leadership.run(), "lease")
            # Last begun, first ended: nobody has to wait for us.
            parts.push_async_callback(self._leadership.release)

    def _serve(self, parts: AsyncExitStack) -> None:
        settings, registry = self._settings, make_registry(self._figures)
        if self._gate is not None:
            registry.register(self._gate.metrics)
        tls = Certificates(settings.tls, self._log).context if settings.tls else None
        for host, port, context in (
            (settings.host, settings.port, tls),
            ("127.0.0.1", settings.health_port, None),
        ):
            if port:
                server = HttpServer(host, port, registry, self._health, context=context)
                parts.push_async_callback(asyncio.to_thread, server.close)

    def _keep(self, parts: AsyncExitStack, work: Any, name: str) -> None:
        """Run what must not end before we do."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._on_end)
        parts.callback(task.cancel)

    def _on_end(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled() or self._ending.stop.is_set():
            return
        error = task.exception()
        self._ending.fail(f"{task.get_name()}: {error or 'has ended'}", error)

    async def _beat(self) -> None:
        while True:
            self._health.turned()
            await asyncio.sleep(HEARTBEAT)

    # ---- what parts tell

    def _keeps_certificates(self) -> bool:
        """Tell whether this replica writes them. Those that give no addresses know no leader: of
        two that write, the server lets one through, as each write names its version."""
        return not self._settings.allocates or self._leadership.leads

    def _on_change(self, leads: bool) -> None:
        if leads:
            self.cluster.lead()
            self._ensure_secret()
            if self._gate is not None:
                self._gate.handle_lead()
        else:
            self._log.info("follower")
            self.cluster.follow()

    def _ensure_secret(self) -> None:
        settings = self._settings
        if settings.gossip_secret:
            made = gossip_secret.ensure(
                self._client,
                settings.namespace,
                settings.gossip_secret,
                settings.deployment,
                self._log,
            )
            task = asyncio.create_task(made)
            self._helpers.add(task)
            task.add_done_callback(self._helpers.discard)

    def _trouble(self) -> str | None:
        """Tell why we are not ready: something was never listed, or there is no certificate."""
        waiting = self.cluster.watching.waiting_for
        return waiting or (self._gate.waiting_for if self._gate is not None else None)

    def _raised(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._survived += 1
        error = context.get("exception")
        part = context.get("part", context.get("message"))
        self._log.error("survived", part=part, error=repr(error), exc_info=error)


def run(settings: Settings) -> int:
    """Run a controller until it is told to stop; return the exit status."""
    interpreter.tune()
    log = logs.logger()
    try:
        return asyncio.run(Daemon(settings, log).run())
    except Exception as error:
        log.error("fatal", error=f"{type(error).__name__}: {error}", exc_info=error)
        return EXIT_FAILURE
