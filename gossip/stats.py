"""What a node counts: for metrics, tests and people."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from gossip.wire.errors import Refusal
from gossip.wire.messages import MessageType


class Ignored(StrEnum):
    """Why a well-formed message changed nothing."""

    UNKNOWN_NODE = "unknown_node"
    OLD_INCARNATION = "old_incarnation"
    NOT_ALIVE = "not_alive"
    REPEATED = "repeated"
    LEAVING = "leaving"
    BAD_ADDRESS = "bad_address"
    NOT_ALLOWED = "not_allowed"
    """An address outside of `Config.cidrs_allowed`."""
    HOOK = "hook"
    """The application refused it, see `hooks`."""
    BURIED = "buried"
    BAD_NAME = "bad_name"
    BAD_VSN = "bad_vsn"
    NAME_CONFLICT = "name_conflict"
    TABLE_FULL = "table_full"
    WRONG_NAME = "wrong_name"
    NEWCOMER_SILENT = "newcomer_silent"
    """A name that only strangers brought has not answered our pings, see `candidates`."""
    NEWCOMERS_FULL = "newcomers_full"
    UNKNOWN_SEQUENCE = "unknown_sequence"
    UNKNOWN_DIAL = "unknown_dial"
    UNEXPECTED = "unexpected"
    INCOMPATIBLE = "incompatible"
    RELAYS_FULL = "relays_full"
    INCARNATION_SPENT = "incarnation_spent"
    INCARNATION_AHEAD = "incarnation_ahead"
    """More than an hour ahead of our clock, and of what is known of that node: see `calendar`."""


@dataclass(slots=True)
class Stats:
    """Counters since the start, and three gauges (`health`, `queued`, `members`)."""

    refusals: Counter[Refusal] = field(default_factory=Counter)
    ignored: Counter[Ignored] = field(default_factory=Counter)
    sent: Counter[MessageType] = field(default_factory=Counter)
    """In datagrams and in streams; `received` too."""
    received: Counter[MessageType] = field(default_factory=Counter)
    datagrams_sent: int = 0
    bytes_sent: int = 0
    """Of datagrams, as they leave: sealed, and without the headers of UDP and IP."""
    datagrams_received: int = 0
    """Those that were refused, too."""
    bytes_received: int = 0
    suspicions: int = 0
    deaths: int = 0
    refutations: int = 0
    probes: int = 0
    probes_acked: int = 0
    probes_acked_late: int = 0
    """After helpers had been asked: by itself, or through one of them."""
    probes_failed: int = 0
    probes_forgotten: int = 0
    tcp_fallbacks: int = 0
    stalls: int = 0
    exchanges: int = 0
    exchanges_failed: int = 0
    events_lost: int = 0
    broadcasts_dropped: int = 0
    health: int = 0
    queued: int = 0
    members: int = 1


@dataclass(slots=True)
class StreamStats:
    """What passed the TCP streams, counted by the driver: the core sees whole messages alone."""

    accepted: int = 0
    dialled: int = 0
    """Those that a peer took up."""
    bytes_sent: int = 0
    bytes_received: int = 0
    """Those of streams that were cut, too."""
