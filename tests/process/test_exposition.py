"""The text in parts is the text in one go, and work at leisure leaves the processor to others."""

import socket
import time

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from process.exposition import SAMPLES, render
from process.health import Health, HttpServer
from process.interpreter import SHARE, Leisure


def test_the_parts_make_the_whole() -> None:
    registry = CollectorRegistry()
    many = Gauge("many", "One # a line\nand two.", ["ip"], registry=registry)
    for number in range(2 * SAMPLES + 1):
        many.labels(f"#{number}").set(number)
    Counter("some", "Some.", registry=registry).inc()
    Counter("none", "None yet.", ["reason"], registry=registry)
    Histogram("times", "Times.", registry=registry).observe(0.3)
    assert b"".join(render(registry)) == generate_latest(registry)


def test_leisure_takes_its_share() -> None:
    pause = Leisure()
    began, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < 0.02:
        pause()
    assert time.monotonic() - began > 0.8 * 0.02 / SHARE


def test_the_server_starts_without_asking_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reverse DNS of the own address may take 20 s, in which the loop would not turn."""

    def ask(*_: object) -> str:
        raise AssertionError("DNS was asked")

    monkeypatch.setattr(socket, "getfqdn", ask)
    HttpServer("127.0.0.1", 0, CollectorRegistry(), Health()).close()
