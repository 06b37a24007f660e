"""What an IP is on this node, and how that changes. Pure. All that changes it stands in this file.

The election gives an IP to this node and takes it away again; that says little about what the node
does. Somebody else may answer for the IP still, so it is asked for before it is taken. Only a
speaker may be dead and not its machine: then the IP is answered for and not announced. And what was
lost is answered for until its winner is heard. So an IP is in one of these states:

             nobody else can have it
        +----------------------------------------------+
        |                                              v
    +------+   won   +--------+  nobody answers   +---------+  lost      +----------+
    | NONE |-------->| ASKING |------------------>|  OWNED  |----------->| YIELDING |---+
    +------+         +--------+                   +---------+            +----------+   |
                      |  ^   |                      ^     ^    won again      |   ^     |
              somebody|  |   |                      |     +-------------------+   |     |
               answers|  |   |its owner's speaker   |its                    another|    |
                      v  |   |is dead, and not      |machine                 winner|    |
             +-----------+   |its machine           |dies too                     |     |
             | CONTESTED |   |                    +---------+  lost      +----------+   |
             +-----------+   +------------------->|  QUIET  |----------->|  PARTED  |---+
                                                  +---------+            +----------+   |
                                                       ^        won again     |         |
                                                       +----------------------+         |
                                                                                        |
    NONE <------------- the winner is heard --------------------------------------------+

From CONTESTED the IP is taken as from ASKING, when whoever answers says that he does so only until
he hears us. From OWNED and QUIET it is ASKING again where we were cut off, as others may have taken
it meanwhile. From everywhere it is NONE as soon as no service of ours wants it.

Two services may share an IP, and may be won and lost one without the other. What one of them loses
stays as it is for the others. Where all have lost it, and one has it back before the winner was
heard, the hand-over goes on for the rest, and so it is YIELDING or PARTED still.

`move` looks each change up in TRANSITIONS. One that the table lacks is a mistake in the code.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from link.address import IPAddress

_NEVER = float("-inf")


class HoldState(StrEnum):
    """What an IP is on this node."""

    NONE = "none"
    """Nothing: it is not answered for, and nobody is asked about it."""
    ASKING = "asking"
    """Won. Whoever may answer for it is asked, and it is not answered for yet."""
    CONTESTED = "contested"
    """Won, but somebody who lives answers for it. He is asked again every now and then."""
    OWNED = "owned"
    """Answered for, and announced as far as there is need."""
    QUIET = "quiet"
    """Answered for and never announced: the speaker of its owner is dead, and its machine forwards
    what warm clients send there."""
    YIELDING = "yielding"
    """Lost, and answered for until the winner is heard."""
    PARTED = "parted"
    """The same of one that was QUIET: the winner is told from whom it was taken so."""


class Cause(StrEnum):
    """What changes the state of an IP."""

    TAKEN_UP = "taken_up"
    """A service wins it, and nobody else can have it."""
    ASKED = "asked"
    """It is won where somebody else may answer for it; or we were cut off, and have to ask."""
    ANSWERED = "answered"
    """Somebody answers for it, and may own it."""
    ASKED_AGAIN = "asked_again"
    """What was answered is old, or was denied, or whoever did so is silent."""
    TAKEN_ALOUD = "taken_aloud"
    """Nobody else is in the way, or whoever was lets go: it is to be announced."""
    TAKEN_QUIETLY = "taken_quietly"
    """The same, but its last owner's machine lives."""
    LOST = "lost"
    """Another node has won it, or another one than before."""
    CALLED_OFF = "called_off"
    """It is handed over no more: all services that lost it have it back, or are gone."""
    CALLED_OFF_QUIETLY = "called_off_quietly"
    """The same, and from whom it was once taken quietly is dead again."""
    KEPT_IN_PART = "kept_in_part"
    """Of the services that lost it some have it back."""
    HANDED_OVER = "handed_over"
    """The winner was heard, or has had its time."""
    HANDED_OVER_IN_PART = "handed_over_in_part"
    """The same, and another service of ours still has it."""
    GIVEN_UP = "given_up"
    """No service of ours wants it any more."""


TRANSITIONS: Mapping[HoldState, Mapping[Cause, HoldState]] = {
    HoldState.NONE: {
        Cause.TAKEN_UP: HoldState.OWNED,
        Cause.ASKED: HoldState.ASKING,
    },
    HoldState.ASKING: {
        Cause.ANSWERED: HoldState.CONTESTED,
        Cause.ASKED_AGAIN: HoldState.ASKING,
        Cause.TAKEN_ALOUD: HoldState.OWNED,
        Cause.TAKEN_QUIETLY: HoldState.QUIET,
        Cause.GIVEN_UP: HoldState.NONE,
    },
    HoldState.CONTESTED: {
        Cause.ASKED_AGAIN: HoldState.ASKING,
        Cause.TAKEN_ALOUD: HoldState.OWNED,
        Cause.TAKEN_QUIETLY: HoldState.QUIET,
        Cause.GIVEN_UP: HoldState.NONE,
    },
    HoldState.OWNED: {
        Cause.TAKEN_UP: HoldState.OWNED,
        Cause.ASKED: HoldState.ASKING,
        Cause.LOST: HoldState.YIELDING,
        Cause.GIVEN_UP: HoldState.NONE,
    },
    HoldState.QUIET: {
        Cause.TAKEN_UP: HoldState.QUIET,
        Cause.ASKED: HoldState.ASKING,
        Cause.TAKEN_ALOUD: HoldState.OWNED,
        Cause.LOST: HoldState.PARTED,
        Cause.GIVEN_UP: HoldState.NONE,
    },
    HoldState.YIELDING: {
        Cause.TAKEN_UP: HoldState.YIELDING,
        Cause.LOST: HoldState.YIELDING,
        Cause.CALLED_OFF: HoldState.OWNED,
        Cause.KEPT_IN_PART: HoldState.YIELDING,
        Cause.HANDED_OVER: HoldState.NONE,
        Cause.HANDED_OVER_IN_PART: HoldState.OWNED,
        Cause.GIVEN_UP: HoldState.NONE,
    },
    HoldState.PARTED: {
        Cause.TAKEN_UP: HoldState.PARTED,
        # Another winner is told nothing of the dead. Where a second service loses the IP it is so
        # too, also to the same winner: an IP is PARTED for one service only.
        Cause.LOST: HoldState.YIELDING,
        Cause.CALLED_OFF: HoldState.OWNED,
        Cause.CALLED_OFF_QUIETLY: HoldState.QUIET,
        Cause.HANDED_OVER: HoldState.NONE,
        Cause.HANDED_OVER_IN_PART: HoldState.OWNED,
        Cause.GIVEN_UP: HoldState.NONE,
    },
}

OPEN = frozenset({HoldState.ASKING, HoldState.CONTESTED})
"""Won, and not decided yet."""
UNSAID = frozenset({HoldState.QUIET, HoldState.PARTED})
"""Taken over without a word, also while it goes to another owner."""
LOSING = frozenset({HoldState.YIELDING, HoldState.PARTED})
"""Answered for until somebody else is heard."""
SETTLED = frozenset({HoldState.OWNED, HoldState.QUIET})
"""Answered for, from now on."""
ANSWERED = SETTLED | LOSING
_TAKING = OPEN | UNSAID


class ImpossibleError(RuntimeError):
    """A change that the table lacks."""


@dataclass(slots=True)
class Taking:
    """How an IP comes to us: kept from the first question until it is owned like any other."""

    dead: frozenset[str]
    """Nodes whose processes died, and whose kernels may forward still."""
    links: Collection[int]
    """Our links on which the IP is announced."""
    since: float
    decide_at: float
    answered_by: str | None = None
    mine_at: float = _NEVER
    """When `answered_by` said by letter that the IP is its own."""
    questioned_at: float = _NEVER
    """When it was asked for that, being contested."""
    denied_by: set[str] = field(default_factory=set)
    """Whose speakers do not claim the IP, though their kernels may answer for it."""
    asked: int = 1
    unsent: int = 0
    """Questions that have not left yet: the time to answer begins when they have."""
    told: str | None = None
    """Whom the last contest was told of."""
    loud_at: float = float("inf")


@dataclass(slots=True)
class Yielding:
    """To whom an IP goes, and for how long it is answered for."""

    services: set[str]
    """Those on behalf of which it was lost."""
    winner: str
    foreign: bool
    links: set[int]
    """Where we still answer."""
    ask_at: float
    until: float


@dataclass(slots=True)
class Hold:
    """An IP that is something on this node. `taking` and `yielding` are there in their states."""

    ip: IPAddress
    state: HoldState = HoldState.NONE
    services: dict[str, frozenset[str] | None] = field(default_factory=dict)
    """Who of ours wants it, and on which interfaces (None: on all)."""
    taking: Taking = field(init=False)
    """While it is asked for, and as long as it matters from whom it was taken quietly."""
    yielding: Yielding = field(init=False)

    def loses(self, service: str) -> bool:
        """Tell whether it is handed over on behalf of the service."""
        return self.state in LOSING and service in self.yielding.services

    def stays_without(self, service: str) -> bool:
        """Tell whether it stays ours for another service than this one."""
        return any(other != service and not self.loses(other) for other in self.services)


class Holds:
    """All IPs that are something on this node: one record each."""

    def __init__(self) -> None:
        self._holds: dict[IPAddress, Hold] = {}
        # The few of them that something is to be done about, so that nobody looks at all of them:
        # each list in the order in which the IPs came to be there.
        self.open: dict[IPAddress, Hold] = {}
        self.quiet: dict[IPAddress, Hold] = {}
        self.losing: dict[IPAddress, Hold] = {}
        self._lists: dict[HoldState, dict[IPAddress, Hold]] = {
            **dict.fromkeys(OPEN, self.open),
            HoldState.QUIET: self.quiet,
            **dict.fromkeys(LOSING, self.losing),
        }

    def state(self, ip: IPAddress) -> HoldState:
        """Return what the IP is on this node."""
        hold = self._holds.get(ip)
        return HoldState.NONE if hold is None else hold.state

    def get(self, ip: IPAddress) -> Hold | None:
        """Return the record of an IP that is something."""
        return self._holds.get(ip)

    def record(self, ip: IPAddress) -> Hold:
        """Return the record of an IP, a new one where it is nothing."""
        return self._holds.get(ip) or Hold(ip)

    # ---- it comes

    def take_up(self, hold: Hold, service: str, interfaces: frozenset[str] | None) -> None:
        """A service has it, and nobody else can."""
        hold.services[service] = interfaces
        self.move(hold, Cause.TAKEN_UP)

    def ask(self, ip: IPAddress, taking: Taking) -> Hold:
        """Others are asked first."""
        hold = self.record(ip)
        self.move(hold, Cause.ASKED)
        hold.taking = taking
        return hold

    def contest(self, hold: Hold) -> None:
        """Somebody who may own it answers."""
        self.move(hold, Cause.ANSWERED)

    def ask_again(self, hold: Hold) -> None:
        """It is as open as in the beginning."""
        self.move(hold, Cause.ASKED_AGAIN)

    def take(self, hold: Hold, *, quiet: bool) -> None:
        """It is answered for from now on."""
        self.move(hold, Cause.TAKEN_QUIETLY if quiet else Cause.TAKEN_ALOUD)

    # ---- it goes

    def lose(self, hold: Hold, yielding: Yielding) -> None:
        """It goes to another node, for some of the services at least."""
        self.move(hold, Cause.LOST)
        hold.yielding = yielding

    def take_back(self, service: str, ip: IPAddress, dead: Collection[str]) -> bool:
        """A service that lost it has it back before the winner was heard: quietly, where one of
        those from whom it was taken so is dead once more. Return whether it was being lost."""
        hold = self._holds.get(ip) if self.losing else None
        if hold is None or not hold.loses(service):
            return False
        quietly = hold.state is HoldState.PARTED and not hold.taking.dead.isdisjoint(dead)
        hold.yielding.services.discard(service)
        if hold.yielding.services:
            self.move(hold, Cause.KEPT_IN_PART)
        elif quietly:
            hold.taking.loud_at = float("inf")
            self.move(hold, Cause.CALLED_OFF_QUIETLY)
        else:
            self.move(hold, Cause.CALLED_OFF)
        return True

    def hand_over(self, hold: Hold) -> list[str]:
        """Its winner has it; return the services on behalf of which it was lost."""
        services = sorted(hold.yielding.services)
        for service in services:
            hold.services.pop(service, None)
        self.move(hold, Cause.HANDED_OVER_IN_PART if hold.services else Cause.HANDED_OVER)
        return services

    def give_up(self, hold: Hold, service: str) -> None:
        """A service wants it no more, whatever it is."""
        hold.services.pop(service, None)
        if not hold.services:
            self.move(hold, Cause.GIVEN_UP)
        elif hold.loses(service):
            hold.yielding.services.discard(service)
            if not hold.yielding.services:
                self.move(hold, Cause.CALLED_OFF)

    # ---- inside

    def move(self, hold: Hold, cause: Cause) -> None:
        """Change the state as the table says; raise ImpossibleError where it lacks the change."""
        before = hold.state
        after = TRANSITIONS[before].get(cause)
        if after is None:
            raise ImpossibleError(f"{hold.ip} is {before}: {cause} cannot be")
        if after is before:
            return
        hold.state = after
        if before is HoldState.NONE:
            self._holds[hold.ip] = hold
        elif after is HoldState.NONE:
            del self._holds[hold.ip]
        self._list(hold, before, after)

    def _list(self, hold: Hold, before: HoldState, after: HoldState) -> None:
        left, entered = self._lists.get(before), self._lists.get(after)
        if left is not entered:
            if left is not None:
                del left[hold.ip]
            if entered is not None:
                entered[hold.ip] = hold
        if before in _TAKING and after not in _TAKING:
            del hold.taking
        if before in LOSING and after not in LOSING:
            del hold.yielding
