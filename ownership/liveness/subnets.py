"""In which subnets nodes stand, as each tells of itself, and whom we still have to tell. Pure.

Only who asks over routers tells it. So these letters also say who could miss somebody over there.
"""

from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv6Interface

from link.address import IPAddress
from link.interface import Interface
from ownership.io import Send
from ownership.letters.letters import (
    MOST_GATEWAYS,
    MOST_SUBNETS,
    LetterKind,
    Subnet,
    Whereabouts,
    encode_whereabouts,
)

REPEAT, TIMES = 0.3, 3
"""Seconds between the letters that tell something new, and how many there are: any may be lost."""
REFRESH = 60.0
"""Seconds after which all are told again."""
MOST_KNOWN = 1_024
"""Nodes of which it is remembered where they stand."""
_NEVER = float("inf")


class SubnetBook:
    """What this node tells, and what it was told. A node that says nowhere asks no more."""

    def __init__(self, node: str, now: float) -> None:
        self._node = node
        self._own: tuple[Subnet, ...] = ()
        self._lives: dict[str, int] = {}
        """The other living Clarions, and which life it is that they live."""
        self._told: dict[str, tuple[Subnet, ...]] = {}
        self._untold: dict[str, int] = {}
        """How often each of them is to be told still."""
        self._tell_at = _NEVER
        self._refresh_at = now + REFRESH

    def set_own(self, interfaces: Mapping[int, Interface], now: float) -> None:
        """Take our own links; all are told what has changed."""
        subnets = own_subnets(interfaces)
        if subnets != self._own:
            self._own = subnets
            self._tell(dict.fromkeys(self._lives, TIMES), now)

    def set_lives(self, lives: Mapping[str, int], now: float) -> frozenset[str]:
        """Take the other living Clarions with their start ids; return those whose life is over."""
        over = {name for name, start in self._lives.items() if lives.get(name) != start}
        news = {name for name in lives if name in over or name not in self._lives}
        self._lives = dict(lives)
        for name in over | (self._told.keys() - lives.keys()):
            self._told.pop(name, None)
        self._untold = {name: left for name, left in self._untold.items() if name in lives}
        self._tell(dict.fromkeys(news, TIMES), now)
        return frozenset(over)

    def handle_whereabouts(self, sender: str, told: Whereabouts) -> list[Send]:
        """Somebody says where it stands; return the answer, if it asks for ours."""
        self._told.pop(sender, None)
        if told.subnets and len(self._told) < MOST_KNOWN:
            self._told[sender] = told.subnets
        return [self._letter((sender,), asks=False)] if told.asks else []

    def known(self) -> frozenset[str]:
        """Name the living Clarions that have told where they stand: they ask as we do."""
        return frozenset(self._told)

    def told(self, name: str) -> tuple[Subnet, ...]:
        """Return what a node has told, empty where that is nothing."""
        return self._told.get(name, ())

    def subnet(self, name: str, ip: IPAddress) -> Subnet | None:
        """Return the narrowest subnet of a node that holds its address, None where it told none."""
        near = [subnet for subnet in self._told.get(name, ()) if ip in subnet.network]
        return max(near, key=lambda subnet: subnet.network.prefixlen, default=None)

    def farewell(self) -> Send:
        """Return the letter that says that we ask no more."""
        return Send(LetterKind.SUBNETS, self._node, encode_whereabouts(Whereabouts()))

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next."""
        return min(self._tell_at, self._refresh_at)

    def handle_timeout(self, now: float) -> list[Send]:
        """Return the letters that are due. Who has told nothing is asked, though some never will:
        they run an earlier version, or announce by layer 2 alone."""
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH
            self._tell({name: 1 for name in self._lives if name not in self._untold}, now)
        if now < self._tell_at:
            return []
        due, self._untold = (
            self._untold,
            {n: left - 1 for n, left in self._untold.items() if left > 1},
        )
        self._tell_at = now + REPEAT if self._untold else _NEVER
        strangers = tuple(sorted(due.keys() - self._told.keys()))
        friends = tuple(sorted(due.keys() & self._told.keys()))
        return [
            self._letter(names, asks)
            for names, asks in ((strangers, True), (friends, False))
            if names
        ]

    def _tell(self, whom: Mapping[str, int], now: float) -> None:
        if whom:
            self._untold.update(whom)
            self._tell_at = min(self._tell_at, now)

    def _letter(self, to: tuple[str, ...], asks: bool) -> Send:
        payload = encode_whereabouts(Whereabouts(self._own, asks))
        return Send(LetterKind.SUBNETS, self._node, payload, to)


def own_subnets(interfaces: Mapping[int, Interface]) -> tuple[Subnet, ...]:
    """Describe our subnets to others, by name of the link, those with a gateway first."""
    found = list[Subnet]()
    for interface in sorted(interfaces.values(), key=lambda each: each.name):
        for address in sorted(interface.addresses, key=_order):
            network = address.network
            if address.is_link_local or not 0 < network.prefixlen < network.max_prefixlen:
                continue
            near = (ip for ip in interface.gateways if ip in network)
            gateways = sorted(near, key=lambda ip: ip.packed)[:MOST_GATEWAYS]
            found.append(Subnet(network, tuple(gateways)))
    found.sort(key=lambda subnet: not subnet.gateways)
    return tuple(dict.fromkeys(found))[:MOST_SUBNETS]


def _order(address: IPv4Interface | IPv6Interface) -> tuple[int, bytes]:
    return address.version, address.packed
