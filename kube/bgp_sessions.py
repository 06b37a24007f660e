"""Sessions and BFD profiles from BGPPeers and BFDProfiles, every field judged. Pure.

What MetalLB would refuse is refused in its words. Beyond that, what could not be typed to the
engine is refused here, by its field, as is what the API server's schema refuses: a folder has none.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from kube.address import parse_ip
from kube.objects.bgp import BFDProfile, BGPPeer, PeerSpec
from kube.peering import AddressFamily, AnyAS, Profile, Session
from kube.problem import Finding, quoted
from kube.rules import peers
from kube.rules.go_text import quote

MAX_PASSWORD = 80
"""Bytes: the engine takes no longer one, as the kernel does not (TCP_MD5SIG_MAXKEYLEN)."""
MAX_LINK_NAME = 15
"""Bytes of the name of a link, and of a VRF, which is one (IFNAMSIZ)."""
_MOST_AS = 2**32 - 1
"""RFC 6793."""
_MOST_SECONDS = 2**16 - 1
_MOST_PORT = 16_384
_DEFAULT_PORT = 179


@dataclass(frozen=True, slots=True)
class Around:
    """What a peer may name: profiles, and passwords by the name of their Secret.

    A Secret that holds no password that may be used has None.
    """

    profiles: Container[str] = ()
    passwords: Mapping[str, str | None] = field(default_factory=dict, repr=False)


def session(peer: BGPPeer, around: Around) -> tuple[Session | None, list[Finding]]:
    """Return the session of a peer, or None and what is wrong with the peer."""
    spec = peer.spec
    found = list(peers.unreadable_durations(spec))
    if not found:
        found = [*peers.alone(peer), *_ranges(spec), *_times(spec), *_words(peer)]
    found += _password_findings(peer, around)
    if spec.bfd_profile and spec.bfd_profile not in around.profiles:
        name = quoted(spec.bfd_profile)[1:-1]
        text = f"peer {peer.name} referencing non existing bfd profile {name}"
        found.append((("spec", "bfdProfile"), text))
    return (None, found) if found else (_session(peer, around), [])


def hints(spec: PeerSpec) -> Iterator[Finding]:
    """Return what is allowed, and most likely not as it was meant."""
    if spec.enable_graceful_restart and not spec.bfd_profile:
        text = (
            "without a bfdProfile the router keeps the routes of a dead node for the hold time "
            "and the restart time after it, 120 s by default"
        )
        yield ("spec", "enableGracefulRestart"), text
    if spec.disable_mp:
        text = "disable mp is deprecated and has no effect since it's the default behavior now"
        yield ("spec", "disableMP"), text


def profile(found: BFDProfile) -> tuple[Profile | None, list[Finding]]:
    """Return the profile, or None and what is wrong with it."""
    spec = found.spec
    wrong: list[Finding] = []
    for name, value, least, most, what in (
        ("detectMultiplier", spec.detect_multiplier, 2, 255, "detect multiplier"),
        ("receiveInterval", spec.receive_interval, 10, 60_000, "receive interval"),
        ("transmitInterval", spec.transmit_interval, 10, 60_000, "transmit interval"),
        ("minimumTtl", spec.minimum_ttl, 1, 254, "minimum ttl"),
        ("echoInterval", spec.echo_interval, 10, 60_000, "echo interval"),
    ):
        if value is not None and not least <= value <= most:
            text = f"invalid value {value}, must be in {least}-{most} range\ninvalid {what} value"
            wrong.append((("spec", name), text))
    if wrong:
        return None, wrong
    made = Profile(
        found.name,
        receive=spec.receive_interval,
        transmit=spec.transmit_interval,
        multiplier=spec.detect_multiplier,
        echo=spec.echo_mode,
        echo_interval=spec.echo_interval,
        passive=spec.passive_mode,
        minimum_ttl=spec.minimum_ttl,
    )
    return made, []


def _ranges(spec: PeerSpec) -> Iterator[Finding]:
    """Judge the numbers as the schema does, and what the engine refuses of them."""
    for name, number, least, most in (
        ("myASN", spec.my_asn, 0, _MOST_AS),
        ("peerASN", spec.peer_asn, 0, _MOST_AS),
        ("localASN", spec.local_asn, 0, _MOST_AS),
        # In the old version of the object 0 says that it is not set.
        ("peerPort", spec.peer_port, 0, _MOST_PORT),
    ):
        if not least <= number <= most:
            yield ("spec", name), f"invalid value {number}, must be in {least}-{most} range"
    if spec.local_asn and spec.local_asn in (spec.my_asn, spec.peer_asn):
        yield ("spec", "localASN"), "invalid localASN: it is myASN or peerASN"
    router_id = parse_ip(spec.router_id)
    if router_id is not None and router_id.version != 4:
        # Four bytes that look like an address (RFC 6286, 2.1).
        yield ("spec", "routerID"), f"invalid router ID {quote(spec.router_id)}: it is no IPv4 one"


def _times(spec: PeerSpec) -> Iterator[Finding]:
    for name, text in (("holdTime", spec.hold_time), ("keepaliveTime", spec.keepalive_time)):
        if not 0 <= int(peers.seconds(text) or 0) <= _MOST_SECONDS:
            yield ("spec", name), f"invalid BGPPeer timers: not within 0 to {_MOST_SECONDS} s"
    connect = peers.seconds(spec.connect_time)
    if connect is not None and not (connect.is_integer() and 1 <= connect <= _MOST_SECONDS):
        yield ("spec", "connectTime"), f"connect time must be 1 to {_MOST_SECONDS} whole seconds"


def _words(peer: BGPPeer) -> Iterator[Finding]:
    """Refuse names of links that could not be typed as one word."""
    title = f"{quote(peer.namespace)}/{quote(peer.name)}"
    link, vrf = peer.spec.interface, peer.spec.vrf
    if link and (not _is_word(link, MAX_LINK_NAME) or "/" in link or parse_ip(link) is not None):
        yield ("spec", "interface"), f"interface for peer {title} contains invalid characters"
    if vrf and (not _is_word(vrf, MAX_LINK_NAME) or "/" in vrf):
        yield ("spec", "vrf"), f"VRF name for peer {title} contains invalid characters"


def _is_word(text: str, most: int) -> bool:
    """Tell if the text is one word of the engine, of at most `most` bytes."""
    # What prints has no control character, no blank but the space, and no lone surrogate.
    return text.isprintable() and " " not in text and len(text.encode()) <= most


def _password_findings(peer: BGPPeer, around: Around) -> Iterator[Finding]:
    """Judge the password that a peer has or names. No finding shows any of it."""
    spec, title = peer.spec, f"{quote(peer.namespace)}/{quote(peer.name)}"
    secret = spec.password_secret.name
    where: tuple[str, ...] = ("spec", "passwordSecret") if secret else ("spec", "password")
    if spec.password and secret:
        yield where, f"can not have both password and secret ref set in peer config {title}"
        return
    if secret and secret not in around.passwords:
        yield (
            where,
            (
                f"secret ref not found for peer config {title}\nfailed to parse peer {peer.name} "
                "password secret"
            ),
        )
        return
    password = around.passwords[secret] if secret else spec.password
    if password is None or (secret and not password):
        yield (
            where,
            (
                f"password not specified in the secret {quote(peer.namespace)}/{quote(secret)}, or "
                "its type is not kubernetes.io/basic-auth"
            ),
        )
    elif password and not _is_word(password, MAX_PASSWORD):
        what = "password secret" if secret else "password"
        yield (
            where,
            (
                f"{what} for peer {title} contains invalid characters, or is longer than "
                f"{MAX_PASSWORD} bytes"
            ),
        )


def _session(peer: BGPPeer, around: Around) -> Session:
    spec = peer.spec
    hold, keepalive = _timers(spec)
    connect, router_id = peers.seconds(spec.connect_time), parse_ip(spec.router_id)
    secret = spec.password_secret.name
    return Session(
        peer.name,
        spec.my_asn,
        AnyAS(spec.dynamic_asn) if spec.dynamic_asn else spec.peer_asn,
        address=parse_ip(spec.peer_address),
        interface=spec.interface,
        vrf=peers.vrf(spec),
        local_as=spec.local_asn,
        port=spec.peer_port or _DEFAULT_PORT,
        source=parse_ip(spec.source_address),
        router_id=router_id if isinstance(router_id, IPv4Address) else None,
        hold=hold,
        keepalive=keepalive,
        connect=None if connect is None else int(connect),
        password=(around.passwords[secret] or "") if secret else spec.password,
        bfd=spec.bfd_profile,
        multihop=spec.ebgp_multi_hop,
        graceful_restart=spec.enable_graceful_restart,
        families=_families(spec),
    )


def _timers(spec: PeerSpec) -> tuple[int | None, int | None]:
    """Return hold and keepalive time; one of them gives the other (RFC 4271, 10: a third)."""
    hold, keepalive = peers.seconds(spec.hold_time), peers.seconds(spec.keepalive_time)
    if hold is None and keepalive is None:
        return None, None
    if hold is None:
        hold = 3 * (keepalive or 0)
    if keepalive is None:
        keepalive = hold / 3
    return int(hold), int(keepalive)


def _families(spec: PeerSpec) -> frozenset[AddressFamily]:
    address = parse_ip(spec.peer_address)
    if address is None or spec.dual_stack_address_family:
        return frozenset(AddressFamily)
    return frozenset({AddressFamily.IPV4 if address.version == 4 else AddressFamily.IPV6})
