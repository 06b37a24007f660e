"""Drives the MED step: looks who is gone after each turn of the speaker, and sets a timer."""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from structlog.typing import FilteringBoundLogger as Log

from bgp.med_step import Med, MedStep, prefers
from kube.bgp_config import BgpConfig
from speaker.upkeep import Part, survive


class SeesLives(Protocol):
    """Who is gone, and who is no Clarion; see `ownership.liveness.lives`."""

    def gone(self) -> frozenset[str]: ...  # noqa: D102

    def strangers(self) -> frozenset[str]: ...  # noqa: D102


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
        self._seen: tuple[frozenset[str], bool] = frozenset(), False
        self._preferred = False
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
        self._preferred = prefers(config)
        if config.sessions:
            self._say()

    def look(self) -> None:
        """See who is gone now; without news that costs two comparisons."""
        if self._lives is None:
            return
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
