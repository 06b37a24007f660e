"""How IPs change hands: from the election's word to what is answered and announced. Pure.

The election says who should own. `Succession` says when this node begins (`heir`) and when it
stops (`loser`), and tells the announcer. Its letters are YOURS, QUIET, ASK, MINE and DENY.
"""

from collections.abc import Collection, Iterable, Mapping

from link.address import IPAddress
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.handover.heir import ASKS_AT_ONCE, Mode, Take, Takeovers
from ownership.handover.loser import Handover, Yielded, letters_to_winner
from ownership.handover.memory import Predecessors, Reminders, Requests, Sighting, Sightings, keep
from ownership.handover.outlook import Grant, Outlook
from ownership.handover.states import ANSWERED, LOSING, OPEN, SETTLED, Hold, Holds, HoldState
from ownership.io import Ask, Contest, ForeignAnswer, Send
from ownership.letters import letters
from ownership.letters.letters import LetterKind
from ownership.liveness.roster import Roster
from ownership.liveness.targets import KernelState

ASKED_OF_THE_DEAD = 2
"""For how many IPs the wire is asked when a node is heard which gossip holds dead."""
GRANT_KEPT = 1.0
"""Seconds for which a loser's letter grants: it may come before our own election."""
_FOREVER = float("inf")


class Succession:
    """Takeovers and hand-overs of one node."""

    def __init__(
        self, node: str, roster: Roster, announcer: Announcer, world: Outlook, now: float
    ) -> None:
        """`world` tells what is known of other nodes and of our own links."""
        self._node = node
        self._roster = roster
        self._announcer = announcer
        self._now = now
        self._world = world
        self._holds = Holds()
        self._takeovers = Takeovers(self._kernel_of, world.heard_since, self._holds)
        self._handover = Handover(self._holds)
        self._interfaces: Mapping[int, Interface] = {}
        self._sightings = Sightings()
        self._grants: dict[IPAddress, Grant] = {}
        self._predecessors = Predecessors(node, world.lost_its_owner)
        self._reminders = Reminders()
        self._requests = Requests()
        self._letters: list[Send] = []
        self._asks: list[Ask] = []
        """For IPs that we answer for, and that somebody who is held dead may own."""
        self._changed: set[str] = set()
        self._foreign: list[ForeignAnswer] = []
        self._quiet_takes: list[IPAddress] = []
        self._unconfirmed = False
        """Whether it is silence alone that let us answer, and nobody is known since."""
        self.conflicts = 0
        """How often somebody else announced an IP that is ours and that nobody hands over."""
        self.foreign = 0
        """How often that was somebody whose MAC no other speaker has told us."""

    # ---- what the election says

    def set_interfaces(self, interfaces: Mapping[int, Interface]) -> None:
        """Take the links on which this node could announce, those with carrier."""
        self._interfaces = interfaces

    def win(
        self,
        service: str,
        ip: IPAddress,
        interfaces: frozenset[str] | None,
        previous: str | None,
        now: float,
    ) -> None:
        """Own an IP; `previous` is who did, as far as this node knew."""
        self._now = now
        if previous is not None:
            self._predecessors.note_owner(ip, previous)
        dead = self._predecessors.dead(ip)
        self._holds.take_back(service, ip, dead)
        hold = self._holds.get(ip)
        if hold is not None and hold.state in OPEN:
            hold.services[service] = interfaces
            return
        links = self._links_to_ask(dead, previous, interfaces) if hold is None else ()
        if links:
            hold = self._takeovers.begin(ip, dead, self._living(previous), links, now)
            hold.services[service] = interfaces
            self._use_grant(ip, now)
            return
        quiet = self._takeovers.stays_quiet(ip)
        self._announcer.announce(ip, service, interfaces, now, quiet=quiet)
        self._holds.take_up(hold or Hold(ip), service, interfaces)

    def lose(
        self, service: str, ip: IPAddress, winner: str | None, now: float, within: float = _FOREVER
    ) -> None:
        """Own it no more, as `winner` does; None: stop at once. A winner that is not heard `within`
        so many seconds does not know that it is one."""
        self._now = now
        hold = self._holds.get(ip)
        if hold is None or service not in hold.services or hold.state in OPEN:
            # What is not answered for needs no handing over.
            self.withdraw(service, ip)
            self._tell_stopped(ip, winner)
            return
        peer = self._roster.peer(winner) if winner is not None else None
        if peer is None or not peer.living or hold.stays_without(service):
            # Where another service of ours shares the IP, it stays answered for.
            self.withdraw(service, ip)
            return
        self._remember_quiet(ip)
        # What is lost is answered for, but not announced any more.
        self._announcer.hush(ip)
        links, foreign = self._announcer.indexes(ip), peer.start_id is None
        # Where we heard nobody for a while the winner may have announced itself unheard. One of
        # MetalLB's has not: it knows no verdict that was quicker than memberlist's.
        deaf = {index for index in links if not foreign and not self._world.hears(index, now)}
        if deaf and deaf.issuperset(links):
            self.withdraw(service, ip)
            return
        for ifindex in deaf:
            self._announcer.fall_silent(ip, ifindex)
        links = tuple(ifindex for ifindex in links if ifindex not in deaf)
        self._handover.begin(service, ip, peer.name, links, now, foreign=foreign, within=within)
        for ifindex in links:
            sighting = self._sightings.lately(ip, ifindex, now)
            if sighting is not None:
                self._hear(ip, ifindex, self._roster.owner_of(sighting.mac), sighting)

    def note_move(
        self, service: str, ip: IPAddress, before: str | None, winner: str | None, now: float
    ) -> None:
        """The owner has changed among others, perhaps while this node is handing over."""
        if before is not None:
            self._predecessors.note_owner(ip, before)
        self._tell_stopped(ip, winner)
        if winner == self._node or not self._handover.yielding(ip, service):
            return
        # Nobody may own it by our own plan, which others may not have read yet: that is why it is
        # being handed over, and for how long.
        if winner is not None or not self._handover.ends(ip):
            self.lose(service, ip, winner, now)

    def withdraw(self, service: str, ip: IPAddress) -> None:
        """Nobody is to announce it for this service."""
        hold = self._holds.get(ip)
        if hold is None or service not in hold.services:
            return
        if hold.state not in OPEN:
            self._announcer.withdraw(ip, service)
            if len(hold.services) == 1:
                self._reminders.note_stop(ip)
                self._remember_quiet(ip)
        self._holds.give_up(hold, service)

    def handle_link_return(self, now: float) -> None:
        """We were cut off, and hear others again."""
        self._takeovers.restart(now)

    def verify(self, ifindex: int | None, now: float) -> None:
        """We kept quiet on the link (None: on all), and nobody has told us whose our IPs are now.
        Gossip may be cut and the others live: so the wire is asked before we answer again."""
        self._unconfirmed = not self._roster.others_live
        links = frozenset(self._interfaces) if ifindex is None else frozenset({ifindex})
        for ip in sorted(self._announcer.ips(), key=lambda ip: ip.packed):
            on = links.intersection(self._announcer.indexes(ip))
            if on and self._holds.state(ip) in SETTLED:
                self._ask_anew(ip, sorted(on), now)

    def note_others(self) -> None:
        """Others are known: what a stranger answers for holds nothing up any more."""
        self._unconfirmed = False

    def _ask_anew(self, ip: IPAddress, links: Collection[int], now: float) -> None:
        dead = self._predecessors.dead(ip) | self._takeovers.quiet_from(ip)
        for service in self._holds.record(ip).services:
            self._changed.add(service)
            self._announcer.withdraw(ip, service)
        self._takeovers.begin(ip, dead, None, links, now)

    def handle_owner_back(self, name: str, now: float) -> None:
        """The process of a node runs again."""
        self._takeovers.handle_owner_back(name, now)

    def handle_owner_gone(self, name: str) -> None:
        """The process of a node was judged silent, or declared dead."""
        self._takeovers.handle_owner_gone(name)

    def handle_sign_of_life(self, name: str, now: float, *, anew: bool = False) -> None:
        """A node that gossip holds dead was heard: it may own still what we took over from it, when
        its machine was slow to answer. So the wire is asked while we answer on, for a few of these
        IPs, each time for others: if it answers for one, all are asked for. `anew`: it answers
        echo again, which says more than its frames, so however often they made us ask."""
        if anew:
            self._predecessors.note_life(name)
        if not self._predecessors.wants_asking(name, now):
            return
        for ip in self._taken_from(name)[:ASKED_OF_THE_DEAD]:
            self._predecessors.note_question(ip)
            self._asks.extend(Ask(ip, ifindex) for ifindex in self._announcer.indexes(ip))

    def _taken_from(self, name: str) -> list[IPAddress]:
        """Return the IPs that we took over from a dead node, aloud or quietly."""
        return [ip for ip in self._predecessors.ips(name) if self._mine(ip)]

    # ---- what is heard

    def handle_announcement(
        self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool = False
    ) -> None:
        """Somebody announced the IP on the link, or answered for it; `alone`: to us and to nobody
        else."""
        self._now = now
        name = self._roster.owner_of(mac)
        sighting = Sighting(mac, now, alone)
        if name is not None:
            self._takeovers.handle_answer(ip, name)
        elif self._unconfirmed:
            # A ring that we do not know may own it: gossip does not get through to it.
            self._takeovers.handle_answer(ip, mac.hex(":"), speaks=False)
        state = self._holds.state(ip)
        if state in LOSING:
            self._hear(ip, ifindex, name, sighting)
        elif state in SETTLED:
            news = self._sightings.is_news(ip, ifindex, mac, now)
            self.conflicts += news
            self.foreign += news and name is None
            if name is not None and self._answered_by_its_owner(ip, name, ifindex):
                self._give_back(ip, name, now)
        self._sightings.note(ip, ifindex, sighting)

    def handle_yours(
        self, ips: Iterable[IPAddress], sender: str, now: float, dead: frozenset[str] = frozenset()
    ) -> None:
        """Another node answers for IPs that are ours, until it hears us; it took them over quietly
        from those that are `dead`."""
        # Of a set: in an order that no hash decides, so that a simulated run can be repeated.
        ips = sorted(ips, key=lambda ip: ip.packed)
        for ip in ips:
            if dead:
                self._predecessors.note(ip, dead)
            takes = self._takeovers.handle_grant(ip, sender, dead)
            self._apply(takes, now)
            if not takes and self._holds.state(ip) not in ANSWERED:
                keep(self._grants, ip, Grant(sender, dead, now))
        mine = [ip for ip in ips if self._mine(ip)]
        for ip in mine:
            # What was taken over quietly stays so: the letter below says it as well.
            if not self._takeovers.quiet(ip):
                self._requests.note(ip, now)
        for payload in letters.encode_ips(mine):
            self._letters.append(Send(LetterKind.MINE, self._node, payload, (sender,)))

    def handle_ask(self, ips: Iterable[IPAddress], sender: str) -> None:
        """Another node asks whether we answer for these IPs. What we hand over needs no reply: its
        winner is told by another letter."""
        mine, others = list[IPAddress](), list[IPAddress]()
        for ip in sorted(ips, key=lambda ip: ip.packed):
            if not self._handover.yielding(ip):
                (mine if self._mine(ip) else others).append(ip)
        for kind, found in ((LetterKind.MINE, mine), (LetterKind.DENY, others)):
            for payload in letters.encode_ips(found):
                self._letters.append(Send(kind, self._node, payload, (sender,)))

    def handle_mine(self, ips: Iterable[IPAddress], sender: str, now: float) -> None:
        """Another node says that it answers for these IPs."""
        ips = sorted(ips, key=lambda ip: ip.packed)
        for ip in ips:
            self._takeovers.handle_mine(ip, sender, now)
            self._reminders.handle_mine(ip)
        self._give_up(self._handover.handle_mine(ips))

    def handle_denial(self, ips: Iterable[IPAddress], sender: str, now: float) -> None:
        """Another node says that it does not."""
        for ip in sorted(ips, key=lambda ip: ip.packed):
            if self._takeovers.handle_denial(ip, sender, now):
                self._foreign.append(ForeignAnswer(ip, sender))

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
        return self._takeovers.waits(ip)

    def state(self, ip: IPAddress) -> HoldState:
        """Return what the IP is on this node."""
        return self._holds.state(ip)

    def changed_services(self) -> frozenset[str]:
        """Drain the services of which an IP was taken or given up since the last call."""
        changed = frozenset(self._changed)
        self._changed.clear()
        return changed

    def postponements(self) -> frozenset[IPAddress]:
        """Drain the IPs that this node has won and does not announce now."""
        return self._takeovers.postponements()

    def asks(self) -> list[tuple[Interface, Ask]]:
        """Drain the questions to owners on the wire, with the link to ask on."""
        return [
            (self._interfaces[ask.ifindex], ask)
            for ask in (
                *self._takeovers.asks(self._now),
                *self._handover.wire_asks(self._now),
                *self._own_asks(),
            )
            if ask.ifindex in self._interfaces
        ]

    def _own_asks(self) -> list[Ask]:
        asks = self._asks[:ASKS_AT_ONCE]
        del self._asks[:ASKS_AT_ONCE]
        return asks

    def letters(self) -> list[Send]:
        """Drain the letters to send."""
        for node, ips in self._takeovers.questions().items():
            for payload in letters.encode_ips(ips):
                self._letters.append(Send(LetterKind.ASK, self._node, payload, (node,)))
        waiting, self._letters = self._letters, []
        return waiting

    def quiet_takes(self) -> list[IPAddress]:
        """Drain the IPs that are answered for from now on without being announced."""
        takes, self._quiet_takes = self._quiet_takes, []
        return takes

    def contests(self) -> list[tuple[Contest, bytes | None]]:
        """Drain who keeps us from what is ours, with the MAC that answers, if one was heard."""
        links = tuple(self._interfaces)
        contests = self._takeovers.contests()
        return [(contest, self._sightings.mac(contest.ip, links)) for contest in contests]

    def foreign_answers(self) -> list[ForeignAnswer]:
        """Drain which kernels answer for IPs of ours without their speakers."""
        foreign, self._foreign = self._foreign, []
        return foreign

    def unheard(self) -> bool:
        """Tell once whether somebody has to be heard for a takeover to go on."""
        return self._takeovers.unheard()

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next."""
        again, remind = self._requests.deadline(), self._reminders.deadline()
        asks = float("-inf") if self._asks else _FOREVER
        return min(self._takeovers.deadline(), self._handover.deadline(), again, remind, asks)

    def handle_timeout(self, now: float) -> None:
        """Decide takeovers that are due, and remind winners."""
        self._now = now
        self._apply(self._takeovers.handle_timeout(now), now)
        self._give_up(self._handover.handle_timeout(now))
        self._announce_again(now)
        for yours in (*self._reminders.due(now), *self._handover.asks(now)):
            self._letters += letters_to_winner(
                self._node, yours, self._takeovers.quiet_from, self._roster.links
            )

    # ---- inside

    def _tell_stopped(self, ip: IPAddress, winner: str | None) -> None:
        """We answered for the IP until nobody was to, and our clients may believe us still: have
        its next owner announce itself."""
        if winner is None or winner == self._node:
            return
        peer = self._roster.peer(winner)
        # One of MetalLB's reads no letters.
        if peer is None or peer.start_id is not None:
            self._reminders.begin(ip, winner, self._now)

    def _announce_again(self, now: float) -> None:
        """Announce what others asked us to, if it is ours still."""
        for ip in self._requests.due(now):
            if self._mine(ip) and not self._takeovers.quiet(ip):
                self._announcer.speak_up(ip, now)

    def _mine(self, ip: IPAddress) -> bool:
        """Tell whether we answer for the IP now, and go on to."""
        return self._holds.state(ip) in SETTLED and bool(self._announcer.interface_names(ip))

    def _give_back(self, ip: IPAddress, name: str, now: float) -> None:
        """The owner lives that we took an IP over from: answer for none of its IPs before the wire
        was asked for them again."""
        for taken in self._taken_from(name):
            self._ask_anew(taken, self._announcer.indexes(taken), now)
            # Clients believe us still: when gossip is back its owner is told to announce itself.
            self._reminders.note_stop(taken)
        self._takeovers.handle_answer(ip, name)

    def _answered_by_its_owner(self, ip: IPAddress, name: str, ifindex: int) -> bool:
        """Tell whether we took the IP over from that node as from a dead one, and it is none. A
        frame can be forged: the node's kernel has answered an echo of ours, too."""
        if name not in self._predecessors.named(ip) or self._takeovers.waits(ip):
            return False
        return self._kernel_of(name, (ifindex,)) is KernelState.ANSWERS

    def _remember_quiet(self, ip: IPAddress) -> None:
        """Who owns it next, and we once more, asks the same kernels."""
        if dead := self._takeovers.quiet_from(ip):
            self._predecessors.note(ip, dead)

    def _living(self, name: str | None) -> str | None:
        """Return the name if it is that of a living Clarion, which hands over what it lost."""
        peer = self._roster.peer(name) if name is not None else None
        if peer is None or not peer.living or peer.start_id is None:
            return None
        return name

    def _use_grant(self, ip: IPAddress, now: float) -> None:
        grant = self._grants.pop(ip, None) if self._grants else None
        if grant is not None and now - grant.at <= GRANT_KEPT:
            self._apply(self._takeovers.handle_grant(ip, grant.sender, grant.dead), now)

    def _kernel_of(self, node: str, links: Collection[int]) -> KernelState:
        """Ask only where we are neighbours: who answers may share fewer links than the owner."""
        interfaces = self._interfaces
        met = [
            link
            for link in links
            if link in interfaces and self._roster.meet(node, interfaces[link]) is not None
        ]
        return self._world.kernel(node, met, self._now)

    def _links_to_ask(
        self, dead: frozenset[str], previous: str | None, interfaces: frozenset[str] | None
    ) -> tuple[int, ...]:
        """Return our links that matter for a service and on which somebody may answer for it still.

        One of MetalLB's that is known to have owned it needs no question: it stops by itself.
        """
        peer = self._roster.peer(previous) if previous is not None else None
        parted = peer is not None and (peer.start_id is None or not (peer.living or peer.died))
        if not dead and (parted or not (self._roster.others_live or self._unconfirmed)):
            return ()
        chosen = {
            index: interface
            for index, interface in self._interfaces.items()
            if interfaces is None or interface.name in interfaces
        }
        names = dead | ({previous} if previous is not None else frozenset())
        met = tuple(
            index
            for index, interface in chosen.items()
            if any(self._roster.meet(name, interface) is not None for name in names)
        )
        # Who comes back knows of nobody before it: all that answer are asked.
        return met if names else tuple(chosen)

    def _apply(self, takes: list[Take], now: float) -> None:
        for take in takes:
            quiet = take.mode is Mode.QUIET
            if quiet:
                self._quiet_takes.append(take.ip)
            self._predecessors.note_takeover(take.ip)
            if not self._announcer.wants(take.ip):
                self._answer(take.ip, quiet, now)
            if not quiet:
                self._reminders.forget(take.ip)
                self._announcer.speak_up(take.ip, now)

    def _answer(self, ip: IPAddress, quiet: bool, now: float) -> None:
        for service, interfaces in self._holds.record(ip).services.items():
            self._changed.add(service)
            self._announcer.announce(ip, service, interfaces, now, quiet=quiet)

    def _hear(self, ip: IPAddress, ifindex: int, name: str | None, sighting: Sighting) -> None:
        winner = self._handover.winner(ip)
        yielded = self._handover.handle_announcement(ip, ifindex, name)
        if not yielded and not self._handover.open(ip, ifindex):
            self._announcer.fall_silent(ip, ifindex)
        self._give_up(yielded)
        if yielded and sighting.alone and not self._announcer.wants(ip):
            # Who answered us has told nobody else, and may be no more than another heir: our
            # clients believe us still.
            self._reminders.note_stop(ip)
            self._tell_stopped(ip, winner)

    def _give_up(self, yielded: Iterable[Yielded]) -> None:
        for item in yielded:
            self._changed.add(item.service)
            self._announcer.withdraw(item.ip, item.service)
