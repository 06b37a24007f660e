"""Whose machine and whose process live: own observations, others' reports, verdicts. Pure.

Two things are watched. The kernel of a node, on each link, by echo (`kernels`). Its process, by
beats: letters that it sends to its watchers every BEAT_INTERVAL. What this node misses it reports
to all, and enough reports make a verdict (`verdicts`), which bars the node from owning (`barred`).
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from link.address import IPAddress
from link.interface import Interface
from ownership.io import Ask, EchoRequest, Send
from ownership.letters import letters
from ownership.letters.letters import LetterKind
from ownership.liveness.barred import BARRING, Barred
from ownership.liveness.kernels import Kernels
from ownership.liveness.roster import MOST_MOURNED, Roster
from ownership.liveness.targets import Echoed, KernelState, LinkReturned, TargetKey, Timing
from ownership.liveness.verdicts import PROCESS, Subject, Verdicts

if TYPE_CHECKING:
    from random import Random

BEAT_INTERVAL = 0.4
BEAT_SLACK = 0.05
"""A beat may wait so long for something else to wake us: a timer of its own costs more than it."""
BEAT_PATIENCE = 1.6
"""Seconds without a beat after which a process is missed: more than a freeze of 1 s and a beat."""
LATE = 0.1
"""A timer this late means that we stood still, and what we missed meanwhile does not count."""
REPORT_INTERVAL = 0.1
REPORT_LASTS = 0.35
KNOCK_INTERVAL, KNOCK_SLOWLY, KNOCK_LONG = 0.125, 1.0, 120.0
"""Seconds between ARP questions to nodes that gossip holds dead, after so many at the slower pace.
After a long cut no kernel knows the others' MACs any more, and by itself asks once a second."""
KNOCKS = 4
"""How often one that has come back is knocked at, if its kernel does not answer at once."""
REPEATS = 3
"""How often a verdict, or its end, is told, REPORT_INTERVAL apart."""
_NEVER = float("inf")


@dataclass(slots=True)
class _Repeated:
    letter: Send
    at: float
    left: int


class Witness:
    """`kernels` and `verdicts` with the letters between them."""

    def __init__(self, roster: Roster, node: str, timing: Timing, rng: "Random", now: float):
        self._roster = roster
        self._node = node
        self._kernels = Kernels(timing, rng, now)
        self._verdicts = Verdicts(node, REPORT_LASTS)
        self._interfaces: Mapping[int, Interface] = {}
        self._link_names: dict[TargetKey, str] = {}
        """What the links that we share with others are called over there."""
        self._wanted: frozenset[str] = frozenset()
        self._mine: frozenset[Subject] = frozenset()
        """What this node itself misses."""
        self._beats: dict[str, float] = {}
        self._beat_due = now
        self._due = _NEVER
        self._late_after = _NEVER
        self._repeated: list[_Repeated] = []
        self._letters: list[Send] = []
        self._mourned: tuple[str, ...] = ()
        self._mourned_since = now
        self._knock_at = now
        self._knocks: deque[Ask] = deque(maxlen=4 * MOST_MOURNED)
        self._returned: dict[str, int] = {}
        """Who was dead and is not: how often to knock there still."""
        self._bars, self._bars_of = Barred(), -1
        self._accused: dict[str, float] = {}
        """By link of ours, when somebody missed it last: what we send there may not arrive."""

    @property
    def verdicts(self) -> Mapping[str, int]:
        """Count verdicts by what became of them, for the metric."""
        return self._verdicts.counts

    # ---- what there is to watch

    def set_interfaces(self, interfaces: Mapping[int, Interface]) -> None:
        """Take the links on which this node could announce, those with carrier."""
        self._interfaces = interfaces

    def retarget(
        self, inherited: Collection[str], clients: Mapping[int, Sequence[IPAddress]], now: float
    ) -> None:
        """Watch whom the roster assigns to us, and those from whom we are inheriting. Gateways bear
        witness that our links work, and `clients`, by link."""
        roster = self._roster
        # The dead too: gossip may be wrong about them, and their machines may live.
        names = roster.clarions | roster.dead() | frozenset(inherited)
        nodes: dict[TargetKey, IPAddress] = {}
        gateways: dict[TargetKey, IPAddress] = {}
        self._link_names.clear()
        for interface in self._interfaces.values():
            # Sorted, as all that is sent must come in an order that no hash of a string decides.
            for name in sorted(names - {self._node}):
                met = roster.meet(name, interface)
                if met is not None:
                    key = TargetKey(name, interface.index)
                    nodes[key], self._link_names[key] = met[1], met[0].name
            others = [ip for ip in clients.get(interface.index, ()) if not roster.knows(ip)]
            for other in (*interface.gateways, *others):
                gateways[TargetKey(str(other), interface.index)] = other
        watched = frozenset(roster.watched())
        self._kernels.set_targets(nodes, gateways, now)
        mourned = roster.mourned()
        if mourned != frozenset(self._mourned):
            self._mourned, self._mourned_since = tuple(sorted(mourned)), now
        self._kernels.watch(watched | frozenset(inherited), mourned, lonely=roster.lonely)
        self._beats = {name: at for name, at in self._beats.items() if name in watched}

    def knock(self, name: str, now: float) -> None:
        """Ask a node for its address on every link, unless its kernel answers there anyway: what it
        answers tells our kernel its MAC, too."""
        for interface in self._interfaces.values():
            met = self._roster.meet(name, interface)
            silent = self._kernels.kernel(name, interface.index, now) is not KernelState.ANSWERS
            if met is not None and silent:
                self._knocks.append(Ask(met[1], interface.index, met[0].mac))

    def handle_return(self, name: str, now: float) -> None:
        """Gossip held a node dead, and does so no more: our kernel may not know its MAC."""
        if len(self._returned) < MOST_MOURNED:
            self._returned[name] = KNOCKS
            self._knock_at = now

    def forget(self, name: str) -> None:
        """What was known of a node is of an earlier life."""
        self._verdicts.forget(name)
        self._kernels.recheck(name)
        self._beats.pop(name, None)

    # ---- what is seen

    def handle_echo(self, ifindex: int, ip: IPAddress, token: bytes, now: float) -> Echoed | None:
        """Take an echo reply; return None where nobody asked for it."""
        unheard = self._unheard(ifindex)
        found = self._kernels.handle_echo(ifindex, ip, token, now)
        if found is None:
            return None
        key, at = found.key, found.at
        if unheard and not self._unheard(ifindex):
            # We heard others all the time, so that nothing else tells that we were cut off.
            self._kernels.note_cut(ifindex, now - self._accused[self._interfaces[ifindex].name])
        self._note_life(key, at, now)
        # It has heard us there, so our own link works both ways.
        interface = self._interfaces.get(key.ifindex)
        if interface is not None and not self._verdicts.idle:
            self._verdicts.acquit(Subject(self._node, interface.name), at)
        return found

    def handle_frames(self, ifindex: int, now: float) -> None:
        """A frame of somebody came in by the link."""
        self._kernels.handle_frames(ifindex, now)

    def handle_answer(self, name: str, ip: IPAddress, now: float) -> None:
        """A node, which gossips at this address, has answered a letter of ours."""
        for key in self._kernels.handle_answer(name, ip, now):
            self._note_life(key, now, now)

    def handle_far_life(self, name: str, ip: IPAddress, at: float) -> None:
        """A node has answered over routers: its link of that address, known by hearsay, works."""
        if not self._verdicts.idle:
            for link in self._roster.links(name):
                if ip in link.ips:
                    self._verdicts.acquit(Subject(name, link.name), at)

    def filtered_kernels(self) -> list[TargetKey]:
        """Drain those that answer no echo request any more though they live."""
        return self._kernels.filtered_kernels()

    def handle_beat(self, name: str, now: float) -> None:
        """A node's process says that it runs."""
        self._beats[name] = now
        subject = Subject(name, PROCESS)
        self._verdicts.retract(subject, self._node)
        if self._verdicts.acquit(subject, now):
            self._tell_back(subject, now)

    def handle_missing(self, subject: Subject, witness: str, now: float) -> None:
        """Another node misses somebody."""
        if subject.node == self._node:
            self._note_accusation(subject, now)
            self._protest(subject, now)
            return
        self._verdicts.report(subject, witness, now)
        if subject.link != PROCESS:
            self._kernels.check(subject.node, now)

    def handle_gone(self, subject: Subject, now: float) -> None:
        """Another node has reached a verdict."""
        if subject.node == self._node:
            self._note_accusation(subject, now)
            self._protest(subject, now)
            if subject.link == PROCESS:
                return
        if not self._contradicted(subject, now) and self._verdicts.hear(subject, now):
            self._check_others(subject, now)

    # ---- what follows

    def unwitnessed(self) -> list[str]:
        """Name our links on which only one other node answers echo requests, and nobody else."""
        return sorted(
            interface.name
            for index, interface in self._interfaces.items()
            if self._kernels.answering(index) == (1, 0)
        )

    def kernel(self, name: str, ifindexes: Collection[int], now: float) -> KernelState:
        """Tell what a node's machine does on links of ours: one that is silent decides."""
        found = set()
        for ifindex in ifindexes:
            key = TargetKey(name, ifindex)
            judged = Subject(name, self._link_names.get(key, "")) in self._verdicts.gone()
            found.add(KernelState.SILENT if judged else self._kernels.kernel(name, ifindex, now))
        for kind in (KernelState.SILENT, KernelState.UNKNOWN, KernelState.ANSWERS):
            if kind in found:
                return kind
        return KernelState.UNKNOWN

    def heard_since(self, ifindex: int, at: float) -> bool:
        """Tell whether anybody was heard on the link after `at`, as far as there is anybody, and
        nobody has missed us there since somebody heard us."""
        if self._unheard(ifindex):
            return False
        return self._kernels.heard_since(ifindex, at) or not self._kernels.expects(ifindex)

    def probe(self, now: float) -> None:
        """Ask everybody once, to hear somebody."""
        self._kernels.probe(now)

    def answers(self, name: str, now: float) -> bool:
        """Tell whether a node's kernel answers on any link that we share."""
        return any(
            self._kernels.kernel(key.who, key.ifindex, now) is KernelState.ANSWERS
            for key in self._link_names
            if key.who == name
        )

    def hears(self, ifindex: int, now: float) -> bool:
        """Tell whether this node hears others on the link, as far as there are any."""
        return self._kernels.hears(ifindex, now)

    def check(self, name: str, now: float) -> None:
        """Ask a node's kernel now."""
        self._kernels.check(name, now)

    def check_missing(self, name: str, now: float) -> None:
        """Ask it now where it is missed, or judged gone."""
        gone = any(subject.node == name for subject in self._verdicts.gone())
        if gone or any(key.who == name for key in self._kernels.missing()):
            self._kernels.check(name, now)

    def bars(self) -> Barred:
        """Return who is barred, by own word and by verdict."""
        if self._verdicts.news() or self._roster.version != self._bars_of:
            self._bars, self._bars_of = self._work_out_bars(), self._roster.version
        return self._bars

    def own_words(self) -> Barred:
        """Return who is barred by own word alone, as without the fast verdict."""
        return Barred(self._said(), frozenset(), self._roster.clarions)

    def _said(self) -> frozenset[str]:
        peers = self._roster.peers()
        return frozenset(peer.name for peer in peers if peer.living and peer.flags & BARRING)

    def _work_out_bars(self) -> Barred:
        gone = self._verdicts.gone()
        silent = {subject.node for subject in gone if subject.link == PROCESS}
        return Barred(
            nodes=self._said() | silent,
            links=frozenset(subject for subject in gone if subject.link != PROCESS),
            clarion=self._roster.clarions,
        )

    def silent_processes(self) -> frozenset[str]:
        """Name the nodes whose process is judged silent."""
        return frozenset(s.node for s in self._verdicts.gone() if s.link == PROCESS)

    def gone(self) -> frozenset[str]:
        """Name the other nodes that are judged gone on every link that we share with them."""
        return self._nowhere({each for each in self._verdicts.gone() if each.link != PROCESS})

    def unreached(self) -> frozenset[str]:
        """Name the other nodes that this one itself misses on every link that they share."""
        return self._nowhere({self._subject(key) for key in self._kernels.missing()})

    def _subject(self, key: TargetKey) -> Subject:
        return Subject(key.who, self._link_names[key])

    def _nowhere(self, silent: Set[Subject]) -> frozenset[str]:
        if not silent:
            return frozenset()
        here = {key.who for key in self._link_names if self._subject(key) not in silent}
        return frozenset(subject.node for subject in silent) - here - {self._node}

    def missing(self) -> int:
        """Count the nodes' links that this node itself misses, for the metric."""
        return len(self._kernels.missing())

    def link_returns(self, now: float) -> list[LinkReturned]:
        """Drain the links of ours that came back after a silence, in which no beat could come."""
        returned = self._kernels.link_returns()
        if returned:
            self._beats = dict.fromkeys(self._beats, now)
        return returned

    def requests(self) -> list[EchoRequest]:
        """Drain the echo requests to send."""
        return self._kernels.requests()

    def knocks(self) -> list[Ask]:
        """Drain the questions to send to nodes that are held dead, for their own addresses."""
        knocks = list(self._knocks)
        self._knocks.clear()
        return knocks

    def letters(self) -> list[Send]:
        """Drain the letters to send."""
        for name in self._kernels.doubts():
            if name in self._roster.clarions:
                self._letters.append(Send(LetterKind.HEAR, self._node, to=(name,)))
        waiting, self._letters = self._letters, []
        return waiting

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next."""
        due = min(self._kernels.deadline(), self._beat_due + BEAT_SLACK, self._due)
        if self._mourned or self._returned:
            due = min(due, self._knock_at)
        return min(due, *(item.at for item in self._repeated)) if self._repeated else due

    def handle_timeout(self, now: float) -> None:
        """Ask, beat, report, and judge what is due."""
        late = now - self._late_after
        if late > LATE:
            self._beats = {name: at + late for name, at in self._beats.items()}
        self._kernels.handle_timeout(now)
        if now >= self._beat_due:
            self._send_beat(now)
        self._report(now)
        self._repeat(now)
        if (self._mourned or self._returned) and now >= self._knock_at:
            self._knock(now)
        self._late_after = self.deadline()

    # ---- inside

    def _note_life(self, key: TargetKey, at: float, now: float) -> None:
        """The node answers, or speaks, on that link of ours: so that link of its works."""
        name = self._link_names.get(key)
        if name is None or self._verdicts.idle:
            return
        subject = Subject(key.who, name)
        self._verdicts.retract(subject, self._node)
        if self._verdicts.acquit(subject, at):
            self._tell_back(subject, now)
            if key.who in self._beats:
                # No beat could come either.
                self._beats[key.who] = now

    def _tell_back(self, subject: Subject, now: float) -> None:
        """Only its watchers do: it is to know that it was judged, as often as it was. It may hear
        nothing yet in the moment in which it is heard again."""
        if subject.node in self._roster.watched():
            payload = letters.encode_link_name(subject.link)
            letter = Send(LetterKind.BACK, subject.node, payload, (subject.node,))
            self._letters.append(letter)
            self._repeated.append(_Repeated(letter, now + REPORT_INTERVAL, REPEATS - 1))

    def _note_accusation(self, subject: Subject, now: float) -> None:
        names = {interface.name for interface in self._interfaces.values()}
        if subject.link in names and not self._contradicted(subject, now):
            self._accused[subject.link] = now

    def _unheard(self, ifindex: int) -> bool:
        """Tell whether others have missed us on the link since anybody answered us there."""
        interface = self._interfaces.get(ifindex)
        accused = self._accused.get(interface.name) if interface is not None else None
        return accused is not None and accused > self._kernels.reached_at(ifindex)

    def _protest(self, subject: Subject, now: float) -> None:
        """We are being missed. Our process says itself that it runs, to everybody; of a link of
        ours we may not know yet that it is cut, so we ask."""
        if subject.link == PROCESS:
            self._letters.append(Send(LetterKind.BEAT, self._node))
        else:
            self._kernels.check_all(now)

    def _knock(self, now: float) -> None:
        """Ask the next of the dead for its address, but those whose kernels answer."""
        lately = now - self._mourned_since <= KNOCK_LONG
        self._knock_at = now + (KNOCK_INTERVAL if lately else KNOCK_SLOWLY)
        for name in self._mourned[:1]:
            self._mourned = (*self._mourned[1:], name)
            self.knock(name, now)
        for name in self._returned:
            self.knock(name, now)
        self._returned = {name: left - 1 for name, left in self._returned.items() if left > 1}

    def _send_beat(self, now: float) -> None:
        self._beat_due = now + BEAT_INTERVAL
        watchers = self._roster.watchers()
        if watchers:
            self._letters.append(Send(LetterKind.BEAT, self._node, to=watchers))

    def _report(self, now: float) -> None:
        """Tell what we miss, as long as no verdict came of it."""
        mine = self._observed(now)
        for subject in sorted(mine - self._mine):
            # Whoever could bear witness may have died with it: find out at once.
            self._check_others(subject, now)
        self._mine = mine
        if mine and now >= self._due:
            self._due = now + REPORT_INTERVAL
            for subject in sorted(mine - self._verdicts.gone()):
                payload = letters.encode_link_name(subject.link)
                self._letters.append(Send(LetterKind.MISSING, subject.node, payload))
        elif not mine:
            self._due = _NEVER
        for subject in sorted(mine):
            self._verdicts.report(subject, self._node, now)
        if self._verdicts.idle:
            return
        alone = not any(map(self._unheard, self._interfaces))
        for reached in self._verdicts.judge(self._able(), now, alone=alone):
            self._tell(reached.subject, now)
            self._check_others(reached.subject, now)

    def _observed(self, now: float) -> frozenset[Subject]:
        missing = self._kernels.missing()
        mine = {self._subject(key) for key in missing if key.who in self._roster.clarions}
        mine |= {
            Subject(name, PROCESS)
            for name, at in self._beats.items()
            if now - at > BEAT_PATIENCE
            and name in self._roster.clarions
            # One whose machine is silent too is another matter.
            and self.answers(name, now)
        }
        if mine and self._due == _NEVER:
            self._due = now
        return frozenset(mine)

    def _able(self) -> frozenset[str]:
        """Name the others that could report: neither missed by us nor judged."""
        lost = {key.who for key in self._kernels.missing()}
        lost |= {subject.node for subject in self._verdicts.gone()}
        return self._roster.clarions - lost - {self._node}

    def _contradicted(self, subject: Subject, now: float) -> bool:
        """Tell whether we know better: the node has just answered us, or somebody us on our own
        link."""
        if subject.node == self._node:
            return any(
                interface.name == subject.link and self._kernels.reaches(ifindex, now)
                for ifindex, interface in self._interfaces.items()
            )
        if subject.link == PROCESS:
            return now - self._beats.get(subject.node, -_NEVER) <= BEAT_PATIENCE
        return any(
            self._kernels.kernel(key.who, key.ifindex, now) is KernelState.ANSWERS
            for key, name in self._link_names.items()
            if (key.who, name) == subject
        )

    def _tell(self, subject: Subject, now: float) -> None:
        payload = letters.encode_link_name(subject.link)
        self._repeated.append(_Repeated(Send(LetterKind.GONE, subject.node, payload), now, REPEATS))

    def _check_others(self, subject: Subject, now: float) -> None:
        if subject.link != PROCESS:
            self._kernels.check_all(now)

    def _repeat(self, now: float) -> None:
        if not self._repeated:
            return
        gone = self._verdicts.gone()
        for item in self._repeated:
            if now >= item.at:
                item.at, item.left = now + REPORT_INTERVAL, item.left - 1
                subject = item.letter.about, letters.decode_link_name(item.letter.payload)
                if (subject in gone) == (item.letter.kind is LetterKind.GONE):
                    self._letters.append(item.letter)
                else:
                    item.left = 0
        self._repeated = [item for item in self._repeated if item.left > 0]
