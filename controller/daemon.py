"""The controller of a cluster: makes its parts and starts them."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from controller.cluster import gossip_secret
from controller.cluster.cluster import Cluster
from controller.gate import Gate
from controller.metrics import Figures, Unleased
from controller.program import Program
from controller.settings import Settings
from kube.api.client import ConfigError, from_environment
from kube.api.leading import Leadership, boot_clock, make_identity
from process import logs

LEASE = "clarion-controller"


class ClusterDaemon(Program):
    """One replica in a cluster."""

    of_the_operator = (*Program.of_the_operator, ConfigError)

    def __init__(self, settings: Settings, log: Log) -> None:
        """Make every part; none of them opens anything yet."""
        super().__init__(settings, log)
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
        self._helpers: set[asyncio.Task[Any]] = set()

    async def _start(self, parts: AsyncExitStack) -> None:
        self._serve(parts, self._figures(), *([self._gate.metrics] if self._gate else []))
        await self._client.open()
        parts.push_async_callback(self._client.close)
        self._keep(parts, self.cluster.watching.run(), "watch")
        for name, work in self._gate.parts().items() if self._gate is not None else ():
            self._keep(parts, work, name)
        if self._settings.allocates:
            self._keep(parts, self._leadership.run(), "lease")
            # The last that is begun is the first to end: first our writes, then what allows them.
            parts.push_async_callback(self._leadership.release)
            parts.push_async_callback(self.cluster.close)

    def _figures(self) -> Figures:
        cluster, watching, writer = self.cluster, self.cluster.watching, self.cluster.writer
        return Figures(
            leads=lambda: cluster.core.leads,
            pools=cluster.core.counters,
            decided=cluster.core.figures,
            waiting=cluster.core.waiting,
            services=lambda: len(cluster.core.services()),
            queued=lambda: cluster.core.queued,
            unwritten=lambda: cluster.core.unwritten,
            lease=self._leadership.figures if self._settings.allocates else Unleased,
            certificates=self._certificates,
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

    def _certificates(self) -> dict[str, float]:
        """Tell when each certificate ends that is served, by its use."""
        webhooks = None if self._gate is None else self._gate.keeper.expiry
        ends = {"metrics": self._metrics_expiry(), "webhooks": webhooks}
        return {use: at for use, at in ends.items() if at is not None}

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


def make(settings: Settings, log: Log) -> Program:
    """Return a controller of the cluster."""
    return ClusterDaemon(settings, log)
