"""What a run of a failover scenario is judged by. Pure.

Of the IPs of nodes that are struck clients may notice what the scenario says, whether they ask
anew (silence) or have a warm entry (outage). Three rules hold in every run: of a node that is not
struck they notice nothing at all; as long as the machine that a warm client sends to takes what it
is sent, no announcement tells the client otherwise; and in the end exactly one node answers, the
owner by the hash among those that may own, and warm clients send to it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ownership.election.election import order
from ownership.liveness.barred import BARRING
from sim.failover_scenarios import Cast
from sim.scenario_table import FailoverScenario
from sim.world.faults import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.world.machine import Machine
    from sim.world.observer import Seen
    from sim.world.world import World

MOST_OF_A_BYSTANDER = 2
"""Intervals of the asker for which an IP may be silent that has no part in what happens."""
_BESIDE = frozenset({FaultKind.FLOATING_ADDRESS, FaultKind.FOREIGN_KERNEL, FaultKind.FORGED})
"""What happens at a node and strikes it in no way."""
_SERVES_ON = frozenset({
    FaultKind.KILL, FaultKind.PAUSE, FaultKind.SLOW, FaultKind.CLOCK_JUMP, FaultKind.LOSS,
    FaultKind.DUPLICATE, FaultKind.REORDER, FaultKind.DELAY, FaultKind.ONE_WAY,
    FaultKind.GOSSIP_CUT, FaultKind.ECHO_LIMITED, FaultKind.ECHO_REPLIES_LOST, FaultKind.SAME_NAME,
})  # fmt: skip
"""Faults under which the machine takes what clients send as before."""


@dataclass(frozen=True, slots=True)
class Worst:
    """The figures of the IP that was hit worst; seconds, and counts."""

    silent: float
    moves: int
    dual: int
    outage: float
    told: int


class Judge:
    """Judges one run of a scenario: `begin` at the first fault, `broken` at the end."""

    def __init__(
        self, scenario: FailoverScenario, world: "World", cast: Cast, faults: Sequence[Fault]
    ) -> None:
        self._scenario = scenario
        self._world = world
        self._cast = cast
        self._faults = [fault for fault in faults if fault.kind not in _BESIDE]
        self._seen: Mapping[IPv4Address, Seen] = world.observer.seen
        self._frames = dict.fromkeys(self._seen, 0)
        self._began = 0.0

    def begin(self) -> None:
        """Take what was announced so far as the start's."""
        self._frames = {ip: seen.frames for ip, seen in self._seen.items()}
        self._began = self._world.elapsed

    def worst(self) -> Worst:
        """Return the worst figures."""
        seen = self._seen.values()
        return Worst(
            max(one.silent for one in seen),
            max(one.moves for one in seen),
            max(one.dual for one in seen),
            max(one.outage for one in seen),
            max(one.told for one in seen),
        )

    def broken(self) -> tuple[str, ...]:
        """Say what was not kept, by IP."""
        found = []
        for ip, seen in self._seen.items():
            texts = (*self._limits(ip, seen), *self._frames_of(ip), *self._in_the_end(ip))
            if texts:
                found.append(f"{ip}: {', '.join(texts)}")
        return tuple(found)

    def _limits(self, ip: IPv4Address, seen: "Seen") -> Iterator[str]:
        scenario, owner = self._scenario, self._cast.orders[ip][0]
        strikes = {f.kind for f in self._faults if owner in f.nodes or not f.nodes}
        silent, moves = scenario.silent, scenario.moves
        dual, who = scenario.dual, ""
        row = dual if scenario.row is None else scenario.row
        if not strikes and not scenario.everyone:
            silent = max(MOST_OF_A_BYSTANDER * self._world.setup.ask_interval, scenario.bystanders)
            moves = 0
            who = "of a bystander "
            if not scenario.heals:
                dual = row = 0
        serves = strikes <= _SERVES_ON and not scenario.everyone
        told = 0 if serves else _TOLD_WHILE_HEALING if scenario.heals else moves
        for what, value, limit in (
            ("silent", seen.silent, silent),
            ("outage", seen.outage, silent),
            ("moves", seen.moves, moves),
            ("told", seen.told, told),
            ("dual", seen.dual, dual),
            ("dual in a row", seen.dual_run, row),
        ):
            # Times are sums of intervals, which round.
            if value > limit + _ROUNDING:
                yield f"{who}{what} {value:.3g} is over {limit:g}"

    def _frames_of(self, ip: IPv4Address) -> Iterator[str]:
        count, passed = self._seen[ip].frames - self._frames[ip], self._world.elapsed - self._began
        if passed and count / passed > self._scenario.frames:
            yield f"{count / passed:.3g} announcements a second"

    def _in_the_end(self, ip: IPv4Address) -> Iterator[str]:
        answering = self._world.observer.answering(ip)
        if len(answering) != 1:
            yield f"answered by {len(answering)} nodes in the end"
            return
        able = {m.identity.node: m.identity.mac for m in self._able()}
        owner = next(iter(order(able, str(ip))), None)
        if owner is None or answering != {able[owner]}:
            yield f"not answered by {owner} in the end"
        elif (follows := self._target_of_a_warm_client(ip)) not in (None, owner):
            yield f"a warm client follows {follows}, not {owner}, in the end"

    def _target_of_a_warm_client(self, ip: IPv4Address) -> str | None:
        """Return the node that a warm client sends to; None where its speaker runs no more, as of a
        node whose heir answers quietly, or where it never heard of one."""
        warm = self._seen[ip].warm
        running = (m for m in self._world.running() if m.identity.mac == warm)
        return next((machine.identity.node for machine in running), None)

    def _able(self) -> Iterator["Machine"]:
        """Return the nodes that may own, by their own word: of two with one name the first."""
        world = self._world
        for machine in world.machines.values():
            node, process = machine.identity.node, machine.process
            twin = node != machine.name
            if (
                twin
                or process is None
                or process.frozen
                or not world.forwards(machine.identity.mac)
            ):
                continue
            barred = process.cores.ownership.flags & BARRING
            if not barred and (world.admitted is None or node in world.admitted):
                yield machine


_ROUNDING = 1e-6
_TOLD_WHILE_HEALING = 1_000
"""No limit: where two sides answer each may announce, which the time for that bounds."""
