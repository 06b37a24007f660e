"""The speaker itself: makes every part, starts them, and stops them again."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import cast

from structlog.typing import FilteringBoundLogger as Log

from gossip.io import Event
from kube.files.directory import SourceError
from link.interface import Interface, may_answer
from link.netlink.monitor import Monitor
from link.packet_socket import NO_RIGHT, check_right
from process import interpreter, logs, time_slice
from process.ending import EXIT_FAILURE, Ending, first_of
from process.health import Health
from process.later import Later
from process.local.server import LocalServer
from process.told.asking import PROGRAM
from speaker import sources
from speaker.bgp.making import make_routing
from speaker.configuration import Configuration, make_planner, options_of
from speaker.driver import Driver, Parts
from speaker.heart import Heart, make_heart
from speaker.inquiry.desk import Desk
from speaker.inquiry.sight import Dating, Sight
from speaker.leaving import Leaving
from speaker.members import Members
from speaker.metrics.agreed import agreed
from speaker.metrics.collector import Figures, make_registry
from speaker.metrics.gathering import gather
from speaker.record import last_words
from speaker.record.flight_recorder import read
from speaker.record.heard_log import HeardLog
from speaker.record.log_rows import row
from speaker.record.recording import Recording
from speaker.ring.peers import Peers
from speaker.settings import Settings
from speaker.telling import Telling
from speaker.upkeep import RETRY, Part, Retries, Upkeep, describe, survive
from speaker.vitals import Vitals, serve
from speaker.wire.layer2 import Layer2


def clock() -> float:
    """Return seconds of a clock that also runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Daemon:
    """One speaker. `run` returns the exit status."""

    def __init__(self, settings: Settings, log: Log) -> None:
        """Make every part; none of them opens anything yet."""
        self._settings, self._log = settings, log
        self._retries, self._running = Retries(), False
        self._ending = Ending(log)
        self._upkeep = Upkeep(self._ending.fail, log)
        self._peers = Peers(settings, clock, self._on_gossip, log, self._upkeep)
        heart = make_heart(settings, clock())
        self.core = heart.core
        self._recording = Recording(settings.node_name)
        self._layer2 = Layer2(heart.announcer, heart.clients, clock, self._on_frames, log)
        self._later = Later(heart.busy)
        self._health = Health()
        self._health.trouble = self._peers.trouble
        self._health.tell(log)
        self._figures = self._gather(heart)
        self._registry, instruments = make_registry(self._figures)
        self._configuration = self._make_configuration()
        self._cluster = None
        if settings.source is None:
            take, listen = self._configuration.take, self._upkeep.listen
            self._cluster = sources.make_cluster(settings, take, listen, clock, log)
            sources.show(self._cluster, self._figures, self._health)
        self._routing = self._configuration.beside = make_routing(
            settings,
            options_of(settings),
            self._cluster,
            heart.failover.lives,
            self._registry,
            clock,
            cast(Log, HeardLog(log, self._recording, clock)),
        )
        self._routing.on_problems = self._configuration.review
        self._figures.routed = self._routing.announced
        telling = Telling(
            heart.core, self._layer2, self._later, instruments, self._cluster, clock, log
        )
        self._layer2.on_first_frame = telling.note_first_frame
        telling.on_announced = self._recording.note_announcement
        vitals = Vitals(
            heart.core,
            self._configuration,
            self._peers,
            self._health,
            self._figures,
            instruments,
            log,
        )
        self._health.beside = lambda: self._routing.trouble
        parts = Parts(
            self._layer2, self._peers, self._configuration, telling, vitals, self._recording
        )
        self.driver = self._layer2.listener = Driver(heart.core, parts, clock, log)
        if settings.bgp_engine is not None:
            self.driver.beside = self._routing.look
            self._ending.last_words = self._routing.bid_farewell
        self._members = Members(self._peers, heart.core, self.driver, clock, log)
        self._members.note = self._recording.note_member
        self._sight = self._make_sight(heart)
        self._ending.on_failure = self._tell_record
        self._leaving = Leaving(self.driver, self._peers, telling, self._later, self._routing.leave)

    def _gather(self, heart: Heart) -> Figures:
        figures = gather(
            heart.core,
            heart.failover,
            self._layer2,
            self._peers,
            self._health,
            self._upkeep,
            lambda: logs.dropped() + self._later.dropped,
        )
        figures.settings = agreed(self._settings)
        figures.unconfirmed = lambda: heart.announcer.unconfirmed
        return figures

    def _make_configuration(self) -> Configuration:
        return Configuration(
            make_planner(self._settings, self.core.services),
            self.core,
            self._wake,
            self._layer2,
            self._figures,
            lambda links: self.core.set_needed(links, clock()),
            self._log,
        )

    def _make_sight(self, heart: Heart) -> Sight:
        return Sight(
            self._settings,
            heart.core,
            heart.failover,
            heart.announcer,
            self._configuration,
            self._layer2,
            self._peers,
            self._routing,
            self._recording,
            clock,
            Dating(clock, time.time).date,
        )

    # ---- what parts tell that are made before who listens

    def _wake(self) -> None:
        self.driver.wake()

    def _on_frames(self, now: float) -> None:
        self.driver.tick(now)

    def _on_gossip(self, event: Event) -> None:
        self._members.take(event)

    def _tell_record(self) -> None:
        """Write the flight recorder to the log: this process ends, and its memory with it."""
        for lot in last_words.lots(self._recording.recorder):
            self._later.add(partial(self._write_lot, lot))

    def _write_lot(self, lot: Sequence[bytes]) -> None:
        rows = [row(read(kept), self._sight.dated) for kept in lot]
        self._log.error("flight_record", records=rows)

    # ---- from the start to the end

    async def run(self) -> int:
        """Start every part, wait for a signal or a fatal error, stop every part."""
        loop = asyncio.get_running_loop()
        self._upkeep.listen(loop)
        threading.excepthook = self._upkeep.handle_thread_error
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.handle_signal)
        self._log.info("start", node=self._settings.node_name, pid=os.getpid())
        async with AsyncExitStack() as parts:
            try:
                await self._start(parts)
                await self._ending.stop.wait()
            except OSError as error:
                self._ending.fail(error.strerror if error.errno is None else str(error))
            except Exception as error:
                self._ending.fail(f"start: {describe(error)}", error)
            # What has failed may be but a part: the rest of us hands over as in any other end.
            if self._running or self._ending.failure is None:
                await self._leaving.run()
            await self._later.finish()
            self._upkeep.close()
        self._log.info("stop", node=self._settings.node_name, error=self._ending.failure)
        return self._ending.status

    async def _start(self, parts: AsyncExitStack) -> None:
        """Start the parts one after the other; `parts` closes those that did start."""
        loop = asyncio.get_running_loop()
        check_right()
        pages = self._settings, self._registry, self._health, self._upkeep, self._log
        serve(parts, *pages, self._figures)
        parts.callback(self._layer2.close)
        parts.callback(self.driver.close)
        monitor = Monitor(self._on_links, partial(may_answer, self._settings.exclude))
        await monitor.start()
        parts.callback(monitor.close)
        desk = Desk(self._sight)
        local = LocalServer(PROGRAM, self._settings.node_name, desk.answer, Part.DEBUG, self._log)
        parts.callback(self._upkeep.keep(Part.DEBUG, local.run).cancel)
        self._figures.netlink_resyncs = monitor.resyncs_by_table
        source = self._cluster or sources.make_folder(self._settings, self._configuration.take)
        loop.add_signal_handler(signal.SIGHUP, source.reload)
        reading = loop.create_task(source.run())
        reading.add_done_callback(self._on_source_end)
        parts.callback(reading.cancel)
        parts.callback(self._configuration.close)
        parts.push_async_callback(self._routing.close)
        # Heirs step back as soon as we are alive to them: first know the services, then join.
        await first_of(self._configuration.planned, self._ending.stop)
        if not self._ending.stop.is_set():
            await self._peers.start()
            parts.push_async_callback(self._peers.close)
            if self._cluster is not None:
                self._cluster.on_seeds = self._peers.set_seeds
                self._peers.set_seeds(self._cluster.seeds)
            self.core.note_seeking(clock())
        self._running = True
        self.driver.wake()

    def _on_links(self, interfaces: Mapping[int, Interface], own_macs: Container[bytes]) -> None:
        try:
            self.driver.handle_links(interfaces, own_macs)
        except PermissionError:
            self._ending.fail(NO_RIGHT)
        except Exception as error:
            survive(Part.LINKS, error)
            # Unless there is other news by then: the last word counts.
            self._retries.later("#links", RETRY, self._on_links, interfaces, own_macs)
        else:
            self._retries.drop("#links")

    def _on_source_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, SourceError):
            self._ending.fail(str(error))
        else:
            self._upkeep.fail(Part.SOURCE, error)


def run(settings: Settings) -> int:
    """Run a speaker until it is told to stop; return the exit status."""
    interpreter.tune()
    time_slice.shorten()
    log = logs.logger()
    try:
        # Made before the loop turns: what it imports takes a quarter of a second.
        return asyncio.run(Daemon(settings, log).run())
    except Exception as error:
        log.error("fatal", error=describe(error), exc_info=error)
        return EXIT_FAILURE
