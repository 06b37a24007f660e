"""HTTP to an API server: plain JSON bytes in and out, and one error type.

`kubernetes.aio` brings its configuration (in-cluster, kubeconfig) and nothing else: its models cost
more memory than the speaker has.
"""

import asyncio
import os
import socket
import ssl
from asyncio import sslproto
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

import aiohttp
import msgspec
from aiohttp.abc import AbstractCookieJar

from kube.objects import NOT_JSON

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one watch event; etcd holds objects of 1.5 MiB."""
MAX_BODY = 64 * 1024 * 1024
CONNECT_TIMEOUT = 10.0
"""Seconds for the connection, and then for the headers of a response."""
BODY_TIMEOUT = 30.0
"""Seconds between two pieces of a response that is not a watch."""
MAX_CONNECTIONS = 48
TLS_BUFFER = 32 * 1024
"""Bytes that asyncio sets aside for each TLS connection: 256 KiB by default, 12 MiB for all."""
CLOSING_TURNS = 20
"""Turns of the loop after which every socket that was shut down has been closed, and more."""
MAX_REASON = 200


class ConfigError(Exception):
    """There is no way to an API server; the text is one line that says why."""


class ApiError(Exception):
    """A request that failed. `status` is the HTTP status, 0 where there was no answer at all."""

    def __init__(self, status: int, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status} {reason}" if status else reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class Client:
    """A session with one API server. Credentials are read again as they change."""

    def __init__(self, kubeconfig: str = "") -> None:
        self._kubeconfig = kubeconfig
        self._configuration: Any = None
        self._session: aiohttp.ClientSession | None = None
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._tls: ssl.SSLContext | bool = True

    async def open(self) -> None:
        """Read the configuration. Raises `ConfigError`."""
        self._configuration = await _load(self._kubeconfig)
        self._tls = _tls(self._configuration)
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

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """Return the body. Raises `ApiError`."""
        return await self._whole("GET", path, query or {}, None, "")

    async def post(self, path: str, body: Any) -> bytes:
        """Create an object and return it as stored. Raises `ApiError`."""
        return await self._whole("POST", path, {}, body, "application/json")

    async def merge(self, path: str, body: Any) -> bytes:
        """Merge into an object (RFC 7386) and return it as stored. Raises `ApiError`."""
        return await self._whole("PATCH", path, {}, body, "application/merge-patch+json")

    async def delete(self, path: str) -> bytes:
        """Delete an object. Raises `ApiError`."""
        return await self._whole("DELETE", path, {}, None, "")

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
    ) -> bytes:
        async with self._request(method, path, query, body, kind) as response:
            pieces: list[bytes] = []
            total = 0
            chunks = response.content.iter_any()
            while True:
                try:
                    async with asyncio.timeout(BODY_TIMEOUT):
                        piece = await anext(chunks)
                except StopAsyncIteration:
                    return b"".join(pieces)
                total += len(piece)
                if total > MAX_BODY:
                    raise ApiError(0, f"response longer than {MAX_BODY} bytes")
                pieces.append(piece)

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
            raise ApiError(0, _plain(error)) from None
        except ApiError as error:
            if error.status == 401:
                await self._reload()
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
                    self._configuration.host + path,
                    params=dict(query),
                    data=None if body is None else msgspec.json.encode(body),
                    headers=headers,
                    ssl=self._tls,
                    server_hostname=self._configuration.tls_server_name or None,
                    timeout=aiohttp.ClientTimeout(total=None),
                    allow_redirects=False,
                )
            except AttributeError:
                # What aiohttp 3 raises where a connection is lost just as its response begins.
                raise ApiError(0, "connection lost") from None

    async def _headers(self, kind: str) -> dict[str, str]:
        headers = {"Content-Type": kind} if kind else {}
        try:
            token = await self._configuration.get_api_key_with_prefix("BearerToken")
        except Exception as error:
            raise ApiError(0, f"token: {_plain(error)}") from None
        if token:
            headers["Authorization"] = token.strip()
        return headers

    async def _reload(self) -> None:
        """Read the credentials again: the library itself looks only once a minute."""
        try:
            configuration = await _load(self._kubeconfig)
            tls = _tls(configuration)
        except ConfigError:
            return
        self._configuration, self._tls = configuration, tls


class _Lines:
    """Cuts a stream into lines, in time that grows with its length only."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        first, *rest = chunk.split(b"\n")
        self._parts.append(first)
        self._length += len(first)
        if self._length > MAX_LINE:
            raise ApiError(0, f"watch event longer than {MAX_LINE} bytes")
        if not rest:
            return []
        lines = [b"".join(self._parts), *rest[:-1]]
        self._parts, self._length = [rest[-1]], len(rest[-1])
        return [line for line in lines if line]


def _library() -> tuple[Any, Any, Any]:
    """Import what reads configurations; only where it is needed, as it costs 10 MiB."""
    try:
        from kubernetes.aio.client import Configuration
        from kubernetes.aio.config import load_incluster_config, load_kube_config
    except ImportError:
        raise ConfigError("the package `kubernetes` is not installed") from None
    return Configuration, load_kube_config, load_incluster_config


async def _load(kubeconfig: str) -> Any:
    """Read the kubeconfig file, or what a pod finds mounted."""
    make, from_file, from_pod = _library()
    configuration: Any = make()
    try:
        if kubeconfig:
            await from_file(kubeconfig, client_configuration=configuration, persist_config=False)
        else:
            from_pod(configuration)
    except Exception as error:
        raise ConfigError(f"{kubeconfig or 'in-cluster configuration'}: {_plain(error)}") from None
    return configuration


def _tls(configuration: Any) -> ssl.SSLContext | bool:
    if not configuration.host.startswith("https:"):
        return True
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"TLS: {_plain(error)}") from None
    # Clusters that were set up years ago have certificates that the strict flag refuses.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


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
    """Read the server's Status object, at most 64 KiB of it."""
    body = await response.content.read(65536)
    try:
        reason = msgspec.json.decode(body, type=_Status).message
    except NOT_JSON:
        reason = response.reason or ""
    after = response.headers.get("Retry-After", "")
    return ApiError(response.status, _line(reason), float(after) if after.isdecimal() else 0.0)


class _Status(msgspec.Struct):
    message: str = ""


def _plain(error: BaseException) -> str:
    return _line(str(error) or type(error).__name__)


def _line(text: str) -> str:
    return " ".join(text.split())[:MAX_REASON]


def from_environment() -> "Client":
    """Return a client for $KUBECONFIG, else for the cluster that this pod runs in."""
    with suppress(ConfigError):
        # Early, before there is a loop to hold; `open` tells what is missing.
        _library()
    return Client(os.environ.get("KUBECONFIG", ""))
