"""Whether this speaker is well and ready, as probes and figures have it, and the pages for them."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger as Log

from ownership.contact import HEARTBEAT
from ownership.io import HoldReason
from ownership.ownership import Ownership
from process.health import Health, HttpServer
from process.page.look import LookPage
from process.tls import Certificates
from speaker.configuration import Configuration
from speaker.metrics.collector import Figures, Instruments
from speaker.page.asking import PageMaker
from speaker.ring.peers import Peers
from speaker.settings import Settings
from speaker.upkeep import Part, Upkeep

_NO_WITNESS = (
    "only one other node and no gateway or client answers ICMP echo: "
    "if it dies, its IPs move after 5 to 7 s"
)


class Vitals:
    """Is told when the loop turns and when a turn is done; writes what the pages read."""

    def __init__(
        self,
        core: Ownership,
        configuration: Configuration,
        peers: Peers,
        health: Health,
        figures: Figures,
        instruments: Instruments,
        log: Log,
    ) -> None:
        self.beats_at = float("-inf")
        """When `beat` wants to be called next."""
        self._core = core
        self._configuration = configuration
        self._peers = peers
        self._health = health
        self._figures = figures
        self._instruments = instruments
        self._log = log

    def beat(self, now: float, late: float) -> None:
        """Note that the loop turns, once a heartbeat; `late` is what its timer was, s."""
        if now < self.beats_at:
            return
        self.beats_at = now + HEARTBEAT
        self._instruments.lag.observe(max(0.0, late))
        self._health.turned()
        self._peers.keep_time(now)
        self._peers.report_refusals(now)

    @property
    def ready(self) -> bool:
        """Whether this node owns all that it is to own, as far as contact goes."""
        return self._configuration.planned.is_set() and not self._core.held

    def note(self) -> None:
        """Note what is known after a turn."""
        held = self._core.held
        self._figures.contact = held is None
        if not self._configuration.planned.is_set():
            self._health.not_ready = "sources are not read yet"
        elif held is not None:
            self._health.not_ready = why_held(held, self._core.node)
        else:
            if self._health.not_ready is not None:
                self._log.info("ready")
            self._health.not_ready = None
        links = self._core.unwitnessed()
        witness = f"{', '.join(links)}: {_NO_WITNESS}" if links else None
        self._health.remark = witness


def why_held(reason: HoldReason, node: str) -> str:
    """Return for people why a speaker answers for nothing."""
    if reason is HoldReason.NAME_TAKEN:
        return f"another node has the name {node}: see --node-name"
    return "no contact with another speaker yet"


def serve(
    parts: AsyncExitStack,
    settings: Settings,
    registry: CollectorRegistry,
    health: Health,
    upkeep: Upkeep,
    log: Log,
    figures: Figures,
) -> None:
    """Serve the pages until `parts` is closed."""
    served = Certificates(settings.tls, log) if settings.tls else None
    if served is not None:
        figures.certificate = lambda: served.expiry
    tls = served.context if served else None
    note: Callable[[BaseException], None] = partial(upkeep.note, Part.HTTP)
    look = _look(settings, health) if settings.page else None
    for host, port, context, shown in (
        (settings.host, settings.port, tls, look),
        ("127.0.0.1", settings.health_port, None, None),
    ):
        if port:
            server = HttpServer(host, port, registry, health, note, context, shown)
            parts.push_async_callback(asyncio.to_thread, server.close)


def _look(settings: Settings, health: Health) -> LookPage:
    """Return the page for people."""
    return LookPage(PageMaker(settings.node_name, version("clarion"), health.unready, time.time))
