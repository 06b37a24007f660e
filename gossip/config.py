"""The numbers of the protocol, with memberlist's three presets.

None of them is negotiated on the wire: every member of a cluster must use the same ones.
"""

from dataclasses import dataclass, field

from gossip.address import Network
from gossip.wire.messages import CURRENT_VSN
from gossip.wire.packet import WireConfig

VSN_LENGTH = 6
RECLAIM_AFTER = 5.0
"""Seconds after which a speaker lets a dead node come back under another address; memberlist's own
default waits until the node is forgotten, half a minute or more, and each member for itself."""


SHORTEST = 0.001
"""Seconds between two beats of a timer, at least: more of them, and a node does nothing else; at
last a clock that counts Unix seconds could not tell one from the next."""
LONGEST = (2**63 - 1) / 1e9
"""Seconds: Go has no longer durations, so memberlist cannot have been told more."""
MOST = 2**31 - 1
"""For all that is counted: with numbers of any length a product would not fit into a float, which a
timer would be the first to find out. memberlist's 64 bits have no use here."""
MAX_PORT = 0xFFFF
MAX_UDP = 65_507
"""Bytes of the largest UDP packet on IPv4. memberlist fills larger buffers too, and the kernel then
refuses to send; here a buffer counts as this long at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of one node; times in seconds. The defaults are memberlist's LAN profile."""

    wire: WireConfig = field(default_factory=WireConfig)
    vsn: bytes = CURRENT_VSN
    port: int = 7946
    tcp_timeout: float = 10.0
    indirect_checks: int = 3
    retransmit_mult: int = 4
    suspicion_mult: int = 4
    suspicion_max_timeout_mult: int = 6
    push_pull_interval: float = 30.0
    probe_interval: float = 1.0
    probe_timeout: float = 0.5
    awareness_max_multiplier: int = 8
    gossip_interval: float = 0.2
    gossip_nodes: int = 3
    gossip_to_the_dead_time: float = 30.0
    tcp_pings: bool = True
    check_together: bool = True
    """Expect nodes to die together; false: memberlist's own course (docs/adr/0005)."""
    ask_newcomers: bool = True
    """Ping a name that only strangers bring before it becomes a member; false: memberlist's own
    course (docs/adr/0013)."""
    udp_buffer_size: int = 1400
    dead_node_reclaim_time: float = 0.0
    rejoin_interval: float = 5.0
    """Between dials to seeds that are no members. Two halves of a cluster that was parted learn of
    each other by them; MetalLB's 60 s would mean two owners of every IP for a minute."""
    lonely_interval: float = 1.0
    leave_timeout: float = 1.0
    cidrs_allowed: tuple[Network, ...] | None = None
    """Where members may live and speak from (memberlist's CIDRsAllowed); None: anywhere."""

    def __post_init__(self) -> None:
        """Refuse what would make timers spin or crash a Go peer; ValueError names the field."""
        if len(self.vsn) != VSN_LENGTH:
            raise ValueError(f"vsn: {len(self.vsn)} bytes, must be {VSN_LENGTH}")
        for low, high, current in (self.vsn[:3], self.vsn[3:]):
            if not low <= current <= high:
                raise ValueError(f"vsn: version {current} is not in {low}..{high}")
        for names, least, most, what in _BOUNDS:
            for name in names:
                if not least <= getattr(self, name) <= most:
                    raise ValueError(f"{name}: must be {what}")


_INTERVALS = (
    "tcp_timeout",
    "push_pull_interval",
    "probe_interval",
    "probe_timeout",
    "gossip_interval",
    "rejoin_interval",
    "lonely_interval",
)
_ANY_INTERVALS = ("gossip_to_the_dead_time", "dead_node_reclaim_time", "leave_timeout")
"""Negative ones are as 0, here as with memberlist."""
_ANY_COUNTS = ("indirect_checks", "udp_buffer_size")
"""As with memberlist, no helper is asked where the number is negative, and no news is sent along
where the buffer has no room for it: push/pull alone then carries it."""
_COUNTS = (
    "retransmit_mult",
    "suspicion_mult",
    "suspicion_max_timeout_mult",
    "awareness_max_multiplier",
    "gossip_nodes",
)
_BOUNDS: tuple[tuple[tuple[str, ...], float, float, str], ...] = (
    (_INTERVALS, SHORTEST, LONGEST, "1 ms to 292 years"),
    (_ANY_INTERVALS, -LONGEST, LONGEST, "292 years at most"),
    (_COUNTS, 1, MOST, f"1 or more, and {MOST} at most"),
    (_ANY_COUNTS, -MOST, MOST, f"-{MOST} to {MOST}"),
    (("port",), 1, MAX_PORT, f"1 or more, and {MAX_PORT} at most"),
)

LAN = Config()
WAN = Config(
    tcp_timeout=30.0,
    suspicion_mult=6,
    push_pull_interval=60.0,
    probe_interval=5.0,
    probe_timeout=3.0,
    gossip_interval=0.5,
    gossip_nodes=4,
    gossip_to_the_dead_time=60.0,
)
LOCAL = Config(
    tcp_timeout=1.0,
    indirect_checks=1,
    retransmit_mult=2,
    suspicion_mult=3,
    push_pull_interval=15.0,
    probe_timeout=0.2,
    gossip_interval=0.1,
    gossip_to_the_dead_time=15.0,
)
PRESETS = {"lan": LAN, "wan": WAN, "local": LOCAL}
