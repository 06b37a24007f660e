"""The controller of a folder of manifests. It needs nothing that only a cluster needs."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack

from structlog.typing import FilteringBoundLogger as Log

from controller.files.folder import FolderController
from controller.metrics import Figures
from controller.program import Program
from controller.settings import Settings
from process import logs


def clock() -> float:
    """Return seconds of a clock that also runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class FolderDaemon(Program):
    """The one controller of a folder of manifests."""

    def __init__(self, settings: Settings, log: Log) -> None:
        """Make every part; none of them opens anything yet."""
        super().__init__(settings, log)
        source, state = settings.source, settings.state
        assert source is not None  # noqa: S101 - see `run`
        assert state is not None  # noqa: S101 - the command line wants both
        self.folder = FolderController(
            source, state, settings.namespace, settings.lb_class, log, clock
        )

    async def _start(self, parts: AsyncExitStack) -> None:
        self._serve(parts, self._figures())
        # The lock outlives what is being written.
        parts.callback(self.folder.close)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.folder.reload)
        self._keep(parts, self.folder.run(), "folder")

    def _figures(self) -> Figures:
        core, figures = self.folder.core, self.folder.figures
        return Figures(
            leads=lambda: core.leads,
            pools=core.counters,
            decided=core.figures,
            waiting=core.waiting,
            services=lambda: len(core.services()),
            queued=lambda: core.queued,
            unwritten=lambda: core.unwritten,
            certificates=self._certificates,
            updates=lambda: figures.updates,
            loaded=lambda: figures.loaded,
            stale=lambda: figures.stale,
            api_writes=lambda: figures.writes,
            api_failed_writes=lambda: figures.failed_writes,
            http_refused=self._health.refused.counts,
            log_lines_dropped=logs.dropped,
            survived=lambda: self._survived,
        )

    def _certificates(self) -> dict[str, float]:
        at = self._metrics_expiry()
        return {} if at is None else {"metrics": at}

    def _trouble(self) -> str | None:
        return self.folder.waiting_for


def make(settings: Settings, log: Log) -> Program:
    """Return a controller of the folder."""
    return FolderDaemon(settings, log)
