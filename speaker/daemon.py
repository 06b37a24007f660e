"""The speaker itself: the one place that knows every part and wires them together.

Everything that changes (a link, a manifest, a member, contact) ends in `_settle`, which brings
announcements in line with what is known now. It runs once a turn, however many changes came.
"""

import asyncio
import os
import random
import signal
import time
from collections import deque
from collections.abc import Container, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from gossip.io import (
    Event,
    Exchanged,
    ExchangeFailed,
    Gone,
    Joined,
    KeyBlocked,
    KeyDropped,
    KeyUsed,
    NameConflict,
    Recovered,
    Suspected,
    Updated,
    UserMessage,
)
from gossip.wire.messages import State
from kube.problem import Problem, Severity
from kube.snapshot import Snapshot
from link.interface import Interface, may_answer
from link.monitor import Monitor
from link.packet_socket import NO_RIGHT, check_right
from speaker import interpreter, logs, time_slice
from speaker.announcer import Announcer, IPAddress
from speaker.clients import Clients
from speaker.contact import Contact, Held, HoldReason, Released
from speaker.decisions import Decisions
from speaker.desired import Options, ServicePlan, Withheld
from speaker.election import Election, Move
from speaker.failover import Failover
from speaker.health import Health, HttpServer
from speaker.later import JOBS_A_TURN, Later
from speaker.layer2 import Layer2, prepare
from speaker.metrics import Figures, make_registry
from speaker.peers import Peers, describe
from speaker.planner import Planner, ips_of
from speaker.quorum import Mode, Quorum
from speaker.reconcile import Announce, Reconciler, Withdraw
from speaker.settings import Settings
from speaker.source_files import FileSource, SourceError
from speaker.status import where
from speaker.watch import Timing
from speaker.witness import Witness, links_needed

if TYPE_CHECKING:
    from speaker.cluster import Cluster

HASHES_A_TURN = 500
BITE = 0.001
"""Seconds that one turn of the loop may spend on elections and changes."""
PLANS_A_TURN = 100
"""How many plans one turn takes over: half a millisecond."""
HAND_OVER_WITHIN = 0.9
"""Seconds for the heirs to be heard when we leave, and once more for those that are no Clarion."""
EXIT_FAILURE = 1


def clock() -> float:
    """Return seconds of a clock that also runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Daemon:
    """One speaker. `run` returns the exit status."""

    def __init__(self, settings: Settings, log: Any) -> None:
        self._settings = settings
        self._log = log
        self._peers = Peers(settings, clock, self._on_gossip, log)
        self._contact = Contact(clock(), alone=self._peers.agent is None)
        clients = Clients()
        self._announcer = Announcer(
            self._contact, clients, settings.announce_rate, settings.announce_refresh
        )
        self._layer2 = Layer2(self._announcer, clients, clock, self._tick, log)
        self._layer2.on_first_frame = self._first_frame
        self._failover = self._make_failover()
        self._witness = Witness(
            self._failover, self._announcer, self._layer2, self._peers, clock, self._wake, log
        )
        self._witness.on_handed_over = self._publish
        self._witness.on_void = self._settle_at_once
        self._decisions = Decisions()
        self._witness.on_put_off = self._decisions.forget
        self._layer2.listener = self._witness
        self._members_changed = True
        self._election = Election()
        self._quorum = Quorum(settings.quorum)
        self._reconciler = Reconciler()
        self._snapshot: Snapshot | None = None
        self._planning: asyncio.Task[None] | None = None
        self._source_problems: tuple[Problem, ...] = ()
        self._cluster = self._make_cluster() if settings.source is None else None
        self._options = Options(
            own_node=settings.node_name,
            lb_class=settings.lb_class,
            ignore_exclude_lb=settings.ignore_exclude_lb,
            release=settings.release,
            gossips=settings.gossips,
            addresses_from_annotations=settings.source is not None,
            quorum=settings.quorum is not Mode.OFF,
        )
        self._planner = Planner(self._options, self._reconciler.announced)
        self._plans: dict[str, ServicePlan] = {}
        self._moves: deque[Move] = deque()
        self._dirty: dict[str, str] = {}
        self._later = Later(lambda: self._busy or self._announcer.urgent)
        self._previous: dict[str, str | None] = {}
        """Who owned a service before us, until we have taken it up."""
        self._turning = self._caught_up = False
        """Whether this turn has read what was asked before it took an IP from a living owner."""
        self._unassigned: set[str] = set()
        """Services that this node has won, and of which the cluster is not told so yet."""
        self._failed_exchanges: dict[str, str] = {}
        self._problems: frozenset[Problem] = frozenset()
        self._cause = "start"
        self._settling = False
        self._settled = asyncio.Event()
        self._leaving = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._stop = asyncio.Event()
        self._planned = asyncio.Event()
        self._failure: str | None = None
        self._health = Health()
        if self._cluster is not None:
            self._health.waiting_for = partial(getattr, self._cluster, "waiting_for")
        self._figures = self._make_figures()
        self._registry, self._instruments = make_registry(self._figures)
        self._witness.on_confirmed = self._instruments.confirmed.observe

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
        figures = Figures(
            node=self._settings.node_name,
            layer2=self._layer2.stats,
            announced=self._reconciler.announced(),
            serves=self._announcer.serves,
            owners=self._election.owners,
            plans=self._plans,
            without_quorum=lambda: self._quorum.lacking,
            members=self._peers.states,
            refusals=self._peers.refusals,
            gossip_health=self._peers.health,
            key_unproved=self._peers.unproved,
            failover=self._failover.stats,
        )
        if self._cluster is not None:
            cluster = self._cluster
            figures.api_behind = lambda: cluster.behind
            figures.api_failed_writes = lambda: cluster.failed_writes
        return figures

    async def run(self) -> int:
        """Start every part, wait for a signal or a fatal error, stop every part."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal)
        self._log.info("start", node=self._settings.node_name, pid=os.getpid())
        async with AsyncExitStack() as parts:
            try:
                await self._start(parts)
                await self._stop.wait()
            except OSError as error:
                self._fail(error.strerror if error.errno is None else str(error))
            if self._failure is None:
                await self._leave()
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
        source = self._cluster or self._folder()
        loop.add_signal_handler(signal.SIGHUP, source.reload)
        reading = loop.create_task(source.run())
        reading.add_done_callback(self._on_source_end)
        parts.callback(reading.cancel)
        parts.callback(lambda: self._planning and self._planning.cancel())
        # Heirs step back as soon as we are alive to them: first know the services, then join.
        await first_of(self._planned, self._stop)
        if not self._stop.is_set():
            await self._peers.start()
            parts.push_async_callback(self._peers.close)
            if self._cluster is not None:
                self._cluster.on_seeds = self._peers.set_seeds
                self._peers.set_seeds(self._cluster.seeds)
            self._contact.seeking(clock())
        self._wake()

    def _folder(self) -> FileSource:
        settings = self._settings
        assert settings.source is not None  # noqa: S101 - without one there is a cluster
        return FileSource(
            settings.source, settings.namespace, partial(self._on_snapshot, changed=None)
        )

    def _make_cluster(self) -> "Cluster":
        # Imported late: without Kubernetes none of it need be installed.
        from kube.client import from_environment
        from speaker.cluster import Cluster
        from speaker.source_kubernetes import Scope

        settings = self._settings
        scope = Scope(
            node=settings.node_name,
            namespace=settings.namespace,
            labels=settings.labels,
            pod=settings.pod_name,
            lb_class=settings.lb_class,
        )
        return Cluster(from_environment(), scope, clock, self._on_snapshot, self._log)

    def _publish(self, services: Iterable[str]) -> None:
        """Tell the cluster where these services are announced now, as far as it is true."""
        if self._cluster is None:
            return
        announced, names = self._reconciler.announced(), self._layer2.names()
        for service in services:
            interfaces = where(announced.get(service), self._announcer.serves, names)
            self._cluster.changed(service, interfaces)
            if interfaces is not None and service in self._unassigned:
                self._unassigned.discard(service)
                self._cluster.assigned(service)

    def _serve(self, parts: AsyncExitStack) -> None:
        settings = self._settings
        for host, port in ((settings.host, settings.port), ("127.0.0.1", settings.health_port)):
            if port:
                server = HttpServer(host, port, self._registry, self._health)
                parts.push_async_callback(asyncio.to_thread, server.close)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def _leave(self) -> None:
        """Hand over what we own, then leave: an IP is answered until its heir was heard."""
        self._failover.leave(clock())
        self._witness.settle()
        self._settle()
        await self._handed_over(foreign=False)
        leaving = asyncio.create_task(self._peers.leave())
        await asyncio.sleep(0)
        self._members_changed = True
        self._settle()
        await self._handed_over(foreign=True)
        await self._withdraw_everything()
        await leaving

    async def _handed_over(self, *, foreign: bool) -> None:
        """Wait until the winners of all our IPs were heard, or the time for that is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_WITHIN):
                while self._electing or self._dirty or self._failover.handing_over(foreign=foreign):
                    self._settled.clear()
                    await self._settled.wait()

    async def _withdraw_everything(self) -> None:
        self._leaving = True
        self._announcer.withdraw_all()
        for item in list(self._reconciler.announced().values()):
            self._log_ips("withdraw", item.service, item.ips, reason="leaving")
        await self._later.finish()

    # ---- what comes in

    def _on_stop_signal(self) -> None:
        if self._stop.is_set():
            os._exit(0)
        self._stop.set()

    def _on_source_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            known = isinstance(error, SourceError)
            self._fail(str(error) if known else f"source: {type(error).__name__}: {error}")

    def _fail(self, reason: str | None) -> None:
        if self._failure is None:
            self._failure = reason or "unknown error"
            self._log.error("fatal", error=self._failure)
        self._stop.set()

    def _on_links(self, interfaces: Mapping[int, Interface], own_macs: Container[bytes]) -> None:
        try:
            self._layer2.set_interfaces(interfaces, own_macs)
        except PermissionError:
            self._fail(NO_RIGHT)
        self._witness.take_links()
        announced = self._reconciler.announced().values()
        self._publish([item.service for item in announced if item.interfaces is not None])
        self._wake()

    def _on_snapshot(
        self, snapshot: Snapshot, problems: tuple[Problem, ...], changed: frozenset[str] | None
    ) -> None:
        self._snapshot, self._source_problems = snapshot, problems
        self._planner.take(snapshot, changed)
        self._note_configuration(problems)
        self._plan_soon()

    def _plan_soon(self) -> None:
        if self._planning is None or self._planning.done():
            self._planning = asyncio.create_task(self._plan())

    async def _plan(self) -> None:
        """Plan what waits, in bites; then teach the filters the IPs, and then have it elected."""
        while True:
            different: dict[str, ServicePlan | None] = {}
            while self._planner.pending:
                different |= self._planner.advance()
                await asyncio.sleep(0)
            await self._filter(different)
            await self._take_plans(different)
            await self._report([*self._source_problems, *self._planner.problems()])
            if not self._planned.is_set():
                interpreter.started()
                self._planned.set()
            self._wake()
            if not self._planner.pending:
                return

    async def _filter(self, different: Mapping[str, ServicePlan | None]) -> None:
        """Let questions for new IPs pass: what the filter keeps out gets no answer."""
        if all(ips_of(self._plans.get(key)) == ips_of(item) for key, item in different.items()):
            return
        ips = self._planner.ips()
        await asyncio.to_thread(prepare, ips)
        self._layer2.set_service_ips(ips)

    async def _take_plans(self, different: Mapping[str, ServicePlan | None]) -> None:
        self._cause = "configuration"
        for number, (service, item) in enumerate(different.items(), 1):
            if number % PLANS_A_TURN == 0:
                await asyncio.sleep(0)
            self._take_plan(service, self._quorum.set_plan(service, item), "configuration")
        planned = (None, Withheld.QUORUM)
        choices = (item.interfaces for item in self._plans.values() if item.withheld in planned)
        self._failover.set_needed(links_needed(choices), clock())

    def _take_plan(self, service: str, item: ServicePlan | None, reason: str) -> None:
        self._dirty.setdefault(service, reason)
        self._election.set_plan(service, item)
        if item is None:
            self._plans.pop(service, None)
        else:
            self._plans[service] = item

    def _note_configuration(self, problems: tuple[Problem, ...]) -> None:
        figures = self._figures
        broken = any(problem.severity is Severity.ERROR for problem in problems)
        figures.updates += 1
        figures.update_errors += broken
        figures.config_loaded = self._snapshot is not None and self._snapshot.config is not None

    async def _report(self, problems: list[Problem]) -> None:
        """Log each problem once, as long as it lasts."""
        levels = {Severity.ERROR: self._log.error, Severity.WARNING: self._log.warning}
        new = [problem for problem in problems if problem not in self._problems]
        for number, problem in enumerate(new, 1):
            if number % JOBS_A_TURN == 0:
                await asyncio.sleep(0)
            log = levels.get(problem.severity, self._log.debug)
            log("source", problem=str(problem))
        self._problems = frozenset(problems)
        broken = any(problem.severity is Severity.ERROR for problem in self._source_problems)
        self._figures.config_stale = broken or bool(self._planner.kept)
        self._figures.problems.clear()
        self._figures.problems.update(problem.severity.value for problem in problems)

    def _on_gossip(self, event: Event) -> None:
        if isinstance(event, UserMessage):
            letter = self._peers.take(event.data)
            if letter is not None:
                self._witness.letter(letter)
        else:
            self._on_member(event)

    def _on_member(self, event: Event) -> None:
        self._members_changed = True
        match event:
            case Joined(member):
                self._cause = "member_joined"
                self._log.info("member", **describe(member))
            case Gone(member):
                self._cause = "member_left" if member.state is State.LEFT else "member_dead"
                self._log.info("member", **describe(member))
            case Suspected(member) | Recovered(member) | Updated(member):
                self._log.info("member", **describe(member))
            case NameConflict(member, claimed):
                self._log.warning("name_conflict", node=member.name, claimed=claimed.ip)
            case Exchanged(peer, began):
                self._failed_exchanges.pop(peer.ip, None)
                self._contact.exchanged(began, clock())
            case ExchangeFailed(peer, reason, silent, join):
                self._log_failed_exchange(peer.ip, reason, join)
                if not silent:
                    self._contact.spoke(clock())
            case KeyUsed():
                self._log.info("secret", state="used")
            case KeyDropped(count):
                self._log.info("secret", state="old_dropped", count=count)
            case KeyBlocked(names):
                self._log.warning("secret", state="waiting", unproved=names)
            case _:
                return
        self._wake()

    def _log_failed_exchange(self, peer: str, reason: str, join: bool) -> None:
        """Log the first failure with a peer, and each other reason, but the same not again."""
        if self._failed_exchanges.get(peer) != reason:
            self._failed_exchanges[peer] = reason
            hint = _VERSION_HINT if reason == "incompatible" else None
            self._log.warning("exchange_failed", peer=peer, reason=reason, join=join, hint=hint)

    def _tick(self, now: float) -> None:
        if self._contact.tick(now):
            # What waited meanwhile was asked of somebody who may not own anything any more.
            self._layer2.discard()
            self._wake()

    # ---- bringing announcements in line

    def _wake(self) -> None:
        if not self._settling:
            self._settling = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._settling = self._caught_up = False
        if not self._leaving:
            self._turning = True
            self._turn(clock())
            self._turning = False
            self._settled.set()

    def _settle_at_once(self) -> None:
        """Not within a turn, which may be what has read the frame: the next one is near."""
        if not self._turning:
            self._settle()

    def _turn(self, now: float) -> None:
        self._tick(now)
        released = self._take_contact_events(now)
        self._elect(now + BITE)
        self._reconcile(now, now + BITE)
        self._witness.settle()
        self._announcer.handle_timeout(now)
        self._layer2.flush()
        if released:
            # What waited was asked before our announcement, so of whoever owned meanwhile.
            self._layer2.discard()
        self._note_readiness()
        self._schedule()
        if self._busy:
            interpreter.tidy()
            self._wake()
        elif self._cluster is not None and self._planned.is_set() and not self._contact.held:
            self._cluster.settled()

    def _take_contact_events(self, now: float) -> bool:
        """Log holds and releases; true where answers flow again somewhere."""
        released = False
        for event in self._contact.events():
            match event:
                case Held(reason, ifindex, gap):
                    self._log.info("contact", state="held", reason=reason, gap=round(gap, 3))
                    if reason is not HoldReason.START:
                        self._peers.exchange()
                case Released(reason, ifindex, by, waited):
                    waited = round(waited, 3)
                    self._log.info("contact", state="made", reason=reason, by=by, waited=waited)
                    self._announcer.released(ifindex, now)
                    released = True
        return released

    def _elect(self, until: float) -> None:
        live = self._peers.live()
        if live is None:
            nodes = self._snapshot.nodes if self._snapshot else {}
            live = frozenset(nodes) | {self._settings.node_name}
        if self._members_changed:
            self._members_changed = False
            self._failover.set_peers(self._peers.others(), clock())
        if changed := self._quorum.set_members(live):
            self._log.warning("quorum", changed=len(changed), lacking=self._quorum.lacking)
            for service, item in changed.items():
                self._take_plan(service, item, "quorum")
        self._election.set_members(live, self._cause)
        self._election.set_bars(self._failover.bars(), "bars")
        if not self._moves:
            self._moves.extend(self._election.advance(HASHES_A_TURN))
        while self._moves:
            self._take_move(self._moves.popleft())
            if clock() >= until:
                return

    def _take_move(self, move: Move) -> None:
        self._figures.moves[move.reason] += 1
        if move.service not in self._dirty:
            # Of several moves that come together, only the first left somebody who answered.
            self._previous[move.service] = move.before
        self._dirty[move.service] = move.reason
        own = self._settings.node_name
        if own not in (move.before, move.after) and self._failover.handing_over(foreign=True):
            for ip in ips_of(self._plans.get(move.service)):
                self._failover.moved(move.service, ip, move.after, clock())
        self._log_ips(
            "leader",
            move.service,
            ips_of(self._plans.get(move.service)),
            owner=move.after,
            previous=move.before,
            reason=move.reason,
        )

    def _reconcile(self, now: float, until: float) -> None:
        """Announce and withdraw; while contact is missing nothing new is taken up."""
        due = tuple(self._dirty)
        if self._contact.held or self._electing:
            announced = self._reconciler.announced()
            due = tuple(service for service in due if service in announced)
        for service in due:
            self._reconcile_one(service, now)
            if clock() >= until:
                return

    def _reconcile_one(self, service: str, now: float) -> None:
        reason, mine = self._dirty.pop(service), self._mine(service)
        plan = self._plans.get(service)
        for action in self._reconciler.reconcile(service, plan, mine, reason):
            if isinstance(action, Announce):
                self._announce(action, now)
            else:
                self._give_up(action, now)
            self._publish([service])

    @property
    def _electing(self) -> bool:
        return bool(self._election.pending or self._moves)

    @property
    def _busy(self) -> bool:
        return self._electing or bool(self._dirty and not self._contact.held)

    def _mine(self, service: str) -> bool:
        return self._election.owner(service) == self._settings.node_name

    def _give_up(self, action: Withdraw, now: float) -> None:
        service = action.service
        self._unassigned.discard(service)
        self._decisions.forget(action.ips)
        if service in self._planner.kept and self._snapshot is not None:
            # No pool holds its IPs: that it was announced is all that kept it.
            self._planner.take(self._snapshot, (service,))
            self._plan_soon()
        lost = action.reason == Withheld.NOT_OWNER
        winner = self._election.owner(service) if lost else None
        for ip in action.ips:
            if winner is None:
                self._failover.withdraw(service, ip)
            else:
                self._failover.lost(service, ip, winner, now)
        self._log_ips("withdraw", service, action.ips, reason=action.reason)

    def _announce(self, action: Announce, now: float) -> None:
        previous = self._previous.pop(action.service, None)
        if previous is not None and not self._caught_up:
            # Not where it died: whoever asked it in vain waits for us.
            self._caught_up = not self._failover.lost_its_owner(previous)
            if self._caught_up:
                self._layer2.catch_up()
        for ip in action.ips:
            self._decisions.decided(ip, now)
            self._failover.won(action.service, ip, action.interfaces, previous, now)
        self._log_ips("announce", action.service, action.ips, reason=action.reason)
        if self._cluster is not None:
            # Said when it is true: a takeover asks the old owner first, and links may be missing.
            self._unassigned.add(action.service)
        if action.interfaces is not None and not action.interfaces & self._layer2.names():
            wanted = sorted(action.interfaces)
            self._log.warning("announce_failed", service=action.service, interfaces=wanted)
            if self._cluster is not None:
                self._cluster.failed(action.service, str(action.ips[0]), wanted)

    def _first_frame(self, ip: IPAddress) -> None:
        took = self._decisions.announced(ip, clock())
        if took is not None:
            self._later.add(partial(self._instruments.takeover.observe, took))

    def _log_ips(self, event: str, service: str, ips: tuple[IPAddress, ...], **fields: Any) -> None:
        """Log one line an IP, later, with the time of now."""
        fields = {
            "owner": self._settings.node_name,
            **fields,
            "service": service,
            "at": time.time(),
        }
        for ip in ips:
            self._later.add(partial(self._log_ip, event, ip, fields))

    def _log_ip(self, event: str, ip: IPAddress, fields: dict[str, Any]) -> None:
        self._log.info(event, ip=str(ip), **fields)

    def _note_readiness(self) -> None:
        self._figures.contact = not self._contact.held
        if not self._planned.is_set():
            self._health.not_ready = "sources are not read yet"
        elif self._contact.held:
            self._health.not_ready = "no contact with another speaker yet"
        else:
            if self._health.not_ready is not None:
                self._log.info("ready")
            self._health.not_ready = None

    def _schedule(self) -> None:
        at = min(self._contact.deadline(), self._announcer.deadline() or float("inf"))
        if self._timer is not None:
            if self._timer_at <= at and not self._timer.cancelled():
                return
            self._timer.cancel()
        # What was due already is not late by that: the loop is judged by what it was asked for.
        now = clock()
        self._timer_at = max(at, now)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timer_at - now, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._instruments.lag.observe(max(0.0, clock() - self._timer_at))
        self._health.turned()
        self._peers.report_refusals(clock())
        self._beat()

    def _beat(self) -> None:
        """Look up only: most times a heartbeat of contact is all that was due."""
        now, before = clock(), self._contact.changes
        self._tick(now)
        announcing = self._announcer.deadline()
        if self._contact.changes != before or (announcing is not None and announcing <= now):
            self._wake()
        else:
            self._schedule()


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


_VERSION_HINT = "the ring's delegate versions differ: see CLARION_ML_DELEGATE_VERSION"


def run(settings: Settings) -> int:
    """Run a speaker until it is told to stop; return the exit status."""

    interpreter.tune()
    time_slice.shorten()
    # Made before the loop turns: what it imports takes a quarter of a second.
    return asyncio.run(Daemon(settings, logs.logger()).run())
