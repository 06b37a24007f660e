"""Asking one member after the other whether it lives: SWIM's failure detector.

One probe at a time: a ping; after `probe_timeout` without an ack, pings through other members and
one over TCP; at the end of the probe interval (stretched by our own health) a suspicion.
"""

from dataclasses import dataclass, field

from gossip.core import Core
from gossip.io import Address
from gossip.member import NACK_VERSION, TCP_PING_VERSION, Member
from gossip.membership import Membership
from gossip.wire.messages import IndirectPing, Ping, State, Suspect


@dataclass(slots=True)
class _Probe:
    target: str
    incarnation: int
    sequence: int
    deadline: float
    indirect_at: float | None
    dial: int | None = None
    tcp_ack: bool = False
    nacks_expected: int = 0
    nackers: set[Address] = field(default_factory=set)


class Prober:
    """The probe cycle of one node."""

    def __init__(self, core: Core, membership: Membership, now: float) -> None:
        self._core = core
        self._membership = membership
        self._probe: _Probe | None = None
        self._tick = now + core.rng.random() * core.config.probe_interval

    def deadline(self) -> float | None:
        """When the next step of the cycle is due; None once we are leaving."""
        if self._membership.leaving:
            return None
        probe = self._probe
        if probe is None:
            return self._tick
        if probe.indirect_at is None:
            return probe.deadline
        return min(probe.indirect_at, probe.deadline)

    def handle_timeout(self, now: float) -> None:
        """Take the steps that are due."""
        if self._membership.leaving:
            return
        probe = self._probe
        if probe is not None and now >= probe.deadline:
            self._finish(probe, now)
        elif probe is not None and probe.indirect_at is not None and now >= probe.indirect_at:
            self._ask_others(probe, now)
        if self._probe is None and now >= self._tick:
            self._begin(now)

    def forget_stale(self, now: float) -> None:
        """Drop a probe whose time ran out while we stood still: the silence may be our own."""
        if self._probe is not None and now >= self._probe.deadline:
            self._core.stats.probes_forgotten += 1
            self._probe = None

    def ack(self, sequence: int) -> bool:
        """Take an ack, direct or relayed; false when it is not of our probe."""
        if self._probe is None or self._probe.sequence != sequence:
            return False
        self._probe = None
        self._core.awareness.apply(-1)
        return True

    def nack(self, sequence: int, helper: Address) -> bool:
        """Take a helper's nack; false when it is not of our probe."""
        if self._probe is None or self._probe.sequence != sequence:
            return False
        self._probe.nackers.add(helper)
        return True

    def tcp_ack(self, dial: int) -> None:
        """Note that the target answered over TCP; it counts at the deadline if UDP is silent."""
        if self._probe is not None and self._probe.dial == dial:
            self._probe.tcp_ack = True

    def expects(self, dial: int, sequence: int) -> bool:
        """Tell whether this TCP ack answers the ping of that conversation."""
        probe = self._probe
        return probe is not None and (probe.dial, probe.sequence) == (dial, sequence)

    def _begin(self, now: float) -> None:
        config = self._core.config
        self._tick = max(self._tick + config.probe_interval, now)
        target = self._core.table.next_target(config.gossip_to_the_dead_time, now)
        if target is None:
            return
        probe = _Probe(
            target.name,
            target.incarnation,
            self._core.next_sequence(),
            now + self._core.awareness.scale(config.probe_interval),
            now + config.probe_timeout,
        )
        self._probe = probe
        self._core.stats.probes += 1
        self._ping(target, probe)

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
        self._probe = None
        if probe.tcp_ack:
            self._core.stats.tcp_fallbacks += 1
            self._core.awareness.apply(-1)
            return
        self._core.stats.probes_failed += 1
        missed = max(0, probe.nacks_expected - len(probe.nackers))
        self._core.awareness.apply(missed if probe.nacks_expected else 1)
        accusation = Suspect(self._core.name, probe.incarnation, probe.target)
        self._membership.suspect(accusation, now)
