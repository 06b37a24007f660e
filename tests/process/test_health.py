"""What the probes are told, and that there is always somebody who tells it."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from process import http_server
from process.health import Health, HttpServer
from process.http_server import Server

WITHIN = 10.0
"""Seconds after which a test hangs."""


def test_what_is_waited_for_is_as_new_as_the_question() -> None:
    """The loop may rest while a thread learns that there is no API server."""
    health, trouble = Health(), "/api/v1/services: not listed yet"
    health.waiting_for = lambda: trouble
    health.not_ready = "sources are not read yet"
    assert health.unready() == f"sources are not read yet: {trouble}"
    trouble = "/api/v1/services: Cannot connect"
    assert health.unready() == f"sources are not read yet: {trouble}"
    health.not_ready = None
    assert health.unready() is None


def test_a_speaker_in_trouble_is_not_ready() -> None:
    health = Health()
    health.not_ready = None
    health.trouble = lambda: "gossip: deaf"
    assert health.unready() == "gossip: deaf"


class Served:
    """A server on loopback, and what it complained of."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.complained = threading.Event()
        self.registry = CollectorRegistry()
        self.health = Health()
        self.health.not_ready = None

    def start(self) -> None:
        self.server = HttpServer("127.0.0.1", 0, self.registry, self.health, self._on_error)

    def _on_error(self, error: BaseException) -> None:
        self.errors.append(error)
        self.complained.set()

    def get(self, path: str) -> tuple[int, str]:
        port = self.server.port
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=WITHIN) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(http_server, "LONGEST_CLOSE", 0.01)
    made = Served()
    yield made
    made.server.close()


def once(real: Any) -> Any:
    """Have a function raise at its first call."""
    failed = threading.Event()

    def call(*arguments: Any, **keywords: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise LookupError("injected")
        return real(*arguments, **keywords)

    return call


def test_a_thread_that_ends_is_begun_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "_turn", once(Server._turn))
    served.start()
    assert served.complained.wait(WITHIN)
    assert served.get("/healthz") == (200, "ok\n")
    assert [str(error) for error in served.errors] == ["injected"]


def test_a_request_that_raises_is_told_and_costs_itself_only(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "_read", once(Server._read))
    served.start()
    with pytest.raises(OSError):  # noqa: PT011 - closed, or reset
        served.get("/healthz")
    assert served.get("/healthz") == (200, "ok\n")
    assert [str(error) for error in served.errors] == ["injected"]


def test_metrics_that_raise_are_an_answer_and_are_told(served: Served) -> None:
    class Broken(Collector):
        def collect(self) -> Iterator[Metric]:
            raise LookupError("injected")

        def describe(self) -> Iterator[Metric]:
            return iter(())

    served.registry.register(Broken())
    served.start()
    assert served.get("/metrics") == (500, "see the log\n")
    assert [str(error) for error in served.errors] == ["injected"]
