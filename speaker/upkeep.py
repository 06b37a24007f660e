"""Keeps this process whole: nothing that runs in it ends or fails without a word.

A part that the speaker cannot do without is fatal when it ends: one line says which and why, what
we own is handed over, and whoever started us starts us again. A helper is begun again, later each
time. A callback that raises is survived: counted, and logged. What must come again (a timer, a
turn) is called again by whoever owns it; where it goes on failing, that is fatal as well.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from enum import StrEnum
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from process import survival
from process.logs import Sparing
from process.survival import survive as survive

RETRY = 0.2
"""Seconds until a callback that failed, and must come again, is called again."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds until a helper that ended is begun again, doubled each time."""
FAILING_FOR = 5.0
"""Seconds after which an essential part that goes on failing is given up."""
QUIET = 10 * RETRY
"""Seconds without a failure after which a part counts as well again."""
LONGEST_TEXT = 300

OnFatal = Callable[[str, BaseException | None], None]


class Part(StrEnum):
    """What may fail by itself: a label of a metric, so none is made at run time."""

    TURN = "turn"
    """Bringing announcements in line."""
    TIMER = "timer"
    """The heartbeat of contact, and announcements that are due."""
    FAILOVER = "failover"
    """The timer of watches, verdicts and takeovers."""
    SOURCE = "source"
    PLANNING = "planning"
    SERVICE = "service"
    """Announcing or withdrawing one service."""
    LINKS = "links"
    """News of links, addresses and routes."""
    FRAMES = "frames"
    """One frame of a link."""
    ECHOES = "echoes"
    GOSSIP = "gossip"
    """A datagram, a stream or an event of gossip."""
    SEEDS = "seeds"
    SECRET = "secret"  # noqa: S105 - the name of a part
    DEBUG = "debug"
    """The local socket, and what is answered on it."""
    API = "api"
    """What is written to the API server."""
    BGP = "bgp"
    """What is typed into the engine, and what it says."""
    HTTP = "http"
    LATER = survival.LATER
    """Log lines and observations that were put off."""
    LOOP = survival.LOOP
    """Anything else that a loop calls."""
    THREAD = "thread"


_ESSENTIAL = frozenset((Part.TURN, Part.TIMER, Part.FAILOVER))
"""What strangers cannot make fail, and without which IPs are not taken over."""


class Upkeep:
    """Is told what ended or raised, by loops and threads; `survived` counts what did no harm."""

    def __init__(
        self, on_fatal: OnFatal, log: Log, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`on_fatal` gets one line and the error; it is called in the loop that `listen` got."""
        self.survived: Counter[Part] = Counter()
        self._on_fatal = on_fatal
        self._log = log
        self._clock = clock
        self._sparing = Sparing(clock)
        self._lock = threading.Lock()
        self._failing: dict[Part, tuple[float, float]] = {}
        """When a part began to fail, and when it failed last."""
        self._closing = False

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear of what callbacks and forgotten tasks of this loop raise."""
        loop.set_exception_handler(self._handle_context)

    def close(self) -> None:
        """From now on what ends was meant to."""
        self._closing = True

    def note(self, part: Part, error: BaseException | None, **about: Any) -> None:
        """Count what a part has survived, and log it: the same once a minute. From any thread."""
        with self._lock:
            self.survived[part] += 1
        text = describe(error)
        left_out = self._sparing.ask((part, text, about.get("message")))
        if left_out is not None:
            self._log.error(
                "survived", part=part, error=text, more=left_out, exc_info=error, **about
            )

    def fail(self, part: Part, error: BaseException | None) -> None:
        """Give up: the part has ended, or will not work any more."""
        if not self._closing:
            self._on_fatal(f"{part}: {describe(error)}", error)

    def keep(self, part: Part, make: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Run a helper, and again when it ends, until the task is cancelled."""
        return asyncio.create_task(self._keep(part, make))

    async def _keep(self, part: Part, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        pause = FIRST_PAUSE
        while True:
            began = self._clock()
            error: Exception | None = None
            try:
                await make()
            except Exception as raised:
                error = raised
            self.note(part, error, message="begun again")
            if self._clock() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _handle_context(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Take what asyncio, or `survive`, has to tell."""
        part = Part(context.get("part", Part.LOOP))
        about = {key: context[key] for key in ("message", "service") if key in context}
        error = context.get("exception")
        self.note(part, error, **about)
        if part in _ESSENTIAL and self._goes_on(part):
            self.fail(part, error)

    def _goes_on(self, part: Part) -> bool:
        now = self._clock()
        since, last = self._failing.get(part, (now, now))
        if now - last > QUIET:
            since = now
        self._failing[part] = since, now
        return now - since >= FAILING_FOR

    def handle_thread_error(self, arguments: threading.ExceptHookArgs) -> None:
        """Take what ended a thread: for `threading.excepthook`."""
        self.note(Part.THREAD, arguments.exc_value)


class Retries:
    """Calls that have failed and are made again, later; at most one waits for each key."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.TimerHandle] = {}

    def later(self, key: str, after: float, call: Callable[..., object], *about: Any) -> None:
        """Call again in so many seconds; a call that waits under this key gives way."""
        self.drop(key)
        loop = asyncio.get_running_loop()
        self._waiting[key] = loop.call_later(after, self._call, key, call, about)

    def drop(self, key: str) -> None:
        """It is well again, or newer news have come."""
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            waiting.cancel()

    def _call(self, key: str, call: Callable[..., object], about: tuple[Any, ...]) -> None:
        self._waiting.pop(key, None)
        call(*about)


def describe(error: BaseException | None) -> str:
    """Name the error in one line."""
    if error is None:
        return "ended"
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())[:LONGEST_TEXT]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
