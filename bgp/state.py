"""What the engine says of its state: its JSON, read into what we need of it. Pure.

Fields that are missing are what they are without a session; a field of another kind than it should
be is an error, as nothing that stands beside it can be trusted then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar

import msgspec

from bgp.places import Neighbor
from bgp.words import same_address
from kube.peering import AddressFamily
from plan.offers import IPNetwork

T = TypeVar("T")
MOST_BYTES = 64 << 20
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)


class EngineStateError(ValueError):
    """JSON that is none, or not of the form that the engine gives it."""


class _Messages(msgspec.Struct, frozen=True, rename="camel"):
    opens_sent: int = 0
    opens_recv: int = 0
    notifications_sent: int = 0
    notifications_recv: int = 0
    updates_sent: int = 0
    updates_recv: int = 0
    keepalives_sent: int = 0
    keepalives_recv: int = 0
    route_refresh_sent: int = 0
    route_refresh_recv: int = 0
    total_sent: int = 0
    total_recv: int = 0


MessageCounts = _Messages
"""How many messages went each way."""


class _Family(msgspec.Struct, rename="camel"):
    sent_prefix_counter: int = 0


class _Neighbor(msgspec.Struct, rename="camel"):
    bgp_state: str = ""
    bgp_neighbor_addr: str = ""
    connections_established: int = 0
    connections_dropped: int = 0
    last_reset_due_to: str = ""
    last_notification_reason: str = ""
    bgp_timer_up_msec: int = 0
    bgp_timer_hold_time_msecs: int = 0
    bgp_timer_configured_hold_time_msecs: int = 0
    message_stats: _Messages = _Messages()
    address_family_info: dict[str, _Family] = {}


class _Bfd(msgspec.Struct, rename="kebab"):
    peer: str = ""
    interface: str = ""
    vrf: str = "default"
    status: str = ""
    diagnostic: str = ""
    remote_diagnostic: str = ""
    uptime: int = 0


class _Counters(msgspec.Struct, frozen=True, rename="kebab"):
    control_packet_input: int = 0
    control_packet_output: int = 0
    echo_packet_input: int = 0
    echo_packet_output: int = 0
    session_up: int = 0
    session_down: int = 0
    zebra_notifications: int = 0


BfdCounts = _Counters
"""How many packets and changes a BFD session has had."""


class _CountedBfd(_Counters, frozen=True, rename="kebab"):
    peer: str = ""
    vrf: str = "default"


@dataclass(frozen=True, slots=True)
class NeighborState:
    """A session. Times in milliseconds; texts are the engine's, and in part the peer's."""

    established: bool
    state: str
    uptime: int
    hold: int
    """As agreed on; as configured while there is no session."""
    dropped: int
    """How often the session was up and went down."""
    last_reset: str
    last_notification: str
    messages: MessageCounts
    sent: Mapping[AddressFamily, int]
    """How many prefixes the peer was sent, of each family that the session carries."""


@dataclass(frozen=True, slots=True)
class BfdState:
    """A BFD session. `uptime` in seconds."""

    up: bool
    status: str
    interface: str
    diagnostic: str
    uptime: int


def neighbors(raw: bytes | str) -> dict[Neighbor, NeighborState]:
    """Read `show bgp vrf all neighbors json`. Raises `EngineStateError`."""
    found: dict[Neighbor, NeighborState] = {}
    for vrf, below in _decode(raw, dict[str, dict[str, msgspec.Raw]]).items():
        for name, value in below.items():
            # Beside the neighbours stand the VRF's own `vrfId` and `vrfName`.
            if bytes(value).lstrip().startswith(b"{"):
                key = _vrf(vrf), same_address(name)
                found[key] = _neighbor_state(_decode(bytes(value), _Neighbor))
    return found


def _neighbor_state(read: _Neighbor) -> NeighborState:
    sent = {
        family: read.address_family_info[f"{family}Unicast"].sent_prefix_counter
        for family in AddressFamily
        if f"{family}Unicast" in read.address_family_info
    }
    return NeighborState(
        established=read.bgp_state == "Established",
        state=read.bgp_state[:40],
        uptime=read.bgp_timer_up_msec,
        hold=read.bgp_timer_hold_time_msecs or read.bgp_timer_configured_hold_time_msecs,
        dropped=read.connections_dropped,
        last_reset=read.last_reset_due_to[:200],
        last_notification=read.last_notification_reason[:200],
        messages=read.message_stats,
        sent=sent,
    )


def bfd_peers(raw: bytes | str) -> dict[Neighbor, BfdState]:
    """Read `show bfd peers json`. Raises `EngineStateError`."""
    return {
        (_vrf(each.vrf), same_address(each.peer)): BfdState(
            up=each.status == "up",
            status=each.status[:40],
            interface=each.interface[:40],
            diagnostic=each.diagnostic[:200],
            uptime=each.uptime,
        )
        for each in _decode(raw, list[_Bfd])
    }


def bfd_counters(raw: bytes | str) -> dict[Neighbor, BfdCounts]:
    """Read `show bfd peers counters json`. Raises `EngineStateError`."""
    return {
        (_vrf(each.vrf), same_address(each.peer)): each for each in _decode(raw, list[_CountedBfd])
    }


class _Advertised(msgspec.Struct, rename="camel"):
    advertised_routes: dict[str, msgspec.Raw] = {}


def advertised(raw: bytes | str) -> frozenset[IPNetwork]:
    """Read `show bgp ... neighbors X advertised-routes json`. Raises `EngineStateError`."""
    read = _decode(raw, _Advertised)
    return frozenset(_network(text) for text in read.advertised_routes)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise EngineStateError("a route that is no prefix") from None


def _vrf(name: str) -> str:
    return "" if name == "default" else name


def _decode(raw: bytes | str, shape: type[T]) -> T:
    if len(raw) > MOST_BYTES:
        raise EngineStateError("JSON that is too long")
    try:
        return msgspec.json.decode(raw, type=shape)
    except _NOT_JSON:
        raise EngineStateError("no JSON, or not of the engine's form") from None
