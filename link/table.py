"""The node's interfaces, kept current from netlink messages. Pure: the monitor feeds it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

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

    gateways: Mapping[int, frozenset[IPv4Address | IPv6Address]]


Change = LinkSet | LinkGone | AddressSet | AddressGone | GatewaysSet


class LinkTable:
    """All interfaces by index. `apply` tells whether anything differs from before."""

    def __init__(self) -> None:
        self._links: dict[int, Interface] = {}
        self._gateways: Mapping[int, frozenset[IPv4Address | IPv6Address]] = {}

    def interfaces(self) -> Mapping[int, Interface]:
        """Return a copy of the table."""
        return dict(self._links)

    def clear(self) -> None:
        """Forget everything: a dump of the kernel's table follows."""
        self._links.clear()

    def apply(self, change: Change) -> bool:
        """Take one change in; return False where it changed nothing."""
        before = self._links.copy()
        match change:
            case LinkSet(interface):
                known = self._links.get(interface.index)
                kept = known.addresses if known else frozenset[Address]()
                gateways = self._gateways.get(interface.index, frozenset())
                self._links[interface.index] = replace(interface, addresses=kept, gateways=gateways)
            case LinkGone(index):
                self._links.pop(index, None)
            case AddressSet(index, address):
                self._change_addresses(index, add=frozenset({address}))
            case AddressGone(index, address):
                self._change_addresses(index, remove=frozenset({address}))
            case GatewaysSet(gateways):
                self._gateways = gateways
                for index, link in self._links.items():
                    found = gateways.get(index, frozenset())
                    self._links[index] = replace(link, gateways=found)
        return before != self._links

    def _change_addresses(
        self,
        index: int,
        add: frozenset[Address] = frozenset(),
        remove: frozenset[Address] = frozenset(),
    ) -> None:
        link = self._links.get(index)
        if link is not None:
            self._links[index] = replace(link, addresses=(link.addresses - remove) | add)
