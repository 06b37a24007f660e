"""An IP changes hands only by being heard: the loser answers on until the winner speaks. Pure.

Who loses an election (an owner that leaves, an heir whose owner is back) keeps answering for the
IP until it has heard the winner announce it, on each link by itself, or by a claim. It asks for
that every ASK_INTERVAL. A winner that is no Clarion understands no question: it gets FOREIGN_GRACE.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from link.address import IPAddress
from ownership.io import Ask

ASK_INTERVAL = 0.1
FOREIGN_GRACE = 2.0
FOREIGN_ASK = 0.05
"""Seconds between questions on the wire to a winner that is no Clarion: one that never lost the IP,
say as it stood still, does not announce it, but answers."""


@dataclass(frozen=True, slots=True)
class Yours:
    """Tell `winner`: these are yours, and I answer for them until I hear you."""

    winner: str
    ips: frozenset[IPAddress]


@dataclass(frozen=True, slots=True)
class Yielded:
    """Stop answering for `ip` on behalf of `service`."""

    service: str
    ip: IPAddress


@dataclass(slots=True)
class _Yielding:
    services: set[str]
    winner: str
    foreign: bool
    links: set[int]
    """Where we still answer."""
    ask_at: float
    until: float


@dataclass(slots=True)
class Handover:
    """The IPs that we have lost and still answer for."""

    _yielding: dict[IPAddress, _Yielding] = field(default_factory=dict)

    def begin(
        self,
        service: str,
        ip: IPAddress,
        winner: str,
        links: Iterable[int],
        now: float,
        *,
        foreign: bool,
        within: float = float("inf"),
    ) -> None:
        """Lose `ip` to `winner`; `links` are those on which we answer for it, `within` so many
        seconds at most."""
        known = self._yielding.get(ip)
        if known is not None and known.winner == winner:
            known.services.add(service)
            return
        if known is not None:
            links = known.links
        services = {service} | (known.services if known is not None else set())
        until = now + (min(FOREIGN_GRACE, within) if foreign else within)
        self._yielding[ip] = _Yielding(services, winner, foreign, set(links), now, until)

    def cancel(self, service: str, ip: IPAddress) -> bool:
        """The IP is ours again, or nobody's; true where it was being handed over."""
        item = self._yielding.get(ip) if self._yielding else None
        if item is None or service not in item.services:
            return False
        item.services.discard(service)
        if not item.services:
            del self._yielding[ip]
        return True

    def yielding(self, ip: IPAddress, service: str | None = None) -> bool:
        """Tell whether the IP is being handed over (on behalf of this service)."""
        item = self._yielding.get(ip)
        return item is not None and service in (None, *item.services)

    def services(self, ip: IPAddress) -> frozenset[str]:
        """Name the services on behalf of which the IP is being handed over."""
        item = self._yielding.get(ip)
        return frozenset() if item is None else frozenset(item.services)

    def winner(self, ip: IPAddress) -> str | None:
        """Name the node that the IP is being handed over to."""
        item = self._yielding.get(ip)
        return None if item is None else item.winner

    def pending(self) -> int:
        """Return how many IPs are being handed over."""
        return len(self._yielding)

    def pending_to_ours(self) -> int:
        """Return how many of them go to a Clarion."""
        return sum(not item.foreign for item in self._yielding.values())

    def open(self, ip: IPAddress, ifindex: int) -> bool:
        """Tell whether we still answer for the IP on the link; true for IPs that stay ours."""
        item = self._yielding.get(ip)
        return item is None or ifindex in item.links

    def heard(self, ip: IPAddress, ifindex: int, who: str | None) -> list[Yielded]:
        """Somebody announced the IP on the link; `who` is None for one that we do not know.

        Any Clarion will do: it answers now, and hands over itself if it is not the winner.
        """
        item = self._yielding.get(ip)
        if item is None or (who is None and not item.foreign):
            return []
        item.links.discard(ifindex)
        return self._finish(ip) if not item.links else []

    def claimed(self, ips: Iterable[IPAddress]) -> list[Yielded]:
        """Another Clarion says that it answers for these IPs."""
        released: list[Yielded] = []
        for ip in ips:
            item = self._yielding.get(ip)
            if item is not None:
                released += self._finish(ip)
        return released

    def handle_timeout(self, now: float) -> list[Yielded]:
        """Give up what a winner has had its time for."""
        if not self._yielding:
            return []
        late = [ip for ip, item in self._yielding.items() if now >= item.until]
        return [released for ip in late for released in self._finish(ip)]

    def asks(self, now: float) -> list[Yours]:
        """Return the questions that are due, one a winner."""
        if not self._yielding:
            return []
        by_winner: dict[str, set[IPAddress]] = {}
        for ip, item in self._yielding.items():
            if not item.foreign and now >= item.ask_at:
                item.ask_at = now + ASK_INTERVAL
                by_winner.setdefault(item.winner, set()).add(ip)
        return [Yours(winner, frozenset(ips)) for winner, ips in by_winner.items()]

    def wire_asks(self, now: float) -> list[Ask]:
        """Return the questions to winners that understand no letter, as far as they are due."""
        asks = list[Ask]()
        for ip, item in self._yielding.items():
            if item.foreign and now >= item.ask_at:
                item.ask_at = now + FOREIGN_ASK
                asks += [Ask(ip, ifindex) for ifindex in sorted(item.links)]
        return asks

    def deadline(self) -> float:
        """When `handle_timeout`, `asks` and `wire_asks` want to be called next."""
        if not self._yielding:
            return float("inf")
        return min(min(item.until, item.ask_at) for item in self._yielding.values())

    def _finish(self, ip: IPAddress) -> list[Yielded]:
        item = self._yielding.pop(ip)
        return [Yielded(service, ip) for service in sorted(item.services)]
