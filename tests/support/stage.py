"""Node-1, whose heart is the real one and wired as the daemon wires it, in virtual time.

Around it are nodes of which only so much is there as node-1 can notice: a kernel that answers echo
requests, a speaker that beats, and what somebody says in their name.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface

from gossip.io import Address, Exchanged, Gone, Joined, MemberView
from gossip.wire.messages import CURRENT_VSN, State
from link.address import IPAddress
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.contact import Contact
from ownership.election.quorum import Quorum, QuorumMode
from ownership.failover import Failover
from ownership.handover.states import HoldState
from ownership.io import (
    BarsChanged,
    Confirmed,
    Contested,
    ForeignAnswer,
    Form,
    HandedOver,
    Held,
    Lost,
    Moved,
    OwnershipEvent,
    PutOff,
    Released,
    Send,
    TookQuietly,
    Won,
)
from ownership.letters import letters
from ownership.letters.courier import Letter
from ownership.letters.letters import Hello, LetterKind, PeerLink
from ownership.letters.mark import Flags
from ownership.liveness.roster import Peer
from ownership.liveness.targets import Timing
from ownership.ownership import Ownership
from plan.service import ServicePlan, Withheld

OURS = "node-1"
NAMES = tuple(f"node-{number}" for number in range(1, 5))
BEAT_EVERY = 0.4
NETWORKS = {"eth0": "192.0.2.", "eth1": "203.0.113."}
INDEXES = {"eth0": 7, "eth1": 8}
STRANGER = b"\x02\0\0\0\0\xee"
MOST_IN_VAIN = 100
"""Turns in one moment after which time would never go on."""


@dataclass(slots=True)
class Other:
    """Another node, as far as node-1 can notice it."""

    name: str
    start_id: int | None
    """None: it speaks MetalLB."""
    state: State = State.ALIVE
    flags: Flags = Flags.NONE
    answers: bool = True
    """Whether its kernel answers echo requests."""
    beats: bool = True
    links: tuple[str, ...] = ("eth0",)

    def mac(self) -> bytes:
        return b"\x02\0\0\0\0" + bytes([int(self.name[-1])])

    def ip(self, link: str) -> IPv4Address:
        return IPv4Address(NETWORKS[link] + self.name[-1])

    @property
    def address(self) -> Address:
        return Address(str(self.ip("eth0")), 7946)

    @property
    def peer(self) -> Peer:
        return Peer(self.name, self.start_id, self.flags, self.state, self.address)

    @property
    def member(self) -> MemberView:
        return MemberView(self.name, self.address, self.state, 1, b"", CURRENT_VSN)

    @property
    def hello(self) -> Hello:
        return Hello(tuple(PeerLink(name, self.mac(), (self.ip(name),)) for name in self.links))


def interface(name: str) -> Interface:
    """Return a link of node-1."""
    address = IPv4Interface(f"{NETWORKS[name]}1/24")
    mac = b"\x02\0\0\0" + bytes([INDEXES[name], 1])
    known = frozenset({address})
    return Interface(INDEXES[name], name, mac, True, True, True, False, None, known)


@dataclass
class Stage:
    """The node, those around it, and the list of what it did."""

    now: float = 1_000.0
    others: dict[str, Other] = field(default_factory=dict)
    plans: dict[str, ServicePlan] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    """Links of ours by which nothing comes in."""
    _said: list[tuple[float, str]] = field(default_factory=list)
    _lives: int = 0
    _beat_at: float = 0.0
    _flags: Flags = Flags.NONE
    _states: dict[IPAddress, HoldState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.contact = Contact(self.now)
        self.announcer = Announcer(self.contact)
        timing, rng = Timing.of(0.35), random.Random(1)
        self.failover = Failover(OURS, timing, self.announcer, self.contact, rng, self.now)
        quorum = Quorum(QuorumMode.OFF)
        self.ownership = Ownership(OURS, self.contact, self.announcer, self.failover, quorum)
        self.links = {"eth0": interface("eth0")}
        self._beat_at = self.now
        self.take_links()

    # ---- what there is

    def take_links(self) -> None:
        by_index = {link.index: link for link in self.links.values()}
        self.announcer.set_interfaces(by_index, self.now)
        self.failover.set_interfaces(by_index, self.now)
        self.ownership.stir()
        self.turn()

    def join(self, name: str, *, foreign: bool = False) -> None:
        """Have another node, or a new life of one, enter the ring."""
        self._lives += 1
        self.others[name] = Other(name, None if foreign else self._lives)
        self.ownership.handle_gossip(Joined(self.others[name].member), self.now)
        self.turn()
        self.greet(name)

    def greet(self, name: str) -> None:
        other = self.others[name]
        if other.start_id is not None:
            self.letter(LetterKind.HELLO, name, letters.encode_hello(other.hello))

    def holds(self, name: str, state: State) -> None:
        """Have gossip hold a node for alive, dead or left."""
        other = self.others[name]
        other.state = state
        event = Joined(other.member) if state is State.ALIVE else Gone(other.member)
        self.ownership.handle_gossip(event, self.now)
        self.turn()

    def plan(self, service: str, **changes: object) -> None:
        known = self.plans.get(service, ServicePlan(service, candidates=None, voters=None))
        plan = self.plans[service] = replace(known, **changes)  # type: ignore[arg-type]
        if plan.candidates is not None and OURS not in plan.candidates:
            plan = replace(plan, withheld=Withheld.NO_MATCHING_ADVERTISEMENT)
        self.ownership.set_plan(service, plan, "configuration")
        self.turn()

    # ---- what comes in

    def letter(self, kind: LetterKind, sender: str, payload: bytes = b"", about: str = "") -> None:
        letter = Letter(kind, sender, about or sender, 1, payload)
        self.ownership.handle_letter(letter, self.now)
        self.turn()

    def announced(self, mac: bytes, ip: IPAddress, link: str, *, alone: bool = False) -> None:
        """Have somebody be heard on the wire, by all or by this node alone."""
        self.failover.handle_frames(INDEXES[link], self.now)
        self.failover.handle_announcement(ip, INDEXES[link], mac, self.now, alone)
        self.ownership.stir()
        self.turn()

    def asked(self, ip: IPAddress, link: str) -> None:
        """Have a client ask for a service IP."""
        self.failover.handle_frames(INDEXES[link], self.now)
        self.turn()
        why = self.announcer.answers(ip, INDEXES[link])
        answer = f"answer for {ip}" if why is None else f"keep silent ({_words(why)})"
        self.say(f"{answer} on {link}")

    def exchanged(self, name: str, known: bool) -> None:
        event = Exchanged(self.others[name].address, self.now, known)
        self.ownership.handle_gossip(event, self.now)
        self.turn()

    # ---- time

    def run(self, until: float) -> None:
        """Let time go by, and everything happen that is due."""
        in_vain = 0
        while (due := max(self.now, self._due())) <= until:
            in_vain = in_vain + 1 if due == self.now else 0
            assert in_vain < MOST_IN_VAIN, f"something is due for ever at {due}"
            self.now = due
            if self.now >= self._beat_at:
                self._beat_at = self.now + BEAT_EVERY
                self._beat()
            self.turn()
        self.now = until

    def stand_still(self, seconds: float) -> None:
        """Have the process not run for a while."""
        self.now += seconds
        self._beat_at = self.now
        self.turn()

    def _due(self) -> float:
        announcer = self.announcer.deadline()
        due = min(self.failover.deadline(), self.contact.deadline(), self._beat_at)
        return due if announcer is None else min(due, announcer)

    def _beat(self) -> None:
        for other in self.others.values():
            if other.beats and other.start_id is not None and other.state is State.ALIVE:
                self.letter(LetterKind.BEAT, other.name)

    # ---- what goes out

    def said(self) -> list[tuple[float, str]]:
        """Drain what node-1 did."""
        said, self._said = self._said, []
        return said

    def say(self, text: str) -> None:
        self._said.append((self.now, text))

    def turn(self) -> None:
        """Settle and send, as a driver does after all that comes in."""
        ownership = self.ownership
        ownership.tick(self.now)
        while True:
            if ownership.wants_members:
                living = {other.name for other in self.others.values() if other.peer.living}
                ownership.set_living(frozenset(living | {OURS}))
                ownership.set_peers([other.peer for other in self.others.values()], self.now)
            ownership.handle_timeout(self.now)
            ownership.settle(self.now, lambda: False)
            came_of_it = [event for event in ownership.events() if not self._tell(event)]
            if self.contact.seeks(self.now):
                self.say("seek contact")
            self._send()
            for event in came_of_it:
                self._tell_what_came(event)
            self._write(ownership.letters())
            self._look()
            if not ownership.stirred:
                return

    def _tell(self, event: OwnershipEvent) -> bool:
        """Say what was decided; false where it is something that came of it."""
        match event:
            case Moved(move):
                owner = move.after or "nobody"
                self.say(f"elect {owner} for {move.service} ({_words(move.reason)})")
            case Won(action):
                self.say(f"take up {action.service}")
            case Lost(action):
                self.say(f"give up {action.service} ({_words(action.reason)})")
            case Held(reason, ifindex):
                self.say(f"hold {_link(ifindex)} back ({_words(reason)})")
            case Released(_, ifindex, by):
                self.say(f"let {_link(ifindex)} speak ({by})")
            case _:
                return False
        return True

    def _tell_what_came(self, event: OwnershipEvent) -> None:
        match event:
            case TookQuietly(ip):
                self.say(f"take {ip} quietly")
            case Contested(ip, node, mac):
                heard = "" if mac is None else ", which was heard"
                self.say(f"leave {ip} to {node}{heard}")
            case ForeignAnswer(ip, node):
                self.say(f"blame the kernel of {node} for {ip}")
            case PutOff() | HandedOver() | BarsChanged() | Confirmed():
                pass
            case _:
                self.say(repr(event))

    def _send(self) -> None:
        for link, ask in self.ownership.asks():
            self.say(f"ask for {ask.ip} on {link.name}")
        for item in self.announcer.transmits():
            if item.form in (Form.REQUEST, Form.ADVERTISEMENT):
                self.say(f"announce {item.ip} on {item.interface.name}")

    def _look(self) -> None:
        for address in self.ownership.calls():
            self.say(f"exchange state with {self._named(address)}")
        if self.failover.flags != self._flags:
            self._flags = self.failover.flags
            flags = [_words(flag.name or "") for flag in self._flags]
            self.say(f"publish {' and '.join(flags) or 'nothing'}")
        self._tell_states()
        self._echo()

    def _tell_states(self) -> None:
        ips = dict.fromkeys(ip for plan in self.plans.values() for ip in plan.ips)
        for ip in ips:
            state = self.ownership.state(ip)
            if state is not self._states.get(ip, HoldState.NONE):
                self._states[ip] = state
                self.say(f"{ip} is {state}")

    def _echo(self) -> None:
        """Let the kernels answer that there are."""
        answering: dict[IPAddress, str] = {
            other.ip(link): link
            for other in self.others.values()
            for link in other.links
            if other.answers and link not in self.cut
        }
        for request in self.failover.requests():
            if request.ip in answering and self.links[answering[request.ip]].carrier:
                self.failover.handle_echo(request.ifindex, request.ip, request.token, self.now)

    def _write(self, sent: Iterable[Send]) -> None:
        for letter in sorted(sent, key=repr):
            if letter.kind not in (LetterKind.BEAT, LetterKind.HELLO):
                to = "all" if letter.to is None else ", ".join(letter.to)
                self.say(f"write to {to}: {_read(letter)}")

    def _named(self, address: Address) -> str:
        return next(other.name for other in self.others.values() if other.address == address)


def _read(letter: Send) -> str:
    match letter.kind:
        case LetterKind.MISSING:
            return f"I miss {_subject(letter)}"
        case LetterKind.GONE:
            return f"{_subject(letter)} is gone"
        case LetterKind.BACK:
            return "you were gone, and are back"
        case LetterKind.HEAR:
            return "do you hear me?"
        case LetterKind.HEARD:
            return "I hear you"
        case LetterKind.QUIET:
            quiet = letters.decode_quiet(letter.payload)
            return f"yours is {_ips(quiet.ips)}, quietly from {quiet.owner}"
        case _:
            return f"{_ABOUT_IPS[letter.kind]} {_ips(letters.decode_ips(letter.payload))}"


_ABOUT_IPS = {
    LetterKind.YOURS: "yours is",
    LetterKind.ASK: "do you answer for",
    LetterKind.MINE: "I answer for",
    LetterKind.DENY: "I do not answer for",
}


def _subject(letter: Send) -> str:
    link = letters.decode_link_name(letter.payload)
    return f"{letter.about} on {link}" if link else f"the speaker of {letter.about}"


def _ips(ips: Iterable[IPAddress]) -> str:
    return " and ".join(str(ip) for ip in sorted(ips, key=lambda ip: ip.packed))


def _link(ifindex: int | None) -> str:
    return next((name for name, index in INDEXES.items() if index == ifindex), "everything")


def _words(text: str) -> str:
    """Write a name of the code as people read it: `memberDead` and `MEMBER_DEAD` alike."""
    parted = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in text)
    return (text.lower() if text.isupper() or "_" in text else parted).replace("_", " ")
