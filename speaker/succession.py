"""How IPs change hands: from the election's word to what is answered and announced. Pure.

The election says who should own. `Succession` says when this node begins (`takeover`) and when it
stops (`handover`), and tells the announcer. Its letters are YOURS and CLAIM.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from link.interface import Interface
from speaker import letters
from speaker.announcer import Announcer
from speaker.handover import Handover, Released
from speaker.letters import Kind, Send
from speaker.roster import Roster
from speaker.takeover import Ask, Mode, Take, Takeovers
from speaker.watch import Kernel

IPAddress = IPv4Address | IPv6Address

CLAIM_KEPT = 1.0
"""Seconds for which an announcement that was heard answers the question who owns the IP."""
AGAIN_AFTER = 0.1
"""A winner that is asked announces again, but not more often than each so many seconds."""
MOST_CLAIMS = 8_192
CONFLICT_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody announced an IP, or answered for it, with this MAC."""

    mac: bytes
    at: float


class Succession:
    """Takeovers and hand-overs of one node."""

    def __init__(
        self,
        node: str,
        roster: Roster,
        announcer: Announcer,
        kernel: Callable[[str, Collection[int], float], Kernel],
        hears: Callable[[int, float], bool],
        now: float,
    ) -> None:
        """`kernel(node, links, now)` tells what another node's machine does, `hears(link, now)`
        whether this node would have heard an announcement."""
        self._node = node
        self._roster = roster
        self._announcer = announcer
        self._now = now
        self._kernel = kernel
        self._hears = hears
        self._takeovers = Takeovers(self._kernel_of)
        self._handover = Handover()
        self._interfaces: Mapping[int, Interface] = {}
        self._waiting: dict[IPAddress, dict[str, frozenset[str] | None]] = {}
        """What takeovers have not decided yet: services and where they are announced."""
        self._claims: dict[tuple[IPAddress, int], Claim] = {}
        self._announced_again: dict[IPAddress, float] = {}
        self._letters: list[Send] = []
        self._changed: set[str] = set()
        self.conflicts = 0
        """How often somebody else announced an IP that is ours and that nobody hands over."""

    # ---- what the election says

    def set_interfaces(self, interfaces: Mapping[int, Interface]) -> None:
        """Take the links on which this node could announce, those with carrier."""
        self._interfaces = interfaces

    def won(
        self,
        service: str,
        ip: IPAddress,
        interfaces: frozenset[str] | None,
        heir_of: str | None,
        now: float,
    ) -> None:
        """Own an IP; `heir_of` names the node that did, if it did not part with it by itself."""
        self._now = now
        yielded = self._handover.cancel(service, ip)
        if yielded:
            self._takeovers.keep(ip, heir_of)
        was_ours = yielded or self._announcer.wants(ip)
        links = self._shared_links(heir_of, interfaces) if heir_of and not was_ours else ()
        if not links and not self._takeovers.holds(ip):
            quiet = self._takeovers.stays_quiet(ip)
            self._announcer.announce(ip, service, interfaces, now, quiet=quiet)
            return
        self._waiting.setdefault(ip, {})[service] = interfaces
        if heir_of and not self._takeovers.holds(ip):
            self._takeovers.begin(ip, heir_of, links, now)

    def lost(self, service: str, ip: IPAddress, winner: str | None, now: float) -> None:
        """Own it no more, as `winner` does; None: stop at once."""
        self._now = now
        if self._stop_waiting(service, ip):
            return
        peer = self._roster.peer(winner) if winner is not None else None
        if peer is None or not peer.living:
            self.withdraw(service, ip)
            return
        self._takeovers.part(ip)
        # What is lost is answered for, but not announced any more.
        self._announcer.hush(ip)
        links, foreign = self._announcer.indexes(ip), peer.start_id is None
        # Where we heard nobody for a while the winner may have announced itself unheard. One of
        # MetalLB's has not: it knows no verdict that was quicker than memberlist's.
        deaf = {ifindex for ifindex in links if not foreign and not self._hears(ifindex, now)}
        if deaf and deaf.issuperset(links):
            self.withdraw(service, ip)
            return
        for ifindex in deaf:
            self._announcer.release(ip, ifindex)
        links = tuple(ifindex for ifindex in links if ifindex not in deaf)
        self._handover.begin(service, ip, peer.name, links, now, foreign=foreign)
        for ifindex in links:
            claim = self._claims.get((ip, ifindex))
            if claim is not None and now - claim.at <= CLAIM_KEPT:
                self._hear(ip, ifindex, self._roster.owner_of(claim.mac))

    def moved(self, service: str, ip: IPAddress, winner: str | None, now: float) -> None:
        """Another node than the last winner owns an IP that this one is still handing over."""
        if self._handover.yielding(ip, service):
            self.lost(service, ip, winner, now)

    def withdraw(self, service: str, ip: IPAddress) -> None:
        """Nobody is to announce it for this service."""
        if not self._stop_waiting(service, ip):
            self._handover.cancel(service, ip)
            self._announcer.withdraw(ip, service)
            if not self._announcer.wants(ip):
                self._takeovers.cancel(ip)

    def owner_back(self, name: str, now: float) -> None:
        """The process of a node runs again."""
        self._takeovers.owner_back(name, now)

    def owner_gone(self, name: str) -> None:
        """The process of a node was judged silent, or declared dead."""
        self._takeovers.owner_gone(name)

    # ---- what is heard

    def heard(self, ip: IPAddress, ifindex: int, mac: bytes, now: float) -> None:
        """Somebody announced the IP on the link, or answered for it."""
        self._now = now
        name = self._roster.owner_of(mac)
        if name is not None:
            self._takeovers.answered(ip, name)
        if self._handover.yielding(ip):
            self._hear(ip, ifindex, name)
        elif self._announcer.wants(ip):
            self._note_conflict(ip, ifindex, mac, now)
        self._keep_claim(ip, ifindex, Claim(mac, now))

    def asked(self, ips: Iterable[IPAddress], sender: str, now: float) -> None:
        """Another node answers for IPs that are ours, until it hears us."""
        ips = tuple(ips)
        for ip in ips:
            self._apply(self._takeovers.granted(ip, sender), now)
        mine = [
            ip
            for ip in ips
            if self._announcer.wants(ip)
            and not self._handover.yielding(ip)
            and not self._takeovers.holds(ip)
            and self._announcer.interface_names(ip)
        ]
        self._announced_again = {
            ip: at for ip, at in self._announced_again.items() if now - at < AGAIN_AFTER
        }
        for ip in mine:
            # What was taken over quietly stays so: the letter below says it as well.
            if ip not in self._announced_again and not self._takeovers.quiet(ip):
                self._announced_again[ip] = now
                self._announcer.loud(ip, now)
        for payload in letters.encode_ips(mine):
            self._letters.append(Send(Kind.CLAIM, self._node, payload, (sender,)))

    def claimed(self, ips: Iterable[IPAddress]) -> None:
        """Another node says that it answers for these IPs."""
        self._release(self._handover.claimed(ips))

    # ---- what follows

    def inherited_from(self) -> frozenset[str]:
        """Name the nodes whose machines must be watched as we inherit from them."""
        return self._takeovers.owners()

    def pending(self, *, foreign: bool) -> int:
        """Return how many IPs are being handed over; without `foreign`, only those to Clarions."""
        return self._handover.pending() if foreign else self._handover.pending_to_ours()

    @property
    def contested(self) -> int:
        """How many IPs we do not take over as their owner still answers."""
        return self._takeovers.contested

    def holds(self, ip: IPAddress) -> bool:
        """Tell whether a takeover of the IP waits for its decision."""
        return self._takeovers.holds(ip)

    def changed(self) -> frozenset[str]:
        """Drain the services of which an IP was taken or given up since the last call."""
        changed = frozenset(self._changed)
        self._changed.clear()
        return changed

    def put_off(self) -> frozenset[IPAddress]:
        """Drain the IPs that this node has won and does not announce now."""
        return self._takeovers.put_off()

    def asks(self) -> list[tuple[Interface, Ask]]:
        """Drain the questions to old owners, with the link to ask on."""
        return [
            (self._interfaces[ask.ifindex], ask)
            for ask in self._takeovers.asks()
            if ask.ifindex in self._interfaces
        ]

    def letters(self) -> list[Send]:
        """Drain the letters to send."""
        waiting, self._letters = self._letters, []
        return waiting

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next."""
        return min(self._takeovers.deadline(), self._handover.deadline())

    def handle_timeout(self, now: float) -> None:
        """Decide takeovers that are due, and remind winners."""
        self._now = now
        self._apply(self._takeovers.handle_timeout(now), now)
        self._release(self._handover.handle_timeout(now))
        for ask in self._handover.asks(now):
            for payload in letters.encode_ips(sorted(ask.ips, key=lambda ip: ip.packed)):
                self._letters.append(Send(Kind.YOURS, self._node, payload, (ask.winner,)))

    # ---- inside

    def _kernel_of(self, node: str, links: Collection[int]) -> Kernel:
        """Ask only where we are neighbours: who answers may share fewer links than the owner."""
        interfaces = self._interfaces
        met = [
            link
            for link in links
            if link in interfaces and self._roster.meet(node, interfaces[link]) is not None
        ]
        return self._kernel(node, met, self._now)

    def _shared_links(self, owner: str, interfaces: frozenset[str] | None) -> tuple[int, ...]:
        """Give our links that matter for a service and that another node is a neighbour on."""
        return tuple(
            index
            for index, interface in self._interfaces.items()
            if (interfaces is None or interface.name in interfaces)
            and self._roster.meet(owner, interface) is not None
        )

    def _stop_waiting(self, service: str, ip: IPAddress) -> bool:
        """End a takeover that was not decided yet; true where there was one."""
        services = self._waiting.get(ip, {})
        if service not in services:
            return False
        del services[service]
        if not services:
            del self._waiting[ip]
            self._takeovers.cancel(ip)
        return True

    def _apply(self, takes: list[Take], now: float) -> None:
        for take in takes:
            quiet = take.mode is Mode.QUIET
            for service, interfaces in self._waiting.pop(take.ip, {}).items():
                self._changed.add(service)
                self._announcer.announce(take.ip, service, interfaces, now, quiet=quiet)
            if not quiet:
                self._announcer.loud(take.ip, now)

    def _hear(self, ip: IPAddress, ifindex: int, name: str | None) -> None:
        released = self._handover.heard(ip, ifindex, name)
        if not released and not self._handover.open(ip, ifindex):
            self._announcer.release(ip, ifindex)
        self._release(released)

    def _release(self, released: Iterable[Released]) -> None:
        for item in released:
            self._changed.add(item.service)
            self._takeovers.cancel(item.ip)
            self._announcer.withdraw(item.ip, item.service)

    def _note_conflict(self, ip: IPAddress, ifindex: int, mac: bytes, now: float) -> None:
        known = self._claims.get((ip, ifindex))
        if known is None or known.mac != mac or now - known.at > CONFLICT_EVERY:
            self.conflicts += 1

    def _keep_claim(self, ip: IPAddress, ifindex: int, claim: Claim) -> None:
        self._claims.pop((ip, ifindex), None)
        self._claims[ip, ifindex] = claim
        if len(self._claims) > MOST_CLAIMS:
            del self._claims[next(iter(self._claims))]
