"""When daemons start and end: all together. Pure.

A daemon that dies takes the others along, bgpd first, and then all start anew. A bfdd or a zebra
that is restarted alone makes routers believe that BFD has failed: their routes go for seconds,
though the node forwards. bgpd's end closes the sessions, and then BFD has nothing more to say.

    IDLE ------ wanted ------> STARTING -- all sockets there --> RUNNING
      ^                           |                                 |
      |                           +--- one dies, or is late --+-----+ not wanted, told to end
      |                                                       v
      +--- not wanted ---------------------------------- STOPPING --- told to end ---> ENDED
      |                                                       |
      +------------- not wanted ------------- RESTING <-------+ one had died
                                                 +---- after a while: STARTING
"""

from collections.abc import Iterable
from enum import StrEnum, auto
from typing import NamedTuple

from engine.daemons import Crew

OPENS_WITHIN = 10.0
"""Seconds that a stage may take from its start to its sockets. 0.3 are usual."""
ENDS_WITHIN = 2.0
"""Seconds from the polite signal to the one that nobody refuses. 0.05 are usual."""
STEADY_AFTER = 60.0
"""Who has run for so many seconds does not fall again and again."""
LONGEST_REST = 30.0


class Phase(StrEnum):
    """What goes on. One for the engine, as its daemons have no lives of their own."""

    IDLE = auto()
    STARTING = auto()
    RUNNING = auto()
    STOPPING = auto()
    RESTING = auto()
    ENDED = auto()


class Start(NamedTuple):
    """Start this daemon."""

    daemon: str


class End(NamedTuple):
    """Have this daemon end; `now`: by the signal that nobody refuses."""

    daemon: str
    now: bool = False


Order = Start | End


class Rule:
    """Told of what is wanted and what happened; says whom to start and to end."""

    def __init__(self, crew: Crew) -> None:
        self.phase = Phase.IDLE
        self._crew = crew
        self._wanted = self._told_to_end = False
        self._alive: set[str] = set()
        self._open: set[str] = set()
        self._stage = 0
        self._due: float | None = None
        self._since = 0.0
        self._falls = 0
        self._orders: list[Order] = []

    @property
    def awaited(self) -> frozenset[str]:
        """Return the daemons that are started and have no socket yet."""
        return frozenset(self._alive - self._open) if self.phase is Phase.STARTING else frozenset()

    def handle_wanted(self, wanted: bool, now: float) -> None:
        """Take in whether the speaker wants an engine."""
        self._wanted = wanted
        self._follow(now)

    def handle_open(self, daemon: str, now: float) -> None:
        """Take in that a daemon's socket is there."""
        if self.phase is Phase.STARTING and daemon in self._alive:
            self._open.add(daemon)
            self._follow(now)

    def handle_exit(self, daemon: str, now: float) -> None:
        """Take in that a daemon has ended, or could not be started."""
        self._alive.discard(daemon)
        if self.phase in (Phase.STARTING, Phase.RUNNING):
            self._fall(now)
        self._follow(now)

    def handle_end(self, now: float) -> None:
        """Take in that all of it is to end, for good."""
        self._told_to_end = True
        self._follow(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due. Harmless if called early."""
        if self._due is None or now < self._due:
            return
        self._due = None
        match self.phase:
            case Phase.STARTING:
                self._fall(now)
            case Phase.STOPPING:
                self._end(self._crew.endings[self._stage], now, at_once=True)
            case Phase.RESTING:
                self.phase = Phase.IDLE
        self._follow(now)

    def deadline(self) -> float | None:
        """Return when `handle_timeout` wants to be called next."""
        return self._due

    def orders(self) -> list[Order]:
        """Return what is to be done, in this order; each is told once."""
        orders, self._orders = self._orders, []
        return orders

    @property
    def _up(self) -> bool:
        return self._wanted and not self._told_to_end

    def _follow(self, now: float) -> None:
        """Go on as far as one can without waiting."""
        before = None
        while before != (self.phase, self._stage):
            before = self.phase, self._stage
            self._step(now)

    def _step(self, now: float) -> None:
        match self.phase:
            case Phase.IDLE if self._told_to_end:
                self.phase = Phase.ENDED
            case Phase.IDLE if self._up:
                self._begin_stage(0, now)
            case Phase.STARTING | Phase.RUNNING if not self._up:
                self._falls = 0
                self._stop(now)
            case Phase.STARTING if self._open.issuperset(self._crew.stages[self._stage]):
                self._begin_stage(self._stage + 1, now)
            case Phase.STOPPING if self._alive.isdisjoint(self._crew.endings[self._stage]):
                self._stopped(now)
            case Phase.RESTING if not self._up:
                self.phase, self._due = Phase.IDLE, None

    def _begin_stage(self, stage: int, now: float) -> None:
        if stage == len(self._crew.stages):
            self.phase, self._due, self._since = Phase.RUNNING, None, now
            return
        if stage == 0:
            self._open.clear()
        self.phase, self._stage, self._due = Phase.STARTING, stage, now + OPENS_WITHIN
        for name in self._crew.stages[stage]:
            self._alive.add(name)
            self._orders.append(Start(name))

    def _fall(self, now: float) -> None:
        if self.phase is Phase.RUNNING and now - self._since >= STEADY_AFTER:
            self._falls = 0
        self._falls += 1
        self._stop(now)

    def _stop(self, now: float) -> None:
        self.phase, self._stage = Phase.STOPPING, 0
        self._end(self._crew.endings[0], now)

    def _end(self, names: Iterable[str], now: float, at_once: bool = False) -> None:
        self._due = now + ENDS_WITHIN
        self._orders += [End(name, at_once) for name in names if name in self._alive]

    def _stopped(self, now: float) -> None:
        if self._stage + 1 < len(self._crew.endings):
            self._stage += 1
            self._end(self._crew.endings[self._stage], now)
        elif self._falls and self._up:
            self.phase, self._due = Phase.RESTING, now + self._rest()
        else:
            self.phase, self._due = Phase.IDLE, None

    def _rest(self) -> float:
        """Nothing the first time, as routers wait; then ever longer, as it will fall again."""
        return float(min(LONGEST_REST, 2 ** (self._falls - 2))) if self._falls > 1 else 0.0
