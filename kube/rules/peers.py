"""MetalLB's rules on a BGPPeer, alone and beside another one of the same node, in its words. Pure.

The BFD profile and the Secret that a peer names are not looked at here.
"""

from collections.abc import Iterator

from kube.address import parse_ip
from kube.durations import parse_duration
from kube.objects.bgp import BGPPeer, PeerSpec
from kube.problem import Finding
from kube.rules import go_text, selectors

_SHORTEST_HOLD = 3.0
"""Seconds (RFC 4271, 4.2)."""


def alone(peer: BGPPeer) -> Iterator[Finding]:
    """Return what is wrong with a peer, whatever else there is. Its durations are readable."""
    yield from _numbers(peer.spec)
    yield from _timers(peer.spec)
    yield from _addresses(peer.spec)
    some = peer.spec.node_selectors
    for path, text in selectors.selectors_twice(some, "nodeSelectors"):
        yield ("spec", "nodeSelectors", *path), text
    for index, selector in enumerate(some):
        if (why := selectors.unreadable(selector)) is not None:
            text = f"{why}\nfailed to convert peer {peer.name} node selector"
            yield ("spec", "nodeSelectors", index), text


def unreadable_durations(spec: PeerSpec) -> Iterator[Finding]:
    """Return the texts that are no durations."""
    for name, text in (
        ("holdTime", spec.hold_time),
        ("keepaliveTime", spec.keepalive_time),
        ("connectTime", spec.connect_time),
    ):
        try:
            seconds(text)
        except ValueError:
            yield ("spec", name), f"time: invalid duration {go_text.quote(text or '')}"


def beside(one: PeerSpec, other: PeerSpec) -> Iterator[Finding]:
    """Return what FRR cannot do for two peers of one node, by the fields of `one`."""
    where = "in FRR mode peers selecting the same node must"
    if one.router_id != other.router_id:
        mine, theirs = (spec.router_id[: go_text.MAX_TEXT] for spec in (one, other))
        text = f"peer {mine} has RouterID different from {theirs}"
        yield ("spec", "routerID"), f"{text}, {where} all have the same RouterID"
    if neighbor(one) == neighbor(other):
        text = f"peer {_identity(one)} already exists, FRR mode doesn't support duplicate BGPPeers"
        field = "peerAddress" if one.peer_address else "interface"
        yield ("spec", field), f"{text} selecting the same node"
    if one.my_asn != other.my_asn and vrf(one) == vrf(other):
        text = f"peer {_identity(one)} has myAsn different from {_identity(other)}"
        yield ("spec", "myASN"), f"{text}, {where} have the same myAsn within the same VRF"


def neighbor(spec: PeerSpec) -> tuple[object, str]:
    """Return what no two peers of a node may have alike: an address, however written, and VRF."""
    return parse_ip(spec.peer_address) or spec.peer_address or spec.interface, vrf(spec)


def vrf(spec: PeerSpec) -> str:
    """Return the VRF, empty for the one that is there without any."""
    return "" if spec.vrf == "default" else spec.vrf


def _identity(spec: PeerSpec) -> str:
    return f"{spec.peer_address or spec.interface}-{spec.vrf}"[: go_text.MAX_TEXT]


def _numbers(spec: PeerSpec) -> Iterator[Finding]:
    if spec.my_asn == 0:
        yield ("spec", "myASN"), "missing local ASN"
    if spec.peer_asn == 0 and not spec.dynamic_asn:
        yield ("spec", "peerASN"), "missing peer ASN and dynamicASN"
    if spec.peer_asn != 0 and spec.dynamic_asn:
        yield ("spec", "dynamicASN"), "both peer ASN and dynamicASN specified"
    if spec.dynamic_asn not in ("", "internal", "external"):
        text = f"invalid dynamicASN {spec.dynamic_asn[: go_text.MAX_TEXT]}"
        yield ("spec", "dynamicASN"), text
    if spec.peer_asn == spec.my_asn and spec.ebgp_multi_hop:
        text = "invalid ebgp-multihop parameter set for an ibgp peer"
        yield ("spec", "ebgpMultiHop"), text
    if not spec.peer_address and not spec.interface:
        yield ("spec", "peerAddress"), "peer has no Address or Interface specified"
    if spec.peer_address and spec.interface:
        yield ("spec", "interface"), "peer has both Address and Interface specified"


def _timers(spec: PeerSpec) -> Iterator[Finding]:
    hold, keepalive = seconds(spec.hold_time), seconds(spec.keepalive_time)
    if hold is None:
        hold = None if keepalive is None else 3 * keepalive
    if hold is None:
        return
    where = "holdTime" if spec.hold_time is not None else "keepaliveTime"
    if int(hold) != 0 and hold < _SHORTEST_HOLD:
        text = _shown(spec.hold_time)
        message = f"invalid BGPPeer timers: invalid hold time {text}: must be 0 or >=3s"
        yield ("spec", where), message
    if keepalive is not None and keepalive > hold:
        shown = _shown(spec.keepalive_time)
        message = f"invalid BGPPeer timers: invalid keepaliveTime {shown}, must be lower than"
        yield ("spec", "keepaliveTime"), f"{message} holdTime {_shown(spec.hold_time)}"


def seconds(text: str | None) -> float | None:
    """Read a duration, or None; a negative one is kept, as no timer may be. Raises ValueError."""
    if text is None:
        return None
    return -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)


def _shown(text: str | None) -> str:
    found = seconds(text)
    if found is None:
        return '"nil"'
    sign = "-" if found < 0 else ""
    return f'"&Duration{{Duration:{sign}{go_text.duration(abs(found))},}}"'


def _addresses(spec: PeerSpec) -> Iterator[Finding]:
    for name, text, what in (
        ("peerAddress", spec.peer_address, "BGPPeer address"),
        ("routerID", spec.router_id, "router ID"),
        ("sourceAddress", spec.source_address, "source IP"),
    ):
        if text and parse_ip(text) is None:
            yield ("spec", name), f"invalid {what} {go_text.quote(text)}"
