"""What this node answers for, and which announcements are due. Pure; `layer2` sends them.

An IP is announced as long as one service on this node wants it; two services may share an IP, and
each brings its own choice of interfaces (MetalLB's reference count).
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from link.drop import DropReason
from link.interface import Interface
from speaker.contact import Contact

IPAddress = IPv4Address | IPv6Address

ROUNDS = 5
ROUND_INTERVAL = 1.1
"""MetalLB's schedule: rounds at 0, 1.1, 2.2, 3.3 and 4.4 s. The step is longer than the 1 s for
which Linux protects a neighbour entry from change (`locktime`)."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """Send one round of gratuitous frames for `ip` on `interface`."""

    ip: IPAddress
    interface: Interface


@dataclass(slots=True)
class _Burst:
    left: int
    number: int


class Announcer:
    """Same shape as every core: inputs with `now`, one deadline, transmits drained."""

    def __init__(self, contact: Contact) -> None:
        self._contact = contact
        self._interfaces: Mapping[int, Interface] = {}
        self._lost_carrier: dict[int, float] = {}
        self._wanted: dict[IPAddress, dict[str, frozenset[str] | None]] = {}
        self._bursts: dict[tuple[IPAddress, int], _Burst] = {}
        self._due: list[tuple[float, int, IPAddress, int]] = []
        self._number = 0
        self._transmits: list[Announcement] = []

    def set_interfaces(self, interfaces: Mapping[int, Interface], now: float) -> None:
        """Take the eligible interfaces by index; announce on what is new, back or changed."""
        before, self._interfaces = self._interfaces, dict(interfaces)
        for index in before.keys() - interfaces.keys():
            self._contact.link_gone(index)
            self._lost_carrier.pop(index, None)
        for index, interface in interfaces.items():
            known = before.get(index)
            if not interface.carrier:
                self._lost_carrier.setdefault(index, now)
            elif index in self._lost_carrier:
                self._contact.carrier_returned(index, now - self._lost_carrier.pop(index), now)
                self._announce_link(index, now)
            elif known is None or (known.mac, known.name) != (interface.mac, interface.name):
                self._announce_link(index, now)

    def announce(
        self, ip: IPAddress, service: str, interfaces: frozenset[str] | None, now: float
    ) -> None:
        """Answer for `ip` on behalf of `service`, on the named interfaces (None: on all)."""
        self._wanted.setdefault(ip, {})[service] = interfaces
        for index in self._interfaces:
            self._start_burst(ip, index, now)

    def withdraw(self, ip: IPAddress, service: str) -> None:
        """Stop answering for `ip` on behalf of `service`. Nothing is sent, as with MetalLB."""
        services = self._wanted.get(ip, {})
        services.pop(service, None)
        if not services:
            self._wanted.pop(ip, None)
            for key in [key for key in self._bursts if key[0] == ip]:
                del self._bursts[key]

    def withdraw_all(self) -> None:
        """Stop answering for everything."""
        self._wanted.clear()
        self._bursts.clear()

    def released(self, ifindex: int | None, now: float) -> None:
        """Contact was made: announce what is wanted, on one link or (None) on all."""
        for index in self._interfaces if ifindex is None else (ifindex,):
            self._announce_link(index, now)

    def answers(self, ip: IPAddress, ifindex: int) -> DropReason | None:
        """Return why this node does not answer for `ip` on the link, or None where it does."""
        interface = self._interfaces.get(ifindex)
        if ip not in self._wanted:
            return DropReason.NOT_ANNOUNCED
        if interface is None or not self._selected(ip, interface):
            return DropReason.NOT_ON_INTERFACE
        if not interface.carrier:
            return DropReason.NO_CARRIER
        return None if self._contact.open(ifindex) else DropReason.NO_CONTACT

    def announced(self) -> frozenset[IPAddress]:
        """Return the IPs that this node wants to answer for."""
        return frozenset(self._wanted)

    def interface_names(self, ip: IPAddress) -> tuple[str, ...]:
        """Return the names of the interfaces on which `ip` is answered now, sorted."""
        return tuple(
            sorted(
                interface.name
                for index, interface in self._interfaces.items()
                if self.answers(ip, index) is None
            )
        )

    def deadline(self) -> float | None:
        """When `handle_timeout` wants to be called next."""
        return self._due[0][0] if self._due else None

    def handle_timeout(self, now: float) -> None:
        """Queue the rounds that are due."""
        while self._due and self._due[0][0] <= now:
            at, number, ip, index = heapq.heappop(self._due)
            burst = self._bursts.get((ip, index))
            if burst is None or burst.number != number:
                continue
            self._round(ip, index)
            burst.left -= 1
            if burst.left:
                # From `now` where this round is late: rounds closer than locktime are wasted.
                self._schedule(ip, index, burst, max(at, now) + ROUND_INTERVAL)
            else:
                del self._bursts[ip, index]

    def transmits(self) -> list[Announcement]:
        """Return the announcements to send now."""
        transmits, self._transmits = self._transmits, []
        return transmits

    def _announce_link(self, index: int, now: float) -> None:
        for ip in self._wanted:
            self._start_burst(ip, index, now)

    def _start_burst(self, ip: IPAddress, index: int, now: float) -> None:
        self._round(ip, index)
        burst = self._bursts[ip, index] = _Burst(ROUNDS - 1, 0)
        self._schedule(ip, index, burst, now + ROUND_INTERVAL)

    def _schedule(self, ip: IPAddress, index: int, burst: _Burst, at: float) -> None:
        # The number tells a burst from an older one of the same IP that still waits in the heap.
        self._number += 1
        burst.number = self._number
        heapq.heappush(self._due, (at, self._number, ip, index))

    def _round(self, ip: IPAddress, index: int) -> None:
        if self.answers(ip, index) is None:
            self._transmits.append(Announcement(ip, self._interfaces[index]))

    def _selected(self, ip: IPAddress, interface: Interface) -> bool:
        choices = self._wanted[ip].values()
        return any(choice is None or interface.name in choice for choice in choices)
