"""An heir's first steps: ask the wire for the old owner, then take over aloud or quietly. Pure.

Whatever told us that the owner is gone, an answer on the wire is better: the IP is asked for
once, by an ARP request or a solicitation to all. If a node answers, and its kernel too, nothing is
taken over; the question is repeated every now and then. If only the owner's kernel is alive, its
process has died or hangs: traffic of warm clients still gets through that machine, and any
announcement would tear their connections. The heir then only answers questions, until the machine
is gone too.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from speaker.watch import Kernel

IPAddress = IPv4Address | IPv6Address

ANSWER_WITHIN = 0.02
"""Seconds in which an owner that is alive answers for its IP."""
ASKS, ASK_ONCE_MORE = 3, 0.04
"""Where only the process seems dead there is no haste: it may be slow, and is asked so often, so
many seconds apart, before anybody answers in its place."""
KNOWN_WITHIN = 0.5
"""Seconds in which the owner's kernel has answered an echo, or has not."""
BACK_GRACE = 4.0
"""Seconds for the election to give an IP back to an owner whose process runs again. So long that
one that dies once more within 2 s is found out before: until then it beats 1.6 s too late."""
ASK_AGAIN = 1.0
ASKS_A_SECOND = 5
"""Switches that inspect ARP shut a port at 15 a second; these repeats can wait."""


class Mode(StrEnum):
    """How an IP is taken over."""

    LOUD = "loud"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask on the link `ifindex` whether anybody answers for `ip`."""

    ip: IPAddress
    ifindex: int


@dataclass(frozen=True, slots=True)
class Take:
    """Answer for `ip` from now on; a second one with LOUD may follow a QUIET one."""

    ip: IPAddress
    mode: Mode


@dataclass(slots=True)
class _Pending:
    owner: str
    links: Collection[int]
    """Our links on which the IP is announced and the owner is a neighbour."""
    since: float
    decide_at: float
    answered_by: str | None = None
    asked: int = 1
    contested: bool = False
    loud_at: float = float("inf")


@dataclass(slots=True)
class Takeovers:
    """IPs that we have inherited, from the decision to the announcement.

    `kernel(owner, links)` tells whether the owner's machine answers on those links of ours.
    """

    kernel: Callable[[str, Collection[int]], Kernel]
    contested: int = 0
    """How many IPs are not taken over as their owner answers: a gauge."""
    _pending: dict[IPAddress, _Pending] = field(default_factory=dict)
    _quiet: dict[IPAddress, _Pending] = field(default_factory=dict)
    _parted: dict[IPAddress, _Pending] = field(default_factory=dict)
    """Taken over quietly, and on the way back to the owner."""
    _put_off: set[IPAddress] = field(default_factory=set)
    _asks: list[Ask] = field(default_factory=list)
    _may_ask: float = float("-inf")

    def begin(self, ip: IPAddress, owner: str, links: Collection[int], now: float) -> None:
        """Inherit `ip` from `owner`."""
        self._quiet.pop(ip, None)
        self._pending[ip] = _Pending(owner, links, now, now + ANSWER_WITHIN)
        self._asks += [Ask(ip, ifindex) for ifindex in links]

    def cancel(self, ip: IPAddress) -> None:
        """The IP is not ours any more."""
        for items in (self._pending, self._quiet, self._parted):
            items.pop(ip, None)

    def part(self, ip: IPAddress) -> None:
        """The IP is not ours any more, but answered for until its winner is heard."""
        item = self._quiet.pop(ip, None)
        self.cancel(ip)
        if item is not None:
            self._parted[ip] = item

    def keep(self, ip: IPAddress, owner: str | None) -> None:
        """The IP is ours again before its winner was heard: quietly, where that is the `owner` from
        whom it was taken so, gone once more."""
        item = self._parted.pop(ip, None)
        if item is not None and item.owner == owner:
            item.loud_at = float("inf")
            self._quiet[ip] = item

    def holds(self, ip: IPAddress) -> bool:
        """Tell whether the IP waits for a decision."""
        # Hashing an address takes longer than all else here, and mostly there are none.
        return bool(self._pending) and ip in self._pending

    def quiet(self, ip: IPAddress) -> bool:
        """Tell whether the IP was taken over without a word."""
        return bool(self._quiet) and ip in self._quiet

    def stays_quiet(self, ip: IPAddress) -> bool:
        """The same for an IP that is won once more, which is then put off once more."""
        if self.quiet(ip):
            self._put_off.add(ip)
        return self.quiet(ip)

    @property
    def idle(self) -> bool:
        """Whether nothing is being taken over, nor was taken over without a word."""
        return not self._pending and not self._quiet

    def owners(self) -> frozenset[str]:
        """Return the nodes whose machines matter still: old owners, and who answers."""
        if self.idle:
            return frozenset()
        items = (*self._quiet.values(), *self._pending.values())
        answering = {item.answered_by for item in items if item.answered_by is not None}
        return frozenset(answering | {item.owner for item in items})

    def answered(self, ip: IPAddress, name: str) -> None:
        """The node `name` answers for the IP, or announces it."""
        item = self._pending.get(ip)
        if item is not None:
            item.answered_by = name

    def granted(self, ip: IPAddress, name: str) -> list[Take]:
        """The node `name` answers for the IP only until it hears us."""
        item = self._pending.get(ip)
        if item is None or item.answered_by not in (None, name):
            return []
        del self._pending[ip]
        return [Take(ip, Mode.LOUD)]

    def owner_back(self, owner: str, now: float) -> None:
        """The owner's process runs again: what stays ours all the same is announced in a while."""
        for item in self._quiet.values():
            if item.owner == owner:
                item.loud_at = min(item.loud_at, now + BACK_GRACE)

    def owner_gone(self, owner: str) -> None:
        """The owner's process is gone once more."""
        for item in self._quiet.values():
            if item.owner == owner:
                item.loud_at = float("inf")

    def handle_timeout(self, now: float) -> list[Take]:
        """Decide what is due."""
        takes: list[Take] = []
        if self.idle:
            self.contested = 0
            return takes
        for ip, item in list(self._pending.items()):
            if now >= item.decide_at:
                decide = self._repeat if item.contested else self._decide
                takes += decide(ip, item, now)
        for ip, item in list(self._quiet.items()):
            if now >= item.loud_at or self._kernel_of(item) is Kernel.SILENT:
                del self._quiet[ip]
                takes.append(Take(ip, Mode.LOUD))
        self.contested = sum(item.contested for item in self._pending.values())
        return takes

    def put_off(self) -> frozenset[IPAddress]:
        """Drain the IPs found to be contested, or taken over without a word, since the last call:
        if they are announced at all, then for another reason than this takeover."""
        put_off = frozenset(self._put_off)
        self._put_off.clear()
        return put_off

    def asks(self) -> list[Ask]:
        """Drain the questions to send."""
        asks, self._asks = self._asks, []
        return asks

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next."""
        if self.idle:
            return float("inf")
        times = [item.decide_at for item in self._pending.values()]
        times += [item.loud_at for item in self._quiet.values()]
        return min(times, default=float("inf"))

    def _kernel_of(self, item: _Pending) -> Kernel:
        return self.kernel(item.owner, item.links)

    def _decide(self, ip: IPAddress, item: _Pending, now: float) -> list[Take]:
        kernel, answerer = self._kernel_of(item), Kernel.SILENT
        if item.answered_by is not None:
            answerer = self.kernel(item.answered_by, item.links)
            if answerer is Kernel.ANSWERS:
                # It is the owner on the wire, whoever gossip took for it: where members are
                # declared dead one by one, that is an heir that never took over.
                item.owner, item.answered_by = item.answered_by, None
                item.contested, item.decide_at = True, now + ASK_AGAIN
                self._put_off.add(ip)
                return []
        if Kernel.UNKNOWN in (kernel, answerer) and now - item.since < KNOWN_WITHIN:
            item.decide_at = now + ANSWER_WITHIN
            return []
        if kernel is Kernel.ANSWERS and item.asked < ASKS:
            item.asked, item.decide_at = item.asked + 1, now + ASK_ONCE_MORE
            self._asks += [Ask(ip, ifindex) for ifindex in item.links]
            return []
        del self._pending[ip]
        if kernel is not Kernel.ANSWERS:
            return [Take(ip, Mode.LOUD)]
        self._quiet[ip] = item
        self._put_off.add(ip)
        return [Take(ip, Mode.QUIET)]

    def _repeat(self, ip: IPAddress, item: _Pending, now: float) -> list[Take]:
        """The time of a contested IP: ask once more, as the rate allows, and decide again."""
        if self._kernel_of(item) is Kernel.SILENT:
            return self._decide(ip, item, now)
        if now < self._may_ask:
            item.decide_at = self._may_ask
            return []
        self._may_ask = now + 1 / ASKS_A_SECOND
        item.contested, item.since, item.decide_at = False, now, now + ANSWER_WITHIN
        item.asked = 1
        self._asks += [Ask(ip, ifindex) for ifindex in item.links]
        return []
