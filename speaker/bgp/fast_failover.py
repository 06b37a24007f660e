"""Drives the MED step: looks who is gone whenever the speaker did something, and sets a timer."""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from structlog.typing import FilteringBoundLogger as Log

from bgp.med_step import Med, MedStep, prefers
from kube.bgp_config import BgpConfig
from speaker.upkeep import Part, survive

MOST_NAMED = 16
"""How many of those that are gone a line of the log names."""


class SeesLives(Protocol):
    """Who is gone, and who is no Clarion; see `ownership.liveness.lives`."""

    def gone(self) -> frozenset[str]: ...  # noqa: D102

    def strangers(self) -> frozenset[str]: ...  # noqa: D102

    def ask_over_routers(self, wanted: bool, now: float) -> None: ...  # noqa: D102


class Unable(StrEnum):
    """Why the MED of a dead node's route does not matter to routers, or may not."""

    SWITCHED_OFF = "it is switched off"
    NO_GOSSIP = "there is no gossip, so nobody says that a node is gone"
    STRANGERS = "members are no Clarions, or were lately: they announce MED 0"
    LOCAL_PREFERENCE = "a localPref goes to a peer in our own AS: it counts before the MED"


class FastFailover:
    """`look` after each turn; `on_med` is told of another MED, at the start too."""

    def __init__(
        self,
        lives: SeesLives | None,
        on_med: Callable[[Med], None],
        clock: Callable[[], float],
        log: Log,
        never: Unable = Unable.SWITCHED_OFF,
    ) -> None:
        """`lives` is None where there never is a step, for the reason `never`."""
        self._lives, self._on_med, self._clock, self._log = lives, on_med, clock, log
        self._never = never
        self._step = MedStep()
        self._told = self._step.med
        self._seen: tuple[frozenset[str], bool] = frozenset(), False
        self._preferred = self._has_sessions = False
        self._far = False
        """Whether nodes of other subnets are watched."""
        self._said: tuple[Unable | None, ...] = ()
        """What was said last, if anything."""
        self._timer: asyncio.TimerHandle | None = None
        if lives is not None:
            on_med(self._step.med)

    @property
    def unable(self) -> Unable | None:
        """Why no router is known to follow a step; None where it is on."""
        if self._lives is None:
            return self._never
        if self._step.med is Med.MIXED:
            return Unable.STRANGERS
        return Unable.LOCAL_PREFERENCE if self._preferred else None

    @property
    def med(self) -> Med:
        """What is announced."""
        return self._step.med if self._lives is not None else Med.MIXED

    @property
    def steps(self) -> int:
        """How often the MED fell because a node was gone."""
        return self._step.steps

    def take(self, config: BgpConfig) -> None:
        """Take another configuration."""
        self._step.set_sessions(config.sessions)
        self._preferred, self._has_sessions = prefers(config), bool(config.sessions)
        if config.sessions:
            self._say()

    def look(self) -> None:
        """See who is gone now; without news that costs two comparisons. Nodes of other subnets are
        watched where a step can come of it."""
        if self._lives is None:
            return
        far = self._has_sessions and self._step.med is not Med.MIXED
        if far != self._far:
            self._far = far
            self._lives.ask_over_routers(far, self._clock())
        seen = self._lives.gone(), bool(self._lives.strangers())
        if seen != self._seen:
            self._seen = seen
            self._step.handle_lives(*seen, self._clock())
            self._follow()

    def close(self) -> None:
        """Step no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _follow(self) -> None:
        if self._step.med is not self._told:
            self._told = self._step.med
            gone = sorted(self._seen[0])[:MOST_NAMED]
            self._log.info("bgp_med", med=int(self._told), gone=gone)
        self._on_med(self._step.med)
        if self._said:
            self._say()
        self.close()
        at = self._step.deadline()
        if at < float("inf"):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, at - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        try:
            self._step.handle_timeout(self._clock())
            self._follow()
        except Exception as error:
            survive(Part.BGP, error)

    def _say(self) -> None:
        """Say once whether it is on, and again when that changes."""
        why = self.unable
        if self._said == (why,):
            return
        self._said = (why,)
        if why is None:
            self._log.info("bgp_fast_failover", state="on")
        else:
            level = self._log.info if why is Unable.SWITCHED_OFF else self._log.warning
            level("bgp_fast_failover", state="off", reason=why)
