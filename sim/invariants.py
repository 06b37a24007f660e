"""What must hold in every run, whatever the faults. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gossip.io import Gone, Suspected
from gossip.wire.messages import State
from sim import bounds
from sim.world.faults import Fault, FaultKind

if TYPE_CHECKING:
    from gossip.config import Config
    from sim.world.machine import Machine
    from sim.world.world import MemberEvent, World

_CRASHES = (FaultKind.POWER_OFF, FaultKind.KILL)
_CUTS = (FaultKind.DEAF, FaultKind.MUTE, FaultKind.PARTITION)
MAX_VIOLATIONS = 20


@dataclass(frozen=True, slots=True)
class Outage:
    """`node` was away from `begin` to `end`, in seconds after the start; node None: cut network."""

    node: str | None
    begin: float
    end: float


def outages(faults: Iterable[Fault], config: "Config", nodes: int) -> list[Outage]:
    """Return the outages that may make nodes declare each other dead."""
    found = []
    for fault in faults:
        end = float("inf") if fault.lasts is None else fault.ends
        lasts, names = end - fault.at, fault.nodes
        if fault.kind in _CUTS and lasts > bounds.tolerated_cut(config):
            found.append(Outage(None, fault.at, end))
        pauses = fault.kind is FaultKind.PAUSE and lasts > bounds.tolerated_pause(config, nodes)
        if pauses or fault.kind in _CRASHES:
            found += [Outage(name, fault.at, end) for name in names]
    return found


@dataclass(slots=True)
class Crash:
    """A node that died for good, and when each survivor declared it dead, seconds after."""

    node: str
    at: float
    power: bool
    seen: dict[str, float] = field(default_factory=dict)


class Checker:
    """Watches a run; `violations` says what was broken."""

    def __init__(self, world: "World", faults: Sequence[Fault]) -> None:
        config, nodes = world.setup.config, world.setup.nodes
        self._world = world
        self._faults = faults
        self._outages = outages(faults, config, nodes)
        # A verdict may be as late as the longest suspicion, and the news of it some hops later.
        longest = config.suspicion_max_timeout_mult * bounds.suspicion_minimum(config, nodes)
        self._echo = longest + bounds.hops(config)
        self.crashes = [
            Crash(node, fault.at, fault.kind is FaultKind.POWER_OFF)
            for fault in faults
            if fault.kind in _CRASHES and fault.lasts is None
            for node in fault.nodes
        ]
        self._crashed = {crash.node: crash for crash in self.crashes}
        self._bound = bounds.detection(config, nodes, len(self.crashes))
        self._incarnations: dict[tuple[str, int, str], int] = {}
        self.violations: list[str] = []
        self.false_deaths: list[tuple[str, str]] = []
        self.false_suspicions = 0
        self.changes = 0
        self.last_fault = max((fault.ends for fault in faults), default=0.0)
        world.on_event = self.take

    def take(self, machine: "Machine", event: "MemberEvent") -> None:
        """Judge one member event."""
        self.changes += 1
        member, name = event.member, event.member.name
        self._check_incarnation(machine, name, member.incarnation)
        if isinstance(event, Gone) and member.state is State.DEAD:
            self._handle_death(machine.name, name)
        elif isinstance(event, Suspected) and self._world.machines[name].running:
            self.false_suspicions += 1

    def converged(self) -> bool:
        """Tell whether every running node knows exactly the running ones as living."""
        running = self._world.running()
        names = frozenset(machine.name for machine in running)
        return all(
            machine.process is not None and machine.process.swim.live() == names
            for machine in running
        )

    def deadline(self) -> float:
        """Seconds after the start by which all must be detected, and all views equal."""
        config, nodes = self._world.setup.config, self._world.setup.nodes
        settled = self.last_fault + bounds.convergence(config, nodes)
        return max([settled, *(crash.at + self._bound for crash in self.crashes)])

    def finish(self) -> None:
        """Judge the end of the run."""
        if not self.converged():
            self._break(f"views differ {self._world.elapsed - self.last_fault:.1f} s after")
        for crash in self.crashes:
            self._check_crash(crash)
        self._check_bytes()
        self._check_answers()

    # ---- the invariants

    def _handle_death(self, observer: str, name: str) -> None:
        now = self._world.elapsed
        crash = self._crashed.get(name)
        if crash is not None and now >= crash.at:
            crash.seen.setdefault(observer, now - crash.at)
        elif self._world.machines[name].running:
            self.false_deaths.append((observer, name))
            if not self._excused(name, now):
                self._break(f"{observer} declared {name} dead, which was well")

    def _excused(self, name: str, now: float) -> bool:
        return any(
            outage.node in (None, name) and outage.begin <= now <= outage.end + self._echo
            for outage in self._outages
        )

    def _check_incarnation(self, machine: "Machine", name: str, incarnation: int) -> None:
        key = (machine.name, machine.lives, name)
        if incarnation < self._incarnations.get(key, 0):
            self._break(f"{machine.name} saw the incarnation of {name} fall")
        self._incarnations[key] = incarnation

    def _check_crash(self, crash: Crash) -> None:
        late = [name for name, after in crash.seen.items() if after > self._bound]
        undisturbed = not any(outage.node is None for outage in self._outages)
        if late and undisturbed:
            self._break(f"{crash.node} was declared dead later than {self._bound:.1f} s by {late}")

    def _check_bytes(self) -> None:
        world = self._world
        limit = bounds.bytes_sent(
            world.setup.config, world.setup.nodes, world.elapsed, self.changes
        )
        for machine in world.machines.values():
            if machine.bytes_sent > limit:
                self._break(f"{machine.name} sent {machine.bytes_sent} bytes, limit {limit:.0f}")

    def _check_answers(self) -> None:
        if not self._world.running() or self._world.elapsed < self.last_fault + self._echo:
            return
        for plan in self._world.plans.values():
            answering = [self._world.observer.answering(ip) for ip in plan.ips if ip.version == 4]
            if any(len(macs) != 1 for macs in answering):
                self._break(f"{plan.hash_ip} is not answered by one node")

    def _break(self, what: str) -> None:
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(f"at {self._world.elapsed:.3f} s: {what}")
