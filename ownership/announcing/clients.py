"""Who asked for a service IP lately: the clients to tell by name when the IP moves. Pure.

Every speaker hears the broadcast questions for all service IPs, so that the next owner knows the
clients of the last one. A request from the IP to a client moves or creates its neighbour entry in
every state, and the client answers it at once.
"""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice

from link.address import IPAddress
from link.interface import Interface
from link.mac import is_group
from ownership.io import Client

MOST_OF_ONE_IP = 64
MOST = 4_096
LATELY, FEW, MOST_LOOKED_AT = 60.0, 3, 64
"""Seconds since their last question for which clients bear witness that our link works, how many
of them, and among how many of the latest questions they are looked for."""
KEPT = 600.0
"""Seconds since the last question for which a client is remembered."""


@dataclass(slots=True)
class _Seen:
    mac: bytes
    at: float


_Asker = tuple[int, IPAddress]
"""Interface index and address of a client."""


_NOBODY: OrderedDict[_Asker, _Seen] = OrderedDict()


class Clients:
    """Askers by service IP. Full tables forget who has been silent for longest."""

    def __init__(self) -> None:
        self._by_ip: dict[IPAddress, OrderedDict[_Asker, _Seen]] = {}
        self._all: OrderedDict[tuple[IPAddress, _Asker], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def note(
        self, ip: IPAddress, interface: Interface, client: IPAddress, mac: bytes, now: float
    ) -> None:
        """Note that `client` asked for the service IP `ip` on the interface."""
        asker = (interface.index, client)
        known = self._by_ip.get(ip)
        seen = known.get(asker) if known is not None else None
        if seen is None or known is None:
            self._add(ip, interface, client, mac, now)
        elif seen.at != now or seen.mac != mac:
            if not is_group(mac):
                seen.mac = mac
            seen.at = now
            known.move_to_end(asker)
            self._all.move_to_end((ip, asker))

    def _add(
        self, ip: IPAddress, interface: Interface, client: IPAddress, mac: bytes, now: float
    ) -> None:
        if client == ip or is_group(mac) or not interface.reaches(client):
            return
        asker = (interface.index, client)
        known = self._by_ip.setdefault(ip, OrderedDict())
        known[asker] = _Seen(mac, now)
        self._all[ip, asker] = None
        if len(known) > MOST_OF_ONE_IP:
            self._forget(ip, next(iter(known)))
        if len(self._all) > MOST:
            self._forget(*next(iter(self._all)))

    def of(self, ip: IPAddress, interface: Interface, now: float) -> list[Client]:
        """Return the clients of `ip` on the interface, latest first, its gateways among them."""
        recent = self._recent(ip, now)
        if not recent and not interface.gateways:
            return []
        found = {
            client: Client(client, seen.mac)
            for (index, client), seen in reversed(recent.items())
            if index == interface.index
        }
        for gateway in interface.gateways:
            if gateway.version == ip.version and gateway != ip:
                found.setdefault(gateway, Client(gateway, None))
        return list(found.values())

    def lately(self, ifindex: int, now: float) -> list[IPAddress]:
        """Return the few that asked for anything on the link last, a moment ago at most."""
        found = dict[IPAddress, None]()
        for ip, asker in islice(reversed(self._all), MOST_LOOKED_AT):
            if asker[0] == ifindex and now - self._by_ip[ip][asker].at <= LATELY:
                found[asker[1]] = None
            if len(found) == FEW:
                break
        return list(found)

    def any_of(self, ip: IPAddress, now: float) -> bool:
        """Tell whether anybody asked for `ip` lately."""
        return bool(self._recent(ip, now))

    def keep_only(self, ips: frozenset[IPAddress]) -> None:
        """Forget the clients of IPs that no service has any more."""
        for ip in self._by_ip.keys() - ips:
            for asker in list(self._by_ip[ip]):
                self._forget(ip, asker)

    def _recent(self, ip: IPAddress, now: float) -> OrderedDict[_Asker, _Seen]:
        """Return the askers of `ip` after dropping those of long ago, which come first."""
        known = self._by_ip.get(ip) if self._by_ip else None
        if known is None:
            return _NOBODY
        while known:
            asker, seen = next(iter(known.items()))
            if now - seen.at <= KEPT:
                break
            self._forget(ip, asker)
        return known

    def _forget(self, ip: IPAddress, asker: _Asker) -> None:
        known = self._by_ip[ip]
        del known[asker], self._all[ip, asker]
        if not known:
            del self._by_ip[ip]
