"""BGP's and BFD's figures, with MetalLB's names; read when somebody scrapes."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from bgp.door.engine_states import EngineState
from bgp.places import Neighbor
from kube.peering import Session
from speaker.bgp.fast_failover import FastFailover
from speaker.bgp.sessions import Sessions
from speaker.bgp.typist import Typist
from speaker.metrics.families import gauge, total

_LABELS = ("peer", "vrf")
_MESSAGES = {
    "opens_sent": ("opens_sent", "BGP OPEN messages sent."),
    "opens_received": ("opens_recv", "BGP OPEN messages received."),
    "notifications_sent": ("notifications_sent", "BGP NOTIFICATION messages sent."),
    "updates_total_received": ("updates_recv", "BGP UPDATE messages received."),
    "keepalives_sent": ("keepalives_sent", "BGP KEEPALIVE messages sent."),
    "keepalives_received": ("keepalives_recv", "BGP KEEPALIVE messages received."),
    "route_refresh_sent": ("route_refresh_sent", "BGP ROUTE-REFRESH messages sent."),
    "total_sent": ("total_sent", "BGP messages sent."),
    "total_received": ("total_recv", "BGP messages received."),
}
_BFD = {
    "control_packet_input": "BFD control packets received.",
    "control_packet_output": "BFD control packets sent.",
    "echo_packet_input": "BFD echo packets received.",
    "echo_packet_output": "BFD echo packets sent.",
    "session_up": "How often the BFD session came up.",
    "session_down": "How often the BFD session went down.",
    "zebra_notifications": "What zebra was told of the BFD session.",
}


class Readable(Protocol):
    """What is read of BGP's side; from the HTTP thread."""

    sessions: Sessions
    typist: Typist
    fast_failover: FastFailover

    @property
    def engine_state(self) -> EngineState:
        """How the engine is."""

    @property
    def wanted(self) -> bool:
        """Whether this node is to have any session."""


class BgpCollector(Collector):
    """Nothing is shown while BGP is not wanted, but how the engine is."""

    def __init__(self, routing: Readable) -> None:
        self._routing = routing

    def collect(self) -> Iterator[Metric]:
        """Return all families."""
        yield from self._engine()
        peers = self._routing.sessions.peers
        yield from self._bgp(peers)
        yield from self._bfd({at: peer for at, peer in peers.items() if peer.bfd})

    def _engine(self) -> Iterator[Metric]:
        engine = GaugeMetricFamily(
            "clarion_bgp_engine", "1 for the state that the BGP engine is in.", labels=["state"]
        )
        for state in EngineState:
            engine.add_metric([state], float(state is self._routing.engine_state))
        yield engine
        typist = self._routing.typist
        wanted = "1 where this node is to have BGP sessions."
        yield gauge("clarion_bgp_wanted", wanted, float(self._routing.wanted))
        yield total("clarion_bgp_lines", "Lines typed into the engine.", typist.typed_lines)
        yield total(
            "clarion_bgp_refused_lines", "Lines that the engine refused.", typist.refused_lines
        )
        yield total(
            "clarion_bgp_comparisons",
            "How often everything was compared with what the engine has.",
            typist.comparisons,
        )
        yield gauge(
            "clarion_bgp_refused_prefixes",
            "Prefixes that are not announced, as there are too many different offers.",
            typist.refused_prefixes,
        )
        yield from self._fast_failover()

    def _fast_failover(self) -> Iterator[Metric]:
        found = self._routing.fast_failover
        on = "1 where the MED tells routers that another node is gone."
        yield gauge("clarion_bgp_fast_failover", on, float(found.unable is None))
        yield gauge("clarion_bgp_med", "The MED of all routes.", float(found.med))
        yield total(
            "clarion_bgp_med_steps", "How often the MED fell for nodes that were gone.", found.steps
        )

    def _bgp(self, peers: Mapping[Neighbor, Session]) -> Iterator[Metric]:
        states = self._routing.sessions.states
        up = GaugeMetricFamily(
            "metallb_bgp_session_up", "1 where the BGP session is up.", labels=_LABELS
        )
        prefixes = GaugeMetricFamily(
            "metallb_bgp_announced_prefixes_total",
            "Prefixes that the peer was sent.",
            labels=_LABELS,
        )
        for at in peers:
            state = states.get(at)
            up.add_metric(_of(at), float(state is not None and state.established))
            prefixes.add_metric(_of(at), sum(state.sent.values()) if state is not None else 0)
        yield from (up, prefixes)
        updates = CounterMetricFamily(
            "metallb_bgp_updates", "BGP UPDATE messages sent.", labels=_LABELS
        )
        for at in peers:
            if (state := states.get(at)) is not None:
                updates.add_metric(_of(at), state.messages.updates_sent)
        yield updates
        for name, (field, text) in _MESSAGES.items():
            # A counter by Prometheus' rules would be called `..._total`.
            family = UnknownMetricFamily(f"metallb_bgp_{name}", text, labels=_LABELS)
            for at in peers:
                if (state := states.get(at)) is not None:
                    family.add_metric(_of(at), getattr(state.messages, field))
            yield family

    def _bfd(self, peers: Mapping[Neighbor, Session]) -> Iterator[Metric]:
        sessions = self._routing.sessions
        states, counters = sessions.bfd, sessions.counters
        up = GaugeMetricFamily(
            "metallb_bfd_session_up", "1 where the BFD session is up.", labels=_LABELS
        )
        for at in peers:
            state = states.get(at)
            up.add_metric(_of(at), float(state is not None and state.up))
        yield up
        for name, text in _BFD.items():
            suffix = "_events" if name.startswith("session_") else ""
            family = UnknownMetricFamily(f"metallb_bfd_{name}{suffix}", text, labels=_LABELS)
            for at in peers:
                if (counts := counters.get(at)) is not None:
                    family.add_metric(_of(at), getattr(counts, name))
            yield family


def _of(at: Neighbor) -> list[str]:
    vrf, neighbor = at
    return [neighbor, vrf or "default"]
