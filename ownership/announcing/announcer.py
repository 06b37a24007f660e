"""What this node answers for, and which announcements are due. Pure; `layer2` sends them.

An IP is announced as long as one service on this node wants it; two services may share an IP, and
each brings its own choice of interfaces (MetalLB's reference count).

Each interface has a queue of frames and a pace. The first frame of an IP moves its clients, so the
first frames of all IPs leave before the second of any, those with recent clients before the rest.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from link.address import IPAddress
from link.drop import DropReason
from link.interface import Interface
from ownership.announcing.clients import Clients
from ownership.announcing.confirmation import Confirmations
from ownership.announcing.pace import RATE, Pace
from ownership.contact import Contact
from ownership.io import Announcement, Client, Form

ROUNDS = 5
ROUND_INTERVAL = 1.1
"""MetalLB's schedule: rounds at 0, 1.1, 2.2, 3.3 and 4.4 s. The step is longer than the 1 s for
which Linux protects a neighbour entry from change (`locktime`)."""
ECHO_AFTER = 0.05
"""Seconds after which a link that has just come up gets its first frame again: the port at the
other end of the cable may not forward yet."""
ROUNDS_TO_CLIENTS = 1
"""How many rounds address each client by name: `confirmation` asks again who does not answer."""
CLIENTS_EVERY = 1.0
"""Seconds in which one IP addresses its clients once on a link: where several groups of nodes meet
again, each of its last owners asks the owner to announce itself."""
FRAMES_A_TURN = 40
"""How many frames one call of `transmits` gives out, unless it is asked for fewer."""
ROUNDS_AT_ONCE = 50
"""How many rounds one call of `transmits` prepares, once their first frames are out: 0.5 ms."""
FRAMES_A_WAKE = 16
"""A paced queue waits until so many frames may leave: a timer for each one would cost more."""
MOST_AWAY = 256


_FIRST = {4: Form.REQUEST, 6: Form.ADVERTISEMENT}
_OTHERS: Mapping[int, tuple[Form, ...]] = {4: (Form.REPLY, Form.REPLY_TO_ALL), 6: ()}


class _Priority(IntEnum):
    WITH_CLIENTS = 0
    FIRST = 1
    OTHERS = 2
    LATER = 3


@dataclass(slots=True)
class _Wanted:
    """An IP that services here want announced.

    `services` maps each to its choice of interface names (None: all), `choice` is their union.
    `bursts` by interface index: what is current here is announced, what is not has been overtaken.
    `quiet`: answered, but not announced. `silent_on`: where its new owner was heard, by index.
    """

    ip: IPAddress
    services: dict[str, frozenset[str] | None] = field(default_factory=dict)
    choice: frozenset[str] | None = None
    bursts: "dict[int, _Burst]" = field(default_factory=dict)
    quiet: bool = False
    silent_on: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Burst:
    """Rounds for one IP on one interface; a newer burst of the same takes its place."""

    wanted: _Wanted
    index: int
    first: Form
    again: bool = False
    round: int = 0
    addressed: float = -math.inf
    """When its clients were addressed."""

    @property
    def current(self) -> bool:
        """Whether it is still the one to send."""
        return self.wanted.bursts.get(self.index) is self


_Waiting = deque[tuple[_Burst, Form, Client | None]]


@dataclass(slots=True)
class _Queue:
    """What waits to leave one interface: by priority, and in it first come, first served."""

    pace: Pace
    frames: tuple[_Waiting, ...] = field(default_factory=lambda: tuple(deque() for _ in _Priority))

    def __bool__(self) -> bool:
        return any(self.frames)

    def __len__(self) -> int:
        return sum(map(len, self.frames))

    @property
    def urgent(self) -> bool:
        """Whether the first frame of some IP waits."""
        return bool(self.frames[_Priority.WITH_CLIENTS] or self.frames[_Priority.FIRST])


class Announcer:
    """Same shape as every core: inputs with `now`, one deadline, transmits drained."""

    def __init__(
        self,
        contact: Contact,
        clients: Clients | None = None,
        rate: float = RATE,
        refresh: float = 0.0,
    ) -> None:
        """`rate` is frames a second and interface (0: no limit); `refresh` is seconds between the
        rounds that go on after the fifth (0: none, as MetalLB)."""
        self._contact = contact
        # Not `or`: a table that is still empty is false.
        self._clients = Clients() if clients is None else clients
        self._rate = rate
        self._refresh = refresh
        self._now = 0.0
        self._interfaces: Mapping[int, Interface] = {}
        self._away: dict[int, float] = {}
        self._wanted: dict[IPAddress, _Wanted] = {}
        self._due: list[tuple[float, int, _Burst]] = []
        self._begun: deque[tuple[_Burst, float]] = deque()
        """Rounds of which only the first frame has left, and when that was."""
        self._queues: dict[int, _Queue] = {}
        self._number = 0
        self._changes = 0
        self._confirmations = Confirmations()
        self.hears: Callable[[int, float], bool] = lambda ifindex, now: True
        """Whether this node hears anybody on a link: else it is cut off, and announces nothing."""

    @property
    def changes(self) -> int:
        """A number that differs as soon as `answers` may say something else than before."""
        return self._changes + self._contact.changes

    def set_interfaces(self, interfaces: Mapping[int, Interface], now: float) -> None:
        """Take the eligible interfaces by index; announce on what is new, back or changed."""
        self._now = now
        self._changes += 1
        before, self._interfaces = self._interfaces, dict(interfaces)
        for index in before.keys() - interfaces.keys():
            self._away.setdefault(index, now)
            self._queues.pop(index, None)
            for wanted in self._wanted.values():
                wanted.bursts.pop(index, None)
        while len(self._away) > MOST_AWAY:
            del self._away[min(self._away, key=self._away.__getitem__)]
        for index, interface in interfaces.items():
            self._take_interface(before.get(index), interface, now)

    def _take_interface(self, known: Interface | None, interface: Interface, now: float) -> None:
        index = interface.index
        if index not in self._queues:
            self._queues[index] = _Queue(Pace(self._rate))
        if not interface.carrier:
            self._away.setdefault(index, now)
        elif index in self._away:
            self._contact.handle_carrier_return(index, now - self._away.pop(index), now)
            self._announce_link(index, now)
        elif known is None or (known.mac, known.name) != (interface.mac, interface.name):
            self._announce_link(index, now)
        elif known.link_local != interface.link_local:
            self._announce_link(index, now, version=6)

    def announce(
        self,
        ip: IPAddress,
        service: str,
        interfaces: frozenset[str] | None,
        now: float,
        *,
        quiet: bool = False,
    ) -> None:
        """Answer for `ip` on behalf of `service`, on the named interfaces (None: on all).

        Quietly: answer, but send nothing unasked until `speak_up`.
        """
        self._now = now
        wanted = self._wanted.get(ip)
        if wanted is None:
            wanted = self._wanted[ip] = _Wanted(ip)
        wanted.services[service] = interfaces
        wanted.silent_on.clear()
        self._choose(wanted)
        wanted.quiet = wanted.quiet or quiet
        if not quiet:
            self._start_bursts(wanted)

    def speak_up(self, ip: IPAddress, now: float) -> None:
        """Announce an IP that is answered for, from the first round on."""
        self._now = now
        wanted = self._wanted.get(ip)
        if wanted is not None:
            self._start_bursts(wanted)

    def hush(self, ip: IPAddress) -> None:
        """Answer on, but announce no more."""
        wanted = self._wanted.get(ip)
        if wanted is not None:
            wanted.quiet = True
            wanted.bursts.clear()

    def fall_silent(self, ip: IPAddress, ifindex: int) -> None:
        """Answer for `ip` on this link no more: its new owner was heard there."""
        wanted = self._wanted.get(ip)
        if wanted is not None:
            self._changes += 1
            wanted.silent_on.add(ifindex)
            wanted.bursts.pop(ifindex, None)

    def withdraw(self, ip: IPAddress, service: str) -> None:
        """Stop answering for `ip` on behalf of `service`. Nothing is sent, as with MetalLB."""
        wanted = self._wanted.get(ip)
        if wanted is None:
            return
        wanted.services.pop(service, None)
        self._choose(wanted)
        if not wanted.services:
            wanted.bursts.clear()
            del self._wanted[ip]

    def withdraw_all(self) -> None:
        """Stop answering for everything."""
        self._changes += 1
        for wanted in self._wanted.values():
            wanted.bursts.clear()
        self._wanted.clear()

    def speak_again(self, ifindex: int | None, now: float) -> None:
        """Contact was made: announce what is wanted, on one link or (None) on all."""
        for index in self._interfaces if ifindex is None else (ifindex,):
            self._announce_link(index, now)

    def answers(self, ip: IPAddress, ifindex: int) -> DropReason | None:
        """Return why this node does not answer for `ip` on the link, or None where it does."""
        wanted = self._wanted.get(ip)
        return DropReason.NOT_ANNOUNCED if wanted is None else self._bar(wanted, ifindex)

    def _bar(self, wanted: _Wanted, ifindex: int) -> DropReason | None:
        interface, choice = self._interfaces.get(ifindex), wanted.choice
        if interface is None or (choice is not None and interface.name not in choice):
            return DropReason.NOT_ON_INTERFACE
        if not interface.carrier:
            return DropReason.NO_CARRIER
        if ifindex in wanted.silent_on:
            return DropReason.HANDED_OVER
        return None if self._contact.open(ifindex) else DropReason.NO_CONTACT

    def ips(self) -> frozenset[IPAddress]:
        """Return the IPs that this node wants to answer for."""
        return frozenset(self._wanted)

    def serves(self, ip: IPAddress, service: str) -> bool:
        """Tell whether `ip` is answered for on behalf of the service, on links that there are.

        An IP whose takeover still waits is not, nor one that has none of the interfaces that it
        is to be announced on. Any thread may ask.
        """
        wanted = self._wanted.get(ip)
        if wanted is None or service not in wanted.services:
            return False
        choice = wanted.services.get(service)
        names = {interface.name for interface in self._interfaces.values()}
        return choice is None or not choice.isdisjoint(names)

    def services(self, ip: IPAddress) -> frozenset[str]:
        """Name the services on behalf of which `ip` is answered for."""
        wanted = self._wanted.get(ip)
        return frozenset() if wanted is None else frozenset(wanted.services)

    def choices(self, ip: IPAddress) -> dict[str, frozenset[str] | None]:
        """Return them, and on which interfaces each has the IP announced (None: on all)."""
        wanted = self._wanted.get(ip)
        return {} if wanted is None else dict(wanted.services)

    def wants(self, ip: IPAddress) -> bool:
        """Tell whether `ips` holds `ip`, in no time."""
        return ip in self._wanted

    def indexes(self, ip: IPAddress) -> tuple[int, ...]:
        """Return the links that `ip` is answered on, whether or not contact holds it back now."""
        wanted = self._wanted.get(ip)
        if wanted is None:
            return ()
        held_back = (None, DropReason.NO_CONTACT)
        return tuple(index for index in self._interfaces if self._bar(wanted, index) in held_back)

    def lately(self, ifindex: int, now: float) -> list[IPAddress]:
        """Return some clients that asked for anything on the link a moment ago."""
        return self._clients.lately(ifindex, now)

    def confirm(self, ip: IPAddress, ifindex: int, client: IPAddress, now: float) -> float | None:
        """A client answered our question from `ip`, so it has our MAC: return the seconds since we
        began to ask, None if we did not."""
        return self._confirmations.confirm(ip, ifindex, client, now)

    @property
    def unconfirmed(self) -> int:
        """How many clients never answered our questions from an IP that had moved."""
        return self._confirmations.given_up

    def interface_names(self, ip: IPAddress) -> tuple[str, ...]:
        """Return the names of the interfaces on which `ip` is answered now, sorted."""
        return tuple(
            sorted(
                interface.name
                for index, interface in self._interfaces.items()
                if self.answers(ip, index) is None
            )
        )

    def deadline(self) -> float | None:
        """When `handle_timeout`, and `transmits` after it, want to be called next."""
        times = [
            queue.pace.deadline(min(len(queue), FRAMES_A_WAKE), self._now)
            for queue in self._queues.values()
            if queue
        ]
        if self._due:
            times.append(self._due[0][0])
        if self._begun:
            times.append(self._now)
        times.append(self._confirmations.deadline())
        earliest = min(times)
        return earliest if earliest < float("inf") else None

    @property
    def urgent(self) -> bool:
        """Whether the first frame of some IP waits for its turn, but not for the pace."""
        return any(queue.urgent and queue.pace.ready(self._now) for queue in self._queues.values())

    def handle_timeout(self, now: float) -> None:
        """Queue the rounds that are due."""
        self._now = now
        while self._due and self._due[0][0] <= now:
            burst = heapq.heappop(self._due)[2]
            if burst.current:
                priority = _Priority.LATER if burst.round else _Priority.FIRST
                self._queue(priority, burst, burst.first)
        for ip, index, client in self._confirmations.due(now):
            wanted = self._wanted.get(ip)
            current = None if wanted is None else wanted.bursts.get(index)
            if current is not None:
                self._queue(_Priority.OTHERS, current, Form.TO_CLIENT, client)

    def transmits(self, most: int = FRAMES_A_TURN) -> list[Announcement]:
        """Return announcements to send now, as the pace allows; one a link at least."""
        transmits: list[Announcement] = []
        if not self._begun and not any(self._queues.values()):
            return transmits
        most = max(most, len(self._queues))
        # All links in turn: the first frames on one must not wait for all rounds on another.
        share = most // max(1, len(self._queues))
        for last, limit in ((_Priority.FIRST, share), (_Priority.LATER, most)):
            for index, queue in self._queues.items():
                room = min(limit, most - len(transmits))
                if room > 0:
                    transmits += self._take_frames(index, queue, last, room)
            if len(transmits) == most:
                break
            self._continue_rounds()
        return transmits

    def _take_frames(
        self, index: int, queue: _Queue, last: _Priority, room: int
    ) -> Iterator[Announcement]:
        """Yield up to `room` frames of the queue whose priority is `last` or before."""
        interface = self._interfaces[index]
        deaf = not self.hears(index, self._now)
        for frames in queue.frames[: last + 1]:
            while frames:
                if not room:
                    return
                burst, form, client = frames[0]
                current = burst.current
                if current and not deaf and self._bar(burst.wanted, index) is None:
                    if not queue.pace.take(self._now):
                        return
                    room -= 1
                    if client is not None:
                        self._confirmations.note_question(burst.wanted.ip, index, client, self._now)
                    yield Announcement(burst.wanted.ip, interface, form, client)
                frames.popleft()
                if current and form is burst.first:
                    self._begun.append((burst, self._now))

    def _announce_link(self, index: int, now: float, version: int | None = None) -> None:
        self._now = now
        for wanted in self._wanted.values():
            if version in (None, wanted.ip.version) and not wanted.quiet:
                self._start_burst(wanted, index, self._urgency(wanted.ip), echo=True)

    def _start_bursts(self, wanted: _Wanted) -> None:
        wanted.quiet = False
        priority = self._urgency(wanted.ip)
        for index in self._interfaces:
            self._start_burst(wanted, index, priority)

    def _urgency(self, ip: IPAddress) -> _Priority:
        asked = self._clients.any_of(ip, self._now)
        return _Priority.WITH_CLIENTS if asked else _Priority.FIRST

    def _start_burst(
        self, wanted: _Wanted, index: int, priority: _Priority, echo: bool = False
    ) -> None:
        interface, version = self._interfaces.get(index), wanted.ip.version
        if interface is None or (version == 6 and interface.link_local is None):
            return
        burst = _Burst(wanted, index, _FIRST[version], echo)
        known = wanted.bursts.get(index)
        if known is not None and self._now - known.addressed < CLIENTS_EVERY:
            burst.round, burst.addressed = ROUNDS_TO_CLIENTS, known.addressed
        wanted.bursts[index] = burst
        self._queue(priority, burst, burst.first)

    def _continue_rounds(self) -> None:
        """No more first frames may leave now, so there is time to prepare for the others."""
        for _ in range(min(len(self._begun), ROUNDS_AT_ONCE)):
            burst, at = self._begun.popleft()
            if burst.current:
                self._continue_round(burst, at)

    def _continue_round(self, burst: _Burst, at: float) -> None:
        """The first frame of a round left at `at`: queue the rest of it, and time the next round.

        The time runs from the frame that left, not from when it was due: rounds closer together
        than locktime are wasted, and a paced queue cannot fall behind for ever.
        """
        if burst.again:
            burst.again = False
            self._time(burst, at + ECHO_AFTER)
            return
        burst.round += 1
        ip, priority = burst.wanted.ip, _Priority.OTHERS if burst.round == 1 else _Priority.LATER
        for form in _OTHERS[ip.version]:
            self._queue(priority, burst, form)
        if burst.round <= ROUNDS_TO_CLIENTS:
            interface = self._interfaces[burst.index]
            for client in self._clients.of(ip, interface, self._now):
                burst.addressed = at
                self._queue(priority, burst, Form.TO_CLIENT, client)
        wait = ROUND_INTERVAL if burst.round < ROUNDS else self._refresh
        if wait:
            self._time(burst, at + wait)

    def _time(self, burst: _Burst, at: float) -> None:
        self._number += 1
        heapq.heappush(self._due, (at, self._number, burst))

    def _queue(
        self, priority: _Priority, burst: _Burst, form: Form, client: Client | None = None
    ) -> None:
        queue = self._queues.get(burst.index)
        if queue is not None:
            queue.frames[priority].append((burst, form, client))

    def _choose(self, wanted: _Wanted) -> None:
        """Unite what the services of an IP chose; one that names no interface means all."""
        self._changes += 1
        choices = wanted.services.values()
        named = [choice for choice in choices if choice is not None]
        everywhere = len(named) < len(choices)
        wanted.choice = None if everywhere else frozenset().union(*named)
