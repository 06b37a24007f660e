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
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from link.address import IPAddress
from ownership.handover.states import UNSAID, Hold, Holds, HoldState, Taking
from ownership.io import Ask, Contest
from ownership.liveness.targets import KernelState

ANSWER_WITHIN = 0.02
"""Seconds in which an owner that is alive answers for its IP."""
ASKS, ASK_ONCE_MORE = 3, 0.04
"""Where only the process seems dead there is no haste: it may be slow, and is asked so often, so
many seconds apart, before anybody answers in its place."""
KNOWN_WITHIN = 0.5
"""Seconds in which the owner's kernel has answered an echo, or has not."""
UNHEARD_RETRY = 0.1
"""Seconds until one that has heard nobody for KNOWN_WITHIN looks again whether it has."""
MINE_COUNTS = 1.5
"""Seconds for which a letter MINE stands for an echo: longer than until it is asked again."""
BACK_GRACE = 4.0
"""Seconds for the election to give an IP back to an owner whose process runs again. So long that
one that dies once more within 2 s is found out before: until then it beats 1.6 s too late."""
ASKS_AT_ONCE = 64
"""How many frames with questions leave in one turn of the loop: a millisecond or two."""
DECISIONS_AT_ONCE = 64
"""How many takeovers one call decides: about a millisecond. Where a node comes back and is alone,
the time of all its IPs is up at one moment."""
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
class Takeovers:
    """IPs that we have inherited, from the decision to the announcement.

    `kernel(node, links)` tells whether a node's machine answers on those links of ours,
    `hears(links, since)` whether this node has heard anybody there since then.
    """

    kernel: Callable[[str, Collection[int]], KernelState]
    hears: Callable[[Collection[int], float], bool]
    holds: Holds = field(default_factory=Holds)
    contested: int = 0
    """How many IPs are not taken over as their owner answers: a gauge."""
    _postponed: set[IPAddress] = field(default_factory=set)
    _asks: deque[Ask] = field(default_factory=deque)
    _questions: dict[str, list[IPAddress]] = field(default_factory=dict)
    _contests: list[Contest] = field(default_factory=list)
    _may_ask: float = _NEVER
    _unheard: bool = False
    _more: bool = False
    """Whether the last bite may have left something."""

    def begin(
        self,
        ip: IPAddress,
        dead: frozenset[str],
        living: str | None,
        links: Collection[int],
        now: float,
    ) -> Hold:
        """Inherit `ip`, from nodes whose processes are dead, or from a `living` one that lets go of
        it; neither is known where this node has just come."""
        taking = Taking(dead, links, now, now + ANSWER_WITHIN)
        hold = self.holds.ask(ip, taking)
        self._ask(hold, dead if living is None else dead | {living})
        return hold

    def waits(self, ip: IPAddress) -> bool:
        """Tell whether the IP waits for a decision."""
        # Hashing an address takes longer than all else here, and mostly there are none.
        return bool(self.holds.open) and ip in self.holds.open

    def quiet(self, ip: IPAddress) -> bool:
        """Tell whether the IP was taken over without a word."""
        return bool(self.holds.quiet) and ip in self.holds.quiet

    def quiet_from(self, ip: IPAddress) -> frozenset[str]:
        """Name the nodes from which the IP was taken so, also while it goes to another owner."""
        hold = self.holds.get(ip)
        return hold.taking.dead if hold is not None and hold.state in UNSAID else frozenset()

    def stays_quiet(self, ip: IPAddress) -> bool:
        """The same for an IP that is won once more, which is then put off once more."""
        if self.quiet(ip):
            self._postponed.add(ip)
        return self.quiet(ip)

    @property
    def idle(self) -> bool:
        """Whether nothing is being taken over, nor was taken over without a word."""
        return not self.holds.open and not self.holds.quiet

    def owners(self) -> frozenset[str]:
        """Return the nodes whose machines matter still: old owners, and who answers."""
        if self.idle:
            return frozenset()
        found = set[str]()
        for holds in (self.holds.quiet, self.holds.open):
            for hold in holds.values():
                found |= hold.taking.dead
                if hold.taking.answered_by is not None:
                    found.add(hold.taking.answered_by)
        return frozenset(found)

    def restart(self, now: float) -> None:
        """We were cut off, and hear others again: what they own meanwhile is to be asked anew."""
        for hold in self.holds.open.values():
            self.holds.ask_again(hold)
            taking = hold.taking
            taking.answered_by, taking.asked = None, 1
            taking.since, taking.decide_at = now, now + ANSWER_WITHIN
            self._ask(hold, taking.dead)

    # ---- what others say

    def handle_answer(self, ip: IPAddress, name: str, *, speaks: bool = True) -> None:
        """The node `name` answers for the IP, or announces it; one that `speaks` can be asked by
        letter whether it does."""
        hold = self.holds.open.get(ip)
        if hold is None or name in hold.taking.denied_by:
            return
        item = hold.taking
        if item.answered_by != name:
            # Its kernel may do so without its speaker.
            if speaks:
                self._questions.setdefault(name, []).append(ip)
            item.mine_at = _NEVER
        item.answered_by = name

    def handle_mine(self, ip: IPAddress, name: str, now: float) -> None:
        """The speaker of the node `name` says that it answers for the IP."""
        hold = self.holds.open.get(ip)
        if hold is not None:
            hold.taking.answered_by, hold.taking.mine_at = name, now
            hold.taking.denied_by.discard(name)

    def handle_denial(self, ip: IPAddress, name: str, now: float) -> bool:
        """It says that it does not; true where its kernel answers for the IP all the same."""
        hold = self.holds.open.get(ip)
        if hold is None or name in hold.taking.denied_by:
            return False
        item = hold.taking
        item.denied_by.add(name)
        item.dead -= {name}
        if item.answered_by != name:
            return False
        item.answered_by, item.mine_at = None, _NEVER
        if hold.state is HoldState.CONTESTED:
            self.holds.ask_again(hold)
            item.since, item.decide_at = now, now
        return True

    def handle_grant(self, ip: IPAddress, name: str, dead: frozenset[str]) -> list[Take]:
        """The node `name` answers for the IP only until it hears us; it has taken it over quietly
        from those that are `dead`."""
        hold = self.holds.open.get(ip)
        if hold is None or hold.taking.answered_by not in (None, name):
            return []
        item = hold.taking
        item.dead = (item.dead | dead) - {name}
        item.answered_by = None
        return self._take(hold, quiet=bool(dead) or self._kernel_of(item) is KernelState.ANSWERS)

    def handle_owner_back(self, owner: str, now: float) -> None:
        """An owner's process runs again: what stays ours all the same is announced in a while."""
        for hold in self.holds.quiet.values():
            if owner in hold.taking.dead:
                hold.taking.loud_at = min(hold.taking.loud_at, now + BACK_GRACE)

    def handle_owner_gone(self, owner: str) -> None:
        """An owner's process is gone once more."""
        for hold in self.holds.quiet.values():
            if owner in hold.taking.dead:
                hold.taking.loud_at = float("inf")

    # ---- what follows

    def handle_timeout(self, now: float) -> list[Take]:
        """Decide what is due, or as much of it as one bite takes: then `deadline` has passed."""
        self._more = False
        if self.idle:
            self.contested = 0
            return []
        bite = list(islice(self._decisions(now), DECISIONS_AT_ONCE))
        self._more = len(bite) == DECISIONS_AT_ONCE
        self.contested = sum(hold.state is HoldState.CONTESTED for hold in self.holds.open.values())
        return [take for takes in bite for take in takes]

    def _decisions(self, now: float) -> Iterator[list[Take]]:
        """Decide one after the other, as long as somebody asks for the next."""
        for hold in list(self.holds.open.values()):
            contested = hold.state is HoldState.CONTESTED
            if contested and self._let_go(hold, now):
                yield self._decide(hold, now)
            elif now >= hold.taking.decide_at and not hold.taking.unsent:
                yield self._repeat(hold, now) if contested else self._decide(hold, now)
        for hold in list(self.holds.quiet.values()):
            if now >= hold.taking.loud_at or self._kernel_of(hold.taking) is KernelState.SILENT:
                yield self._take(hold, quiet=False)

    def postponements(self) -> frozenset[IPAddress]:
        """Drain the IPs found to be contested, or taken over without a word, since the last call:
        if they are announced at all, then for another reason than this takeover."""
        put_off = frozenset(self._postponed)
        self._postponed.clear()
        return put_off

    def asks(self, now: float) -> list[Ask]:
        """Drain the questions to send on the wire now; the time to answer begins with them."""
        asks = [self._asks.popleft() for _ in range(min(ASKS_AT_ONCE, len(self._asks)))]
        for ask in asks:
            hold = self.holds.open.get(ask.ip)
            if hold is not None:
                item = hold.taking
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
        times = [hold.taking.decide_at for hold in self.holds.open.values()]
        times += [hold.taking.loud_at for hold in self.holds.quiet.values()]
        return _NEVER if self._asks or self._more else min(times, default=float("inf"))

    # ---- inside

    def _ask(self, hold: Hold, nodes: Collection[str]) -> None:
        self._asks += [Ask(hold.ip, ifindex) for ifindex in hold.taking.links]
        hold.taking.unsent += len(hold.taking.links)
        for node in sorted(nodes):
            self._questions.setdefault(node, []).append(hold.ip)

    def _take(self, hold: Hold, *, quiet: bool) -> list[Take]:
        self.holds.take(hold, quiet=quiet)
        if quiet:
            self._postponed.add(hold.ip)
        return [Take(hold.ip, Mode.QUIET if quiet else Mode.LOUD)]

    def _kernel_of(self, item: Taking) -> KernelState:
        """Tell what the machines of the dead do: one that lives still decides."""
        found = {self.kernel(node, item.links) for node in item.dead}
        for kind in (KernelState.ANSWERS, KernelState.UNKNOWN):
            if kind in found:
                return kind
        return KernelState.SILENT

    def _decide(self, hold: Hold, now: float) -> list[Take]:
        ip, item = hold.ip, hold.taking
        kernel, answerer = self._kernel_of(item), KernelState.SILENT
        if item.answered_by is not None:
            answerer = self.kernel(item.answered_by, item.links)
            # Where no echo gets through at all, its answer is the best there is.
            in_vain = answerer is KernelState.UNKNOWN and now - item.since >= KNOWN_WITHIN
            claims = now - item.mine_at <= MINE_COUNTS
            if answerer is KernelState.ANSWERS or claims or in_vain:
                # It is the owner on the wire, whoever gossip took for it: where members are
                # declared dead one by one, that is an heir that never took over.
                if item.told != item.answered_by:
                    item.told = item.answered_by
                    self._contests.append(Contest(ip, item.answered_by))
                self.holds.contest(hold)
                item.decide_at = now + ASK_AGAIN
                self._postponed.add(ip)
                return []
        if KernelState.UNKNOWN in (kernel, answerer) and now - item.since < KNOWN_WITHIN:
            item.decide_at = now + ANSWER_WITHIN
            return []
        if not self.hears(item.links, item.since):
            lately = now - item.since < KNOWN_WITHIN
            item.decide_at = now + (ANSWER_WITHIN if lately else UNHEARD_RETRY)
            self._unheard = True
            return []
        if kernel is KernelState.ANSWERS and item.asked < ASKS:
            item.asked, item.decide_at = item.asked + 1, now + ASK_ONCE_MORE
            self._ask(hold, ())
            return []
        return self._take(hold, quiet=kernel is KernelState.ANSWERS)

    def _let_go(self, hold: Hold, now: float) -> bool:
        """Tell whether the machine of who contested an IP has fallen silent, and its letters."""
        item = hold.taking
        contester = item.answered_by
        if contester is None or now - item.mine_at <= MINE_COUNTS:
            return False
        if self.kernel(contester, item.links) is not KernelState.SILENT:
            return False
        item.dead |= {contester}
        item.answered_by, item.since = None, now
        self.holds.ask_again(hold)
        return True

    def _repeat(self, hold: Hold, now: float) -> list[Take]:
        """The time of a contested IP: ask once more, as the rate allows, and decide again."""
        item = hold.taking
        contester = item.answered_by
        if contester is not None and now - item.questioned_at >= ASK_AGAIN:
            item.questioned_at = now
            self._questions.setdefault(contester, []).append(hold.ip)
        if now < self._may_ask:
            item.decide_at = self._may_ask
            return []
        self._may_ask = now + 1 / ASKS_A_SECOND
        if contester is not None:
            # If it does not answer any more although its machine does, its process has died.
            item.dead |= {contester}
        self.holds.ask_again(hold)
        item.since, item.decide_at, item.asked = now, now + ANSWER_WITHIN, 1
        if now - item.mine_at > MINE_COUNTS:
            item.answered_by = None
        self._ask(hold, ())
        return []
