"""HTTP: /metrics, /healthz and /readyz, served from a thread of its own.

Rendering metrics takes milliseconds that the event loop must not lose, and a loop that hangs
must still be told apart from one that is well.
"""

import sys
import time
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from speaker.exposition import render

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

OnError = Callable[[BaseException], None]

LONGEST_CLOSE = 0.4
"""Seconds that closing may take; the thread looks as often whether it is to end."""
LONGEST_SILENCE = 5.0
"""Seconds without a turn of the loop after which the speaker counts as hung."""


class Health:
    """What the probes ask. The daemon writes it, the HTTP thread reads it."""

    def __init__(self) -> None:
        self.not_ready: str | None = "starting"
        """Why the speaker is not ready; None when it is."""
        self.remark: str | None = None
        """What one should know of a speaker that is ready."""
        self.waiting_for: Callable[[], str | None] = lambda: None
        """What exactly it waits for, asked by the probe: it may change while the loop rests."""
        self.trouble: Callable[[], str | None] = lambda: None
        """What does not work although the loop turns."""
        self._turned = time.monotonic()

    def turned(self) -> None:
        """The loop made a turn."""
        self._turned = time.monotonic()

    def unready(self) -> str | None:
        """Return why the speaker is not ready, as exactly as is known now."""
        why = self.not_ready
        if why is None:
            return self.trouble()
        waiting = self.waiting_for()
        return f"{why}: {waiting}" if waiting else why

    def hung(self) -> str | None:
        """Return how long the loop has not turned, where that is too long."""
        silence = time.monotonic() - self._turned
        return f"the loop has not turned for {silence:.1f} s" if silence > LONGEST_SILENCE else None


def _nobody(error: BaseException) -> None:
    """Take an error that nobody wants to hear of."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 16
    on_error: OnError = staticmethod(_nobody)

    def server_bind(self) -> None:
        """Bind without asking DNS for our own name, which may hold the start up for 10 s."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of our own faults only: a client that goes away is none."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.on_error(error)


class _Handler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Keep requests out of the log."""


class HttpServer:
    """Serves on (host, port) until closed; OSError from the constructor names the address."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        health: Health,
        on_error: OnError = _nobody,
    ) -> None:
        """`on_error` is called in a thread, with whatever failed here."""
        routes: dict[str, Callable[[], str | None]] = {
            "/healthz": health.hung,
            "/readyz": lambda: health.hung() or health.unready(),
        }

        def app(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
            path = environ.get("PATH_INFO", "")
            if path == "/metrics":
                try:
                    body = b"".join(render(registry))
                except Exception as error:
                    on_error(error)
                    return _text(start, "500 Internal Server Error", "see the log")
                start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
                return [body]
            if path not in routes:
                return _text(start, "404 Not Found", "not found")
            problem = routes[path]()
            if problem:
                return _text(start, "503 Service Unavailable", problem)
            remark = health.remark if path == "/readyz" else None
            return _text(start, "200 OK", f"ok; {remark}" if remark else "ok")

        try:
            self._server = make_server(host, port, app, _Server, _Handler)
        except OSError as error:
            raise OSError(error.errno, f"HTTP address {host}:{port}: {error.strerror}") from None
        self._server.on_error = self._on_error = on_error
        self._closing = False
        self._thread = Thread(target=self._serve, name="http", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing:
            try:
                self._server.serve_forever(poll_interval=LONGEST_CLOSE)
            except Exception as error:
                # Probes would restart us for want of an answer, and nothing else is wrong.
                self._on_error(error)
                time.sleep(LONGEST_CLOSE)

    def close(self) -> None:
        """Stop serving."""
        self._closing = True
        self._server.shutdown()
        self._server.server_close()


def _text(start: "StartResponse", status: str, body: str) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [body.encode() + b"\n"]
