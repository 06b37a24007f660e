"""MetalLB's rules on a BGPPeer among the others, and on BFDProfiles in use, in its words. Pure.

The BFD profile and the Secret that a peer names are not looked at: they may come after it.
"""

from collections.abc import Iterator

from controller.admission import go_text, selectors
from controller.admission.world import BGPType, World
from kube.address import parse_ip
from kube.objects.bgp import BGPPeer, PeerSpec
from process.durations import parse_duration

DISABLE_MP = "disable mp is deprecated and has no effect since it's the default behavior now"
_SHORTEST_HOLD = 3.0
"""Seconds (RFC 4271, 4.2)."""


def refusals(peer: BGPPeer, world: World) -> Iterator[str]:
    """Return MetalLB's objections, those of the BGP implementation first."""
    if world.bgp is BGPType.NATIVE:
        for what in _beyond_native(peer.spec):
            yield f"peer {peer.spec.peer_address} has {what} set on native bgp mode"
    if world.bgp is BGPType.FRR:
        for other in world.peers.values():
            if other.name != peer.name and _share_a_node(peer, other, world):
                yield from _beside(peer.spec, other.spec)
    for text in _alone(peer):
        yield f"parsing peer {peer.name} {text}"


def unreadable_duration(spec: PeerSpec) -> str | None:
    """Say which text is no duration, or return None."""
    for text in (spec.hold_time, spec.keepalive_time, spec.connect_time):
        try:
            _seconds(text)
        except ValueError:
            return f"time: invalid duration {go_text.quote(text or '')}"
    return None


def profile_in_use(name: str, world: World) -> Iterator[str]:
    """Refuse to delete a BFDProfile that a peer names."""
    for peer in world.peers.values():
        if peer.spec.bfd_profile == name:
            yield f"failed to delete BFDProfile {name}, used by BGPPeer {peer.name}"


def _beyond_native(spec: PeerSpec) -> Iterator[str]:
    for there, what in (
        (_seconds(spec.keepalive_time), "keepalive-time"),
        (spec.vrf, "vrf"),
        (spec.connect_time is not None, "connect time"),
        (spec.enable_graceful_restart, "EnableGracefulRestart flag"),
        (spec.disable_mp, "disable MP flag"),
        (spec.dual_stack_address_family, "dualstackaddressfamily flag"),
        (spec.dynamic_asn, "dynamicASN"),
        (spec.interface, "interface"),
        (spec.local_asn, "localASN"),
    ):
        if there:
            yield what


def _share_a_node(one: BGPPeer, other: BGPPeer, world: World) -> bool:
    mine, theirs = one.spec.node_selectors, other.spec.node_selectors
    if not mine and not theirs:
        return True
    return bool(world.nodes_of(mine) & world.nodes_of(theirs))


def _beside(one: PeerSpec, other: PeerSpec) -> Iterator[str]:
    """Return what FRR cannot do for two peers of one node."""
    where = "in FRR mode peers selecting the same node must"
    if one.router_id != other.router_id:
        yield (
            f"peer {one.router_id} has RouterID different from {other.router_id}, {where} all "
            "have the same RouterID"
        )
    if _identity(one) == _identity(other):
        yield (
            f"peer {_identity(one)} already exists, FRR mode doesn't support duplicate BGPPeers "
            "selecting the same node"
        )
    if one.my_asn != other.my_asn and one.vrf == other.vrf:
        yield (
            f"peer {_identity(one)} has myAsn different from {_identity(other)}, {where} have the "
            "same myAsn within the same VRF"
        )


def _identity(spec: PeerSpec) -> str:
    return f"{spec.peer_address or spec.interface}-{spec.vrf}"


def _alone(peer: BGPPeer) -> Iterator[str]:
    yield from _numbers(peer.spec)
    yield from _timers(peer.spec)
    yield from _addresses(peer.spec)
    yield from selectors.selectors_twice(peer.spec.node_selectors, "nodeSelectors")
    for selector in peer.spec.node_selectors:
        if (why := selectors.unreadable(selector)) is not None:
            yield f"{why}\nfailed to convert peer {peer.name} node selector"


def _numbers(spec: PeerSpec) -> Iterator[str]:
    if spec.my_asn == 0:
        yield "missing local ASN"
    if spec.peer_asn == 0 and not spec.dynamic_asn:
        yield "missing peer ASN and dynamicASN"
    if spec.peer_asn != 0 and spec.dynamic_asn:
        yield "both peer ASN and dynamicASN specified"
    if spec.dynamic_asn not in ("", "internal", "external"):
        yield f"invalid dynamicASN {spec.dynamic_asn[: go_text.MAX_TEXT]}"
    if spec.peer_asn == spec.my_asn and spec.ebgp_multi_hop:
        yield "invalid ebgp-multihop parameter set for an ibgp peer"
    if not spec.peer_address and not spec.interface:
        yield "peer has no Address or Interface specified"
    if spec.peer_address and spec.interface:
        yield "peer has both Address and Interface specified"


def _timers(spec: PeerSpec) -> Iterator[str]:
    hold, keepalive = _seconds(spec.hold_time), _seconds(spec.keepalive_time)
    if hold is None:
        hold = None if keepalive is None else 3 * keepalive
    if hold is None:
        return
    if int(hold) != 0 and hold < _SHORTEST_HOLD:
        text = _shown(spec.hold_time)
        yield f"invalid BGPPeer timers: invalid hold time {text}: must be 0 or >=3s"
    if keepalive is not None and keepalive > hold:
        yield (
            f"invalid BGPPeer timers: invalid keepaliveTime {_shown(spec.keepalive_time)}, must "
            f"be lower than holdTime {_shown(spec.hold_time)}"
        )


def _seconds(text: str | None) -> float | None:
    """Read a duration, or None; a negative one is kept, as no timer may be."""
    if text is None:
        return None
    return -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)


def _shown(text: str | None) -> str:
    seconds = _seconds(text)
    if seconds is None:
        return '"nil"'
    sign = "-" if seconds < 0 else ""
    return f'"&Duration{{Duration:{sign}{go_text.duration(abs(seconds))},}}"'


def _addresses(spec: PeerSpec) -> Iterator[str]:
    for text, what in (
        (spec.peer_address, "BGPPeer address"),
        (spec.router_id, "router ID"),
        (spec.source_address, "source IP"),
    ):
        if text and parse_ip(text) is None:
            yield f"invalid {what} {go_text.quote(text)}"
