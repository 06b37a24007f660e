"""The HTTPS server that API servers call: many strangers, few places, and one body at a time each.

It accepts by itself, as asyncio's own server takes whoever comes: so each connection is counted
before its handshake, and begins with the certificate that is the latest then. What a body means is
decided by others, in the loop that this runs in: give it one of its own (`process.loop_thread`).
"""

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from controller.webhooks.metrics import Outcome, WebhookMetrics
from controller.webhooks.places import LONGEST_BODY, LONGEST_REST, Place, Places, Refused
from process.http_server import ROOM_PAUSE, listen

Answer = Callable[[bytes], bytes]
HANDSHAKE = 5.0
"""Seconds for the TLS handshake."""
SWEEP = 0.5
"""Seconds between two looks for who is late."""
LONGEST_REASON = 300
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_SILENT = logging.getLogger("clarion.webhook.http")
_SILENT.disabled = True
"""aiohttp would log what strangers send; it is counted here."""


class WebhookServer:
    """Answers POST by `answers`, by path; `unreadable` is what these raise for HTTP 400."""

    def __init__(
        self,
        answers: Mapping[str, Answer],
        unreadable: type[Exception],
        metrics: WebhookMetrics,
        on_error: Callable[[Exception], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_error` gets what is a fault of ours."""
        self.context: ssl.SSLContext | None = None
        """What new connections begin with: set it anew as the certificate changes."""
        self.port = 0
        self._answers, self._unreadable, self._metrics = answers, unreadable, metrics
        self._on_error, self._clock = on_error, clock
        self._places = Places()
        self._open: dict[Place, socket.socket] = {}
        self._guards: dict[RequestHandler, _Guard] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: web.Server | None = None

    async def run(self, host: str, port: int) -> None:
        """Serve until cancelled. OSError names the address."""
        loop = asyncio.get_running_loop()
        self._http = web.Server(
            self._handle,
            request_factory=_request,
            keepalive_timeout=LONGEST_REST + 60.0,
            access_log=None,
            logger=_SILENT,
            lingering_time=1.0,
            auto_decompress=False,
        )
        listening = listen(host, port)
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        sweeping = loop.create_task(self._sweep())
        try:
            while True:
                await self._accept(loop, listening)
        finally:
            sweeping.cancel()
            listening.close()
            await self._close()

    async def _close(self) -> None:
        assert self._http is not None  # noqa: S101 - `run` has made it
        await self._http.shutdown(1.0)
        for place in list(self._open):
            self._drop(place)
        for task in self._tasks:
            task.cancel()

    async def _accept(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        try:
            accepted, address = await loop.sock_accept(listening)
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._metrics.handle_refusal(Refused.NO_ROOM)
                await asyncio.sleep(ROOM_PAUSE)
            return
        if self.context is None:
            self._metrics.handle_refusal(Refused.NO_CERTIFICATE)
            accepted.close()
            return
        place, leaving = self._places.take(address[0], self._clock())
        for each in leaving:
            self.refuse(each, Refused.CROWDED)
        self._open[place] = accepted
        task = loop.create_task(self._shake(loop, place, accepted, self.context))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake(
        self,
        loop: asyncio.AbstractEventLoop,
        place: Place,
        accepted: socket.socket,
        context: ssl.SSLContext,
    ) -> None:
        try:
            await loop.connect_accepted_socket(
                lambda: _Guard(self, place),
                accepted,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE,
                ssl_shutdown_timeout=1.0,
            )
        except (OSError, asyncio.CancelledError) as error:
            if place in self._open:
                slow = isinstance(error, ConnectionAbortedError | TimeoutError)
                self.refuse(place, Refused.TOO_SLOW if slow else Refused.TLS)

    # ---- connections

    def begin(self, guard: "_Guard") -> RequestHandler:
        """The handshake is done: return who reads the requests."""
        assert self._http is not None  # noqa: S101 - `run` has made it
        inner = self._http()
        self._guards[inner] = guard
        return inner

    def end(self, guard: "_Guard") -> None:
        """The connection is closed."""
        self._guards.pop(guard.inner, None)
        self._places.leave(guard.place)
        self._open.pop(guard.place, None)

    def handle_bytes(self, place: Place, data: bytes) -> bool:
        """Count what came; return whether the connection may go on."""
        refused = self._places.handle_bytes(place, data, self._clock())
        if refused is not None:
            self.refuse(place, refused)
            return False
        for each in self._places.burdens():
            self.refuse(each, Refused.CROWDED)
        return place in self._open

    def refuse(self, place: Place, reason: Refused) -> None:
        """Close a connection at once."""
        self._metrics.handle_refusal(reason)
        self._drop(place)

    def _drop(self, place: Place) -> None:
        self._places.leave(place)
        opened = self._open.pop(place, None)
        if opened is not None:
            # Not closed: the loop has it. It sees the end, in a handshake too.
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            for place in self._places.late(self._clock()):
                if place.resting:
                    self._drop(place)
                else:
                    self.refuse(place, Refused.TOO_SLOW)

    # ---- requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        began = self._clock()
        guard = self._guards.get(request.protocol)
        outcome, response = await self._answer(request, guard)
        if outcome is not Outcome.ANSWERED:
            response.force_close()
        await response.prepare(request)
        await response.write_eof()
        now = self._clock()
        self._metrics.handle_request(request.path, outcome, now - began)
        if guard is not None and outcome is Outcome.ANSWERED:
            self._places.handle_answer(guard.place, now)
        return response

    async def _answer(
        self, request: web.BaseRequest, guard: "_Guard | None"
    ) -> tuple[Outcome, web.Response]:
        answer = self._answers.get(request.path)
        if answer is None:
            return Outcome.NOT_SERVED, web.Response(status=404)
        if request.method != "POST":
            return Outcome.METHOD, web.Response(status=405, headers={"Allow": "POST"})
        length = request.content_length
        if length is None:
            return Outcome.NO_LENGTH, web.Response(status=411)
        if length > LONGEST_BODY:
            return Outcome.TOO_LONG, web.Response(status=413)
        body = await request.read()
        outcome, response = self._decide(answer, body)
        if guard is None or not self._places.handle_whole(guard.place, length):
            response.force_close()
        return outcome, response

    def _decide(self, answer: Answer, body: bytes) -> tuple[Outcome, web.Response]:
        try:
            found = answer(body)
        except self._unreadable as error:
            text = " ".join(str(error).split())[:LONGEST_REASON]
            return Outcome.UNREADABLE, web.Response(status=400, text=text)
        except Exception as error:
            self._on_error(error)
            return Outcome.FAILED, web.Response(status=500, text="see the log")
        return Outcome.ANSWERED, web.Response(body=found, content_type="application/json")


class _Guard(asyncio.Protocol):
    """Stands before aiohttp's own protocol and counts what comes: it knows no slow senders."""

    def __init__(self, server: WebhookServer, place: Place) -> None:
        self._server, self.place = server, place
        self.inner = server.begin(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._server.handle_bytes(self.place, data):
            self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        self.inner.eof_received()
        return None

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, error: BaseException | None) -> None:
        self._server.end(self)
        self.inner.connection_lost(error)


def _request(
    message: Any, payload: Any, protocol: Any, writer: Any, task: "asyncio.Task[None]"
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=LONGEST_BODY + 1
    )
