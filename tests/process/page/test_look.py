"""The page on the HTTP port: its files and headers, and what it costs when many look."""

import threading

import pytest
from prometheus_client import CollectorRegistry

from http_clients import WITHIN, ask, connect, rest
from process import health
from process.health import Health, HttpServer
from process.page.fresh import FRESH, SHARE, Fresh
from process.page.look import HEADERS, LookPage


def test_a_page_is_made_once_for_all_who_ask_within_a_second() -> None:
    now, made = [0.0], list[float]()

    def make() -> bytes:
        made.append(now[0])
        return str(len(made)).encode()

    fresh = Fresh(make, lambda: now[0])
    assert [fresh.page() for _ in range(3)] == [b"1"] * 3
    now[0] = FRESH - 0.01
    assert fresh.page() == b"1"
    now[0] = FRESH
    assert fresh.page() == b"2"


def test_a_page_that_takes_long_is_made_the_less_often() -> None:
    now, made = [0.0], list[float]()

    def make() -> bytes:
        made.append(now[0])
        now[0] += 0.3
        return b"x"

    fresh = Fresh(make, lambda: now[0])
    while now[0] < 100.0:
        fresh.page()
        now[0] += 0.1
    assert 0.3 * len(made) <= now[0] / SHARE + 0.3


def test_a_page_that_cannot_be_made_is_tried_again() -> None:
    fine = False

    def make() -> bytes:
        if not fine:
            raise ValueError("too busy")
        return b"x"

    fresh = Fresh(make, lambda: 0.0)
    with pytest.raises(ValueError, match="too busy"):
        fresh.page()
    fine = True
    assert fresh.page() == b"x"


@pytest.fixture(autouse=True)
def no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LONGEST_SILENCE", float("inf"))


def served(look: LookPage | None) -> HttpServer:
    return HttpServer("127.0.0.1", 0, CollectorRegistry(), Health(), look=look)


def test_page_style_and_script_have_a_strict_policy() -> None:
    server = served(LookPage(lambda: b"<!DOCTYPE html>"))
    try:
        kinds = {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript"}
        for path, kind in kinds.items():
            head, _, body = ask(server.port, path).decode().partition("\r\n\r\n")
            lines = head.split("\r\n")
            assert lines[0] == "HTTP/1.1 200 OK"
            assert f"Content-Type: {kind}; charset=utf-8" in lines
            assert set(HEADERS) <= set(lines)
            assert body
        policy = HEADERS[0]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert ask(server.port, "/page.py").startswith(b"HTTP/1.1 404")
    finally:
        server.close()


def test_it_can_be_left_out() -> None:
    server = served(None)
    try:
        for path in ("/", "/page.css", "/page.js"):
            assert ask(server.port, path).startswith(b"HTTP/1.1 404")
        assert ask(server.port, "/metrics").startswith(b"HTTP/1.1 200")
    finally:
        server.close()


def test_a_page_in_the_making_keeps_neither_metrics_nor_probes_waiting() -> None:
    begun, go = threading.Event(), threading.Event()

    def make() -> bytes:
        begun.set()
        assert go.wait(WITHIN)
        return b"at last"

    server = served(LookPage(make))
    try:
        waiting = [connect(server.port, b"GET / HTTP/1.1\r\n\r\n") for _ in range(3)]
        assert begun.wait(WITHIN)
        assert ask(server.port, "/metrics").startswith(b"HTTP/1.1 200")
        assert ask(server.port, "/healthz").startswith(b"HTTP/1.1 200")
        go.set()
        assert all(rest(each).endswith(b"at last") for each in waiting)
    finally:
        go.set()
        server.close()


def test_a_page_that_fails_says_so_and_no_more() -> None:
    def make() -> bytes:
        raise ValueError("a secret")

    server = served(LookPage(make))
    try:
        answer = ask(server.port, "/")
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"secret" not in answer
    finally:
        server.close()
