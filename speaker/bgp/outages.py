"""Tells of an engine that does not answer: once it has lasted, as every start takes a moment."""

from collections.abc import Callable
from typing import Protocol

PATIENCE = 10.0
"""Seconds that an engine may take to start, or to start again, before the cluster hears of it."""

Tell = Callable[[str | None], None]


class Cancellable(Protocol):
    """A call that is due."""

    def cancel(self) -> None:
        """Take it back."""


Later = Callable[[float, Callable[[], None]], Cancellable]


class Outages:
    """`look` whenever the engine or what is wanted of it changes."""

    def __init__(self, trouble: Callable[[], str | None], tell: Tell, later: Later) -> None:
        """`trouble` says why BGP does not work; `tell` hears it, and None when it is over."""
        self._trouble, self._tell, self._later = trouble, tell, later
        self._timer: Cancellable | None = None
        self._told = False

    def look(self) -> None:
        """See whether there is trouble."""
        if self._trouble() is None:
            self.close()
            if self._told:
                self._told = False
                self._tell(None)
        elif self._timer is None and not self._told:
            self._timer = self._later(PATIENCE, self._handle_timer)

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _handle_timer(self) -> None:
        self._timer = None
        trouble = self._trouble()
        if trouble is not None:
            self._told = True
            self._tell(trouble)
