"""The HTTP port against who does not behave: memory, threads and time have bounds.

Real sockets on loopback, the real server and pages.
"""

import errno
import http.client
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
import structlog
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from http_clients import WITHIN, ask, connect, reset, rest
from process import health, http_server
from process.health import Health, HttpServer
from process.http_request import HttpRefusal
from process.http_server import HELPERS, MOST_CONNECTIONS, MOST_READERS
from speakers import wait_until

MIB = 1 << 20
MOST_THREADS = 8
"""Of both servers, `--port` and `--health-probe-port`."""


class Served:
    """A server on loopback, and what it complained of."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.registry = CollectorRegistry()
        self.health = Health()
        self.health.not_ready = None
        self.server = HttpServer("127.0.0.1", 0, self.registry, self.health, self.errors.append)
        self.port = self.server.port

    def refused(self, reason: HttpRefusal) -> int:
        return self.health.refused.counts()[reason]

    def wait_refused(self, reason: HttpRefusal, count: int) -> None:
        wait_until(lambda: self.refused(reason) >= count, f"{count} refused: {reason}", WITHIN)

    def fill(self, ips: int) -> None:
        gauge = Gauge("many", "Many.", ["ip"], registry=self.registry)
        for number in range(ips):
            gauge.labels(f"{number:0200}").set(1)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    # There is no loop here that turns.
    monkeypatch.setattr(health, "LONGEST_SILENCE", float("inf"))
    made = Served()
    yield made
    made.server.close()
    assert made.errors == []


class Blocked(Collector):
    """Metrics that are not ready until they are let go."""

    def __init__(self) -> None:
        self.begun, self.go, self.made = threading.Semaphore(0), threading.Semaphore(0), 0

    def collect(self) -> Iterator[Metric]:
        self.begun.release()
        assert self.go.acquire(timeout=WITHIN)
        self.made += 1
        return iter(())

    def describe(self) -> Iterator[Metric]:
        return iter(())


# ---- who behaves


def test_the_pages_are_served_as_the_kubelet_and_prometheus_ask(served: Served) -> None:
    """Keep-alive is asked for, and refused in the way that every client understands."""
    for headers in ({}, {"Connection": "close"}, {"Accept-Encoding": "gzip"}):
        for path, kind in (("/healthz", "text/plain"), ("/metrics", "text/plain; version=")):
            client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=WITHIN)
            client.request("GET", path, headers=headers)
            answer = client.getresponse()
            assert (answer.status, answer.will_close) == (200, True)
            assert (answer.headers["Content-Type"] or "").startswith(kind)
            assert len(answer.read()) == int(answer.headers["Content-Length"] or "-1")


def test_head_is_the_head_of_get(served: Served) -> None:
    served.fill(10)
    for path in ("/metrics", "/healthz", "/nothing"):
        head, _, body = ask(served.port, path).partition(b"\r\n\r\n")
        only = ask(served.port, path, "HEAD")
        assert body
        assert only.endswith(b"\r\n\r\n")
        without_date = [line for line in head.split(b"\r\n") if not line.startswith(b"Date")]
        assert set(without_date) <= set(only.split(b"\r\n"))


def test_an_address_of_ipv6_is_served_too() -> None:
    try:
        server = HttpServer("::1", 0, CollectorRegistry(), Health())
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            pytest.skip("this machine has no IPv6")
        raise
    with socket.create_connection(("::1", server.port), WITHIN) as connection:
        connection.sendall(b"GET /nothing HTTP/1.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 404 Not Found\r\n")
    server.close()


def test_other_methods_are_told_which_there_are(served: Served) -> None:
    answer = ask(served.port, "/metrics", "POST")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET, HEAD\r\n" in answer


def test_a_long_page_arrives_whole(served: Served) -> None:
    served.fill(5_000)
    head, _, body = ask(served.port, "/metrics").partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert len(body) > MIB


def test_a_page_in_the_making_delays_no_probe_and_is_made_once_for_all_who_wait(
    served: Served,
) -> None:
    blocked = Blocked()
    served.registry.register(blocked)
    first = connect(served.port, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert blocked.begun.acquire(timeout=WITHIN)
    others = [connect(served.port, b"GET /metrics HTTP/1.1\r\n\r\n") for _ in range(10)]
    assert ask(served.port, "/healthz").endswith(b"ok\n")
    blocked.go.release()
    assert rest(first).startswith(b"HTTP/1.1 200 ")
    blocked.go.release()
    assert all(rest(other).startswith(b"HTTP/1.1 200 ") for other in others)
    # What was asked for after a page was begun is in none of those that follow too early.
    assert blocked.made == 2


# ---- who does not


def test_ten_requests_of_six_megabytes_take_no_memory(served: Served) -> None:
    """They took 156 MiB of Python's own, and ended the pod at its limit of 128 MiB."""
    fields = b"".join(b"X%d: " % number + b"a" * 65_000 + b"\r\n" for number in range(99))
    flood = b"GET / HTTP/1.1\r\n" + fields + b"\r\n"

    def send() -> None:
        with suppress(ConnectionError):
            rest(connect(served.port, flood))

    clients = [threading.Thread(target=send) for _ in range(10)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        grown = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert served.refused(HttpRefusal.TOO_LONG) == 10
    assert grown < len(flood)


def test_who_sends_slowly_holds_no_thread_and_keeps_no_probe_out(served: Served) -> None:
    """200 of them were 200 threads."""
    before = threading.active_count()
    idle = [connect(served.port, b"GET /he") for _ in range(200)]
    assert ask(served.port, "/healthz").endswith(b"ok\n")
    assert threading.active_count() == before
    # The one that reads, the helpers, and one a page that takes time: /metrics and the one for
    # people on `--port`, /metrics alone on the probes' port.
    assert (1 + HELPERS + 2) + (1 + HELPERS + 1) <= MOST_THREADS
    served.wait_refused(HttpRefusal.CROWDED, 200 - MOST_CONNECTIONS)
    for connection in idle:
        connection.close()


@pytest.mark.parametrize("data", [b"", b"GET /healthz HTTP/1.1\r\nA: b\r\n"])
def test_a_request_that_does_not_end_is_closed_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(http_server, "LONGEST_REQUEST", 0.05)
    assert rest(connect(served.port, data)) == b""
    assert served.refused(HttpRefusal.TOO_SLOW) == 1


def test_a_byte_now_and_then_wins_no_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is of the whole request: one of each read had no end."""
    monkeypatch.setattr(http_server, "LONGEST_REQUEST", 0.2)
    connection = connect(served.port, b"GET / HTTP/1.1\r\n")
    connection.settimeout(0.01)
    end = time.monotonic() + WITHIN
    with connection, suppress(ConnectionError):
        while time.monotonic() < end:
            connection.send(b"a")
            with suppress(TimeoutError):
                assert connection.recv(1) == b""
                break
    assert served.refused(HttpRefusal.TOO_SLOW) == 1


def test_who_does_not_read_holds_no_thread_and_is_closed_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.fill(5_000)
    before = threading.active_count()
    monkeypatch.setattr(http_server, "LONGEST_READING", 0.05)
    deaf = [connect(served.port, b"GET /metrics HTTP/1.1\r\n\r\n", reads=4_096) for _ in range(3)]
    assert ask(served.port, "/healthz").endswith(b"ok\n")
    assert threading.active_count() == before
    served.wait_refused(HttpRefusal.SLOW_READER, len(deaf))
    assert all(len(rest(connection)) < MIB for connection in deaf)


def test_few_answers_wait_for_readers_at_a_time(served: Served) -> None:
    """Each holds a copy of the page: memory has a bound whoever reads how slowly."""
    served.fill(5_000)
    deaf = [
        connect(served.port, b"GET /metrics HTTP/1.1\r\n\r\n", reads=4_096)
        for _ in range(MOST_READERS + 3)
    ]
    served.wait_refused(HttpRefusal.SLOW_READER, 3)
    _, _, body = ask(served.port, "/metrics").partition(b"\r\n\r\n")
    assert len(body) > MIB
    for connection in deaf:
        connection.close()


def test_a_page_that_is_never_ready_is_given_up(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "LONGEST_MAKING", 0.05)
    blocked = Blocked()
    served.registry.register(blocked)
    assert ask(served.port, "/metrics") == b""
    assert served.refused(HttpRefusal.UNANSWERED) == 1
    blocked.go.release()


def test_who_hangs_up_is_counted_and_nothing_is_said(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    """400 resets were 3,400 lines of tracebacks on standard error."""
    for number in range(400):
        reset(connect(served.port, b"GET /metrics HTTP/1.1\r\n" if number % 2 else b""))
    counts = served.health.refused.counts
    wait_until(lambda: sum(counts().values()) == 400, "400 that were counted", WITHIN)
    assert counts()[HttpRefusal.GONE] > 0
    assert ask(served.port, "/healthz").endswith(b"ok\n")
    assert capfd.readouterr() == ("", "")


def test_the_log_names_a_reason_once_a_minute_and_no_one_who_hangs_up(served: Served) -> None:
    with structlog.testing.capture_logs() as lines:
        served.health.tell(structlog.get_logger())
        for _ in range(3):
            ask(served.port, "/", "POST")
        ask(served.port, "/ ")
        connect(served.port).close()
        served.wait_refused(HttpRefusal.GONE, 1)
    assert [(line["event"], line["reason"], line["more"]) for line in lines] == [
        ("http_refused", "method", 0),
        ("http_refused", "malformed", 0),
    ]


def test_a_closed_server_leaves_its_port(served: Served) -> None:
    connect(served.port, b"GET /").close()
    served.server.close()
    with pytest.raises(ConnectionRefusedError):
        connect(served.port)


def test_an_address_that_is_taken_is_named(served: Served) -> None:
    with pytest.raises(OSError, match=f"HTTP address 127.0.0.1:{served.port}: Address already"):
        HttpServer("127.0.0.1", served.port, CollectorRegistry(), Health())
