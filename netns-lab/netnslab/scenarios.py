"""Faults, and the measurement around each: the same steps for all of them."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from netnslab import oracle, verdict
from netnslab.errors import LabError
from netnslab.laboratory import STEADY, Lab, NotConvergedError
from netnslab.node import Node
from netnslab.verdict import Bystanders, Row

FREEZE = 10.0
# How long a machine that reboots still forwards after its speaker has exited.
FORWARDS_ON = 0.5
# Half as much again as the longest silence allowed; then the row says who did not come.
SETTLE_WITHIN = 12.0
# An answer may still be on its way when the window closes.
STRAGGLERS = 0.3


@dataclass(frozen=True)
class Injected:
    """What the fault itself measured."""

    exit_ms: float | None = None
    exit_code: int | None = None


def _power_off(lab: Lab, victim: Node) -> Injected:
    lab.topology.set_link(victim.host, "down")
    victim.kill()
    return Injected()


def _kill(_lab: Lab, victim: Node) -> Injected:
    victim.kill()
    return Injected()


def _stop(lab: Lab, victim: Node) -> Injected:
    """As a reboot does: SIGTERM, and soon after the exit the machine forwards no more."""
    start = time.monotonic()
    victim.signal(signal.SIGTERM)
    exited = lab.wait_until(lambda: not victim.running, 5.0)
    at = time.monotonic()
    code = victim.exit_code()
    victim.kill()
    lab.pass_time(at + FORWARDS_ON)
    lab.topology.set_link(victim.host, "down")
    return Injected((at - start) * 1000 if exited else None, code)


def _freeze(lab: Lab, victim: Node) -> Injected:
    start = time.monotonic()
    victim.signal(signal.SIGSTOP)
    lab.pass_time(start + FREEZE)
    victim.signal(signal.SIGCONT)
    return Injected()


def _start(_lab: Lab, victim: Node) -> Injected:
    victim.start()
    return Injected()


def _nothing(_lab: Lab, _victim: Node) -> None:
    """Most faults strike a whole cluster."""


def _dead_for_good(lab: Lab, victim: Node) -> None:
    """Kills the victim's speaker and waits until its heirs have all it owned."""
    victim.kill()
    lab.converge([name for name in lab.names if name != victim.name])


@dataclass(frozen=True)
class Scenario:
    """`inject` returns when the fault is complete; `survives`: the victim owns again in the end.

    `prepare` brings about the state before the fault.
    """

    inject: Callable[[Lab, Node], Injected]
    survives: bool = False
    prepare: Callable[[Lab, Node], None] = _nothing


SCENARIOS = {
    "power-off": Scenario(_power_off),
    "kill": Scenario(_kill),
    "stop": Scenario(_stop),
    "freeze": Scenario(_freeze, survives=True),
    "rejoin": Scenario(_start, survives=True, prepare=_dead_for_good),
}


@dataclass
class Fault:
    """One fault in the course of being measured: who is hit, since when, what is expected."""

    run: int
    victim: str
    start: float
    hit: list[str]
    before: dict[str, str | None]
    expected: dict[str, str]
    newcomers: dict[str, str]
    injected: Injected = Injected()


def _prepare(lab: Lab, name: str, run: int, victim: str) -> Fault:
    """Brings the cluster into its state before the fault. Raises NotConvergedError."""
    scenario = SCENARIOS[name]
    whole = oracle.owners(lab.ips, lab.names)
    without = oracle.owners(lab.ips, [node for node in lab.names if node != victim])
    hit = [ip for ip in lab.ips if whole[ip] == victim]
    scenario.prepare(lab, lab.nodes[victim])
    lab.warm(hit)
    now = time.monotonic()
    lab.mark(now - 1)
    heard = lab.heard(now - 1, now)
    return Fault(
        run=run,
        victim=victim,
        start=now,
        hit=hit,
        before={ip: lab.wire_owner(heard[ip]) for ip in lab.ips},
        expected=whole if scenario.survives else without,
        newcomers=whole if scenario.prepare is not _nothing else without,
    )


def _moves(lab: Lab, heard: dict[str, Any], before: str | None) -> int:
    """Changes of the answering MAC, the one from before the fault included."""
    first = lab.macs.get(heard["macs"][0]) if heard["macs"] else before
    return int(heard["moves"]) + (first != before)


def _measure(lab: Lab, fault: Fault, bystanders: Bystanders) -> tuple[list[Row], Bystanders]:
    """Closes the window and reads the instruments."""
    end = time.monotonic()
    lab.pass_time(end + STRAGGLERS)
    heard = lab.heard(fault.start, end)
    probed = lab.prober.ask("window", start=fault.start, end=end)
    frames = lab.capture.ask("since", start=fault.start)
    last = lab.heard(end - 0.5, end)
    client = lab.client_owners()
    rows: list[Row] = []
    for ip in lab.ips:
        wire, probe = heard[ip], probed["ips"][ip]
        moves = _moves(lab, wire, fault.before[ip])
        if ip not in fault.hit:
            bystanders = bystanders.plus(probe["lost"], moves, wire["silent_ms"], wire["late"])
            continue
        newcomer = frames[ip].get(lab.topology.nodes[fault.newcomers[ip]].mac)
        rows.append(
            Row(
                run=fault.run,
                victim=fault.victim,
                ip=ip,
                sent=probe["sent"],
                lost=probe["lost"],
                outage_ms=round(probe["outage_ms"], 1),
                takeover_ms=round(newcomer["first_ms"], 1) if newcomer else None,
                silent_ms=round(wire["silent_ms"], 1),
                dual_answer_ms=round(wire["dual_answer_ms"], 1),
                owner_before=fault.before[ip],
                owner_after=lab.wire_owner(last[ip]),
                moves=moves,
                expected=fault.expected[ip],
                client_after=client[ip],
                prober_gap_ms=round(probed["prober_gap_ms"], 1),
                exit_ms=fault.injected.exit_ms,
                exit_code=fault.injected.exit_code,
            )
        )
    return rows, bystanders


@dataclass
class Result:
    """What a whole scenario brought."""

    rows: list[Row]
    bystanders: Bystanders
    failures: list[str]

    @property
    def ok(self) -> bool:
        """Passed: something was measured, and nothing of it fails."""
        return bool(self.rows) and not self.failures


def run_once(
    lab: Lab,
    name: str,
    run: int,
    victim: str,
    bystanders: Bystanders,
    struck: Callable[[Fault], Any] = lambda _fault: None,
) -> tuple[list[Row], Bystanders]:
    """One fault on a healthy cluster. `struck` is told just before it. Raises NotConvergedError."""
    fault = _prepare(lab, name, run, victim)
    struck(fault)
    fault.start = time.monotonic()
    fault.injected = SCENARIOS[name].inject(lab, lab.nodes[victim])
    # What settled during the fault must still stand a while after it.
    lab.pass_time(time.monotonic() + STEADY)
    lab.wait_until(lambda: lab.settled(fault.expected), SETTLE_WITHIN)
    return _measure(lab, fault, bystanders)


def run(lab: Lab, name: str, runs: int, random: Random) -> Result:
    """Starts the cluster, strikes `runs` times with repairs in between, and stops it all."""
    result = Result([], Bystanders(), [])
    owning = sorted(set(oracle.owners(lab.ips, lab.names).values()))
    try:
        lab.start()
        for number in range(1, runs + 1):
            if number > 1:
                lab.repair()
                lab.converge()
            rows, result.bystanders = run_once(
                lab, name, number, random.choice(owning), result.bystanders
            )
            result.rows += rows
    except NotConvergedError as error:
        result.failures.append(str(error))
    try:
        lab.stop()
    except LabError as error:
        result.failures.append(str(error))
    for row in result.rows:
        result.failures += verdict.judge(row, verdict.LIMITS[name])
    result.failures += verdict.judge_bystanders(result.bystanders)
    return result
