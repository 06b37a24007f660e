"""MetalLB's rules on a BGPPeer among the others, and on BFDProfiles in use. Pure.

The BFD profile and the Secret that a peer names are not looked at: they may come after it.
"""

from collections.abc import Iterator

from controller.admission.world import AdmissionWorld, BGPType
from kube.objects.bgp import BGPPeer, PeerSpec
from kube.rules import peers

DISABLE_MP = "disable mp is deprecated and has no effect since it's the default behavior now"


def refusals(peer: BGPPeer, world: AdmissionWorld) -> Iterator[str]:
    """Return MetalLB's objections, those of the BGP implementation first."""
    if world.bgp is BGPType.NATIVE:
        for what in _beyond_native(peer.spec):
            yield f"peer {peer.spec.peer_address} has {what} set on native bgp mode"
    if world.bgp is BGPType.FRR:
        for other in world.peers.values():
            if other.name != peer.name and _share_a_node(peer, other, world):
                for _, text in peers.beside(peer.spec, other.spec):
                    yield text
    for _, text in peers.alone(peer):
        yield f"parsing peer {peer.name} {text}"


def unreadable_duration(spec: PeerSpec) -> str | None:
    """Say which text is no duration, or return None."""
    return next((text for _, text in peers.unreadable_durations(spec)), None)


def profile_in_use(name: str, world: AdmissionWorld) -> Iterator[str]:
    """Refuse to delete a BFDProfile that a peer names."""
    for peer in world.peers.values():
        if peer.spec.bfd_profile == name:
            yield f"failed to delete BFDProfile {name}, used by BGPPeer {peer.name}"


def _beyond_native(spec: PeerSpec) -> Iterator[str]:
    for there, what in (
        (peers.seconds(spec.keepalive_time), "keepalive-time"),
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


def _share_a_node(one: BGPPeer, other: BGPPeer, world: AdmissionWorld) -> bool:
    mine, theirs = one.spec.node_selectors, other.spec.node_selectors
    if not mine and not theirs:
        return True
    return bool(world.nodes_of(mine) & world.nodes_of(theirs))
