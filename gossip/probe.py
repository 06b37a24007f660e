"""Asking one member after the other whether it lives: SWIM's failure detector.

One probe at a time: a ping; after `probe_timeout` without an ack, pings through other members and
one over TCP; at the end of the probe interval (stretched by our own health) a suspicion.

A failed probe makes us check everybody else at once, since nodes often die together: on one
switch, in one rack. Serial probes would find them one by one (docs/adr/0005-many-deaths.md).
"""

from dataclasses import dataclass, field

from gossip.core import Core
from gossip.io import Address
from gossip.member import NACK_VERSION, TCP_PING_VERSION, Member
from gossip.membership import Membership
from gossip.wire.messages import Ack, IndirectPing, Ping, State, Suspect

MAX_CHECKED = 64
"""Members asked at once after a failed probe; in larger clusters others ask the rest."""


@dataclass(slots=True)
class _Probe:
    target: str
    incarnation: int
    sequence: int
    asked: float
    deadline: float
    indirect_at: float | None
    dial: int | None = None
    regular: bool = True
    """One of the cycle; false for the checks of everybody."""
    tcp_ack: bool = False
    nacks_expected: int = 0
    nackers: set[Address] = field(default_factory=set)


class Prober:
    """The probe cycle of one node."""

    def __init__(self, core: Core, membership: Membership, now: float) -> None:
        self._core = core
        self._membership = membership
        self._probe: _Probe | None = None
        self._checks: dict[int, _Probe] = {}
        self._anybody_well = False
        self._found_more = False
        self._tick = now + core.rng.random() * core.config.probe_interval

    def deadline(self) -> float | None:
        """When the next step of the cycle is due; None once we are leaving."""
        if self._membership.leaving:
            return None
        next_step = self._tick if self._probe is None else _next_step(self._probe)
        if not self._checks:
            return next_step
        return min(next_step, *map(_next_step, self._checks.values()))

    def handle_timeout(self, now: float) -> None:
        """Take the steps that are due."""
        if self._membership.leaving:
            return
        for probe in list(self._checks.values()):
            self._step(probe, now)
        if self._found_more and not self._checks:
            self._found_more = False
            self._tell_accusations()
        if self._probe is not None:
            self._step(self._probe, now)
        if self._probe is None and now >= self._tick:
            self._begin(now)

    def forget_stale(self, now: float) -> None:
        """Drop probes whose time ran out while we stood still: the silence may be our own."""
        stale = [probe for probe in self._under_way() if now >= probe.deadline]
        self._core.stats.probes_forgotten += len(stale)
        for probe in stale:
            self._drop(probe)

    def handle_ack(self, ack: Ack, now: float) -> bool:
        """Take an ack, direct or relayed; false when it is not of our probes."""
        probe = self._find(ack.seq_no)
        if probe is None:
            return False
        if probe.indirect_at is None:
            self._core.stats.probes_acked_late += 1
        else:
            self._core.stats.probes_acked += 1
            # Later ones may have come through a helper, and their time says nothing.
            self._core.hooks.pinged(probe.target, now - probe.asked, ack.payload or b"")
        self._succeed(probe)
        return True

    def handle_nack(self, sequence: int, helper: Address) -> bool:
        """Take a helper's nack; false when it is not of our probes."""
        probe = self._find(sequence)
        if probe is None:
            return False
        probe.nackers.add(helper)
        return True

    def handle_tcp_ack(self, dial: int) -> None:
        """Note that the target answered over TCP; it counts at the deadline if UDP is silent."""
        for probe in self._under_way():
            if probe.dial == dial:
                probe.tcp_ack = True

    def expects(self, dial: int, sequence: int) -> bool:
        """Tell whether this TCP ack answers the ping of that conversation."""
        probe = self._find(sequence)
        return probe is not None and probe.dial == dial

    def peer(self, dial: int) -> Address | None:
        """Return the address of whom that conversation is with; None where it is none of ours."""
        name = next((probe.target for probe in self._under_way() if probe.dial == dial), None)
        member = None if name is None else self._core.table.get(name)
        return None if member is None else member.address

    def _find(self, sequence: int) -> _Probe | None:
        if self._probe is not None and self._probe.sequence == sequence:
            return self._probe
        return self._checks.get(sequence)

    def _under_way(self) -> list[_Probe]:
        regular = [self._probe] if self._probe is not None else []
        return [*regular, *self._checks.values()]

    def _drop(self, probe: _Probe) -> None:
        if probe is self._probe:
            self._probe = None
        else:
            self._checks.pop(probe.sequence, None)

    def _step(self, probe: _Probe, now: float) -> None:
        if now >= probe.deadline:
            self._finish(probe, now)
        elif probe.indirect_at is not None and now >= probe.indirect_at:
            self._ask_others(probe, now)

    def _begin(self, now: float) -> None:
        config = self._core.config
        self._tick = max(self._tick + config.probe_interval, now)
        latest = self._core.calendar.latest(now)
        target = self._core.table.next_target(config.gossip_to_the_dead_time, now, latest)
        if target is not None:
            lasts = self._core.awareness.scale(config.probe_interval)
            self._probe = self._ask(target, lasts, now)

    def _ask(self, target: Member, lasts: float, now: float) -> _Probe:
        probe = _Probe(
            target.name,
            target.incarnation,
            self._core.next_sequence(),
            now,
            now + lasts,
            now + self._core.config.probe_timeout,
        )
        self._core.stats.probes += 1
        self._ping(target, probe)
        return probe

    def _check_everybody(self, failed: str, now: float) -> None:
        """Probe all others that we might have to accuse, unless such a check is under way."""
        config = self._core.config
        if self._checks or not config.check_together:
            return

        def unsure(member: Member) -> bool:
            return member.name != failed and self._membership.wants_our_word(member.name)

        self._anybody_well = False
        lasts = self._core.awareness.scale(config.probe_interval)
        for target in self._core.table.pick(MAX_CHECKED, unsure):
            probe = self._ask(target, lasts, now)
            probe.regular = False
            self._checks[probe.sequence] = probe

    def _ping(self, target: Member, probe: _Probe) -> None:
        ping = self._message(probe)
        if target.state is State.SUSPECT:
            # It learns at once what is said about it, and can refute.
            accusation = Suspect(self._core.name, target.incarnation, target.name)
            self._core.outbox.send_to_member(target, ping, accusation)
        else:
            self._core.outbox.send(target.address, ping)

    def _message(self, probe: _Probe) -> Ping:
        own = self._core.table.own
        return Ping(probe.target, probe.sequence, own.addr, own.name, own.port)

    def _ask_others(self, probe: _Probe, now: float) -> None:
        probe.indirect_at = None
        target = self._core.table.get(probe.target)
        if target is None:
            return
        self._ask_helpers(probe, target)
        config = self._core.config
        if config.tcp_pings and target.protocol_max >= TCP_PING_VERSION:
            left = probe.deadline - now
            ping = self._message(probe)
            probe.dial = self._core.outbox.dial(target.address, ping, left)

    def _ask_helpers(self, probe: _Probe, target: Member) -> None:
        own = self._core.table.own

        def helps(member: Member) -> bool:
            return member.state is State.ALIVE and not member.own and member is not target

        for helper in self._core.table.pick(self._core.config.indirect_checks, helps):
            nack = helper.protocol_max >= NACK_VERSION
            probe.nacks_expected += nack
            request = IndirectPing(
                nack,
                target.name,
                target.port,
                probe.sequence,
                own.addr,
                own.name,
                own.port,
                target.addr,
            )
            self._core.outbox.send(helper.address, request)

    def _finish(self, probe: _Probe, now: float) -> None:
        if probe.tcp_ack:
            self._core.stats.tcp_fallbacks += 1
            self._succeed(probe)
            return
        self._drop(probe)
        self._core.stats.probes_failed += 1
        accusation = Suspect(self._core.name, probe.incarnation, probe.target)
        if probe.regular and self._membership.wants_our_word(probe.target):
            # Before our health is judged, and longer probes with it: others may be dead as well.
            self._check_everybody(probe.target, now)
        self._judge_health(probe)
        self._membership.handle_suspect(accusation, now)
        self._found_more = self._found_more or not probe.regular

    def _tell_accusations(self) -> None:
        """Say straight to the others whom we accuse: much of gossip goes to the dead just now."""
        accusations = self._membership.accusations()[:MAX_CHECKED]

        def listens(member: Member) -> bool:
            return member.state is State.ALIVE and not member.own

        for member in self._core.table.pick(MAX_CHECKED, listens) if accusations else ():
            self._core.outbox.send_all(member, accusations)

    def _succeed(self, probe: _Probe) -> None:
        self._drop(probe)
        self._anybody_well = True
        if probe.regular:
            self._core.awareness.apply(-1)

    def _judge_health(self, probe: _Probe) -> None:
        """A failed probe speaks against us; one check of many does not where others answered."""
        if not probe.regular and (self._anybody_well or self._checks):
            return
        missed = max(0, probe.nacks_expected - len(probe.nackers))
        self._core.awareness.apply(missed if probe.nacks_expected else 1)


def _next_step(probe: _Probe) -> float:
    return probe.deadline if probe.indirect_at is None else min(probe.indirect_at, probe.deadline)
