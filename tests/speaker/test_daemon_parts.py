"""A whole speaker without root and without a namespace: every part is real, but there is no link.

Its turns, its folder, its gossip on loopback and its end are those of any speaker. What takes a
packet socket is in `test_daemon`.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from gossip.config import LOCAL
from link.packet_socket import NO_RIGHT
from ownership.io import HoldReason
from process import ending
from speaker import sources
from speaker.daemon import Daemon
from speaker.settings import GossipSecret, Settings
from speakers import MANIFEST, VIP

HANG = 20.0
"""Seconds after which a test that waits fails."""
SERVICE = "default/web"


@dataclass
class Log:
    """Keeps all lines, and lets a test wait for one."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event, **fields})
        self.news.set()

    debug = warning = error = info

    def of(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        wanted = {"event": event, **fields}
        return [line for line in self.lines if wanted.items() <= line.items()]

    async def wait_for(self, event: str, **fields: Any) -> None:
        while not self.of(event, **fields):
            self.news.clear()
            await self.news.wait()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(MANIFEST.format(name="web", ip=VIP))
    return tmp_path


def settings(node: str, source: Path, address: str = "", port: int = 0, *join: str) -> Settings:
    return Settings(
        node_name=node,
        source=source,
        namespace="metallb-system",
        log_level="info",
        host="127.0.0.1",
        port=0,
        health_port=0,
        lb_class=None,
        ignore_exclude_lb=False,
        bind_address=address,
        bind_port=port,
        labels="",
        join=join,
        secret=GossipSecret(None),
        secret_path="",
        gossip=LOCAL,
        exclude=None,
    )


@asynccontextmanager
async def running(daemon: Daemon) -> AsyncIterator[Daemon]:
    """Start all that needs no right: what `Daemon._start` does, but for links and pages."""
    folder = sources.make_folder(daemon._settings, daemon._configuration.take)
    reading = asyncio.create_task(folder.run())
    await daemon._configuration.planned.wait()
    await daemon._peers.start()
    daemon.core.note_seeking(daemon.driver._clock())
    daemon.driver.wake()
    try:
        yield daemon
    finally:
        reading.cancel()
        daemon._configuration.close()
        await daemon._peers.close()
        daemon.driver.close()
        daemon._layer2.close()


def test_a_lone_speaker_reads_elects_is_ready_and_leaves(source: Path) -> None:
    async def course() -> None:
        log = Log()
        async with (
            asyncio.timeout(HANG),
            running(Daemon(settings("node-1", source), cast(Any, log))) as one,
        ):
            await log.wait_for("leader", ip=VIP, owner="node-1", service=SERVICE)
            await log.wait_for("ready")
            assert one._health.unready() is None
            assert set(one.core.services()) == {SERVICE}
            await one._leaving.run()
            assert [line["reason"] for line in log.of("withdraw")] == ["leaving"]
            assert not log.of("survived")

    asyncio.run(course())


def test_nothing_is_taken_up_before_contact(source: Path) -> None:
    async def course() -> None:
        log, port = Log(), free_port()
        flags = settings("node-1", source, "127.0.0.1", port, f"127.0.0.2:{port}")
        async with asyncio.timeout(HANG), running(Daemon(flags, cast(Any, log))) as one:
            one.driver.settle()
            assert one.core.held is HoldReason.START
            assert not one.core.services()
            assert "no contact" in (one._health.unready() or "")

    asyncio.run(course())


def test_two_speakers_meet_and_the_one_that_leaves_hands_over(source: Path) -> None:
    async def course() -> None:
        port = free_port()
        names = {"node-1": "127.0.0.1", "node-2": "127.0.0.2"}
        seeds = [f"{ip}:{port}" for ip in names.values()]
        logs = {name: Log() for name in names}
        one, two = (
            Daemon(settings(name, source, ip, port, *seeds), cast(Any, logs[name]))
            for name, ip in names.items()
        )
        async with asyncio.timeout(HANG), running(one), running(two):
            for log in logs.values():
                await log.wait_for("contact", state="made", by="exchange")
                await log.wait_for("ready")
            first, second = (one, two) if SERVICE in one.core.services() else (two, one)
            heir = second.core.node
            assert SERVICE not in second.core.services()
            await first._leaving.run()
            await logs[heir].wait_for("leader", ip=VIP, owner=heir, previous=first.core.node)
            assert set(second.core.services()) == {SERVICE}
            assert logs[first.core.node].of("withdraw", ip=VIP)

    asyncio.run(course())


def test_a_speaker_without_the_right_to_a_link_says_so_and_ends(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def course() -> None:
        log = Log()
        daemon = Daemon(settings("node-1", source), cast(Any, log))

        def refuse(*_: Any) -> None:
            raise PermissionError

        # A thread ends the process so much later.
        monkeypatch.setattr(ending, "END_WITHIN", 3600.0)
        monkeypatch.setattr(daemon._layer2, "set_interfaces", refuse)
        daemon._on_links({}, frozenset())
        assert daemon._ending.stop.is_set()
        assert [line["error"] for line in log.of("fatal")] == [NO_RIGHT]

    asyncio.run(course())


def free_port() -> int:
    """A port that nobody uses on loopback, for UDP and TCP."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
