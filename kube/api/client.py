"""HTTP to an API server: plain JSON bytes in and out, and one error type.

`kubernetes.aio` brings its configuration (in-cluster, kubeconfig) and nothing else: its models cost
more memory than the speaker has.
"""

import asyncio
import os
import socket
import ssl
import time
from asyncio import sslproto
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

import aiohttp
import msgspec
from aiohttp.abc import AbstractCookieJar
from structlog.typing import FilteringBoundLogger as Log

from kube.api.credentials import ConfigError as ConfigError
from kube.api.credentials import Credentials, library, line, plain
from kube.objects.reading import NOT_JSON

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one watch event; etcd holds objects of 1.5 MiB."""
MAX_BODY = 32 * 1024 * 1024
"""Bytes of a response that is not a watch: 5,000 services in one piece are 20 MiB, and a speaker
has 128 MiB for everything. What is longer is asked for in smaller pages.
"""
CONNECT_TIMEOUT = 10.0
"""Seconds for the connection, and then for the headers of a response."""
BODY_TIMEOUT = 30.0
"""Seconds between two pieces of a response that is not a watch."""
WHOLE_TIMEOUT = 120.0
"""Seconds for all of its pieces: the server itself gives up after 60. One that drips has no end."""
MAX_CONNECTIONS = 48
TLS_BUFFER = 32 * 1024
"""Bytes that asyncio sets aside for each TLS connection: 256 KiB by default, 12 MiB for all."""
MAX_ERROR = 65536
"""Bytes of the answer to a request that failed; a line of it is told."""
CLOSING_TURNS = 20
"""Turns of the loop after which every socket that was shut down has been closed, and more."""


class ApiError(Exception):
    """A request that failed. `status` is the HTTP status, 0 where there was no answer at all."""

    def __init__(self, status: int, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status} {reason}" if status else reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class TooLongError(ApiError):
    """The answer, or a line of it, is longer than what we hold."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(0, f"{what} longer than {limit} bytes")


class ApiClient:
    """A session with one API server. Credentials are read again as they change."""

    def __init__(
        self,
        kubeconfig: str = "",
        clock: Callable[[], float] = time.monotonic,
        log: Log | None = None,
        context: str | None = None,
    ) -> None:
        """`log`, if any, is told of credentials that cannot be used, and of what is read again.

        `context` is one of the kubeconfig; None: its current one.
        """
        self._credentials = Credentials(kubeconfig, clock, log, context)
        self._session: aiohttp.ClientSession | None = None
        self._sockets: WeakSet[socket.socket] = WeakSet()

    async def open(self) -> None:
        """Read the configuration. Raises `ConfigError`."""
        await self._credentials.open()
        sslproto.SSLProtocol.max_size = TLS_BUFFER
        connector = aiohttp.TCPConnector(
            limit=MAX_CONNECTIONS,
            ttl_dns_cache=30,
            keepalive_timeout=5.0,
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=_no_cookies(),
            # The server would compress, which costs more than it saves on a local network.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            max_line_size=65536,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            # A request that was given up has its TLS connection wait for the server's farewell.
            _shut_down(self._sockets)
            for _ in range(CLOSING_TURNS):
                if all(opened.fileno() < 0 for opened in self._sockets):
                    return
                await asyncio.sleep(0)

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> bytearray:
        """Return the body. Raises `ApiError`."""
        return await self._whole("GET", path, query or {}, None, "")

    async def date(self) -> str:
        """Return the server's time as its responses bear it (RFC 9110, 6.6.1). Raises `ApiError`.

        Any answer has it: /version may be read by everybody.
        """
        async with self._request("GET", "/version", {}, None, "") as response:
            return response.headers.get("Date", "")

    async def post(self, path: str, body: Any) -> bytes:
        """Create an object and return it as stored. Raises `ApiError`."""
        return bytes(await self._whole("POST", path, {}, body, "application/json"))

    async def merge(self, path: str, body: Any) -> bytes:
        """Merge into an object (RFC 7386) and return it as stored. Raises `ApiError`."""
        return bytes(await self._whole("PATCH", path, {}, body, "application/merge-patch+json"))

    async def delete(self, path: str) -> bytes:
        """Delete an object. Raises `ApiError`."""
        return bytes(await self._whole("DELETE", path, {}, None, ""))

    async def watch(
        self, path: str, query: Mapping[str, str], silence: float
    ) -> AsyncGenerator[list[bytes], None]:
        """Yield the lines of a response, those at a time that arrived together; first none at all.

        Ends where the server ends it, or after `silence` seconds without a byte. Raises `ApiError`.
        """
        async with self._request("GET", path, query, None, "") as response:
            lines = _Lines()
            yield []
            chunks = response.content.iter_any()
            while True:
                try:
                    async with asyncio.timeout(silence):
                        chunk = await anext(chunks)
                except (StopAsyncIteration, TimeoutError):
                    return
                yield lines.feed(chunk)

    async def _whole(
        self, method: str, path: str, query: Mapping[str, str], body: Any, kind: str
    ) -> bytearray:
        async with (
            self._request(method, path, query, body, kind) as response,
            asyncio.timeout(WHOLE_TIMEOUT),
        ):
            # One that grows: to join pieces is to hold them twice.
            found = bytearray()
            chunks = response.content.iter_any()
            while True:
                try:
                    async with asyncio.timeout(BODY_TIMEOUT):
                        found += await anext(chunks)
                except StopAsyncIteration:
                    return found
                if len(found) > MAX_BODY:
                    raise TooLongError("response", MAX_BODY)

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        made = _new_socket(info)
        self._sockets.add(made)
        if (here := _made_here.get()) is not None:
            here.append(made)
        return made

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, query: Mapping[str, str], body: Any, kind: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise ApiError(0, "not connected")
        await self._credentials.follow()
        headers = await self._headers(kind)
        made: list[socket.socket] = []
        _made_here.set(made)
        try:
            response = await self._begin(method, path, query, body, headers)
            async with response:
                if response.status >= 300:
                    raise await _error(response)
                try:
                    yield response
                finally:
                    _hang_up(response)
        except TimeoutError:
            # asyncio would leave a connection open whose TLS handshake was given up.
            _shut_down(made)
            raise ApiError(0, "no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if _is_of_tls(error):
                await self._credentials.handle_tls_error()
            raise ApiError(0, plain(error)) from None
        except ApiError as error:
            if error.status == 401:
                await self._credentials.handle_unauthorized()
            raise

    async def _begin(
        self, method: str, path: str, query: Mapping[str, str], body: Any, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        """Send the request and wait for the headers of the response."""
        assert self._session is not None  # noqa: S101 - the caller has looked
        async with asyncio.timeout(CONNECT_TIMEOUT):
            try:
                return await self._session.request(
                    method,
                    self._credentials.configuration.host + path,
                    params=dict(query),
                    data=None if body is None else msgspec.json.encode(body),
                    headers=headers,
                    ssl=self._credentials.tls,
                    server_hostname=self._credentials.configuration.tls_server_name or None,
                    timeout=aiohttp.ClientTimeout(total=None),
                    allow_redirects=False,
                )
            except AttributeError:
                # What aiohttp 3 raises where a connection is lost just as its response begins.
                raise ApiError(0, "connection lost") from None

    async def _headers(self, kind: str) -> dict[str, str]:
        headers = {"Content-Type": kind} if kind else {}
        try:
            token = await self._credentials.configuration.get_api_key_with_prefix("BearerToken")
        except Exception as error:
            raise ApiError(0, f"token: {plain(error)}") from None
        if token:
            headers["Authorization"] = token.strip()
        return headers


class _Lines:
    """Cuts a stream into lines, in time that grows with its length only."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        first, *rest = chunk.split(b"\n")
        self._begun += first
        if len(self._begun) > MAX_LINE:
            raise TooLongError("watch event", MAX_LINE)
        if not rest:
            return []
        lines = [bytes(self._begun), *rest[:-1]]
        self._begun = bytearray(rest[-1])
        return [line for line in lines if line]


def _is_of_tls(error: BaseException) -> bool:
    """Tell if a handshake failed, or what a server says after it of our certificate (TLS 1.3)."""
    kinds = (aiohttp.ClientSSLError, ssl.SSLError)
    return isinstance(error, kinds) or isinstance(error.__cause__, kinds)


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Drop a connection with a response half read; a polite TLS farewell could take 30 s."""
    connection = response.connection
    if (
        connection is not None
        and connection.transport is not None
        and not response.content.at_eof()
    ):
        connection.transport.abort()


_made_here: ContextVar[list[socket.socket] | None] = ContextVar("made_here", default=None)
"""The sockets that the request in hand has opened."""


def _shut_down(opened: Iterable[socket.socket]) -> None:
    for one in opened:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _new_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """Make a socket that notices within half a minute that the other machine is gone."""
    made = socket.socket(info[0], info[1], info[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
    return made


def _no_cookies() -> AbstractCookieJar:
    return aiohttp.DummyCookieJar()


async def _error(response: aiohttp.ClientResponse) -> ApiError:
    """Read the server's Status object, at most `MAX_ERROR` of it."""
    async with asyncio.timeout(BODY_TIMEOUT):
        body = await response.content.read(MAX_ERROR)
    try:
        reason = msgspec.json.decode(body, type=_Status).message
    except NOT_JSON:
        reason = response.reason or ""
    after = response.headers.get("Retry-After", "")
    return ApiError(response.status, line(reason), float(after) if after.isdecimal() else 0.0)


class _Status(msgspec.Struct):
    message: str = ""


def from_environment(log: Log | None = None) -> "ApiClient":
    """Return a client for $KUBECONFIG, else for the cluster that this pod runs in."""
    with suppress(ConfigError):
        # Early, before there is a loop to hold; `open` tells what is missing.
        library()
    return ApiClient(os.environ.get("KUBECONFIG", ""), log=log)
