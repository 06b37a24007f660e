"""What every controller is made of: an end, pages, and what must not end before it."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from prometheus_client.registry import Collector
from structlog.typing import FilteringBoundLogger as Log

from controller.files.state_file import StateError
from controller.metrics import Figures, make_registry
from controller.page import page
from controller.settings import Settings
from kube.files.directory import SourceError
from process import interpreter, logs
from process.ending import EXIT_FAILURE, Ending
from process.health import Health, HttpServer
from process.page.look import LookPage
from process.tls import Certificates

HEARTBEAT = 1.0
"""Seconds between two signs that the loop turns."""


class Program:
    """One replica. `run` returns the exit status."""

    of_the_operator: tuple[type[Exception], ...] = (OSError, SourceError, StateError)
    """Their text is for whoever set this program up: it needs no traceback."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings, self._log = settings, log
        self._ending = Ending(log)
        self._survived = 0
        self._metrics_expiry: Callable[[], float | None] = lambda: None
        self._health = Health()
        self._health.not_ready, self._health.trouble = None, self._trouble
        self._health.tell(log)

    # ---- what each kind of controller has its own

    async def _start(self, parts: AsyncExitStack) -> None:
        """Start every part; `parts` stops those that did start, the last one first."""
        raise NotImplementedError

    def _trouble(self) -> str | None:
        """Return why it is not ready."""
        raise NotImplementedError

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
                self._keep(parts, self._beat(), "heartbeat")
                await self._start(parts)
                await self._ending.stop.wait()
            except self.of_the_operator as error:
                self._ending.fail(str(error))
            except Exception as error:
                self._ending.fail(f"start: {type(error).__name__}: {error}", error)
        self._log.info("stop", pod=self._settings.pod_name, error=self._ending.failure)
        return self._ending.status

    def _serve(self, parts: AsyncExitStack, figures: Figures, *others: Collector) -> None:
        settings, registry = self._settings, make_registry(figures)
        for other in others:
            registry.register(other)
        served = Certificates(settings.tls, self._log) if settings.tls else None
        if served is not None:
            self._metrics_expiry = lambda: served.expiry
        tls = served.context if served else None
        look = self._look(figures) if settings.page else None
        for host, port, context, shown in (
            (settings.host, settings.port, tls, look),
            ("127.0.0.1", settings.health_port, None, None),
        ):
            if port:
                server = HttpServer(host, port, registry, self._health, context=context, look=shown)
                parts.push_async_callback(asyncio.to_thread, server.close)

    def _look(self, figures: Figures) -> LookPage:
        """Return the page for people."""
        name = self._settings.pod_name
        return LookPage(lambda: page(name, figures, self._health.unready(), time.time()))

    def _keep(self, parts: AsyncExitStack, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run what must not end before we do; it has ended when `parts` goes on to the next."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._on_end)
        parts.push_async_callback(_end, task)

    def _on_end(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, self.of_the_operator):
            self._ending.fail(str(error))
        elif not self._ending.stop.is_set():
            self._ending.fail(f"{task.get_name()}: {error or 'has ended'}", error)

    async def _beat(self) -> None:
        while True:
            self._health.turned()
            await asyncio.sleep(HEARTBEAT)

    def _raised(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._survived += 1
        error = context.get("exception")
        part = context.get("part", context.get("message"))
        self._log.error("survived", part=part, error=repr(error), exc_info=error)


def run(make: Callable[[Settings, Log], Program], settings: Settings) -> int:
    """Run a controller until it is told to stop; return the exit status."""
    interpreter.tune()
    log = logs.logger()
    try:
        return asyncio.run(make(settings, log).run())
    except Exception as error:
        log.error("fatal", error=f"{type(error).__name__}: {error}", exc_info=error)
        return EXIT_FAILURE


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
