"""Views of the kinds that only BGP needs: advertisements, peers, BFD profiles, communities. Pure.

Durations stay the text that they are in the object, and no address is judged here.
"""

from collections.abc import Mapping

import msgspec

from kube.document import Origin
from kube.objects.kind import Kind, Metadata
from kube.selector import LabelSelector

_VERSION = "metallb.io/v1beta1"
PEER_VERSIONS = ("metallb.io/v1beta1", "metallb.io/v1beta2")
"""The old one and the stored one. Every field of the old one is in the stored one, with its type,
so that one view shows both."""


class BGPAdvertisement(msgspec.Struct, gc=False, frozen=True):
    """A metallb.io/v1beta1 BGPAdvertisement; an empty list restricts nothing."""

    namespace: str
    name: str
    pools: tuple[str, ...] = ()
    pool_selectors: tuple[LabelSelector, ...] = ()
    node_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()
    peers: tuple[str, ...] = ()
    communities: tuple[str, ...] = ()
    local_pref: int = 0
    aggregation_length: int = 32
    aggregation_length_v6: int = 128
    origin: Origin = Origin()


class SecretReference(msgspec.Struct, gc=False, frozen=True):
    """Which Secret holds a password; an empty name means none."""

    name: str = ""
    namespace: str = ""


class PeerSpec(msgspec.Struct, gc=False, frozen=True, rename="camel"):
    """How to reach a router. Durations are Go's texts, None where the field is absent."""

    my_asn: int = msgspec.field(name="myASN")
    peer_asn: int = msgspec.field(default=0, name="peerASN")
    dynamic_asn: str = msgspec.field(default="", name="dynamicASN")
    local_asn: int = msgspec.field(default=0, name="localASN")
    peer_address: str = ""
    interface: str = ""
    peer_port: int = 179
    source_address: str = ""
    router_id: str = msgspec.field(default="", name="routerID")
    hold_time: str | None = None
    keepalive_time: str | None = None
    connect_time: str | None = None
    password: str = ""
    password_secret: SecretReference = SecretReference()
    bfd_profile: str = ""
    ebgp_multi_hop: bool = False
    enable_graceful_restart: bool = False
    vrf: str = ""
    disable_mp: bool = msgspec.field(default=False, name="disableMP")
    dual_stack_address_family: bool = False
    node_selectors: tuple[LabelSelector, ...] = ()

    def __repr__(self) -> str:
        """Return what names the peer: a view that is printed shows no password."""
        return f"PeerSpec({self.my_asn}, {self.peer_asn}, {self.peer_address!r}, ...)"


class BGPPeer(msgspec.Struct, gc=False, frozen=True):
    """A metallb.io BGPPeer, of either version."""

    namespace: str
    name: str
    spec: PeerSpec
    origin: Origin = Origin()


class BFDSpec(msgspec.Struct, gc=False, frozen=True, rename="camel"):
    """Timers of BFD in milliseconds; None where the field is absent."""

    receive_interval: int | None = None
    transmit_interval: int | None = None
    detect_multiplier: int | None = None
    echo_interval: int | None = None
    minimum_ttl: int | None = None
    echo_mode: bool = False
    passive_mode: bool = False


class BFDProfile(msgspec.Struct, gc=False, frozen=True):
    """A metallb.io/v1beta1 BFDProfile."""

    namespace: str
    name: str
    spec: BFDSpec = BFDSpec()
    origin: Origin = Origin()


class Alias(msgspec.Struct, gc=False, frozen=True):
    """One name for a community, and the community's text."""

    name: str = ""
    value: str = ""


class Community(msgspec.Struct, gc=False, frozen=True):
    """A metallb.io/v1beta1 Community: names for communities."""

    namespace: str
    name: str
    aliases: tuple[Alias, ...] = ()
    origin: Origin = Origin()


View = BGPAdvertisement | BGPPeer | BFDProfile | Community


class _AdvertisementSpec(msgspec.Struct, gc=False, rename="camel"):
    pools: tuple[str, ...] = msgspec.field(default=(), name="ipAddressPools")
    pool_selectors: tuple[LabelSelector, ...] = msgspec.field(
        default=(), name="ipAddressPoolSelectors"
    )
    node_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()
    peers: tuple[str, ...] = ()
    communities: tuple[str, ...] = ()
    local_pref: int = 0
    aggregation_length: int = 32
    aggregation_length_v6: int = msgspec.field(default=128, name="aggregationLengthV6")


class _Advertisement(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: _AdvertisementSpec = msgspec.field(default_factory=_AdvertisementSpec)


class _Peer(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: PeerSpec


class _Profile(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: BFDSpec = BFDSpec()


class _CommunitySpec(msgspec.Struct, gc=False):
    communities: tuple[Alias, ...] = ()


class _Community(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: _CommunitySpec = msgspec.field(default_factory=_CommunitySpec)


def _advertisement(raw: _Advertisement, origin: Origin) -> BGPAdvertisement:
    spec = raw.spec
    return BGPAdvertisement(
        raw.metadata.namespace,
        raw.metadata.name,
        pools=spec.pools,
        pool_selectors=spec.pool_selectors,
        node_selectors=spec.node_selectors,
        service_selectors=spec.service_selectors,
        peers=spec.peers,
        communities=spec.communities,
        local_pref=spec.local_pref,
        aggregation_length=spec.aggregation_length,
        aggregation_length_v6=spec.aggregation_length_v6,
        origin=origin,
    )


def _peer(raw: _Peer, origin: Origin) -> BGPPeer:
    return BGPPeer(raw.metadata.namespace, raw.metadata.name, raw.spec, origin)


def _profile(raw: _Profile, origin: Origin) -> BFDProfile:
    return BFDProfile(raw.metadata.namespace, raw.metadata.name, raw.spec, origin)


def _community(raw: _Community, origin: Origin) -> Community:
    return Community(raw.metadata.namespace, raw.metadata.name, raw.spec.communities, origin)


KINDS: Mapping[str, Kind[View]] = {
    "BGPAdvertisement": Kind(_VERSION, _Advertisement, _advertisement, _AdvertisementSpec),
    "BGPPeer": Kind(PEER_VERSIONS[-1], _Peer, _peer, PeerSpec, PEER_VERSIONS[:-1]),
    "BFDProfile": Kind(_VERSION, _Profile, _profile, BFDSpec),
    "Community": Kind(_VERSION, _Community, _community, _CommunitySpec),
}
"""What the controller reads, and a speaker that announces by BGP; another one ignores them."""
