"""Failover as one core: who is missed, who inherits, and how IPs change hands. Pure.

It joins `roster` (the others), `own_flags` (our own word), `witness` (who lives), `succession`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING

from gossip.io import Address
from link.address import IPAddress
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.contact import Contact
from ownership.handover.states import HoldState
from ownership.handover.succession import Succession
from ownership.io import (
    ROUTED,
    Ask,
    Contested,
    EchoRequest,
    FailoverStats,
    Filtered,
    HandedOver,
    HandingEvent,
    LetterRefusal,
    PutOff,
    Send,
    TookQuietly,
)
from ownership.letters import letters
from ownership.letters.courier import Letter
from ownership.letters.greeting import Greeting
from ownership.letters.letters import Hello, LetterError, LetterKind, Quiet
from ownership.letters.mark import Flags
from ownership.liveness.barred import BARRING, Barred
from ownership.liveness.calls import Calls
from ownership.liveness.lives import Lives
from ownership.liveness.own_flags import OwnFlags
from ownership.liveness.roster import Peer, Roster, own_links
from ownership.liveness.routed_witness import RoutedWitness
from ownership.liveness.targets import FAILOVER_AFTER, KernelState, Timing
from ownership.liveness.verdicts import Subject
from ownership.liveness.witness import Witness

if TYPE_CHECKING:
    from random import Random

TIDY = 10.0
"""Seconds between looks at whom to forget."""
PLAN_GRACE = 5.0
"""Seconds for which an IP that our own plan takes from us is answered for, until the winner has the
same plan."""
_NEVER = float("inf")


class Failover:
    """One node's view of the others' lives, and what it does about it."""

    def __init__(
        self,
        node: str,
        timing: Timing | None,
        announcer: Announcer,
        contact: Contact,
        rng: "Random",
        now: float,
    ) -> None:
        """`timing` None: memberlist's verdicts alone; IPs change hands gently all the same."""
        self._node = node
        self._fast = timing is not None
        self._contact = contact
        self._announcer = announcer
        self._roster = Roster(node)
        self._flags = OwnFlags(now)
        # Without fast verdicts kernels are watched all the same, for the quiet takeover.
        timing = timing or Timing.of(FAILOVER_AFTER)
        self._witness = Witness(self._roster, node, timing, rng, now)
        self._routed = RoutedWitness(self._roster, self._witness, node, timing, rng)
        self.lives = Lives(self._roster, self._witness, self._routed, fast=self._fast)
        self._succession = Succession(node, self._roster, announcer, self, now)
        announcer.hears = self._witness.hears
        self._calls = Calls()
        self._tidy_at = now + TIDY
        self._probed_at = float("-inf")
        self._filtered = 0
        self._interfaces: Mapping[int, Interface] = {}
        self._needed: frozenset[str] | None = None
        self._worked: frozenset[int] = frozenset()
        """Those of the links in need that have had carrier, by index."""
        self._greeting = Greeting(node, now)
        self._letters: list[Send] = []
        self._inherited: frozenset[str] = frozenset()
        self._refused: Counter[LetterRefusal] = Counter()

    # ---- what there is

    def set_interfaces(self, interfaces: Mapping[int, Interface], now: float) -> None:
        """Take the eligible links by index."""
        self._interfaces = dict(interfaces)
        self._take_links(now)

    def set_needed(self, names: frozenset[str] | None, now: float) -> None:
        """Take the names of the links that services are announced on; None: on all."""
        if names != self._needed:
            self._needed = names
            self._take_links(now)

    def set_peers(self, peers: Iterable[Peer], now: float) -> None:
        """Take all other members, dead and left ones too."""
        known = self._roster.clarions
        dead = {name: self._roster.peer(name) for name in self._roster.dead()}
        for name in sorted(self._roster.set_peers(peers, now)):
            self._witness.forget(name)
        for name in sorted(self._roster.clarions - known):
            # It was missed while it was dead; whether it still is has to be found out anew.
            self._witness.forget(name)
            self._succession.handle_owner_back(name, now)
            self._calls.forget(name)
            if name in dead:
                self._witness.handle_return(name, now)
                self._greet_back(name, dead[name])
        for name in sorted(known - self._roster.clarions):
            self._succession.handle_owner_gone(name)
        if self._roster.others_live:
            self._succession.note_others()
        self._greeting.set_strangers(self._roster.strangers(), now)
        self._retarget(now)

    # ---- what the election says

    def win(
        self,
        service: str,
        ip: IPAddress,
        interfaces: frozenset[str] | None,
        previous: str | None,
        now: float,
    ) -> None:
        """Own an IP from now on; `previous` is who did, as far as this node knew."""
        self._succession.win(service, ip, interfaces, previous, now)
        if self._succession.holds(ip):
            # Who is cut off takes nothing over: to hear somebody, all are asked.
            self._probe(now)
            if self._inherited != self._succession.inherited_from():
                self._retarget(now)

    def lose(
        self, service: str, ip: IPAddress, winner: str | None, now: float, *, surely: bool = True
    ) -> None:
        """Own it no more; None: nobody does, so this node stops at once. Not `surely`: by our own
        plan, which others may not have."""
        within = _NEVER if surely else PLAN_GRACE
        self._succession.lose(service, ip, winner, now, within)

    def note_move(
        self, service: str, ip: IPAddress, before: str | None, winner: str | None, now: float
    ) -> None:
        """The owner has changed among others."""
        self._succession.note_move(service, ip, before, winner, now)

    def withdraw(self, service: str, ip: IPAddress) -> None:
        """Nobody is to announce it for this service any more."""
        self._succession.withdraw(service, ip)

    def verify(self, ifindex: int | None, now: float) -> None:
        """A hold of `contact` has ended as nobody spoke, not by what somebody said."""
        self._succession.verify(ifindex, now)
        self._probe(now)

    def leave(self, now: float) -> None:
        """This node goes: others are to own what it owns."""
        self._flags.leave(now)

    # ---- what is seen

    def handle_echo(self, ifindex: int, ip: IPAddress, token: bytes, now: float) -> bool:
        """Take an echo reply; false where nobody asked for it."""
        if ifindex == ROUTED:
            return self._routed.handle_echo(ip, token, now)
        found = self._witness.handle_echo(ifindex, ip, token, now)
        self._take_link_returns(now)
        if found is not None:
            self._routed.handle_life(found.key.who, found.at)
            self._call(found.key.who, now, anew=found.anew)
        return found is not None

    def handle_frames(self, ifindex: int, now: float) -> None:
        """Somebody's frames came in by the link: call this before they are answered."""
        self._witness.handle_frames(ifindex, now)
        self._take_link_returns(now)

    def handle_announcement(
        self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool = False
    ) -> None:
        """Somebody else announced a service IP on the link, or answered for it, `alone`: to us.

        That proves that it sends, not that it hears: if it is missed, it is asked.
        """
        name = self._roster.owner_of(mac)
        self._witness.handle_frames(ifindex, now)
        self._succession.handle_announcement(ip, ifindex, mac, now, alone)
        if name is not None:
            self._call(name, now)
            self._witness.check_missing(name, now)
            if self._succession.holds(ip):
                self._witness.check(name, now)

    def is_node(self, mac: bytes) -> bool:
        """Tell whether this is the MAC of another node: it is no client."""
        return self._roster.owner_of(mac) is not None

    def handle_letter(self, letter: Letter, now: float) -> None:
        """Take a letter that the courier has let through."""
        self._call(letter.sender, now)
        try:
            kind = LetterKind(letter.kind)
        except ValueError:
            self._refused[LetterRefusal.UNKNOWN_KIND] += 1
            return
        try:
            self._read(kind, letter, now)
        except LetterError:
            self._refused[LetterRefusal.MALFORMED] += 1

    # ---- what follows

    def bars(self) -> Barred:
        """Return who is barred from owning, this node by its own word among them."""
        bars = self._witness.bars() if self._fast else self._witness.own_words()
        if not self._flags.published:
            return bars
        return Barred(bars.nodes | {self._node}, bars.links, bars.clarion)

    # ---- what `Succession` asks

    def kernel(self, name: str, ifindexes: Collection[int], now: float) -> KernelState:
        """See `succession.Outlook`."""
        return self._witness.kernel(name, ifindexes, now)

    def hears(self, ifindex: int, now: float) -> bool:
        """See `succession.Outlook`."""
        return self._contact.open(ifindex) and self._witness.hears(ifindex, now)

    def heard_since(self, ifindexes: Collection[int], at: float) -> bool:
        """See `succession.Outlook`."""
        return any(self._witness.heard_since(ifindex, at) for ifindex in ifindexes)

    def lost_its_owner(self, name: str) -> bool:
        """Tell whether the last owner is gone without a word: dead, or judged so."""
        peer = self._roster.peer(name)
        if peer is None or peer.start_id is None:
            return False
        if not peer.living:
            return peer.died
        return name in self._witness.bars().named and not peer.flags & BARRING

    def unwitnessed(self) -> list[str]:
        """Name the links on which one other node alone answers echo requests: see `vitals`."""
        return self._witness.unwitnessed()

    @property
    def flags(self) -> Flags:
        """What to publish in our Meta."""
        return self._flags.published

    def state(self, ip: IPAddress) -> HoldState:
        """Return what an IP is on this node."""
        return self._succession.state(ip)

    def handing_over(self, *, foreign: bool) -> int:
        """Return how many IPs wait for their winner; without `foreign`, for a Clarion only."""
        return self._succession.pending(foreign=foreign)

    @property
    def calling(self) -> bool:
        """Whether `calls` has something, which an echo alone may have brought about."""
        return self._calls.waiting

    def calls(self) -> list[Address]:
        """Drain the addresses to exchange state with now: of those held dead that were heard."""
        return self._calls.drain()

    def events(self) -> list[HandingEvent]:
        """Drain what happened, in the order in which people are told."""
        names = {key.who for key in self._witness.filtered_kernels()} | self._routed.filtered()
        self._filtered += len(names)
        events: list[HandingEvent] = [Filtered(name) for name in sorted(names)]
        events += [TookQuietly(ip) for ip in self._succession.quiet_takes()]
        for contest, mac in self._succession.contests():
            events.append(Contested(contest.ip, contest.by, mac))
        events += self._succession.foreign_answers()
        if put_off := self._succession.postponements():
            events.append(PutOff(put_off))
        if services := self._succession.changed_services():
            events.append(HandedOver(services))
        return events

    def requests(self) -> list[EchoRequest]:
        """Drain the echo requests to send."""
        return self._witness.requests() + self._routed.requests()

    def asks(self) -> list[tuple[Interface, Ask]]:
        """Drain the ARP requests or solicitations to send: to old owners, and to the dead."""
        knocks = [
            (self._interfaces[ask.ifindex], ask)
            for ask in self._witness.knocks()
            if ask.ifindex in self._interfaces
        ]
        return self._succession.asks() + knocks

    def letters(self) -> list[Send]:
        """Drain the letters to send."""
        waiting, self._letters = self._letters, []
        waiting += self._witness.letters()
        waiting += self._routed.letters()
        waiting += self._succession.letters()
        return waiting

    def stats(self) -> FailoverStats:
        """Return the figures of now."""
        return FailoverStats(
            verdicts=Counter(self._witness.verdicts) + Counter(self._routed.verdicts),
            missing=self._witness.missing(),
            contested=self._succession.contested,
            yielding=self._succession.pending(foreign=True),
            conflicts=self._succession.conflicts,
            foreign=self._succession.foreign,
            filtered=self._filtered,
            refused=dict(self._refused),
            routed=self._routed.states(),
        )

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next."""
        return min(
            min(self._witness.deadline(), self._routed.deadline()) if self._watches else _NEVER,
            self._succession.deadline(),
            self._flags.deadline(),
            self._greeting.deadline(),
            self._tidy_at if self._watches else _NEVER,
        )

    def handle_timeout(self, now: float) -> None:
        """Do what is due; call it after everything that has arrived was read."""
        self._flags.handle_timeout(now)
        if self._watches:
            self._witness.handle_timeout(now)
            self._routed.handle_timeout(now)
        for name in self._witness.silent_processes():
            self._succession.handle_owner_gone(name)
        self._take_link_returns(now)
        self._succession.handle_timeout(now)
        if self._succession.unheard():
            self._probe(now)
        self._tidy(now)
        if self._inherited != self._succession.inherited_from():
            self._retarget(now)
        if now >= self._greeting.deadline():
            self._letters += self._greeting.handle_timeout(self._roster.strangers(), now)

    # ---- inside

    @property
    def _watches(self) -> bool:
        """Whether anybody's machine matters; in a cut of gossip the dead own their IPs still."""
        return self._roster.others_live or bool(self._inherited) or bool(self._roster.dead())

    def _take_links(self, now: float) -> None:
        needed = {
            index: interface
            for index, interface in self._interfaces.items()
            if self._needed is None or interface.name in self._needed
        }
        usable = {index: link for index, link in needed.items() if link.carrier}
        self._flags.set_links(self._interfaces, self._needed, now)
        self._witness.set_interfaces(usable)
        self._routed.set_interfaces(self._interfaces, now)
        self._succession.set_interfaces(usable)
        # A link that lost its carrier is told still: its witnesses are to miss us there, as our
        # flags may not change yet, or bar us from other links too.
        self._worked = (self._worked & needed.keys()) | usable.keys()
        self._greeting.set_links(own_links({index: needed[index] for index in self._worked}), now)
        self._retarget(now)

    def _retarget(self, now: float) -> None:
        self._inherited = self._succession.inherited_from()
        clients = {index: self._announcer.lately(index, now) for index in self._interfaces}
        self._witness.retarget(self._inherited, clients, now)
        self._routed.retarget(now)

    def _call(self, name: str, now: float, *, anew: bool = False) -> None:
        """Exchange state with whom we heard, if gossip holds it dead; `anew`: see Echoed."""
        peer = self._roster.peer(name)
        if peer is None or not peer.died or peer.start_id is None:
            return
        if self._calls.handle_sign_of_life(name, peer.address, now):
            # Our kernel may have forgotten its MAC: the answer tells it.
            self._witness.knock(name, now)
        self._succession.handle_sign_of_life(name, now, anew=anew)

    def _greet_back(self, name: str, dead: Peer | None) -> None:
        """Tell one that was held dead for a while, and lived, that it was."""
        peer = self._roster.peer(name)
        same = dead is not None and peer is not None and dead.start_id == peer.start_id
        if same and name in self._roster.watched():
            self._letters.append(Send(LetterKind.BACK, name, to=(name,)))

    def _probe(self, now: float) -> None:
        """Ask everybody; once, if many IPs are taken over at one time."""
        if now > self._probed_at:
            self._probed_at = now
            self._witness.probe(now)

    def _tidy(self, now: float) -> None:
        """Forget whose machine has been silent for long; look which clients may bear witness."""
        if now < self._tidy_at:
            return
        self._tidy_at = now + TIDY
        self._retarget(now)
        inherited, answers = self._inherited, self._witness.answers
        if self._roster.forget_late(lambda name: name in inherited or answers(name, now), now):
            self._retarget(now)

    def _take_link_returns(self, now: float) -> None:
        for link in self._witness.link_returns(now):
            self._contact.handle_link_return(link.ifindex, link.gap, now)
            self._succession.handle_link_return(now)

    def _read(self, kind: LetterKind, letter: Letter, now: float) -> None:
        sender, payload = letter.sender, letter.payload
        if kind in letters.ANSWERS:
            self._hear_answer(sender, now)
        if kind in letters.ABOUT_IPS:
            self._read_ips(kind, sender, payload, now)
        elif kind in letters.FAR:
            self._routed.handle_letter(kind, letter, now)
        else:
            self._read_life(kind, letter, now)

    def _read_life(self, kind: LetterKind, letter: Letter, now: float) -> None:
        """Read who lives, and who does not."""
        sender, payload = letter.sender, letter.payload
        match kind:
            case LetterKind.BEAT:
                self._witness.handle_beat(sender, now)
                self._succession.handle_owner_back(sender, now)
            case LetterKind.HELLO:
                self._take_hello(sender, letters.decode_hello(payload), now)
            case LetterKind.MISSING:
                subject = Subject(letter.about, letters.decode_link_name(payload))
                self._witness.handle_missing(subject, sender, now)
            case LetterKind.GONE:
                subject = Subject(letter.about, letters.decode_link_name(payload))
                self._witness.handle_gone(subject, now)
            case LetterKind.BACK if letter.about == self._node:
                # One that was cut off itself has missed everybody, and is held dead here until now.
                others = (self._roster.clarions | {sender}) - {self._node}
                self._flags.handle_back(sender, len(others), now)
            case LetterKind.HEAR:
                self._letters.append(Send(LetterKind.HEARD, self._node, to=(sender,)))

    def _read_ips(self, kind: LetterKind, sender: str, payload: bytes, now: float) -> None:
        """Read who answers for which IPs."""
        if kind is LetterKind.QUIET:
            self._take_quiet(letters.decode_quiet(payload), sender, now)
            return
        ips = letters.decode_ips(payload)
        match kind:
            case LetterKind.YOURS:
                self._succession.handle_yours(ips, sender, now)
            case LetterKind.ASK:
                self._succession.handle_ask(ips, sender)
            case LetterKind.MINE:
                self._succession.handle_mine(ips, sender, now)
            case _:
                self._succession.handle_denial(ips, sender, now)

    def _hear_answer(self, sender: str, now: float) -> None:
        """It has heard us, and we it, by way of the link on which it gossips."""
        peer = self._roster.peer(sender)
        if peer is not None and peer.address is not None:
            self._witness.handle_answer(sender, ip_address(peer.address.ip), now)
        self._routed.handle_answer(sender, now)

    def _take_quiet(self, quiet: Quiet, sender: str, now: float) -> None:
        """Somebody hands IPs over that it took over quietly, perhaps from one we never knew."""
        self._roster.remember(quiet.owner, quiet.links, now)
        dead = frozenset({quiet.owner}) if self.lost_its_owner(quiet.owner) else frozenset()
        self._succession.handle_yours(quiet.ips, sender, now, dead)
        if dead:
            self._retarget(now)

    def _take_hello(self, name: str, hello: Hello, now: float) -> None:
        changed = hello.links != self._roster.links(name)
        self._roster.set_links(name, hello.links)
        if changed:
            self._retarget(now)
        self._letters += self._greeting.handle_hello(name, hello)
