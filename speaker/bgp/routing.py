"""BGP's side of the speaker: plans routes, has them typed, and hears how the sessions are.

Nothing of it runs before a configuration wants BGP, and nothing of it touches layer 2: an engine
that hangs or is not there shows in figures and on /readyz, and is told everything when it is back.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger as Log

from bgp.door.engine_states import EngineState
from bgp.door.frr import Engine
from bgp.door.shared_folder import SharedFolder
from bgp.extras_trial import RefusedExtra
from bgp.frr_config import Wanted
from bgp.med_step import Med
from bgp.places import Neighbor
from kube.bgp_config import BgpConfig
from kube.objects.config_map import KEY, NAME
from kube.peering import Session
from kube.problem import Problem, Severity
from kube.snapshot import Snapshot
from link.address import IPAddress
from plan.release import Options
from plan.route_planner import RoutePlanner
from plan.service import Withheld, shut_out
from speaker.bgp.fast_failover import FastFailover, SeesLives, Unable
from speaker.bgp.outages import Outages
from speaker.bgp.route_view import SessionView, route_rows, service_row
from speaker.bgp.sessions import Sessions
from speaker.bgp.typist import Typist
from speaker.upkeep import Part, survive

ARRIVES = 0.25
"""Seconds until all routers have acted on what was sent: measured 0.12."""
LEAVE_WITHIN = 1.2
LOOK, LOOKS = 0.05, 6
"""A Pod's deletion comes by another way than SIGTERM, and may come after it: how often is looked
for it, and the seconds between."""
DEFAULT_HOLD = 180
"""Seconds, of the engine."""
BITE = 200
"""Prefixes whose changes are told in one turn of the loop: about three milliseconds."""
FAREWELL = "the speaker was told to stop at once"
NO_ENGINE = "BGP is wanted, and there is no engine that answers"


class RoutingHearer(Protocol):
    """Who is told what becomes of it."""

    @property
    def ending(self) -> bool:
        """Whether this node goes for good, so that its routes are to be taken back."""

    def note_routes(self, service: str, peers: tuple[str, ...]) -> None:
        """The service is announced to these BGPPeers now; none: no more."""

    def note_engine(self, trouble: str | None) -> None:
        """Why BGP does not work, for people; None: it does, or is not wanted."""

    def note_problems(self, problems: tuple[Problem, ...]) -> None:
        """What is wrong for BGP alone is this now."""


class Deaf:
    """Without a cluster there is nobody to tell, and who ends a speaker means it."""

    ending = True

    def note_routes(self, service: str, peers: tuple[str, ...]) -> None:
        """Leave it."""

    def note_engine(self, trouble: str | None) -> None:
        """Leave it."""

    def note_problems(self, problems: tuple[Problem, ...]) -> None:
        """Leave it."""


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """Where the engine is, and what this node is called."""

    folder: Path
    options: Options
    router_id: IPv4Address | None = None
    lives: SeesLives | None = None
    """Who is gone; None: there is no fast failover."""
    never: Unable = Unable.SWITCHED_OFF
    """Why, where there is none."""
    namespace: str = ""
    """Of the configuration."""


class Routing:
    """Made at the start; `take` gets snapshots, `start` opens nothing before BGP is wanted."""

    def __init__(
        self, settings: RoutingSettings, hearer: RoutingHearer, clock: Callable[[], float], log: Log
    ) -> None:
        self._settings, self._hearer, self._log = settings, hearer, log
        self._planner = RoutePlanner(settings.options)
        self._folder = SharedFolder(settings.folder)
        self.sessions = Sessions(log, self._handle_sessions)
        self._engine = Engine(
            self._folder,
            ready=self._handle_ready,
            changed=self._handle_state,
            read=self.sessions.read,
            queries=self.sessions.queries,
        )
        self.typist = Typist(self._engine, log, clock)
        self.typist.on_extras = self._handle_extras
        self._refusal: Problem | None = None
        self._told_problems: tuple[Problem, ...] = ()
        self.on_problems: Callable[[], None] = lambda: None
        self._outages = Outages(
            lambda: self.trouble,
            hearer.note_engine,
            lambda seconds, call: asyncio.get_running_loop().call_later(seconds, call),
        )
        self._config: BgpConfig | None = None
        self._snapshot = Snapshot()
        self._planning: asyncio.Task[None] | None = None
        self._running = self._left = False
        self._draining = False
        """Whether routers are asked to prefer other nodes, as this one is shut out."""
        self._told: dict[str, tuple[str, ...]] = {}
        self._published: dict[str, tuple[str, ...]] = {}
        lives, never = settings.lives, settings.never
        self.fast_failover = FastFailover(lives, self._handle_med, clock, log, never)

    # ---- what others ask

    @property
    def wanted(self) -> bool:
        """Whether this node is to have any session."""
        return self._config is not None and bool(self._config.sessions)

    @property
    def engine_state(self) -> EngineState:
        """How the engine is."""
        return self._engine.state

    @property
    def trouble(self) -> str | None:
        """Why BGP does not work, for people; None where it does or is not wanted."""
        if not self.wanted or self._engine.state is EngineState.READY:
            return None
        return f"{NO_ENGINE}: {self._engine.state}"

    @property
    def stale(self) -> bool:
        """Whether something of the configuration is not in force, for BGP alone."""
        return self._refusal is not None

    def announced(self) -> Mapping[str, tuple[IPAddress, ...]]:
        """Return the IPs that this node announces, by service. From any thread."""
        plans = self._planner.plans
        return {name: plans[name].ips for name in tuple(self._told) if name in plans}

    def explain(self, service: str) -> list[dict[str, Any]]:
        """Return what this node announces of a service, and what each peer was really sent."""
        plan = self._planner.plans.get(service)
        if plan is None:
            return []
        states = self.sessions.states
        views = [
            SessionView(at, session, states.get(at))
            for at, session in sorted(self.sessions.peers.items())
        ]
        sent, routes = self._published.get(service, ()), self._planner.table.routes
        head = service_row(plan, self._engine.state, not self.typist.idle)
        return [head, *route_rows(plan, routes, views, sent)]

    def problems(self) -> list[Problem]:
        """Return what is wrong with services, peers, and what the engine is told, for BGP alone."""
        unguarded = self._unguarded()
        return [*([self._refusal] if self._refusal else []), *unguarded, *self._planner.problems()]

    def _unguarded(self) -> list[Problem]:
        why = self.fast_failover.unable
        if self._config is None or why is None:
            return []
        return [
            unguarded(session, self._settings.namespace, why)
            for session in self._config.sessions
            if not session.bfd and not session.graceful_restart
        ]

    def _tell_problems(self) -> None:
        """Tell of problems that are other ones than before."""
        found = tuple(self.problems())
        if found != self._told_problems:
            self._told_problems = found
            self.on_problems()
            self._hearer.note_problems(found)

    # ---- what comes in

    def take(self, snapshot: Snapshot, changed: frozenset[str] | None) -> None:
        """Take the state of now; `changed` names services that are touched, None may be all."""
        self._planner.take(snapshot, changed)
        self._snapshot = snapshot
        # Nothing is typed before all is planned: an engine that has outlived us keeps its routes.
        if self._planner.known:
            self._plan_soon()

    def _plan_soon(self) -> None:
        if self._planning is None or self._planning.done():
            self._planning = asyncio.create_task(self._plan())

    def look(self) -> None:
        """See who is gone now: whenever the speaker has done something."""
        try:
            self.fast_failover.look()
        except Exception as error:
            survive(Part.BGP, error)

    def _handle_med(self, med: Med) -> None:
        table = self._planner.table
        table.set_med(med)
        if table.pending or self._config is not None:
            # Whether a peer has to have BFD depends on it, too.
            self._plan_soon()

    def _take_config(self, config: BgpConfig) -> None:
        self._config = config
        self.sessions.set_peers(config.sessions)
        self.fast_failover.take(config)
        self.typist.want(wanted_of(config, self._settings.router_id))
        self._folder.want(bool(config.sessions))
        self._outages.look()

    async def _plan(self) -> None:
        try:
            await self._plan_all()
        except Exception as error:
            survive(Part.BGP, error)

    async def _plan_all(self) -> None:
        """Plan in bites, and have typed what came of it, in bites too."""
        planned = set[str]()
        while not self._left:
            planned |= await self._plan_waiting()
            config = self._snapshot.bgp
            if config is not None and config != self._config:
                self._take_config(config)
            if self._shut_out() != self._draining:
                await self._drain(not self._draining)
            elif self._tell_bite():
                await asyncio.sleep(0)
            elif not self._planner.pending:
                break
        self._tell_services(planned)
        self._tell_problems()
        if self.wanted and not self._left:
            self._start()

    async def _plan_waiting(self) -> set[str]:
        planned = set[str]()
        while self._planner.pending:
            planned.update(self._planner.advance())
            await asyncio.sleep(0)
        return planned

    def _shut_out(self) -> bool:
        """Tell whether people want this node to announce nothing."""
        options = self._settings.options
        own = self._snapshot.nodes.get(options.own_node)
        return own is not None and shut_out(own, options) is not None

    async def _drain(self, draining: bool) -> None:
        """Have routers prefer others before the routes go, and no more when they are to be back."""
        self._draining = draining
        self.typist.drain(draining)
        if draining and self._told and self._engine.state is EngineState.READY:
            self._log.info("bgp_drain")
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_WITHIN):
                    await self.typist.finish()
                    await asyncio.sleep(ARRIVES)

    def _tell_bite(self) -> bool:
        """Have a bite of what has changed typed; return whether there is more."""
        if self._left:
            # Whatever comes now, nothing is announced again.
            return False
        table = self._planner.table
        changes = table.changes(BITE)
        if changes:
            self.typist.route(changes)
        self._tell_services(table.services_on(changes))
        return table.pending

    def _tell_services(self, names: Iterable[str]) -> None:
        """Tell of services that other peers than before are to hear of."""
        for name in () if self._left else sorted(names):
            peers = self._planner.table.peers_of(name)
            if peers != self._told.get(name, ()):
                self._tell_service(name, peers)

    def _tell_service(self, name: str, peers: tuple[str, ...]) -> None:
        if peers:
            self._told[name] = peers
            self._log.info("announce", service=name, protocol="bgp", peers=list(peers))
        else:
            del self._told[name]
            plan = self._planner.plans.get(name)
            why = plan.withheld if plan is not None else Withheld.SERVICE_DELETED
            self._log.info("withdraw", service=name, protocol="bgp", reason=why)
        self._publish(name, self.sessions.names_up())

    # ---- the engine

    def _start(self) -> None:
        if not self._running:
            self._running = True
            self.typist.start()
            self._engine.start()

    def _handle_ready(self) -> None:
        self.sessions.forget()
        self.typist.begin()

    def _handle_state(self, state: EngineState) -> None:
        if state is not EngineState.READY:
            self.sessions.forget()
        level = self._log.info if state is EngineState.READY else self._log.warning
        level("bgp_engine", state=state)
        self._outages.look()

    def _handle_extras(self, refused: RefusedExtra | None) -> None:
        self._refusal = refusal(refused, self._settings.namespace) if refused else None
        self._tell_problems()

    def _handle_sessions(self, up: frozenset[Neighbor]) -> None:
        self.typist.watch(up)
        names = self.sessions.names_up()
        for service in self._told:
            self._publish(service, names)

    def _publish(self, name: str, up: frozenset[str]) -> None:
        """Tell which peers hear of a service: who is not `up` was not sent it."""
        peers = tuple(peer for peer in self._told.get(name, ()) if peer in up)
        if peers != self._published.get(name, ()):
            self._published[name] = peers
            self._hearer.note_routes(name, peers)
        if not peers:
            self._published.pop(name, None)

    # ---- the end

    async def leave(self) -> None:
        """Have routers prefer others, then take the routes back, and give both time to arrive.

        An UPDATE leaves the engine up to 50 ms late, and a router needs a moment for its own table
        (RFC 8326): whoever stops before that loses what is on its way.
        """
        self._left = True
        ready = self._engine.state is EngineState.READY
        if not (self.wanted and ready and await self._ends()):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN):
                self.typist.drain(True)
                await self.typist.finish()
                await asyncio.sleep(ARRIVES)
                self.typist.route(dict.fromkeys(self._planner.table.routes))
                await self.typist.finish()
                await asyncio.sleep(ARRIVES)
        self._folder.tell_drained()

    async def _ends(self) -> bool:
        for _ in range(LOOKS):
            if self._hearer.ending:
                return True
            await asyncio.sleep(LOOK)
        return self._hearer.ending

    async def bid_farewell(self) -> None:
        """Close all sessions now: a NOTIFICATION leaves at once, where an UPDATE waits 50 ms."""
        self._left = True
        if self.wanted and self._engine.state is EngineState.READY:
            self.typist.bid_farewell(FAREWELL)
            await self.typist.finish()
            self._folder.tell_drained()

    async def close(self) -> None:
        """End the door and leave the engine as it is: its sessions go on without us."""
        if self._planning is not None:
            self._planning.cancel()
        self.fast_failover.close()
        self._outages.close()
        self.typist.close()
        if self._running:
            await self._engine.close()


def wanted_of(config: BgpConfig, router_id: IPv4Address | None) -> Wanted:
    """Return what the engine is to have. Without a session it has nothing that people add."""
    added = config.extras if config.sessions else ""
    return Wanted(config.sessions, config.profiles, router_id, added)


def refusal(refused: RefusedExtra, namespace: str) -> Problem:
    """Say which line of the ConfigMap the engine does not take; none shows, as of a password."""
    text = f"line {refused.number}: {refused.why}; none of what is new is in force"
    title = f"ConfigMap {namespace}/{NAME}"
    return Problem(Severity.ERROR, "", 0, title, f"data.{KEY}", text)


def unguarded(session: Session, namespace: str, why: Unable) -> Problem:
    """Say what a peer without BFD costs where the MED does not tell of a dead node either.

    Of one with graceful restart that is said already.
    """
    hold = DEFAULT_HOLD if session.hold is None else session.hold
    lasts = f"for the hold time, {hold} s" if hold else "for ever, as there is no hold time"
    text = (
        f"without a bfdProfile, and without fast failover ({why}), the router sends to this node "
        f"when it is dead, {lasts}"
    )
    title = f"BGPPeer {namespace}/{session.peer}"
    return Problem(Severity.WARNING, "", 0, title, "spec.bfdProfile", text)
