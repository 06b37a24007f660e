"""Whose machine lives in other subnets: `witness` over routers, where traffic comes by BGP. Pure.

Who owns an address on a link does not follow from it: a verdict here says of a machine, not
of a link, that it is gone, and only `lives` heeds it. Nodes of our own links are judged too, as a
node's watchers may stand on both sides: who shares links with it speaks by what `witness` misses.

Whom to ask follows from gossip, and where they stand from what they tell (`subnets`): who tells
nothing is not asked, and cannot be expected to miss anybody.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

from link.address import IPAddress
from link.interface import Interface
from ownership.io import ROUTED, EchoRequest, RoutedState, Send
from ownership.letters.courier import Letter
from ownership.letters.letters import (
    MOST_GATEWAYS,
    LetterKind,
    Subnet,
    Whereabouts,
    decode_whereabouts,
)
from ownership.liveness.roster import Peer, Roster
from ownership.liveness.routed_kernels import RoutedKernels, gateways_side, nodes_side
from ownership.liveness.subnets import SubnetBook
from ownership.liveness.targets import KernelState, TargetKey, Timing
from ownership.liveness.verdicts import Subject, Verdicts
from ownership.liveness.witness import REPEATS, REPORT_INTERVAL, REPORT_LASTS, Witness

if TYPE_CHECKING:
    from random import Random

MACHINE = "*"
"""In the place of a link's name: the machine is missed, by whatever way. No letter carries it."""
MOST_ASKED = 64
"""Nodes in other subnets that are asked: those that we watch, and others, who may bear witness."""
LOOK_AGAIN = 0.2
"""Seconds from news of members until they are looked at: of a thousand, that takes milliseconds."""
_NEVER = float("inf")

Network = IPv4Network | IPv6Network


@dataclass(slots=True)
class _Paths:
    """Whom to ask by which path; a subnet keeps its number while anybody is asked there."""

    numbers: dict[Network, int] = field(default_factory=dict)
    nodes: dict[str, tuple[IPAddress, int]] = field(default_factory=dict)
    """Address and path of each node."""
    sides: dict[IPAddress, int] = field(default_factory=dict)
    """By address, of nodes and gateways."""


class RoutedWitness:
    """Does nothing before `set_on`."""

    def __init__(
        self, roster: Roster, near: Witness, node: str, timing: Timing, rng: "Random"
    ) -> None:
        """`near` watches those with whom we share a link."""
        self._roster, self._near, self._node = roster, near, node
        self._timing, self._rng = timing, rng
        self._interfaces: Mapping[int, Interface] = {}
        self._kernels: RoutedKernels | None = None
        self.verdicts: Counter[str] = Counter()
        """How many there were, by what became of them."""
        self._clear(0.0)

    def _clear(self, now: float) -> None:
        self._book = SubnetBook(self._node, now)
        self._verdicts = Verdicts(self._node, REPORT_LASTS, self.verdicts)
        self._paths = _Paths()
        self._unasked: Counter[RoutedState] = Counter()
        self._mine: frozenset[str] = frozenset()
        self._look_at = self._report_at = self._due = _NEVER
        self._repeated: dict[str, tuple[float, int]] = {}
        """Of whom a verdict is told again, when, and how often."""
        self._accused = -_NEVER
        self._letters: list[Send] = []

    # ---- what there is to watch

    def set_on(self, on: bool, now: float) -> None:
        """Ask from now on, or no more."""
        if on == (self._kernels is not None):
            return
        farewell = self._book.farewell()
        self._clear(now)
        if on:
            self._kernels = RoutedKernels(self._timing, self._rng, now)
            self.set_interfaces(self._interfaces, now)
        else:
            self._kernels = None
            self._letters.append(farewell)

    def set_interfaces(self, interfaces: Mapping[int, Interface], now: float) -> None:
        """Take all links on which this node could announce, with carrier or without."""
        self._interfaces = interfaces
        if self._kernels is not None:
            self._book.set_own(interfaces, now)
            self.retarget(now)

    def retarget(self, now: float) -> None:
        """Look at the members again, and at where they stand: soon, as news come in crowds."""
        if self._kernels is not None:
            self._look_at = min(self._look_at, now + LOOK_AGAIN)

    def _look(self, kernels: RoutedKernels, now: float) -> None:
        self._look_at = _NEVER
        peers = {peer.name: peer for peer in self._roster.peers() if _counts(peer)}
        lives = {name: peer.start_id for name, peer in peers.items() if peer.start_id is not None}
        for name in sorted(self._book.set_lives(lives, now)):
            self._verdicts.forget(name)
            kernels.recheck(name)
        subnets = self._standing(peers)
        self._lay_paths(subnets)
        paths = self._paths
        nodes = {TargetKey(n, nodes_side(path)): ip for n, (ip, path) in paths.nodes.items()}
        gateways = {TargetKey(str(ip), side): ip for ip, side in paths.sides.items() if side & 1}
        kernels.set_targets(nodes, gateways, now)
        kernels.watch(frozenset(self._roster.watched()))

    def _standing(self, peers: Mapping[str, Peer]) -> dict[str, tuple[IPAddress, Subnet]]:
        """Return the address and the subnet of those to ask, and count the others by the reason."""
        unasked = Counter[RoutedState]()
        addresses = {
            name: ip_address(peer.address.ip)
            for name, peer in peers.items()
            if peer.address is not None
        }
        taken, known = Counter(addresses.values()), self._book.known()
        found = dict[str, tuple[IPAddress, Subnet]]()
        for name, ip in sorted(addresses.items()):
            if self._is_near(ip):
                continue
            subnet = self._book.subnet(name, ip)
            if not _is_usable(ip) or taken[ip] > 1:
                unasked[RoutedState.NO_ADDRESS] += 1
            elif name not in known:
                unasked[RoutedState.UNTOLD] += 1
            elif subnet is None:
                unasked[RoutedState.ELSEWHERE] += 1
            else:
                found[name] = ip, subnet
        asked = self._nearest(found)
        unasked[RoutedState.TOO_MANY] = len(found) - len(asked)
        self._unasked = unasked
        return asked

    def _nearest(
        self, found: dict[str, tuple[IPAddress, Subnet]]
    ) -> dict[str, tuple[IPAddress, Subnet]]:
        """Leave as many as are asked: those we watch first, then those who stand beside them."""
        watched = frozenset(self._roster.watched())
        beside = {subnet.network for name, (_, subnet) in found.items() if name in watched}
        order = sorted(
            found, key=lambda n: (n not in watched, found[n][1].network not in beside, n)
        )
        return {name: found[name] for name in order[:MOST_ASKED]}

    def _lay_paths(self, subnets: Mapping[str, tuple[IPAddress, Subnet]]) -> None:
        numbers, told = dict[Network, int](), dict[Network, Counter[IPAddress]]()
        free = max(self._paths.numbers.values(), default=0) + 1
        for _, subnet in subnets.values():
            if subnet.network not in numbers:
                known = self._paths.numbers.get(subnet.network)
                numbers[subnet.network] = free if known is None else known
                free += known is None
            told.setdefault(subnet.network, Counter()).update(subnet.gateways)
        nodes = {name: (ip, numbers[subnet.network]) for name, (ip, subnet) in subnets.items()}
        sides = dict[IPAddress, int]()
        for network, counts in told.items():
            for ip in self._gateways(counts):
                sides[ip] = gateways_side(numbers[network])
        sides |= {ip: nodes_side(path) for ip, path in nodes.values()}
        self._paths = _Paths(numbers, nodes, sides)

    def _gateways(self, told: Counter[IPAddress]) -> list[IPAddress]:
        """Return those that most nodes of a subnet name, so that one alone adds none."""
        usable = [ip for ip in told if _is_usable(ip) and not self._is_near(ip)]
        return sorted(usable, key=lambda ip: (-told[ip], ip.packed))[:MOST_GATEWAYS]

    def _is_near(self, ip: IPAddress) -> bool:
        interfaces = self._interfaces.values()
        return any(ip in own.network for link in interfaces for own in link.addresses)

    # ---- what is seen

    def handle_echo(self, ip: IPAddress, token: bytes, now: float) -> bool:
        """Take an echo reply that came over routers; false where nobody asked for it."""
        side = self._paths.sides.get(ip)
        if self._kernels is None or side is None:
            return False
        found = self._kernels.handle_echo(side, ip, token, now)
        if found is not None and found.key.who in self._paths.nodes:
            self.handle_life(found.key.who, found.at)
            self._near.handle_far_life(found.key.who, ip, found.at)
        return found is not None

    def handle_life(self, name: str, at: float) -> None:
        """A node has answered a question of `at`, by whatever way."""
        if not self._verdicts.idle:
            subject = Subject(name, MACHINE)
            self._verdicts.retract(subject, self._node)
            if self._verdicts.acquit(subject, at) and name in self._roster.watched():
                # There may be some who heed the verdict and cannot ask that machine.
                self._say(LetterKind.FAR_BACK, [name])

    def handle_answer(self, name: str, now: float) -> None:
        """A node has answered a letter of ours, which goes where its echo requests go."""
        known = self._paths.nodes.get(name)
        if self._kernels is not None and known is not None:
            self._kernels.handle_answer(name, known[0], now)
            self.handle_life(name, now)

    def handle_letter(self, kind: LetterKind, letter: Letter, now: float) -> None:
        """Take a letter of the kinds `FAR`; raise LetterError."""
        if self._kernels is None:
            return
        if kind is LetterKind.SUBNETS:
            self._take_whereabouts(letter.sender, decode_whereabouts(letter.payload), now)
        elif kind is LetterKind.FAR_BACK:
            if letter.about not in self._mine:
                self._verdicts.acquit(Subject(letter.about, MACHINE), now)
        elif letter.about == self._node:
            # We may be the one that is cut off: find out whether anybody hears us.
            self._accused = now
            self._kernels.check_all(now)
        elif letter.about in self._roster.clarions:
            self._take_report(kind, letter, now)

    def _take_whereabouts(self, sender: str, where: Whereabouts, now: float) -> None:
        if sender not in self._roster.clarions:
            return
        before = self._book.told(sender)
        self._letters += self._book.handle_whereabouts(sender, where)
        if self._book.told(sender) != before:
            self.retarget(now)

    def _take_report(self, kind: LetterKind, letter: Letter, now: float) -> None:
        subject = Subject(letter.about, MACHINE)
        if kind is LetterKind.FAR_MISSING:
            self._verdicts.report(subject, letter.sender, now)
        elif self._answers(letter.about, now) or not self._verdicts.hear(subject, now):
            return
        self._due = min(self._due, now)
        self._check(letter.about, now)

    # ---- what follows

    def gone(self) -> frozenset[str]:
        """Name the other living members whose machines are judged gone."""
        judged = self._verdicts.gone()
        return self._roster.clarions.intersection(subject.node for subject in judged)

    def filtered(self) -> frozenset[str]:
        """Drain the names of those that answer no echo request any more though they live."""
        found = [] if self._kernels is None else self._kernels.filtered_kernels()
        return frozenset(key.who for key in found)

    def states(self) -> dict[RoutedState, int]:
        """Count the nodes in other subnets by what is done about them, for the metric."""
        kernels = self._kernels
        if kernels is None:
            return {}
        missing, armed = len(kernels.missing()), kernels.armed()
        return dict(self._unasked) | {
            RoutedState.ANSWERS: armed - missing,
            RoutedState.MISSING: missing,
            RoutedState.UNPROVED: len(self._paths.nodes) - armed,
        }

    def requests(self) -> list[EchoRequest]:
        """Drain the echo requests to send."""
        if self._kernels is None:
            return []
        # What came back on a path after a silence concerns nobody: nothing is answered there.
        self._kernels.link_returns()
        return [EchoRequest(ROUTED, asked.ip, asked.token) for asked in self._kernels.requests()]

    def letters(self) -> list[Send]:
        """Drain the letters to send."""
        if self._kernels is not None:
            for name in self._kernels.doubts():
                self._letters.append(Send(LetterKind.HEAR, self._node, to=(name,)))
        waiting, self._letters = self._letters, []
        return waiting

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next."""
        if self._kernels is None:
            return _NEVER
        again = min((at for at, _ in self._repeated.values()), default=_NEVER)
        due = min(self._due, self._report_at, self._look_at, again)
        return min(due, self._kernels.deadline(), self._book.deadline())

    def handle_timeout(self, now: float) -> None:
        """Ask, tell where we stand, report, and judge what is due."""
        if self._kernels is None:
            return
        self._due = _NEVER
        if now >= self._look_at:
            self._look(self._kernels, now)
        self._kernels.handle_timeout(now)
        self._letters += self._book.handle_timeout(now)
        self._report(self._kernels, now)
        self._repeat(now)

    # ---- inside

    def _report(self, kernels: RoutedKernels, now: float) -> None:
        """Tell whom we miss, as long as no verdict came of it."""
        mine = self._observed(kernels)
        if mine - self._mine:
            # Whoever could bear witness may have died with it: find out at once.
            kernels.check_all(now)
        self._mine = mine
        gone = self.gone()
        if not mine:
            self._report_at = _NEVER
        elif self._report_at == _NEVER or now >= self._report_at:
            self._report_at = now + REPORT_INTERVAL
            self._say(LetterKind.FAR_MISSING, mine - gone)
        for name in mine:
            self._verdicts.report(Subject(name, MACHINE), self._node, now)
        if self._verdicts.idle:
            return
        alone = self._accused <= kernels.latest()
        for reached in self._verdicts.judge(self._able(mine | gone), now, alone=alone):
            self._repeated[reached.subject.node] = now, REPEATS

    def _observed(self, kernels: RoutedKernels) -> frozenset[str]:
        """Name whom we miss ourselves; those on our own links only where others stand elsewhere."""
        if not self._paths.nodes:
            return frozenset()
        missing = {key.who for key in kernels.missing()} | self._near.unreached()
        return frozenset(missing & self._roster.clarions)

    def _able(self, lost: frozenset[str]) -> frozenset[str]:
        """Name the others that could report: those who ask as we do, neither missed nor judged."""
        return (self._book.known() & self._roster.clarions) - lost

    def _answers(self, name: str, now: float) -> bool:
        """Tell whether a node has just answered us, by whatever way."""
        if self._near.answers(name, now):
            return True
        kernels, known = self._kernels, self._paths.nodes.get(name)
        if kernels is None or known is None:
            return False
        return kernels.kernel(name, nodes_side(known[1]), now) is KernelState.ANSWERS

    def _check(self, name: str, now: float) -> None:
        """Ask a node now, by whatever way."""
        if self._kernels is not None:
            self._kernels.check(name, now)
        self._near.check(name, now)

    def _repeat(self, now: float) -> None:
        """Tell verdicts, as long as they stand."""
        due = [name for name, (at, _) in self._repeated.items() if now >= at]
        self._say(LetterKind.FAR_GONE, self.gone().intersection(due))
        for name in due:
            left = self._repeated.pop(name)[1] - 1
            if left and name in self.gone():
                self._repeated[name] = now + REPORT_INTERVAL, left

    def _say(self, kind: LetterKind, names: Iterable[str]) -> None:
        self._letters += [Send(kind, name) for name in sorted(names)]


def _counts(peer: Peer) -> bool:
    return peer.living and peer.start_id is not None


def _is_usable(ip: IPAddress) -> bool:
    """Tell whether somebody may be asked there whom we know by hearsay."""
    return not (
        ip.is_multicast or ip.is_unspecified or ip.is_loopback or ip.is_link_local or ip.is_reserved
    )
