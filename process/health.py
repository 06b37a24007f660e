"""The pages: /metrics, /healthz, /readyz and the one for people, served from threads of their own.

Rendering metrics takes milliseconds that the event loop must not lose, and a loop that hangs
must still be told apart from one that is well.
"""

import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from ssl import SSLContext

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from structlog.typing import FilteringBoundLogger as Log

from process.exposition import render
from process.http_request import HttpRefusal, HttpRequest, Page, text
from process.http_server import HttpSite, OnError, Refusals, Server, listen
from process.logs import Sparing
from process.page.look import PATH, LookPage

LONGEST_SILENCE = 5.0
"""Seconds without a turn of the loop after which the process counts as hung."""


class Health:
    """What the probes ask. Its loop writes it, the HTTP thread reads it."""

    def __init__(self) -> None:
        self.not_ready: str | None = "starting"
        """Why the process is not ready; None when it is."""
        self.remark: str | None = None
        """What one should know of a process that is ready."""
        self.beside: Callable[[], str | None] = lambda: None
        """What does not work beside that and costs readiness nothing, asked by the probe."""
        self.waiting_for: Callable[[], str | None] = lambda: None
        """What exactly it waits for, asked by the probe: it may change while the loop rests."""
        self.trouble: Callable[[], str | None] = lambda: None
        """What does not work although the loop turns."""
        self.refused = Refusals()
        """What the servers did not answer."""
        self._turned = time.monotonic()

    def tell(self, log: Log) -> None:
        """Log why requests are refused: each reason once a minute, and nobody who hangs up."""
        sparing = Sparing()

        def refused(reason: HttpRefusal) -> None:
            if reason is HttpRefusal.GONE:
                return
            left_out = sparing.ask(reason)
            if left_out is not None:
                log.warning("http_refused", reason=reason, more=left_out)

        self.refused.listener = refused

    def turned(self) -> None:
        """The loop made a turn."""
        self._turned = time.monotonic()

    def unready(self) -> str | None:
        """Return why the process is not ready, as exactly as is known now."""
        why = self.not_ready
        if why is None:
            return self.trouble()
        waiting = self.waiting_for()
        return f"{why}: {waiting}" if waiting else why

    def remarks(self) -> str | None:
        """Return what one should know of a process that is ready, as of now."""
        return "; ".join(filter(None, (self.remark, self.beside()))) or None

    def hung(self) -> str | None:
        """Return how long the loop has not turned, where that is too long."""
        silence = time.monotonic() - self._turned
        return f"the loop has not turned for {silence:.1f} s" if silence > LONGEST_SILENCE else None


def _nobody(error: BaseException) -> None:
    """Take an error that nobody wants to hear of."""


class HttpServer:
    """Serves on (host, port) until closed; OSError from the constructor names the address."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        health: Health,
        on_error: OnError = _nobody,
        context: Callable[[], SSLContext] | None = None,
        look: LookPage | None = None,
    ) -> None:
        """`on_error` is called in a thread, with whatever failed here; `context`: TLS, or none;
        `look`: the page for people, or none."""
        self._registry = registry
        self._look = look
        self._health = health
        self._on_error = on_error
        listening = listen(host, port)
        self.port: int = listening.getsockname()[1]
        slow: dict[str, Callable[[], Page]] = {"/metrics": self._metrics}
        if look is not None:
            slow[PATH] = partial(self._made, look.page)
        self._slow = frozenset(slow)
        site = HttpSite(self._quick, slow, context)
        self._server = Server(listening, site, health.refused, on_error)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def _quick(self, request: HttpRequest) -> Page | None:
        health = self._health
        match request.path:
            case path if path in self._slow:
                return None
            case "/healthz":
                return _probe(health.hung(), None)
            case "/readyz":
                return _probe(health.hung() or health.unready(), health.remarks())
        found = None if self._look is None else self._look.file(request.path)
        return found or text(HTTPStatus.NOT_FOUND, "not found")

    def _metrics(self) -> Page:
        return self._made(
            lambda: Page(HTTPStatus.OK, b"".join(render(self._registry)), CONTENT_TYPE_LATEST)
        )

    def _made(self, make: Callable[[], Page]) -> Page:
        try:
            return make()
        except Exception as error:
            self._on_error(error)
            return text(HTTPStatus.INTERNAL_SERVER_ERROR, "see the log")


def _probe(problem: str | None, remark: str | None) -> Page:
    if problem:
        return text(HTTPStatus.SERVICE_UNAVAILABLE, problem)
    return text(HTTPStatus.OK, f"ok; {remark}" if remark else "ok")
