"""The states of the engine as the speaker sees it, and all ways from one to the next. Pure."""

from collections.abc import Iterator, Mapping
from enum import StrEnum, auto

FIRST_DELAY = 0.1
LONGEST_DELAY = 1.0
"""Seconds between two tries: an engine is back within five, and has to be told everything then."""


class EngineState(StrEnum):
    """What there is of the engine."""

    ABSENT = auto()
    """Nobody listens, or not all of its daemons."""
    CONNECTING = auto()
    """All listen; they have not answered yet."""
    READY = auto()
    """All answer."""
    HUNG = auto()
    """One that listens did not answer in time, or not as it should."""
    CLOSED = auto()
    """Nobody asks any more."""


class EngineEvent(StrEnum):
    """What happens to the door."""

    ACCEPTED = auto()
    """All daemons took a connection."""
    ANSWERED = auto()
    """All daemons answered on it."""
    GONE = auto()
    """A daemon takes no connection, or has closed the one there was."""
    LATE = auto()
    """A daemon did not answer in time."""
    GARBLED = auto()
    """A daemon answered what is no answer, or too long."""
    CLOSE = auto()
    """The speaker ends."""


_ANY = {
    EngineEvent.GONE: EngineState.ABSENT,
    EngineEvent.LATE: EngineState.HUNG,
    EngineEvent.GARBLED: EngineState.HUNG,
    EngineEvent.ANSWERED: EngineState.READY,
    EngineEvent.CLOSE: EngineState.CLOSED,
}
TABLE: Mapping[EngineState, Mapping[EngineEvent, EngineState]] = {
    EngineState.ABSENT: {**_ANY, EngineEvent.ACCEPTED: EngineState.CONNECTING},
    EngineState.CONNECTING: {**_ANY, EngineEvent.ACCEPTED: EngineState.CONNECTING},
    EngineState.READY: {**_ANY, EngineEvent.ACCEPTED: EngineState.CONNECTING},
    # The kernel takes connections for a daemon that stands still: only an answer ends this.
    EngineState.HUNG: {**_ANY, EngineEvent.ACCEPTED: EngineState.HUNG},
    EngineState.CLOSED: dict.fromkeys(EngineEvent, EngineState.CLOSED),
}


def delays() -> Iterator[float]:
    """Yield the seconds to wait before each further try in a row."""
    delay = FIRST_DELAY
    while True:
        yield delay
        delay = min(2 * delay, LONGEST_DELAY)
