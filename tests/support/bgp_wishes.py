"""Random configurations of BGP for tests, with names and words of all kinds that are allowed."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import strategies as st

from bgp.frr_config import Wanted
from kube.peering import AddressFamily, AnyAS, Profile, Session
from plan.offers import IPNetwork, Offer, Routes

PEERS = ("a", "b", "c", "d")
PROFILES = ("fast", "h-fast", "With Blanks!", "x" * 100)
NEIGHBORS: dict[str, IPv4Address | IPv6Address | str] = {
    "a": IPv4Address("192.0.2.1"),
    "b": IPv6Address("2001:db8:0:1:1:1:1:1"),
    "c": "eth7.100",
    "d": IPv4Address("192.0.2.4"),
}
_PREFIXES: list[IPNetwork] = [
    *(IPv4Network(text) for text in ("10.0.0.0/8", "198.51.100.0/24", "198.51.100.7/32")),
    *(IPv6Network(text) for text in ("2001:db8:1::/64", "2001:db8::7/128", "::ffff:1.2.3.4/128")),
]
_word16, _word32 = st.integers(0, 65535), st.integers(0, (1 << 32) - 1)
_community = st.one_of(
    st.tuples(_word16, _word16),
    st.sampled_from(
        [(65535, 0), (65535, 65281), (65535, 65282), (65535, 65283), (65535, 666), (0, 0)]
    ),
)
offers = st.builds(
    Offer,
    communities=st.frozensets(_community, max_size=4),
    large=st.frozensets(st.tuples(_word32, _word32, _word32), max_size=3),
    local_pref=st.sampled_from([0, 1, 150, (1 << 32) - 1]),
    med=st.sampled_from([0, 99, 100]),
)
_told = st.dictionaries(st.sampled_from(PEERS), offers, min_size=1)
routes: st.SearchStrategy[Routes] = st.dictionaries(st.sampled_from(_PREFIXES), _told)
_passwords = st.sampled_from(["", "sesame", "a|b", "!x", "#\"'\\?$", "x" * 80, "pässwort"])


@st.composite
def _session(draw: st.DrawFn, peer: str, my_as: int, vrf: str) -> Session:
    where = NEIGHBORS[peer]
    peer_as = draw(st.sampled_from([my_as, 64501, (1 << 32) - 1, *AnyAS]))
    external = peer_as not in (my_as, AnyAS.INTERNAL)
    keepalive, hold = draw(st.sampled_from([(None, None), (0, 0), (3, 9), (60, 180)]))
    family = AddressFamily.IPV6 if isinstance(where, IPv6Address) else AddressFamily.IPV4
    both = draw(st.booleans()) or isinstance(where, str)
    return Session(
        peer,
        my_as,
        peer_as,
        address=None if isinstance(where, str) else where,
        interface=where if isinstance(where, str) else "",
        vrf=vrf,
        local_as=draw(st.sampled_from([0, my_as, 64999])) if external else 0,
        port=draw(st.sampled_from([179, 1790])),
        source=draw(st.sampled_from([None, IPv4Address("192.0.2.200")]))
        if isinstance(where, IPv4Address)
        else None,
        router_id=IPv4Address("192.0.2.77") if vrf else None,
        hold=hold,
        keepalive=keepalive,
        connect=draw(st.sampled_from([None, 1, 120, 65535])),
        password=draw(_passwords),
        bfd=draw(st.sampled_from(["", *PROFILES])),
        multihop=draw(st.booleans()),
        graceful_restart=draw(st.booleans()),
        families=frozenset(AddressFamily) if both else frozenset({family}),
    )


@st.composite
def sessions(draw: st.DrawFn) -> tuple[Session, ...]:
    """Some of four peers: two addresses, a link, and one in a VRF."""
    own = draw(st.sampled_from([64512, 64513]))
    chosen = draw(st.sets(st.sampled_from(PEERS)))
    return tuple(
        draw(_session(peer, 64520 if peer == "d" else own, "red" if peer == "d" else ""))
        for peer in sorted(chosen)
    )


_interval = st.sampled_from([None, 10, 50, 300, 60_000])
profiles = st.lists(
    st.builds(
        Profile,
        name=st.sampled_from(PROFILES),
        receive=_interval,
        transmit=_interval,
        multiplier=st.sampled_from([None, 2, 3, 255]),
        echo=st.booleans(),
        echo_interval=_interval,
        passive=st.booleans(),
        minimum_ttl=st.sampled_from([None, 1, 254]),
    ),
    unique_by=lambda each: each.name,
    max_size=4,
).map(tuple)
wishes = st.builds(
    Wanted,
    sessions=sessions(),
    profiles=profiles,
    router_id=st.sampled_from([None, IPv4Address("192.0.2.100")]),
)
