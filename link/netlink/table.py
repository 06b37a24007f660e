"""The node's interfaces, kept current from netlink messages. Pure: the monitor feeds it.

On a node with containers links come and go all the time, and few of them are wanted. A change costs
what the one link costs, and only one of a wanted link is told.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv6Interface

from link.address import IPAddress
from link.interface import Interface

Address = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class LinkSet:
    """A link appeared or changed (RTM_NEWLINK); the addresses of `interface` are not meant."""

    interface: Interface


@dataclass(frozen=True, slots=True)
class LinkGone:
    """A link was deleted (RTM_DELLINK of family AF_UNSPEC)."""

    index: int


@dataclass(frozen=True, slots=True)
class AddressSet:
    """An address was added to the link `index`."""

    index: int
    address: Address


@dataclass(frozen=True, slots=True)
class AddressGone:
    """An address was taken from the link `index`."""

    index: int
    address: Address


@dataclass(frozen=True, slots=True)
class GatewaysSet:
    """All default gateways by link index."""

    gateways: Mapping[int, frozenset[IPAddress]]


Change = LinkSet | LinkGone | AddressSet | AddressGone | GatewaysSet


class LinkTable:
    """All interfaces, and the wanted ones. `apply` tells whether those differ from before."""

    def __init__(self, wanted: Callable[[Interface], bool] = lambda interface: True) -> None:
        self.macs = Counter[bytes]()
        """How many links have each address, the unwanted ones too; a live view."""
        self._wants = wanted
        self._links: dict[int, Interface] = {}
        self._wanted: dict[int, Interface] = {}
        self._gateways: Mapping[int, frozenset[IPAddress]] = {}

    def interfaces(self) -> Mapping[int, Interface]:
        """Return a copy of the wanted ones, by index."""
        return dict(self._wanted)

    def apply(self, change: Change) -> bool:
        """Take one change in; return False where it changed nothing that is wanted."""
        match change:
            case LinkSet(interface):
                known = self._links.get(interface.index)
                kept = known.addresses if known else frozenset[Address]()
                gateways = self._gateways.get(interface.index, frozenset())
                return self._put(replace(interface, addresses=kept, gateways=gateways))
            case LinkGone(index):
                return self._drop(index)
            case AddressSet(index, address):
                return self._change_addresses(index, add=frozenset({address}))
            case AddressGone(index, address):
                return self._change_addresses(index, remove=frozenset({address}))
            case GatewaysSet(gateways):
                return self._set_gateways(gateways)

    def _put(self, link: Interface) -> bool:
        before = self._links.get(link.index)
        if link == before:
            return False
        self._links[link.index] = link
        if before is None or before.mac != link.mac:
            self.macs[link.mac] += 1
            self._forget_mac(before)
        if self._wants(link):
            self._wanted[link.index] = link
            return True
        return self._wanted.pop(link.index, None) is not None

    def _drop(self, index: int) -> bool:
        self._forget_mac(self._links.pop(index, None))
        return self._wanted.pop(index, None) is not None

    def _forget_mac(self, link: Interface | None) -> None:
        if link is None:
            return
        self.macs[link.mac] -= 1
        if not self.macs[link.mac]:
            del self.macs[link.mac]

    def _change_addresses(
        self,
        index: int,
        add: frozenset[Address] = frozenset(),
        remove: frozenset[Address] = frozenset(),
    ) -> bool:
        link = self._links.get(index)
        if link is None:
            return False
        return self._put(replace(link, addresses=(link.addresses - remove) | add))

    def _set_gateways(self, gateways: Mapping[int, frozenset[IPAddress]]) -> bool:
        self._gateways = gateways
        changed = False
        for index, link in list(self._links.items()):
            changed |= self._put(replace(link, gateways=gateways.get(index, frozenset())))
        return changed
