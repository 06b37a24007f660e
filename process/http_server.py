"""The sockets of HTTP: few threads, few connections, and none of them waits for a stranger.

One thread accepts, reads and writes, and never blocks; helpers make the pages that take time and
go through TLS handshakes, one step each. Who sends or reads slowly holds a place and no thread, and
gives it up to who comes later: probes of the kubelet are answered while others hold all places.
"""

import errno
import selectors
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum
from queue import SimpleQueue
from threading import Lock, Thread

from process.http_request import (
    LONGEST_HEAD,
    HttpError,
    HttpRefusal,
    HttpRequest,
    Page,
    head,
    read,
    refusal,
)

HELPERS = 1
"""Threads beside the one that reads, and one more for each page that takes time: all of these may
be in the making while a handshake goes on. With two servers (`--port` with two such pages and
`--health-probe-port` with one) strangers can keep seven threads busy, never more."""
MOST_CONNECTIONS = 64
"""Places. A probe needs one for milliseconds; with a full head in each they take half a MiB. Who
comes to full places gets that of the oldest whose request is unfinished."""
MOST_READERS = 8
"""Answers that wait for their reader, each a copy of /metrics: some MiB where there are thousands
of IPs. Prometheus takes one in milliseconds."""
LONGEST_REQUEST = 2.0
"""Seconds from a connection to the end of its request, the TLS handshake within."""
LONGEST_MAKING = 10.0
"""Seconds from the request to its page: Prometheus waits for as long by default."""
LONGEST_READING = 5.0
"""Seconds from the first byte of an answer to the last one taken."""
LONGEST_CLOSE = 0.4
"""Seconds that closing may take; a thread that failed begins again after as many."""
BUFFER = 64 * 1024
"""Bytes that the kernel may keep for a connection each way (it doubles the number): by itself it
would take up to 6 MiB from each sender, at the cost of this pod."""
CHUNK = 64 * 1024
"""Bytes that are sent in one go, so that the others have their turn."""
NEWCOMERS = 8
"""Accepted in one turn: fewer than there are places, so that each is read before it has to go."""
BACKLOG = 128
"""Connections that the kernel holds until they are accepted; further ones have to ask again."""
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
ROOM_PAUSE = 0.05
"""Seconds to wait where there is no descriptor left: the next try would fail at once."""

OnError = Callable[[BaseException], None]
OnRefused = Callable[[HttpRefusal], None]


class Refusals:
    """Counts by reason; any thread may count or look."""

    def __init__(self, listener: OnRefused = lambda _: None) -> None:
        """`listener` hears of each, in the thread that refused."""
        self.listener = listener
        self._lock = Lock()
        self._counts: Counter[HttpRefusal] = Counter()

    def count(self, reason: HttpRefusal) -> None:
        """Count one."""
        with self._lock:
            self._counts[reason] += 1
        self.listener(reason)

    def counts(self) -> Mapping[str, int]:
        """Return the counts of all reasons, the zeros too."""
        with self._lock:
            return {reason.value: self._counts[reason] for reason in HttpRefusal}


@dataclass(frozen=True, slots=True)
class HttpSite:
    """What is served."""

    quick: Callable[[HttpRequest], Page | None]
    """Answers at once; None: it is a page that takes time."""
    slow: Mapping[str, Callable[[], Page]]
    """By path those that make pages that take time, in a helper: once for all who asked for it
    before it began."""
    context: Callable[[], ssl.SSLContext] | None = None
    """Gives the TLS that new connections begin with, asked by a helper; None: plain HTTP."""


class _Phase(Enum):
    """Where a connection is: HANDSHAKE (with TLS), READING, WAITING (for a slow page), SENDING."""

    HANDSHAKE = "handshake"
    READING = "reading"
    WAITING = "waiting"
    SENDING = "sending"


_LATE = {
    _Phase.HANDSHAKE: HttpRefusal.TOO_SLOW,
    _Phase.READING: HttpRefusal.TOO_SLOW,
    _Phase.WAITING: HttpRefusal.UNANSWERED,
    _Phase.SENDING: HttpRefusal.SLOW_READER,
}
_GIVE_WAY = ((_Phase.HANDSHAKE, _Phase.READING), (_Phase.SENDING,), (_Phase.WAITING,))
"""Who gives up his place to a newcomer first: who has asked for nothing yet."""


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    phase: _Phase
    deadline: float
    data: bytearray = field(default_factory=bytearray)
    head_only: bool = False
    rest: deque[memoryview] = field(default_factory=deque)
    """What is left to send."""
    path: str = ""
    """Of the page that it waits for."""
    helped: bool = False
    """A helper has it, and nobody else may touch its socket."""
    refused: HttpRefusal | None = None
    """It is to be closed when the helper is done."""


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; OSError names the address. An empty host is every IPv4 address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit them.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"HTTP address {host}:{port}: {error.strerror}") from None
    return listening


class Server:
    """Serves a site on a bound socket until closed."""

    def __init__(
        self, listening: socket.socket, site: HttpSite, refusals: Refusals, on_error: OnError
    ) -> None:
        """`on_error` is called in a thread, with faults of ours; those of strangers are counted."""
        self._listening = listening
        self._site = site
        self._refusals = refusals
        self._on_error = on_error
        self._connections: dict[_Connection, None] = {}
        """All of them, the oldest first."""
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._done: deque[Callable[[], None]] = deque()
        """What helpers leave for the thread that owns the connections."""
        self._making: set[str] = set()
        """Paths of pages that a helper has in hand."""
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._awake, self._wake = socket.socketpair()
        for end in (listening, self._awake, self._wake):
            end.setblocking(False)
        self._selector.register(listening, selectors.EVENT_READ, self._accept)
        self._selector.register(self._awake, selectors.EVENT_READ, self._collect)
        self._helpers = HELPERS + len(site.slow)
        targets = [("http", self._serve), *[("http-helper", self._help)] * self._helpers]
        self._threads = [Thread(target=run, name=name, daemon=True) for name, run in targets]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._closing = True
        self._call(lambda: None)
        for _ in range(self._helpers):
            self._jobs.put(None)
        end = time.monotonic() + LONGEST_CLOSE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    # ---- the thread that owns the connections

    def _serve(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception as error:
                # Probes would restart us for want of an answer, and nothing else is wrong.
                self._on_error(error)
                time.sleep(LONGEST_CLOSE)
        # Helpers that have just ended give their connections back; the others close theirs.
        self._collect()
        self._selector.close()
        for end in (self._listening, self._awake, self._wake):
            end.close()
        for connection in self._connections:
            if not connection.helped:
                connection.socket.close()

    def _turn(self) -> None:
        """Look at all that is ready; at newcomers last: who was here before them is heard first."""
        due = min((each.deadline for each in self._connections), default=float("inf"))
        timeout = max(0.0, due - time.monotonic()) if due != float("inf") else None
        ready = [key.data for key, _ in self._selector.select(timeout)]
        for what in sorted(ready, key=lambda what: what == self._accept):
            if not isinstance(what, _Connection):
                what()
            elif what in self._connections:
                self._guard(what, self._step)
        now = time.monotonic()
        for each in [each for each in self._connections if each.deadline <= now]:
            self._refuse(each, _LATE[each.phase])

    def _accept(self) -> None:
        for _ in range(NEWCOMERS):
            try:
                accepted, _address = self._listening.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._refusals.count(HttpRefusal.NO_ROOM)
                    time.sleep(ROOM_PAUSE)
                return
            self._take(accepted)

    def _take(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        if len(self._connections) >= MOST_CONNECTIONS and not self._make_room():
            self._refusals.count(HttpRefusal.CROWDED)
            accepted.close()
            return
        phase = _Phase.READING if self._site.context is None else _Phase.HANDSHAKE
        connection = _Connection(accepted, phase, time.monotonic() + LONGEST_REQUEST)
        self._connections[connection] = None
        self._guard(connection, self._watch, selectors.EVENT_READ)

    def _make_room(self) -> bool:
        """Close one; false where helpers have all of them."""
        for phases in _GIVE_WAY:
            for each in self._connections:
                if each.phase in phases and not each.helped:
                    self._refuse(each, HttpRefusal.CROWDED)
                    return True
        return False

    def _step(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        match connection.phase:
            case _Phase.HANDSHAKE:
                connection.helped = True
                self._jobs.put(lambda: self._shake(connection))
            case _Phase.READING:
                self._read(connection)
            case _Phase.SENDING:
                self._send(connection)

    def _read(self, connection: _Connection) -> None:
        data = connection.data
        try:
            while True:
                looked_at = len(data)
                got = connection.socket.recv(LONGEST_HEAD + 1 - looked_at)
                if not got:
                    self._refuse(connection, HttpRefusal.GONE)
                    return
                data += got
                request = read(data, looked_at)
                if request is not None:
                    self._answer(connection, request)
                    return
        except (BlockingIOError, ssl.SSLWantReadError):
            self._watch(connection, selectors.EVENT_READ)
        except HttpError as error:
            self._refusals.count(error.reason)
            self._begin(connection, refusal(error.reason))

    def _answer(self, connection: _Connection, request: HttpRequest) -> None:
        connection.head_only = request.head_only
        page = self._site.quick(request)
        if page is not None:
            self._begin(connection, page)
            return
        connection.phase, connection.path = _Phase.WAITING, request.path
        connection.deadline = time.monotonic() + LONGEST_MAKING
        self._make(request.path)

    def _begin(self, connection: _Connection, page: Page) -> None:
        connection.phase = _Phase.SENDING
        connection.deadline = time.monotonic() + LONGEST_READING
        connection.data.clear()
        # The body of /metrics is one for all who wait: it is joined to no head.
        parts = (head(page, formatdate(usegmt=True)), b"" if connection.head_only else page.body)
        connection.rest.extend(memoryview(part) for part in parts if part)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        """Send a part of what is left; the next when all others had their turn."""
        rest = connection.rest
        with suppress(BlockingIOError, ssl.SSLWantWriteError):
            while rest:
                sent = connection.socket.send(rest[0][:CHUNK])
                if sent < len(rest[0]):
                    rest[0] = rest[0][sent:]
                    break
                rest.popleft()
        if rest:
            self._watch(connection, selectors.EVENT_WRITE)
            self._limit_readers()
        else:
            self._end(connection)

    def _limit_readers(self) -> None:
        readers = [each for each in self._connections if each.phase is _Phase.SENDING]
        if len(readers) > MOST_READERS:
            self._refuse(readers[0], HttpRefusal.SLOW_READER)

    def _end(self, connection: _Connection) -> None:
        """Close after the whole answer: what is left unread would make the kernel cut it short."""
        with suppress(OSError):
            connection.socket.recv(LONGEST_HEAD)
        self._drop(connection)

    def _refuse(self, connection: _Connection, reason: HttpRefusal) -> None:
        if connection.helped:
            connection.refused, connection.deadline = reason, float("inf")
            return
        self._refusals.count(reason)
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._connections.pop(connection, None)
        with suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        with suppress(OSError, ValueError):
            if isinstance(connection.socket, ssl.SSLSocket) and not connection.rest:
                # Says that this is the end, and does not wait for an answer.
                connection.socket.unwrap()
        connection.socket.close()

    def _watch(self, connection: _Connection, events: int) -> None:
        self._selector.register(connection.socket, events, connection)

    def _guard(self, connection: _Connection, act: Callable[..., None], *arguments: object) -> None:
        """Have what goes wrong with one connection cost no other one anything."""
        try:
            act(connection, *arguments)
        except OSError:
            self._refuse(connection, HttpRefusal.GONE)
        except Exception as error:
            self._on_error(error)
            self._drop(connection)

    # ---- what helpers do, and how it comes back

    def _help(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:
                self._on_error(error)

    def _call(self, act: Callable[[], None]) -> None:
        """Have the owner of the connections do this."""
        self._done.append(act)
        with suppress(OSError):
            self._wake.send(b"!")

    def _collect(self) -> None:
        with suppress(BlockingIOError):
            self._awake.recv(CHUNK)
        while self._done:
            self._done.popleft()()

    def _make(self, path: str) -> None:
        waiting = (each for each in self._connections if each.phase is _Phase.WAITING)
        asked = [each for each in waiting if each.path == path]
        if asked and path not in self._making:
            self._making.add(path)
            self._jobs.put(lambda: self._make_for(path, asked))

    def _make_for(self, path: str, asked: list[_Connection]) -> None:
        page: Page | None = None
        try:
            page = self._site.slow[path]()
        finally:
            self._call(lambda: self._handle_page(path, asked, page))

    def _handle_page(self, path: str, asked: list[_Connection], page: Page | None) -> None:
        self._making.discard(path)
        for each in asked:
            if each not in self._connections:
                continue
            if page is None:
                self._drop(each)
            else:
                self._guard(each, self._begin, page)
        self._make(path)

    def _shake(self, connection: _Connection) -> None:
        """Go one step through a handshake, as far as what has arrived leads."""
        then: int | HttpRefusal | None = HttpRefusal.TLS
        try:
            if connection.refused is None:
                self._wrap(connection).do_handshake()
                then = None
        except ssl.SSLWantReadError:
            then = selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            then = selectors.EVENT_WRITE
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            then = HttpRefusal.GONE
        except ssl.SSLError:
            then = HttpRefusal.TLS
        except OSError:
            then = HttpRefusal.GONE
        finally:
            self._call(lambda: self._shaken(connection, then))
            if self._closing:
                connection.socket.close()

    def _wrap(self, connection: _Connection) -> ssl.SSLSocket:
        if isinstance(connection.socket, ssl.SSLSocket):
            return connection.socket
        assert self._site.context is not None  # noqa: S101 - or there would be no handshake
        wrapped = self._site.context().wrap_socket(
            connection.socket, server_side=True, do_handshake_on_connect=False
        )
        connection.socket = wrapped
        return wrapped

    def _shaken(self, connection: _Connection, then: int | HttpRefusal | None) -> None:
        connection.helped = False
        if connection.refused is not None:
            self._refuse(connection, connection.refused)
        elif isinstance(then, HttpRefusal):
            self._refuse(connection, then)
        elif then is not None:
            self._guard(connection, self._watch, then)
        else:
            connection.phase = _Phase.READING
            self._guard(connection, self._read)
