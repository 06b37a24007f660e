"""The speaker itself: the one place that knows every part and wires them together.

Everything that changes (a link, a manifest, a member, contact) ends in `_settle`, which brings
announcements in line with what is known now. It runs once a turn, however many changes came.
"""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Container, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from gossip.io import Event
from kube.files.directory import DirectorySource, SourceError
from link.interface import Interface, may_answer
from link.netlink.monitor import Monitor
from link.packet_socket import NO_RIGHT, check_right
from ownership.announcing.announcer import Announcer
from ownership.announcing.clients import Clients
from ownership.contact import Contact
from ownership.election.quorum import Mode, Quorum
from ownership.failover import Failover
from ownership.io import (
    Failed,
    Held,
    HoldReason,
    Lost,
    Moved,
    OwnershipEvent,
    QuorumChanged,
    Released,
    Won,
)
from ownership.liveness.kernels import Timing
from ownership.ownership import Ownership
from plan.planner import Planner
from plan.release import Options
from process import interpreter, logs, time_slice
from process.health import Health, HttpServer
from process.later import Later
from process.tls import Certificates
from speaker.configuration import Configuration
from speaker.driver import Witness
from speaker.layer2 import Layer2
from speaker.members import Members
from speaker.metrics.collector import Figures, make_registry
from speaker.ring.peers import Peers
from speaker.settings import Settings
from speaker.telling import Telling
from speaker.upkeep import RETRY, Part, Retries, Upkeep, describe, survive

if TYPE_CHECKING:
    from speaker.cluster.cluster import Cluster

BITE = 0.001
"""Seconds that one turn of the loop may spend on elections and changes."""
HAND_OVER_WITHIN = 0.9
"""Seconds for the heirs to be heard when we leave, and once more for those that are no Clarion."""
END_WITHIN = 1.9
"""Seconds from the wish to stop to the end of the process, whatever hangs."""
SERVICE_RETRY = 5.0
"""Seconds until a service of which announcing failed is tried again."""
EXIT_FAILURE = 1


def clock() -> float:
    """Return seconds of a clock that also runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Daemon:
    """One speaker. `run` returns the exit status."""

    def __init__(self, settings: Settings, log: Any) -> None:
        self._settings = settings
        self._log = log
        self._upkeep = Upkeep(self._fail, log)
        self._peers = Peers(settings, clock, self._on_gossip, log, self._upkeep)
        self._contact = Contact(clock(), alone=self._peers.agent is None)
        clients = Clients()
        self._announcer = Announcer(
            self._contact, clients, settings.announce_rate, settings.announce_refresh
        )
        self._layer2 = Layer2(self._announcer, clients, clock, self._tick, log)
        self._failover = self._make_failover()
        self._ownership = Ownership(
            settings.node_name,
            self._contact,
            self._announcer,
            self._failover,
            Quorum(settings.quorum),
        )
        self._later = Later(lambda: self._ownership.busy or self._announcer.urgent)
        self._telling = Telling(
            settings.node_name,
            clock,
            self._ownership.announced(),
            self._announcer,
            self._layer2,
            self._later,
            log,
        )
        self._layer2.on_first_frame = self._telling.first_frame
        self._witness = Witness(
            self._failover, self._announcer, self._layer2, self._peers, clock, self._wake, log
        )
        self._witness.on_handed_over = self._telling.publish
        self._witness.on_void = self._settle
        self._witness.on_quiet = self._telling.quiet
        self._witness.on_put_off = self._telling.put_off
        self._witness.on_foreign_answer = self._telling.foreign_answer
        self._layer2.listener = self._witness
        self._members = Members(self._peers, self._ownership, self._witness, self._wake, clock, log)
        self._settling = False
        self._settled = asyncio.Event()
        self._leaving = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._stop = asyncio.Event()
        self._running = self._signalled = False
        self._failure: str | None = None
        self._retries = Retries()
        """By the name of a service; what is none begins with `#`."""
        self._health = Health()
        self._health.trouble = self._peers.trouble
        self._health.tell(log)
        self._figures = self._make_figures()
        self._configuration = self._make_configuration()
        self._figures.plans = self._ownership.plans()
        self._figures.without_quorum = self._ownership.lacking
        self._cluster = self._make_cluster() if settings.source is None else None
        if self._cluster is not None:
            self._telling.cluster = self._cluster
            self._watch_cluster(self._cluster)
        self._registry, self._instruments = make_registry(self._figures)
        self._witness.on_confirmed = self._instruments.confirmed.observe
        self._telling.on_taken = self._instruments.takeover.observe

    def _make_failover(self) -> Failover:
        after = self._settings.failover_after
        return Failover(
            self._settings.node_name,
            Timing.of(after) if after else None,
            self._announcer,
            self._contact,
            random.SystemRandom(),
            clock(),
        )

    def _make_figures(self) -> Figures:
        return Figures(
            node=self._settings.node_name,
            layer2=self._layer2.stats,
            announced=self._ownership.announced(),
            serves=self._announcer.serves,
            owners=self._ownership.owners,
            members=self._peers.states,
            refusals=self._peers.refusals,
            gossip=self._peers.stats,
            gossip_streams=self._peers.streams,
            key_unproved=self._peers.unproved,
            gossip_encrypted=self._peers.encrypted,
            secrets_refused=self._peers.secrets_refused,
            failover=self._failover.stats,
            log_lines_dropped=self._log_lines_dropped,
            http_refused=self._health.refused.counts,
            survived=self._upkeep.survived,
        )

    def _make_configuration(self) -> Configuration:
        settings, failover = self._settings, self._failover
        options = Options(
            own_node=settings.node_name,
            lb_class=settings.lb_class,
            ignore_exclude_lb=settings.ignore_exclude_lb,
            release=settings.release,
            gossips=settings.gossips,
            addresses_from_annotations=settings.source is not None,
            quorum=settings.quorum is not Mode.OFF,
        )
        return Configuration(
            Planner(options, self._ownership.announced),
            self._ownership,
            self._wake,
            self._layer2,
            self._figures,
            lambda links: failover.set_needed(links, clock()),
            self._log,
        )

    def _watch_cluster(self, cluster: "Cluster") -> None:
        self._health.waiting_for = lambda: cluster.waiting_for
        self._figures.api_behind = lambda: cluster.behind
        self._figures.api_failed_writes = lambda: cluster.failed_writes
        self._figures.api_failed_reads = cluster.failed_reads
        self._figures.api_relists = cluster.relists
        self._figures.api_dropped_events = cluster.dropped_events

    async def run(self) -> int:
        """Start every part, wait for a signal or a fatal error, stop every part."""
        loop = asyncio.get_running_loop()
        self._upkeep.listen(loop)
        threading.excepthook = self._upkeep.thread_raised
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal)
        self._log.info("start", node=self._settings.node_name, pid=os.getpid())
        async with AsyncExitStack() as parts:
            try:
                await self._start(parts)
                await self._stop.wait()
            except OSError as error:
                self._fail(error.strerror if error.errno is None else str(error))
            except Exception as error:
                self._fail(f"start: {describe(error)}", error)
            # What has failed may be but a part: the rest of us hands over as in any other end.
            if self._running or self._failure is None:
                await self._leave_anyhow()
            self._upkeep.close()
        self._log.info("stop", node=self._settings.node_name, error=self._failure)
        return EXIT_FAILURE if self._failure else 0

    async def _start(self, parts: AsyncExitStack) -> None:
        """Start the parts one after the other; `parts` closes those that did start."""
        loop = asyncio.get_running_loop()
        check_right()
        self._serve(parts)
        parts.callback(self._cancel_timer)
        parts.callback(self._layer2.close)
        parts.callback(self._witness.close)
        monitor = Monitor(self._on_links, partial(may_answer, self._settings.exclude))
        await monitor.start()
        parts.callback(monitor.close)
        self._figures.netlink_resyncs = monitor.resyncs_by_table
        source = self._cluster or self._folder()
        loop.add_signal_handler(signal.SIGHUP, source.reload)
        reading = loop.create_task(source.run())
        reading.add_done_callback(self._on_source_end)
        parts.callback(reading.cancel)
        parts.callback(self._configuration.close)
        # Heirs step back as soon as we are alive to them: first know the services, then join.
        await first_of(self._configuration.planned, self._stop)
        if not self._stop.is_set():
            await self._peers.start()
            parts.push_async_callback(self._peers.close)
            if self._cluster is not None:
                self._cluster.on_seeds = self._peers.set_seeds
                self._peers.set_seeds(self._cluster.seeds)
            self._ownership.seeking(clock())
        self._running = True
        self._wake()

    def _folder(self) -> DirectorySource:
        settings = self._settings
        assert settings.source is not None  # noqa: S101 - without one there is a cluster
        take = partial(self._configuration.take, changed=None)
        # Its thread takes its time, so that the loop has its processor.
        return DirectorySource(settings.source, settings.namespace, take, interpreter.Leisure)

    def _make_cluster(self) -> "Cluster":
        # Imported late: without Kubernetes none of it need be installed.
        from kube.api.client import from_environment
        from kube.api.state import Scope
        from speaker.cluster.cluster import Cluster

        settings = self._settings
        scope = Scope(
            node=settings.node_name,
            namespace=settings.namespace,
            labels=settings.labels,
            pod=settings.pod_name,
            lb_class=settings.lb_class,
        )
        client, take = from_environment(self._log), self._configuration.take
        return Cluster(client, scope, clock, take, self._log, self._upkeep.listen)

    def _serve(self, parts: AsyncExitStack) -> None:
        settings = self._settings
        tls = Certificates(settings.tls, self._log).context if settings.tls else None
        note = partial(self._upkeep.note, Part.HTTP)
        for host, port, context in (
            (settings.host, settings.port, tls),
            ("127.0.0.1", settings.health_port, None),
        ):
            if port:
                server = HttpServer(host, port, self._registry, self._health, note, context)
                parts.push_async_callback(asyncio.to_thread, server.close)

    def _log_lines_dropped(self) -> int:
        return logs.dropped() + self._later.dropped

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def _leave_anyhow(self) -> None:
        try:
            await self._leave()
        except Exception as error:
            survive(Part.TURN, error, message="leaving")

    async def _leave(self) -> None:
        """Hand over what we own, then leave: an IP is answered until its heir was heard."""
        self._ownership.leave(clock())
        self._witness.settle()
        self._settle()
        await self._handed_over(foreign=False)
        leaving = asyncio.create_task(self._peers.leave())
        await asyncio.sleep(0)
        self._ownership.members_changed()
        self._settle()
        await self._handed_over(foreign=True)
        await self._withdraw_everything()
        await leaving

    async def _handed_over(self, *, foreign: bool) -> None:
        """Wait until the winners of all our IPs were heard, or the time for that is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_WITHIN):
                while self._ownership.unfinished or self._failover.handing_over(foreign=foreign):
                    self._settled.clear()
                    await self._settled.wait()

    async def _withdraw_everything(self) -> None:
        self._leaving = True
        self._announcer.withdraw_all()
        self._telling.leaving()
        await self._later.finish()

    # ---- what comes in

    def _on_stop_signal(self) -> None:
        if self._signalled:
            logs.finish()
            self._end_now()
        self._signalled = True
        self._end()

    def _on_source_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, SourceError):
            self._fail(str(error))
        else:
            self._upkeep.fatal(Part.SOURCE, error)

    def _fail(self, reason: str | None, error: BaseException | None = None) -> None:
        if self._failure is None:
            self._failure = reason or "unknown error"
            self._log.error("fatal", error=self._failure, exc_info=error)
        self._end()

    def _end(self) -> None:
        """Begin to stop; no part that hangs, no thread that waits for a disk prevents it."""
        if not self._stop.is_set():
            self._stop.set()
            last = threading.Timer(END_WITHIN, self._end_now)
            last.daemon = True
            with suppress(RuntimeError):
                last.start()

    def _end_now(self) -> None:
        os._exit(EXIT_FAILURE if self._failure else 0)

    def _on_links(self, interfaces: Mapping[int, Interface], own_macs: Container[bytes]) -> None:
        try:
            self._take_links(interfaces, own_macs)
        except PermissionError:
            self._fail(NO_RIGHT)
        except Exception as error:
            survive(Part.LINKS, error)
            # Unless there is other news by then: the last word counts.
            self._retries.later("#links", RETRY, self._on_links, interfaces, own_macs)
        else:
            self._retries.drop("#links")

    def _take_links(self, interfaces: Mapping[int, Interface], own_macs: Container[bytes]) -> None:
        self._layer2.set_interfaces(interfaces, own_macs)
        self._witness.take_links()
        announced = self._ownership.announced().values()
        self._telling.publish([item.service for item in announced if item.interfaces is not None])
        self._wake()

    def _on_gossip(self, event: Event) -> None:
        self._members.take(event)

    def _tick(self, now: float) -> None:
        if self._ownership.tick(now):
            # What waited meanwhile was asked of somebody who may not own anything any more.
            self._layer2.discard()
            self._wake()

    # ---- bringing announcements in line

    def _wake(self) -> None:
        if not self._settling:
            self._settling = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._settling = False
        if self._leaving:
            return
        try:
            self._turn(clock())
        except Exception as error:
            survive(Part.TURN, error)
            self._retries.later("#turn", RETRY, self._wake)
        finally:
            self._settled.set()

    def _turn(self, now: float) -> None:
        self._tick(now)
        self._seek(now)
        self._take_members(now)
        # What waits was sent before what follows from all that is known: to whoever owned till now.
        self._layer2.read_dry()
        self._witness.read_dry()
        # In a storm of questions the reading takes as long as a bite, which is not to shrink by it.
        until = clock() + BITE
        self._ownership.settle(now, lambda: clock() >= until)
        released = self._tell(now)
        self._witness.settle()
        self._layer2.flush()
        if released:
            # What waited was asked before our announcement, so of whoever owned meanwhile.
            self._layer2.discard()
        self._note_readiness()
        self._schedule()
        if self._ownership.busy:
            interpreter.tidy()
            self._wake()
        elif self._cluster is not None and self._ready:
            self._cluster.settled()

    def _seek(self, now: float) -> None:
        if self._contact.seeks(now):
            self._peers.exchange()

    def _take_members(self, now: float) -> None:
        living = self._peers.live()
        if living is None:
            snapshot = self._configuration.snapshot
            nodes = snapshot.nodes if snapshot else {}
            living = frozenset(nodes) | {self._settings.node_name}
        self._ownership.set_living(living)
        if self._ownership.wants_members:
            self._ownership.set_peers(self._peers.others(), now)

    def _tell(self, now: float) -> bool:
        """Pass on what was decided; true where answers flow again somewhere."""
        released = False
        for event in self._ownership.events():
            released = released or isinstance(event, Released)
            try:
                self._tell_of(event, now)
            except Exception as error:
                survive(Part.SERVICE, error)
        return released

    def _tell_of(self, event: OwnershipEvent, now: float) -> None:
        match event:
            case Moved(move, ips):
                self._figures.moves[move.reason] += 1
                self._telling.moved(move, ips)
            case Won(action):
                self._telling.won(action, now)
                self._telling.publish([action.service])
            case Lost(action):
                self._configuration.given_up(action.service)
                self._telling.lost(action)
                self._telling.publish([action.service])
            case Failed(service, reason, error):
                survive(Part.SERVICE, error, service=service)
                self._retries.later(service, SERVICE_RETRY, self._look_again, service, reason)
            case QuorumChanged(changed, lacking):
                self._log.warning("quorum", changed=changed, lacking=lacking)
            case Held(reason, gap=gap):
                self._log.info("contact", state="held", reason=reason, gap=round(gap, 3))
            case Released(reason, by=by, waited=waited):
                waited = round(waited, 3)
                self._log.info("contact", state="made", reason=reason, by=by, waited=waited)

    def _look_again(self, service: str, reason: str) -> None:
        self._ownership.look_again(service, reason)
        self._wake()

    @property
    def _ready(self) -> bool:
        return self._configuration.planned.is_set() and not self._contact.held

    def _note_readiness(self) -> None:
        self._figures.contact = self._contact.held is None
        if not self._configuration.planned.is_set():
            self._health.not_ready = "sources are not read yet"
        elif self._contact.held is not None:
            self._health.not_ready = why_held(self._contact.held, self._settings.node_name)
        else:
            if self._health.not_ready is not None:
                self._log.info("ready")
            self._health.not_ready = None
        links = self._failover.unwitnessed()
        self._health.remark = f"{', '.join(links)}: {_NO_WITNESS}" if links else None

    def _schedule(self) -> None:
        at = min(self._contact.deadline(), self._announcer.deadline() or float("inf"))
        if self._timer is not None:
            if self._timer_at <= at and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._set_timer(at)

    def _set_timer(self, at: float) -> None:
        # What was due already is not late by that: the loop is judged by what it was asked for.
        now = clock()
        self._timer_at = max(at, now)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timer_at - now, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        try:
            self._fire()
        except Exception as error:
            survive(Part.TIMER, error)
        finally:
            # It is what everything else is woken by.
            if self._timer is None and not self._settling:
                self._set_timer(clock() + RETRY)

    def _fire(self) -> None:
        self._instruments.lag.observe(max(0.0, clock() - self._timer_at))
        self._health.turned()
        self._peers.keep_time(clock())
        self._peers.report_refusals(clock())
        self._beat()

    def _beat(self) -> None:
        """Look up only: most times a heartbeat of contact is all that was due."""
        now, before = clock(), self._contact.changes
        self._tick(now)
        self._seek(now)
        announcing = self._announcer.deadline()
        if self._contact.changes != before or (announcing is not None and announcing <= now):
            self._wake()
        else:
            self._schedule()


def why_held(reason: HoldReason, node: str) -> str:
    """Return for people why a speaker answers for nothing."""
    if reason is HoldReason.NAME_TAKEN:
        return f"another node has the name {node}: see --node-name"
    return "no contact with another speaker yet"


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


_NO_WITNESS = (
    "only one other node and no gateway or client answers ICMP echo: "
    "if it dies, its IPs move after 5 to 7 s"
)


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
