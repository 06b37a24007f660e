"""Errors in the sockets that tell of links and routes: another socket, and nothing is missed."""

import asyncio
import errno
from collections.abc import Callable, Container, Mapping
from typing import Any

import pytest

from link.interface import Interface
from link.netlink import monitor, news, route_monitor
from link.netlink.monitor import Monitor
from link.netlink.route_monitor import Gateways, RouteMonitor

WITHIN = 10.0
"""Seconds after which a test hangs."""


class FaultyError(Exception):
    """Not a type that anybody expects."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "RETRY", 0.0)
    monkeypatch.setattr(route_monitor, "RETRY", 0.0)


def failing(real: Callable[..., Any], error: Exception, at: int = 1) -> Callable[..., Any]:
    """Have one call raise."""
    calls = 0

    def call(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise error
        return real(*arguments)

    return call


async def links(heard: list[object]) -> set[str]:
    """Start a monitor; return the links that it knows as soon as it knows all."""
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: heard.append((context["part"], type(context["exception"])))
    )
    names: set[str] = set()

    def take(interfaces: Mapping[int, Interface], _own_macs: Container[bytes]) -> None:
        names.update(link.name for link in interfaces.values())

    made = Monitor(take)
    async with asyncio.timeout(WITHIN):
        await made.start()
    made.close()
    return names


@pytest.mark.parametrize("where", ["_read", "_dump_next"])
def test_an_error_in_reading_begins_anew(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []
    # Of the two dumps the second one is never asked for, or the first one not taken in.
    at = 2 if where == "_dump_next" else 1
    monkeypatch.setattr(Monitor, where, failing(getattr(Monitor, where), FaultyError(), at))
    assert "lo" in asyncio.run(links(heard))
    assert heard == [("links", FaultyError)]


def test_a_socket_that_is_not_to_be_had_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []
    full = OSError(errno.ENFILE, "too many open files")
    # The first socket is lost, and there is no second one at once.
    monkeypatch.setattr(Monitor, "_read", failing(Monitor._read, FaultyError()))
    monkeypatch.setattr(Monitor, "_open", failing(Monitor._open, full, at=2))
    assert "lo" in asyncio.run(links(heard))
    assert heard == [("links", FaultyError), ("links", OSError)]


def test_a_message_that_cannot_be_read_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []
    read = news.read

    def change(kind: int, body: bytes) -> Any:
        if kind == news.RTM_NEWADDR and not heard:
            raise FaultyError
        return read(kind, body)

    monkeypatch.setattr(news, "read", change)
    assert "lo" in asyncio.run(links(heard))
    assert heard == [("links", FaultyError)]


def test_routes_are_asked_for_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a dump was lost with it: without another socket there would be no next dump."""

    async def course() -> list[object]:
        heard: list[object] = []
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: heard.append(context["part"]))
        real = RouteMonitor._handle_dump_end

        def dumped(self: RouteMonitor, used: Any) -> None:
            if not heard:
                raise FaultyError
            real(self, used)
            done.set()

        monkeypatch.setattr(RouteMonitor, "_handle_dump_end", dumped)
        made = RouteMonitor(ignore)
        made.start()
        async with asyncio.timeout(WITHIN):
            await done.wait()
        made.close()
        return heard

    assert asyncio.run(course()) == ["links"]


@pytest.mark.parametrize(
    ("where", "resyncs"),
    [(Monitor, {"links": 1, "routes": 0}), (RouteMonitor, {"links": 0, "routes": 1})],
)
def test_lost_news_are_counted_by_table(
    where: type[Any], resyncs: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def course() -> Mapping[str, int]:
        dumped = asyncio.Event()
        end = RouteMonitor._handle_dump_end

        def routes_here(self: RouteMonitor, used: Any) -> None:
            end(self, used)
            dumped.set()

        monkeypatch.setattr(RouteMonitor, "_handle_dump_end", routes_here)
        overrun = OSError(errno.ENOBUFS, "no buffer space")
        monkeypatch.setattr(where, "_read", failing(where._read, overrun))
        made = Monitor(lambda interfaces, own_macs: None)
        assert made.resyncs_by_table() == {"links": 0, "routes": 0}
        async with asyncio.timeout(WITHIN):
            await made.start()
            await dumped.wait()
        made.close()
        return made.resyncs_by_table()

    assert asyncio.run(course()) == resyncs


def ignore(gateways: Gateways) -> None:
    """Which gateways there are does not matter."""
