"""An IP changes hands only by being heard: the loser answers on until the winner speaks. Pure.

Who loses an election (an owner that leaves, an heir whose owner is back) keeps answering for the
IP until it has heard the winner announce it, on each link by itself, or by a claim. It asks for
that every ASK_INTERVAL. A winner that is no Clarion understands no question: it gets FOREIGN_GRACE.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from link.address import IPAddress
from ownership.handover.states import LOSING, Hold, Holds, Yielding
from ownership.io import Ask, Send
from ownership.letters import letters
from ownership.letters.letters import LetterKind, PeerLink, Quiet

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
class Handover:
    """The IPs that we have lost and still answer for."""

    holds: Holds = field(default_factory=Holds)

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
        """Lose an IP that we answer for to `winner`; `links` are those on which we do, `within` so
        many seconds at most."""
        hold = self.holds.record(ip)
        known = hold.yielding if hold.state in LOSING else None
        if known is not None and known.winner == winner:
            known.services.add(service)
            self.holds.lose(hold, known)
            return
        if known is not None:
            links = known.links
        services = {service} | (known.services if known is not None else set())
        until = now + (min(FOREIGN_GRACE, within) if foreign else within)
        self.holds.lose(hold, Yielding(services, winner, foreign, set(links), now, until))

    def yielding(self, ip: IPAddress, service: str | None = None) -> bool:
        """Tell whether the IP is being handed over (on behalf of this service)."""
        hold = self._hold(ip)
        return hold is not None and service in (None, *hold.yielding.services)

    def ends(self, ip: IPAddress) -> bool:
        """Tell whether the hand-over ends by itself, even if the winner is never heard."""
        hold = self._hold(ip)
        return hold is not None and hold.yielding.until < float("inf")

    def winner(self, ip: IPAddress) -> str | None:
        """Name the node that the IP is being handed over to."""
        hold = self._hold(ip)
        return None if hold is None else hold.yielding.winner

    def pending(self) -> int:
        """Return how many IPs are being handed over."""
        return len(self.holds.losing)

    def pending_to_ours(self) -> int:
        """Return how many of them go to a Clarion."""
        return sum(not hold.yielding.foreign for hold in self.holds.losing.values())

    def open(self, ip: IPAddress, ifindex: int) -> bool:
        """Tell whether we still answer for the IP on the link; true for IPs that stay ours."""
        hold = self._hold(ip)
        return hold is None or ifindex in hold.yielding.links

    def handle_announcement(self, ip: IPAddress, ifindex: int, who: str | None) -> list[Yielded]:
        """Somebody announced the IP on the link; `who` is None for one that we do not know.

        Any Clarion will do: it answers now, and hands over itself if it is not the winner.
        """
        hold = self._hold(ip)
        if hold is None or (who is None and not hold.yielding.foreign):
            return []
        hold.yielding.links.discard(ifindex)
        return self._finish(hold) if not hold.yielding.links else []

    def handle_mine(self, ips: Iterable[IPAddress]) -> list[Yielded]:
        """Another Clarion says that it answers for these IPs."""
        released: list[Yielded] = []
        for ip in ips:
            hold = self._hold(ip)
            if hold is not None:
                released += self._finish(hold)
        return released

    def handle_timeout(self, now: float) -> list[Yielded]:
        """Give up what a winner has had its time for."""
        if not self.holds.losing:
            return []
        late = [hold for hold in self.holds.losing.values() if now >= hold.yielding.until]
        return [released for hold in late for released in self._finish(hold)]

    def asks(self, now: float) -> list[Yours]:
        """Return the questions that are due, one a winner."""
        if not self.holds.losing:
            return []
        by_winner: dict[str, set[IPAddress]] = {}
        for ip, hold in self.holds.losing.items():
            item = hold.yielding
            if not item.foreign and now >= item.ask_at:
                item.ask_at = now + ASK_INTERVAL
                by_winner.setdefault(item.winner, set()).add(ip)
        return [Yours(winner, frozenset(ips)) for winner, ips in by_winner.items()]

    def wire_asks(self, now: float) -> list[Ask]:
        """Return the questions to winners that understand no letter, as far as they are due."""
        asks = list[Ask]()
        for ip, hold in self.holds.losing.items():
            item = hold.yielding
            if item.foreign and now >= item.ask_at:
                item.ask_at = now + FOREIGN_ASK
                asks += [Ask(ip, ifindex) for ifindex in sorted(item.links)]
        return asks

    def deadline(self) -> float:
        """When `handle_timeout`, `asks` and `wire_asks` want to be called next."""
        if not self.holds.losing:
            return float("inf")
        items = (hold.yielding for hold in self.holds.losing.values())
        return min(min(item.until, item.ask_at) for item in items)

    def _hold(self, ip: IPAddress) -> Hold | None:
        # Hashing an address takes longer than all else here, and mostly there are none.
        return self.holds.losing.get(ip) if self.holds.losing else None

    def _finish(self, hold: Hold) -> list[Yielded]:
        return [Yielded(service, hold.ip) for service in self.holds.hand_over(hold)]


def letters_to_winner(
    node: str,
    yours: Yours,
    quiet_from: Callable[[IPAddress], frozenset[str]],
    links: Callable[[str], tuple[PeerLink, ...]],
) -> Iterator[Send]:
    """Write to a winner; of what was taken over quietly, from whom, and by which links."""
    by_owner = defaultdict[str, set[IPAddress]](set)
    for ip in sorted(yours.ips, key=lambda ip: ip.packed):
        for owner in sorted(quiet_from(ip) - {yours.winner}):
            by_owner[owner].add(ip)
    plain = yours.ips.difference(*by_owner.values())
    for payload in letters.encode_ips(sorted(plain, key=lambda ip: ip.packed)):
        yield Send(LetterKind.YOURS, node, payload, (yours.winner,))
    for owner, ips in by_owner.items():
        for payload in letters.encode_quiet(Quiet(owner, links(owner), frozenset(ips))):
            yield Send(LetterKind.QUIET, node, payload, (yours.winner,))
