"""An heir's first steps: ask the wire for the old owner, then take over aloud or quietly. Pure.

Whatever told us that an IP is ours, an answer on the wire is better: the IP is asked for once, by
an ARP request or a solicitation to all, and those that may still own it by letter. If a node
answers whose kernel answers too, or that claims the IP by letter, nothing is taken over until it
grants it; the question is repeated every now and then. If only the kernel of a dead process lives,
traffic of warm clients still gets through that machine, and any announcement would tear their
connections. The heir then only answers questions, until the machine is gone too.

A node that hears nobody takes nothing over: it is the one that is cut off.
"""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum

from link.address import IPAddress
from ownership.io import Ask, Contest
from ownership.liveness.kernels import Kernel

ANSWER_WITHIN = 0.02
"""Seconds in which an owner that is alive answers for its IP."""
ASKS, ASK_ONCE_MORE = 3, 0.04
"""Where only the process seems dead there is no haste: it may be slow, and is asked so often, so
many seconds apart, before anybody answers in its place."""
KNOWN_WITHIN = 0.5
"""Seconds in which the owner's kernel has answered an echo, or has not."""
UNHEARD_RETRY = 0.1
"""Seconds until one that has heard nobody for KNOWN_WITHIN looks again whether it has."""
CLAIM_COUNTS = 1.5
"""Seconds for which a claim by letter stands for an echo: longer than until it is asked again."""
BACK_GRACE = 4.0
"""Seconds for the election to give an IP back to an owner whose process runs again. So long that
one that dies once more within 2 s is found out before: until then it beats 1.6 s too late."""
ASKS_AT_ONCE = 64
"""How many frames with questions leave in one turn of the loop: a millisecond or two."""
ASK_AGAIN = 1.0
ASKS_A_SECOND = 5
"""Switches that inspect ARP shut a port at 15 a second; these repeats can wait."""
_NEVER = float("-inf")


class Mode(StrEnum):
    """How an IP is taken over."""

    LOUD = "loud"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Take:
    """Answer for `ip` from now on; a second one with LOUD may follow a QUIET one."""

    ip: IPAddress
    mode: Mode


@dataclass(slots=True)
class _Pending:
    dead: frozenset[str]
    """Nodes whose processes died, and whose kernels may forward still."""
    links: Collection[int]
    """Our links on which the IP is announced."""
    since: float
    decide_at: float
    answered_by: str | None = None
    claimed_at: float = _NEVER
    """When `answered_by` said by letter that the IP is its own."""
    questioned_at: float = _NEVER
    """When it was asked for that, being contested."""
    denied_by: set[str] = field(default_factory=set)
    """Whose speakers do not claim the IP, though their kernels may answer for it."""
    asked: int = 1
    unsent: int = 0
    """Questions that have not left yet: the time to answer begins when they have."""
    contested: bool = False
    told: str | None = None
    """Whom the last contest was told of."""
    loud_at: float = float("inf")


@dataclass(slots=True)
class Takeovers:
    """IPs that we have inherited, from the decision to the announcement.

    `kernel(node, links)` tells whether a node's machine answers on those links of ours,
    `hears(links, since)` whether this node has heard anybody there since then.
    """

    kernel: Callable[[str, Collection[int]], Kernel]
    hears: Callable[[Collection[int], float], bool]
    contested: int = 0
    """How many IPs are not taken over as their owner answers: a gauge."""
    _pending: dict[IPAddress, _Pending] = field(default_factory=dict)
    _quiet: dict[IPAddress, _Pending] = field(default_factory=dict)
    _parted: dict[IPAddress, _Pending] = field(default_factory=dict)
    """Taken over quietly, and on the way to another owner."""
    _put_off: set[IPAddress] = field(default_factory=set)
    _asks: deque[Ask] = field(default_factory=deque)
    _questions: dict[str, list[IPAddress]] = field(default_factory=dict)
    _contests: list[Contest] = field(default_factory=list)
    _may_ask: float = _NEVER
    _unheard: bool = False

    def begin(
        self,
        ip: IPAddress,
        dead: frozenset[str],
        living: str | None,
        links: Collection[int],
        now: float,
    ) -> None:
        """Inherit `ip`, from nodes whose processes are dead, or from a `living` one that lets go of
        it; neither is known where this node has just come."""
        self._quiet.pop(ip, None)
        item = self._pending[ip] = _Pending(dead, links, now, now + ANSWER_WITHIN)
        self._ask(ip, item, dead if living is None else dead | {living})

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

    def keep(self, ip: IPAddress, dead: frozenset[str]) -> None:
        """The IP is ours again before its winner was heard: quietly, where one of those from whom
        it was taken so is dead once more."""
        item = self._parted.pop(ip, None)
        if item is not None and item.dead & dead:
            item.loud_at = float("inf")
            self._quiet[ip] = item

    def holds(self, ip: IPAddress) -> bool:
        """Tell whether the IP waits for a decision."""
        # Hashing an address takes longer than all else here, and mostly there are none.
        return bool(self._pending) and ip in self._pending

    def quiet(self, ip: IPAddress) -> bool:
        """Tell whether the IP was taken over without a word."""
        return bool(self._quiet) and ip in self._quiet

    def quiet_from(self, ip: IPAddress) -> frozenset[str]:
        """Name the nodes from which the IP was taken so, also while it goes to another owner."""
        item = self._quiet.get(ip) or self._parted.get(ip)
        return frozenset() if item is None else item.dead

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
        found = set[str]()
        for items in (self._quiet, self._pending):
            for item in items.values():
                found |= item.dead
                if item.answered_by is not None:
                    found.add(item.answered_by)
        return frozenset(found)

    def restart(self, now: float) -> None:
        """We were cut off, and hear others again: what they own meanwhile is to be asked anew."""
        for ip, item in self._pending.items():
            item.contested, item.answered_by, item.asked = False, None, 1
            item.since, item.decide_at = now, now + ANSWER_WITHIN
            self._ask(ip, item, item.dead)

    # ---- what others say

    def answered(self, ip: IPAddress, name: str, *, speaks: bool = True) -> None:
        """The node `name` answers for the IP, or announces it; one that `speaks` can be asked by
        letter whether it does."""
        item = self._pending.get(ip)
        if item is None or name in item.denied_by:
            return
        if item.answered_by != name:
            # Its kernel may do so without its speaker.
            if speaks:
                self._questions.setdefault(name, []).append(ip)
            item.claimed_at = _NEVER
        item.answered_by = name

    def claimed(self, ip: IPAddress, name: str, now: float) -> None:
        """The speaker of the node `name` says that it answers for the IP."""
        item = self._pending.get(ip)
        if item is not None:
            item.answered_by, item.claimed_at = name, now
            item.denied_by.discard(name)

    def denied(self, ip: IPAddress, name: str, now: float) -> bool:
        """It says that it does not; true where its kernel answers for the IP all the same."""
        item = self._pending.get(ip)
        if item is None or name in item.denied_by:
            return False
        item.denied_by.add(name)
        item.dead -= {name}
        if item.answered_by != name:
            return False
        item.answered_by, item.claimed_at = None, _NEVER
        if item.contested:
            item.contested, item.since, item.decide_at = False, now, now
        return True

    def granted(self, ip: IPAddress, name: str, dead: frozenset[str]) -> list[Take]:
        """The node `name` answers for the IP only until it hears us; it has taken it over quietly
        from those that are `dead`."""
        item = self._pending.get(ip)
        if item is None or item.answered_by not in (None, name):
            return []
        del self._pending[ip]
        item.dead = (item.dead | dead) - {name}
        item.answered_by, item.contested = None, False
        if not dead and self._kernel_of(item) is not Kernel.ANSWERS:
            return [Take(ip, Mode.LOUD)]
        self._quiet[ip] = item
        self._put_off.add(ip)
        return [Take(ip, Mode.QUIET)]

    def owner_back(self, owner: str, now: float) -> None:
        """An owner's process runs again: what stays ours all the same is announced in a while."""
        for item in self._quiet.values():
            if owner in item.dead:
                item.loud_at = min(item.loud_at, now + BACK_GRACE)

    def owner_gone(self, owner: str) -> None:
        """An owner's process is gone once more."""
        for item in self._quiet.values():
            if owner in item.dead:
                item.loud_at = float("inf")

    # ---- what follows

    def handle_timeout(self, now: float) -> list[Take]:
        """Decide what is due."""
        takes: list[Take] = []
        if self.idle:
            self.contested = 0
            return takes
        for ip, item in list(self._pending.items()):
            if item.contested and self._let_go(item, now):
                takes += self._decide(ip, item, now)
            elif now >= item.decide_at and not item.unsent:
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

    def asks(self, now: float) -> list[Ask]:
        """Drain the questions to send on the wire now; the time to answer begins with them."""
        asks = [self._asks.popleft() for _ in range(min(ASKS_AT_ONCE, len(self._asks)))]
        for ask in asks:
            item = self._pending.get(ask.ip)
            if item is not None:
                item.unsent = max(0, item.unsent - 1)
                item.decide_at = max(item.decide_at, now + ANSWER_WITHIN)
        return asks

    def questions(self) -> dict[str, list[IPAddress]]:
        """Drain the questions to send by letter, by node."""
        questions, self._questions = self._questions, {}
        return questions

    def contests(self) -> list[Contest]:
        """Drain who keeps us from what is ours, each time it begins."""
        contests, self._contests = self._contests, []
        return contests

    def unheard(self) -> bool:
        """Tell once whether somebody has to be heard for a takeover to go on."""
        unheard, self._unheard = self._unheard, False
        return unheard

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next."""
        if self.idle:
            return float("inf")
        times = [item.decide_at for item in self._pending.values()]
        times += [item.loud_at for item in self._quiet.values()]
        return _NEVER if self._asks else min(times, default=float("inf"))

    # ---- inside

    def _ask(self, ip: IPAddress, item: _Pending, nodes: Collection[str]) -> None:
        self._asks += [Ask(ip, ifindex) for ifindex in item.links]
        item.unsent += len(item.links)
        for node in sorted(nodes):
            self._questions.setdefault(node, []).append(ip)

    def _kernel_of(self, item: _Pending) -> Kernel:
        """Tell what the machines of the dead do: one that lives still decides."""
        found = {self.kernel(node, item.links) for node in item.dead}
        for kind in (Kernel.ANSWERS, Kernel.UNKNOWN):
            if kind in found:
                return kind
        return Kernel.SILENT

    def _decide(self, ip: IPAddress, item: _Pending, now: float) -> list[Take]:
        kernel, answerer = self._kernel_of(item), Kernel.SILENT
        if item.answered_by is not None:
            answerer = self.kernel(item.answered_by, item.links)
            # Where no echo gets through at all, its answer is the best there is.
            in_vain = answerer is Kernel.UNKNOWN and now - item.since >= KNOWN_WITHIN
            claims = now - item.claimed_at <= CLAIM_COUNTS
            if answerer is Kernel.ANSWERS or claims or in_vain:
                # It is the owner on the wire, whoever gossip took for it: where members are
                # declared dead one by one, that is an heir that never took over.
                if item.told != item.answered_by:
                    item.told = item.answered_by
                    self._contests.append(Contest(ip, item.answered_by))
                item.contested, item.decide_at = True, now + ASK_AGAIN
                self._put_off.add(ip)
                return []
        if Kernel.UNKNOWN in (kernel, answerer) and now - item.since < KNOWN_WITHIN:
            item.decide_at = now + ANSWER_WITHIN
            return []
        if not self.hears(item.links, item.since):
            lately = now - item.since < KNOWN_WITHIN
            item.decide_at = now + (ANSWER_WITHIN if lately else UNHEARD_RETRY)
            self._unheard = True
            return []
        if kernel is Kernel.ANSWERS and item.asked < ASKS:
            item.asked, item.decide_at = item.asked + 1, now + ASK_ONCE_MORE
            self._ask(ip, item, ())
            return []
        del self._pending[ip]
        if kernel is not Kernel.ANSWERS:
            return [Take(ip, Mode.LOUD)]
        self._quiet[ip] = item
        self._put_off.add(ip)
        return [Take(ip, Mode.QUIET)]

    def _let_go(self, item: _Pending, now: float) -> bool:
        """Tell whether the machine of who contested an IP has fallen silent, and its letters."""
        contester = item.answered_by
        if contester is None or now - item.claimed_at <= CLAIM_COUNTS:
            return False
        if self.kernel(contester, item.links) is not Kernel.SILENT:
            return False
        item.dead |= {contester}
        item.contested, item.answered_by, item.since = False, None, now
        return True

    def _repeat(self, ip: IPAddress, item: _Pending, now: float) -> list[Take]:
        """The time of a contested IP: ask once more, as the rate allows, and decide again."""
        contester = item.answered_by
        if contester is not None and now - item.questioned_at >= ASK_AGAIN:
            item.questioned_at = now
            self._questions.setdefault(contester, []).append(ip)
        if now < self._may_ask:
            item.decide_at = self._may_ask
            return []
        self._may_ask = now + 1 / ASKS_A_SECOND
        if contester is not None:
            # If it does not answer any more although its machine does, its process has died.
            item.dead |= {contester}
        item.contested, item.since, item.decide_at = False, now, now + ANSWER_WITHIN
        item.asked = 1
        if now - item.claimed_at > CLAIM_COUNTS:
            item.answered_by = None
        self._ask(ip, item, ())
        return []
