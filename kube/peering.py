"""BGP sessions and BFD profiles as the configuration wants them, every field judged. Pure data.

`bgp_config` makes them of the objects; the package `bgp` turns them into the engine's lines. What
stands here is valid, whoever wrote the object that it comes from.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address

from kube.address import IPAddress


class AddressFamily(StrEnum):
    """An address family that a session carries, as the engine calls it."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


class AnyAS(StrEnum):
    """A peer whose AS number is found out: `dynamicASN`."""

    INTERNAL = "internal"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class Session:
    """One session with a router. Times in whole seconds; None leaves it to the engine."""

    peer: str
    """The name of the BGPPeer object."""
    my_as: int
    peer_as: int | AnyAS
    address: IPAddress | None = None
    """None for a peer without a number: then `interface` names the link on which it is."""
    interface: str = ""
    vrf: str = ""
    local_as: int = 0
    """The number that this peer alone is shown in place of `my_as`; 0: none."""
    port: int = 179
    source: IPAddress | None = None
    router_id: IPv4Address | None = None
    hold: int | None = None
    keepalive: int | None = None
    """Both of them, or none."""
    connect: int | None = None
    password: str = field(default="", repr=False)
    bfd: str = ""
    """The name of a profile; empty: no BFD."""
    multihop: bool = False
    graceful_restart: bool = False
    families: frozenset[AddressFamily] = frozenset()

    @property
    def neighbor(self) -> str:
        """The name of the neighbour at the engine: its address, or the link."""
        return str(self.address) if self.address is not None else self.interface


@dataclass(frozen=True, slots=True)
class Profile:
    """How BFD watches a peer. Intervals in milliseconds; None leaves it to the engine."""

    name: str
    receive: int | None = None
    transmit: int | None = None
    multiplier: int | None = None
    echo: bool = False
    echo_interval: int | None = None
    passive: bool = False
    minimum_ttl: int | None = None
