"""What /metrics shows of gossip's own work: traffic, probes, exchanges, and what was lost.

What is refused has its place in `clarion_dropped_total`, see `Peers.refusals`.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from gossip.stats import Stats, StreamStats
from gossip.wire.messages import TYPES, MessageType
from speaker.metrics.families import counter, gauge, total


def traffic(stats: Stats, streams: StreamStats) -> Iterator[Metric]:
    """Yield every family of gossip that is read from these counters."""
    yield from _messages(stats)
    yield from _bytes(stats, streams)
    yield from _probes(stats)
    yield from _members(stats)
    yield from _losses(stats)


def _messages(stats: Stats) -> Iterator[Metric]:
    yield counter(
        "clarion_gossip_messages_sent",
        "Gossip sent this many messages of the type, in datagrams and in TCP streams.",
        "type",
        _by_type(stats.sent),
    )
    yield counter(
        "clarion_gossip_messages_received",
        "Gossip received this many readable messages of the type, in datagrams and in TCP streams.",
        "type",
        _by_type(stats.received),
    )


def _by_type(counts: Counter[MessageType]) -> dict[str, float]:
    return {kind.name.lower(): counts[kind] for kind in TYPES.values()}


def _bytes(stats: Stats, streams: StreamStats) -> Iterator[Metric]:
    yield counter(
        "clarion_gossip_datagrams",
        "This many UDP datagrams of gossip passed in the direction; refused ones count, too.",
        "direction",
        {"sent": stats.datagrams_sent, "received": stats.datagrams_received},
    )
    yield counter(
        "clarion_gossip_streams",
        "This many TCP connections of gossip were made: "
        "they were accepted from others, or dialled by this node.",
        "origin",
        {"accepted": streams.accepted, "dialled": streams.dialled},
    )
    yield counter(
        "clarion_gossip_sent_bytes",
        "Gossip sent this many bytes by the transport, without the headers of IP, UDP and TCP.",
        "transport",
        {"udp": stats.bytes_sent, "tcp": streams.bytes_sent},
    )
    yield counter(
        "clarion_gossip_received_bytes",
        "Gossip received this many bytes by the transport, without the headers of IP, UDP and TCP; "
        "refused ones count, too.",
        "transport",
        {"udp": stats.bytes_received, "tcp": streams.bytes_received},
    )


def _probes(stats: Stats) -> Iterator[Metric]:
    yield total(
        "clarion_gossip_probes_begun",
        "This node began this many probes, each of which asks a member whether it lives.",
        stats.probes,
    )
    yield counter(
        "clarion_gossip_probes",
        "This many probes of other members ended with the outcome.",
        "outcome",
        {
            "acked": stats.probes_acked,
            "acked_late": stats.probes_acked_late,
            "acked_by_tcp": stats.tcp_fallbacks,
            "failed": stats.probes_failed,
            "forgotten": stats.probes_forgotten,
        },
    )
    yield total(
        "clarion_gossip_stalls",
        "This node stood still for more than a second this many times, "
        "and then forgave the others their silence.",
        stats.stalls,
    )


def _members(stats: Stats) -> Iterator[Metric]:
    yield total(
        "clarion_gossip_suspicions",
        "A living member became suspect on this node this many times.",
        stats.suspicions,
    )
    yield total(
        "clarion_gossip_deaths",
        "A suspicion ran out on this node this many times, which made the member dead.",
        stats.deaths,
    )
    yield total(
        "clarion_gossip_refutations",
        "This node contradicted this many times that it was suspect or dead.",
        stats.refutations,
    )
    yield total(
        "clarion_gossip_exchanges",
        "This node took over the whole state of a peer this many times, whoever had dialled.",
        stats.exchanges,
    )


def _losses(stats: Stats) -> Iterator[Metric]:
    yield gauge(
        "clarion_gossip_queued_broadcasts",
        "This many pieces of news wait to be gossiped as often as they should be.",
        stats.queued,
    )
    yield total(
        "clarion_gossip_broadcasts_dropped",
        "This many pieces of news left a full queue before they were gossiped often enough.",
        stats.broadcasts_dropped,
    )
    yield total(
        "clarion_gossip_events_lost",
        "This many events of gossip never reached the speaker, because too many waited for it.",
        stats.events_lost,
    )
