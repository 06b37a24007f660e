"""Keeps the engine as it is wanted: everything when it gets ready, and then what changes.

One task types, one thing after the other, so that the lines of a change always meet an engine that
has what came before. Whatever was not typed for sure has everything compared anew.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from structlog.typing import FilteringBoundLogger as Log

from bgp import extras
from bgp.door.frr import Engine, LineStatus, Typed, TypingOutcome
from bgp.extras_trial import ExtrasTrial, RefusedExtra
from bgp.frr_config import EngineDaemon, FrrConfig, Wanted
from bgp.places import Neighbor
from bgp.tree import ConfigurationError
from bgp.words import LineError
from plan.offers import IPNetwork, Offers
from process.logs import Sparing
from speaker.upkeep import Part, survive

AGAIN = 10.0
"""Seconds until everything is compared again after a daemon refused a line."""
AT_ONCE = 64
"""Prefixes whose lines are made in the loop: a millisecond. More are made in a thread."""
RUNNING = "show running-config"
OnExtras = Callable[[RefusedExtra | None], None]
T = TypeVar("T")


@dataclass(slots=True)
class _News:
    """What is to be typed still."""

    wanted: Wanted | None = None
    routes: dict[IPNetwork, Offers | None] = field(default_factory=dict)
    established: set[Neighbor] = field(default_factory=set)
    draining: bool | None = None
    farewell: str | None = None


class Typist:
    """Takes what is wanted, whenever; `start` it, and `close` it at the end."""

    def __init__(self, engine: Engine, log: Log, clock: Callable[[], float]) -> None:
        self.refused_lines = 0
        self.typed_lines = 0
        self.comparisons = 0
        """How often everything was compared with what the engine has."""
        self._engine, self._log = engine, log
        self.on_extras: OnExtras = lambda refused: None
        """Is told of the line of `bgpextras` that the engine does not take; None: it takes all."""
        self._memory = engine.folder.memory()
        self._config = FrrConfig(memory=extras.from_bytes(self._memory))
        self._trial = ExtrasTrial()
        self._refused: RefusedExtra | None = None
        self._news = _News()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._all = False
        """Whether everything is to be compared."""
        self._anew = False
        """Whether the engine may be another one since then."""
        self._taken = False
        """Whether what was wanted last is what is typed."""
        self._sparing = Sparing(clock)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def refused_prefixes(self) -> int:
        """How many prefixes are not told, as there are too many different offers."""
        return self._config.refused_prefixes

    @property
    def idle(self) -> bool:
        """Whether all that is wanted was typed."""
        return self._idle.is_set()

    # ---- what is wanted

    def want(self, wanted: Wanted) -> None:
        """Take another configuration."""
        self._news.wanted = wanted
        self._stir()

    def route(self, changed: Mapping[IPNetwork, Offers | None]) -> None:
        """Take prefixes whose offers changed."""
        self._news.routes |= changed
        self._stir()

    def watch(self, established: Iterable[Neighbor]) -> None:
        """Have BFD look after sessions that came up."""
        self._news.established.update(established)
        self._stir()

    def drain(self, draining: bool) -> None:
        """Ask all peers to prefer others, or no more (RFC 8326)."""
        self._news.draining = draining
        self._stir()

    def bid_farewell(self, text: str) -> None:
        """Close all sessions at once, with a text for the routers' logs."""
        self._news.farewell = text
        self._stir()

    def begin(self) -> None:
        """Type everything: the engine got ready, and may be another one that knows nothing."""
        self._anew = True
        self.compare()

    def compare(self) -> None:
        """Compare everything, and type what differs."""
        self._all = True
        self._stir()

    # ---- its life

    def start(self) -> None:
        """Type from now on."""
        self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        """Type no more."""
        for ending in (self._task, self._timer):
            if ending is not None:
                ending.cancel()

    async def finish(self) -> None:
        """Wait until all that is wanted was typed; an engine that is not there has nothing."""
        await self._idle.wait()

    def _stir(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._turn()
            except Exception as error:
                survive(Part.BGP, error)
                self._all = True
                self._later()
            if not self._wake.is_set():
                self._idle.set()

    # ---- what changed

    async def _turn(self) -> None:
        news, self._news = self._news, _News()
        if self._anew:
            self._anew = False
            self._take_wanted(self._trial.handle_new_engine())
        if news.wanted is not None:
            self._take_wanted(self._trial.handle_wanted(news.wanted))
            self._tell_extras()
            self._all = True
        lines = await self._lines_of(news)
        if self._all:
            # What has changed is part of it.
            self._all = False
            await self._compare()
        elif lines:
            self._judge(await self._type(EngineDaemon.BGPD, lines))

    def _take_wanted(self, wanted: Wanted) -> None:
        self._taken = False
        try:
            self._config.handle_wanted(wanted)
        except (ConfigurationError, LineError) as error:
            self._say("bgp_configuration", error=str(error))
        else:
            self._taken = True

    async def _lines_of(self, news: _News) -> list[str]:
        config, lines = self._config, list[str]()
        if news.routes:
            lines += await self._aside(len(news.routes), lambda: config.handle_routes(news.routes))
        if news.established:
            lines += config.handle_established(frozenset(news.established))
        if news.draining is not None:
            lines += config.handle_draining(news.draining)
        if news.farewell is not None:
            lines += config.handle_farewell(news.farewell)
        return lines

    async def _aside(self, size: int, make: Callable[[], T]) -> T:
        """Make lines; in a thread where they are many. Nobody else has the configuration then."""
        return make() if size <= AT_ONCE else await asyncio.to_thread(make)

    # ---- everything

    async def _compare(self) -> None:
        self.comparisons += 1
        refused: list[tuple[str, str]] = []
        done = True
        for daemon in EngineDaemon:
            if daemon not in self._engine.daemons and daemon is not EngineDaemon.ZEBRA:
                continue
            running = await self._engine.show(daemon, RUNNING)
            if running is None:
                done = done and daemon is EngineDaemon.ZEBRA
                continue
            lines = await asyncio.to_thread(self._lines_for, daemon, running)
            if lines:
                typed = await self._type(daemon, lines)
                self._judge(typed)
                refused += _refusals(daemon, typed, lines)
                done = done and typed.outcome is TypingOutcome.TYPED
        if done and self._taken:
            self._judge_extras(refused)

    def _lines_for(self, daemon: EngineDaemon, running: str) -> list[str]:
        """Return what to type. What people add is written down first, should we end before that."""
        lines = self._config.lines(daemon, running)
        memory = extras.to_bytes(self._config.memory)
        if memory != self._memory:
            self._memory = memory
            self._engine.folder.remember(memory)
        return lines

    def _judge_extras(self, refused: list[tuple[str, str]]) -> None:
        """Go back to the lines that the engine took last, where it refused one of the new ones."""
        instead = self._trial.handle_refusals(refused)
        if instead is not None:
            self._take_wanted(instead)
            self.compare()
        self._tell_extras()

    def _tell_extras(self) -> None:
        if self._trial.refused != self._refused:
            self._refused = self._trial.refused
            self.on_extras(self._refused)

    async def _type(self, daemon: EngineDaemon, lines: list[str]) -> Typed:
        typed = await self._engine.type(daemon, lines)
        if typed.outcome is TypingOutcome.TYPED:
            self.typed_lines += len(lines)
        return typed

    def _judge(self, typed: Typed) -> None:
        """What was not typed is typed when the engine is ready; what was refused, again later."""
        if typed.outcome is TypingOutcome.BUSY:
            self._all = True
            self._later()
        if typed.refusals:
            self.refused_lines += typed.refusals
            first = typed.refused[0]
            self._say("bgp_refused", line=first.line, status=first.status)
            self._later()

    def _later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(AGAIN, self.compare)

    def _say(self, event: str, **about: str) -> None:
        more = self._sparing.ask(event)
        if more is not None:
            self._log.warning(event, **about, more=more)


_WHY = {LineStatus.UNKNOWN: "does not know it", LineStatus.REFUSED: "refuses it"}


def _refusals(daemon: EngineDaemon, typed: Typed, lines: list[str]) -> list[tuple[str, str]]:
    """Return the lines that the daemon did not take, and what to say of them."""
    return [
        (lines[each.index], f"{daemon} {_WHY.get(each.status, 'does not take it')}")
        for each in typed.refused
    ]
