"""Which IPs are this node's, and how they change hands: one core, as `Swim` is for gossip. Pure.

What comes in is taken at once. What follows from it for the services is done by `settle`, in bites:
first it elects, then it announces and withdraws, and only when nothing is left to do answers flow
again where contact held them back. There is order here and no rule: the rules are those of the
parts. Nothing calls back. A driver reads all that has arrived, settles, drains and sends.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

from gossip.io import Address, Event, Exchanged, ExchangeFailed, Gone, Joined, NameConflict
from gossip.wire.messages import State
from link.address import IPAddress
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.contact import Contact
from ownership.election.election import Election
from ownership.election.quorum import Quorum
from ownership.election.reconcile import Reconciler
from ownership.handing import Handing
from ownership.handover.states import HoldState
from ownership.io import (
    Announce,
    Ask,
    BarsChanged,
    Confirmed,
    EchoRequest,
    Failed,
    HoldReason,
    Lost,
    Move,
    Moved,
    OwnershipEvent,
    QuorumChanged,
    Released,
    Send,
    Withdraw,
    Won,
)
from ownership.letters.courier import Letter
from ownership.letters.mark import Flags
from ownership.liveness.barred import Barred
from ownership.liveness.roster import Peer
from plan.planner import ips_of
from plan.service import ServicePlan, Withheld

Enough = Callable[[], bool]
"""Asked between two pieces of work: whether the rest has to wait for the next `settle`."""

HASHES_AT_ONCE = 500
"""Digests between two such questions: half a millisecond."""
_NEVER = float("inf")


class Ownership:
    """Contact, election, reconciler, announcer and failover of one node, behind one door."""

    def __init__(
        self, node: str, contact: Contact, announcer: Announcer, handing: Handing, quorum: Quorum
    ) -> None:
        """The parts are the driver's to make, with their settings."""
        self.node = node
        self._contact = contact
        self._announcer = announcer
        self._handing = handing
        self._quorum = quorum
        self._election = Election()
        self._reconciler = Reconciler()
        self._plans: dict[str, ServicePlan] = {}
        self._dirty: dict[str, str] = {}
        """Services whose announcements may have to change, and why."""
        self._moves: deque[Move] = deque()
        self._previous: dict[str, str | None] = {}
        """Who owned a service before us, until we have taken it up."""
        self._cause = "start"
        self._members_changed = True
        self._unsettled = True
        self._bars = Barred()
        self._contact_changes = 0
        self._events: list[OwnershipEvent] = []

    # ---- what comes in

    def tick(self, now: float) -> bool:
        """Note that the process runs; before anything else. True where it has just stood still:
        then what waited in its sockets was asked of whoever owned before that."""
        return self._contact.tick(now)

    def note_seeking(self, now: float) -> None:
        """Gossip asks its seeds from now on: their silence counts."""
        self._contact.note_seeking(now)

    def set_plan(self, service: str, plan: ServicePlan | None, reason: str) -> None:
        """Take what a service needs; None: it is gone. `reason` says what has changed."""
        self._put(service, self._quorum.set_plan(service, plan), reason)

    def handle_gossip(self, event: Event, now: float) -> None:
        """Take what happened in gossip. Every event: some change the table without a word."""
        self._unsettled = self._members_changed = True
        match event:
            case Joined():
                self._cause = "member_joined"
            case Gone(member):
                self._cause = "member_left" if member.state is State.LEFT else "member_dead"
            case Exchanged(_, began, known):
                self._contact.handle_exchange(began, known, now)
            case NameConflict() if event.ours_is_younger:
                self._contact.handle_name_conflict(now)
            case ExchangeFailed(_, _, silent, _) if not silent:
                self._contact.handle_sign_of_life(now)
            case _:
                pass

    def handle_letter(self, letter: Letter, now: float) -> None:
        """Take a letter of another Clarion."""
        self._unsettled = True
        self._handing.handle_letter(letter, now)

    def set_interfaces(self, interfaces: Mapping[int, Interface], now: float) -> None:
        """Take the links that may answer, by index. The announcer has them by then."""
        self._unsettled = True
        self._handing.set_interfaces(interfaces, now)

    def set_needed(self, names: frozenset[str] | None, now: float) -> None:
        """Take the names of the links that services are announced on; None: on all."""
        self._handing.set_needed(names, now)

    def handle_frames(self, ifindex: int, now: float) -> None:
        """Note that somebody's frames came in by the link: call this before they are answered."""
        self._handing.handle_frames(ifindex, now)

    def handle_announcement(
        self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool = False
    ) -> None:
        """Somebody else with this MAC announced a service IP on the link, or answered for it.

        `alone`: it told nobody but us, who had asked.
        """
        self._handing.handle_announcement(ip, ifindex, mac, now, alone)

    def handle_client(self, ip: IPAddress, ifindex: int, client: IPAddress, now: float) -> bool:
        """A client answered our question from a service IP; true where it confirms a move."""
        seconds = self._announcer.confirm(ip, ifindex, client, now)
        if seconds is not None:
            self._events.append(Confirmed(seconds))
        return seconds is not None

    def handle_echo(self, ifindex: int, ip: IPAddress, token: bytes, now: float) -> bool:
        """Take an echo reply; false where nobody asked for it."""
        return self._handing.handle_echo(ifindex, ip, token, now)

    def note(self, cause: str) -> None:
        """Say what began the next moves, where it is none of gossip's events."""
        self._cause = cause
        self._unsettled = True

    def look_again(self, service: str, reason: str) -> None:
        """Bring a service in line once more, after a failure."""
        self._unsettled = True
        self._dirty.setdefault(service, reason)

    def stir(self) -> None:
        """Something was put into a part: `settle` is to look at it."""
        self._unsettled = True

    def review_members(self) -> None:
        """Have `settle` look at all members anew."""
        self._unsettled = self._members_changed = True

    def set_living(self, living: frozenset[str]) -> None:
        """Take the names of the nodes that live, this one among them."""
        changed = self._quorum.set_members(living)
        if changed:
            self._events.append(QuorumChanged(len(changed), self._quorum.lacking))
        for service, plan in changed.items():
            self._put(service, plan, "quorum")
        self._election.set_members(living, self._cause)

    def set_peers(self, peers: Iterable[Peer], now: float) -> None:
        """Take all other members, the dead too: once after `wants_members` says so."""
        self._members_changed = False
        self._handing.set_peers(peers, now)

    def leave(self, now: float) -> None:
        """This node goes: others are to own what it owns."""
        self._unsettled = True
        self._handing.leave(now)

    def withdraw_all(self) -> None:
        """Answer for nothing from now on, without a word: this node ends."""
        self._announcer.withdraw_all()

    # ---- what follows

    def handle_timeout(self, now: float) -> bool:
        """Let watches, verdicts and takeovers do what is due; true where something was. Members
        matter to them, so `set_peers` comes first where those have changed."""
        if self._members_changed or self._handing.deadline() > now:
            return False
        self._handing.handle_timeout(now)
        return True

    def settle(self, now: float, enough: Enough) -> None:
        """Bring announcements in line with what is known. Where there is `enough` for once, the
        node is `busy` after it, and the next call goes on."""
        self._unsettled = False
        # Before anything is taken up: what nobody has confirmed is asked for on the wire first.
        for ifindex in self._contact.silences():
            self._handing.verify(ifindex, now)
        self._take_bars()
        self._elect(now, enough)
        self._reconcile(now, enough)
        if not self.busy:
            self._speak_again(now)
        self._announcer.handle_timeout(now)

    def events(self) -> list[OwnershipEvent]:
        """Drain what was decided since the last call, in its order, and then what came of it."""
        events, self._events = self._events, []
        events += self._handing.events()
        return events

    def asks(self) -> list[tuple[Interface, Ask]]:
        """Drain the ARP requests or solicitations to send, each with its link."""
        return self._handing.asks()

    def echo_requests(self) -> list[EchoRequest]:
        """Drain the echo requests to send."""
        return self._handing.requests()

    def letters(self) -> list[Send]:
        """Drain the letters to send."""
        return self._handing.letters()

    def calls(self) -> list[Address]:
        """Drain the addresses to exchange state with now: of those held dead that were heard."""
        return self._handing.calls()

    def seeks(self, now: float) -> bool:
        """Tell whether to exchange state with any peers now; true once each time that is due."""
        return self._contact.seeks(now)

    # ---- what is asked

    def deadline(self) -> float:
        """When to come next: by `tick`, `seeks`, `handle_timeout`, and `settle` if it `is_due`."""
        return min(self._contact.deadline(), self.due())

    def due(self) -> float:
        """The same without the heartbeats of contact, which change nothing by themselves."""
        return min(self._announcing_at(), self._handing.deadline())

    def is_due(self, now: float) -> bool:
        """Tell whether `settle` is to be called now: it has news to look at, or announcements."""
        return self.disturbed or self._announcing_at() <= now

    @property
    def flags(self) -> Flags:
        """What to publish in our Meta."""
        return self._handing.flags

    @property
    def held(self) -> HoldReason | None:
        """Why the whole process keeps quiet; None where it does not."""
        return self._contact.held

    def is_node(self, mac: bytes) -> bool:
        """Tell whether this is the MAC of another node: it is no client."""
        return self._handing.is_node(mac)

    def handing_over(self, *, foreign: bool) -> int:
        """Return how many IPs wait for their winner; without `foreign`, for a Clarion only."""
        return self._handing.handing_over(foreign=foreign)

    def unwitnessed(self) -> list[str]:
        """Return the names of the links on which too few answer echo requests."""
        return self._handing.unwitnessed()

    @property
    def wants_members(self) -> bool:
        """Whether `settle` needs to know the members anew, by `set_peers`."""
        return self._members_changed

    @property
    def electing(self) -> bool:
        """Whether there are services of which the owner is still to be found."""
        return bool(self._election.pending or self._moves)

    @property
    def busy(self) -> bool:
        """Whether `settle` has work left that does not wait for contact."""
        return self.electing or bool(self._dirty and not self._contact.held)

    @property
    def unfinished(self) -> bool:
        """Whether any service is not in line yet, for whatever reason."""
        return self.electing or bool(self._dirty)

    @property
    def unsettled(self) -> bool:
        """Whether `settle` is to be called at once: news have come in, or it was not done."""
        return self._unsettled or self.busy

    @property
    def stirred(self) -> bool:
        """The same, where news of contact and of who may own count too, which echoes may bring."""
        return self.unsettled or self.disturbed or self.calling

    @property
    def calling(self) -> bool:
        """Whether `calls` has something, which an echo alone may have brought about."""
        return self._handing.calling

    @property
    def disturbed(self) -> bool:
        """Whether contact has changed, or who may own, since `settle` looked at it."""
        return self._contact.changes != self._contact_changes or self.voided

    @property
    def voided(self) -> bool:
        """Whether who may own has changed: then settle before the next question is read."""
        bars = self._handing.bars()
        return bars is not self._bars and bars != self._bars

    def owners(self) -> Mapping[str, str | None]:
        """Return a live, read-only view of the owners, by service."""
        return self._election.owners()

    def elsewhere(self, service: str) -> str | None:
        """Name who owns a service that our own plan withholds from this node alone."""
        return self._election.elsewhere(service)

    def next_in_line(self, service: str) -> str | None:
        """Name who would own a service if its owner went now; it costs a digest a node."""
        return self._election.next_in_line(service)

    @property
    def basis(self) -> tuple[frozenset[str], Barred]:
        """Who lives and who is barred: other objects as soon as either differs."""
        return self._election.basis

    def plans(self) -> Mapping[str, ServicePlan]:
        """Return a live, read-only view of what each service needs."""
        return MappingProxyType(self._plans)

    def unowned(self) -> list[str]:
        """Name the services that ought to be announced, and that no living node may own."""
        return self._election.unowned()

    def services(self) -> Mapping[str, Announce]:
        """Return a live view of what this node has taken up, by service."""
        return self._reconciler.services()

    def serves(self, ip: IPAddress, service: str) -> bool:
        """Tell whether the IP is answered for somewhere on behalf of the service."""
        return self._announcer.serves(ip, service)

    def state(self, ip: IPAddress) -> HoldState:
        """Return what an IP is on this node."""
        return self._handing.state(ip)

    def lacking(self) -> int:
        """Return how many services have no majority of their nodes."""
        return self._quorum.lacking

    # ---- inside

    def _announcing_at(self) -> float:
        at = self._announcer.deadline()
        return _NEVER if at is None else at

    def _put(self, service: str, plan: ServicePlan | None, reason: str) -> None:
        self._unsettled = True
        self._dirty.setdefault(service, reason)
        self._election.set_plan(service, plan)
        if plan is None:
            self._plans.pop(service, None)
        else:
            self._plans[service] = plan

    def _take_bars(self) -> None:
        before, self._bars = self._bars, self._handing.bars()
        if self._bars is not before and self._bars != before:
            self._events.append(BarsChanged(before, self._bars))
        self._election.set_bars(self._bars, "bars")

    def _elect(self, now: float, enough: Enough) -> None:
        while self.electing:
            if not self._moves:
                self._moves.extend(self._election.advance(HASHES_AT_ONCE))
            while self._moves:
                self._take_move(self._moves.popleft(), now)
                if enough():
                    return
            if enough():
                return

    def _take_move(self, move: Move, now: float) -> None:
        ips = ips_of(self._plans.get(move.service))
        self._events.append(Moved(move, tuple(ips)))
        # Of several moves that come together, only the first left somebody who answered.
        self._previous.setdefault(move.service, move.before)
        self._dirty[move.service] = move.reason
        try:
            for ip in ips:
                self._handing.note_move(move.service, ip, move.before, move.after, now)
        except Exception as error:
            self._events.append(Failed(move.service, move.reason, error))

    def _reconcile(self, now: float, enough: Enough) -> None:
        """Announce and withdraw; while contact is missing nothing new is taken up."""
        for service in self._in_reach():
            reason = self._dirty.pop(service)
            previous = self._previous.pop(service, None)
            before = self._reconciler.services().get(service)
            try:
                self._reconcile_one(service, reason, previous, now)
            except Exception as error:
                # Whatever is wrong with it, the others go on.
                self._reconciler.note_unfinished(service, before)
                self._events.append(Failed(service, reason, error))
            if enough():
                return

    def _in_reach(self) -> Collection[str]:
        due = tuple(self._dirty)
        if self._contact.held or self.electing:
            announced = self._reconciler.services()
            due = tuple(service for service in due if service in announced)
        return due

    def _reconcile_one(self, service: str, reason: str, previous: str | None, now: float) -> None:
        mine = self._election.owner(service) == self.node
        plan = self._plans.get(service)
        for action in self._reconciler.reconcile(service, plan, mine, reason):
            if isinstance(action, Announce):
                self._take_up(action, previous, now)
            else:
                self._give_up(action, now)

    def _take_up(self, action: Announce, previous: str | None, now: float) -> None:
        self._events.append(Won(action))
        for ip in action.ips:
            self._handing.win(action.service, ip, action.interfaces, previous, now)

    def _give_up(self, action: Withdraw, now: float) -> None:
        self._events.append(Lost(action))
        service = action.service
        winner = self._election.owner(service) if action.reason == Withheld.NOT_OWNER else None
        surely = winner is not None
        if not surely:
            winner = self._election.elsewhere(service)
        for ip in action.ips:
            if winner is None:
                self._handing.withdraw(service, ip)
            else:
                self._handing.lose(service, ip, winner, now, surely=surely)

    def _speak_again(self, now: float) -> None:
        """Everything is in line: answers flow again where contact has been made."""
        for event in self._contact.events():
            self._events.append(event)
            if isinstance(event, Released):
                self._announcer.speak_again(event.ifindex, now)
        self._contact_changes = self._contact.changes
