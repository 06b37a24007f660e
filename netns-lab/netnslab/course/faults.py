"""The measurement around each fault: the same steps for all of them."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from netnslab.course.limits import Limits
from netnslab.course.scenario_table import how_many
from netnslab.course.scenarios import SCENARIOS
from netnslab.course.strike import Injected, Strike
from netnslab.errors import LabError
from netnslab.instruments import wire
from netnslab.machines.laboratory import STEADY, Lab, NotConvergedError
from netnslab.machines.node import LabNode
from netnslab.results import oracle, verdict
from netnslab.results.verdict import Bystanders, Row

# An answer may still be on its way when the window closes.
STRAGGLERS = 0.3


@dataclass
class MeasuredFault:
    """One fault in the course of being measured: who is hit, since when, what is expected.

    `newcomers` are those who must be heard on the wire; nobody where all is to stay as it is.
    `aside` are IPs that move as planned: neither hit nor bystanders.
    """

    name: str
    strike: Strike
    start: float
    hit: list[str]
    before: dict[str, str | None]
    expected: dict[str, str]
    newcomers: dict[str, str]
    wire_only: bool
    aside: list[str] = field(default_factory=list)
    injected: Injected = field(default_factory=Injected)

    @property
    def victim(self) -> str:
        """Whom it hits, as text."""
        return "+".join(node.name for node in self.strike.victims)


def _newcomers(name: str, whole: dict[str, str], without: dict[str, str]) -> dict[str, str]:
    scenario = SCENARIOS[name]
    if scenario.calm or scenario.everyone:
        return {}
    return whole if name == "rejoin" else without


def _prepare(lab: Lab, name: str, strike: Strike, limits: Limits) -> MeasuredFault:
    """Bring the cluster into its state before the fault. Raises NotConvergedError."""
    scenario = SCENARIOS[name]
    victims = {node.name for node in strike.victims}
    whole = oracle.owners(lab.ips, lab.names)
    without = oracle.owners(lab.ips, [node for node in lab.names if node not in victims])
    besides = scenario.besides(lab, strike.victims[0].name)
    aside = [ip for ip in lab.ips if whole[ip] in besides]
    owned = [ip for ip in lab.ips if scenario.everyone or whole[ip] in victims]
    hit = [ip for ip in owned if ip not in aside]
    scenario.prepare(lab, strike)
    lab.focus(hit)
    lab.warm(hit)
    now = time.monotonic()
    lab.mark(now - 1)
    heard = lab.observations(now - 1, now)
    return MeasuredFault(
        name=name,
        strike=strike,
        start=now,
        hit=hit,
        before={ip: lab.wire_owner(heard[ip]) for ip in lab.ips},
        expected=whole if scenario.survives else without,
        newcomers=_newcomers(name, whole, without),
        wire_only=limits.wire_only,
        aside=aside,
    )


def _moves(lab: Lab, heard: dict[str, Any], before: str | None) -> int:
    """Change of the answering MAC, the one from before the fault included."""
    first = lab.macs.get(heard["macs"][0]) if heard["macs"] else before
    return int(heard["moves"]) + (first != before)


@dataclass
class Readings:
    """What all instruments say about one fault's window, by IP."""

    heard: dict[str, Any]
    probed: dict[str, Any]
    tcp: dict[str, Any]
    frames: dict[str, Any]
    last: dict[str, Any]
    client: dict[str, str | None]
    second: dict[str, str | None]
    healed: dict[str, Any] | None = None
    contact: float | None = None


def _read(lab: Lab, fault: MeasuredFault) -> Readings:
    """Close the window and read the instruments."""
    start, end = fault.start, time.monotonic()
    lab.pass_time(end + STRAGGLERS)
    readings = Readings(
        heard=lab.observations(start, end),
        probed=lab.prober.ask("window", start=start, end=end),
        tcp=lab.tcp.ask("window", start=start, end=end),
        frames=lab.capture.ask("since", start=start),
        last=lab.observations(end - 0.5, end),
        client=lab.client_owners(),
        second=lab.client_owners(lab.topology.observer),
    )
    if fault.injected.healed is not None:
        readings.healed = lab.observations(fault.injected.healed, end)
    if fault.injected.thawed is not None:
        mac = fault.strike.victims[0].host.mac
        readings.contact = lab.capture.ask("contact", mac=mac, start=fault.injected.thawed)
    return readings


def _noise(lab: Lab, frames: dict[str, Any], before: str | None) -> int:
    """Frames that were no plain answers to a question, of all who had not owned the IP."""
    heirs = (seen["kinds"] for mac, seen in frames.items() if lab.macs.get(mac) != before)
    return sum(n for kinds in heirs for kind, n in kinds.items() if kind not in wire.PLAIN)


def _noise_ms(begun: dict[str, int]) -> dict[str, int]:
    """When each kind of such frames began."""
    return {kind: after for kind, after in begun.items() if kind not in wire.PLAIN}


def _early(lab: Lab, fault: MeasuredFault, ip: str, readings: Readings) -> bool:
    """Whether a thawed owner spoke for the IP before anybody's gossip had reached it."""
    thawed = fault.injected.thawed
    if thawed is None or SCENARIOS[fault.name].calm:
        return False
    mac = fault.strike.victims[0].host.mac
    spoke = lab.capture.ask("since", start=thawed)[ip].get(mac)
    if spoke is None:
        return False
    return readings.contact is None or thawed + spoke["first_ms"] / 1000 < readings.contact


def _handover(lab: Lab, fault: MeasuredFault, ip: str, frames: dict[str, Any]) -> float | None:
    """Until the new owner had spoken and the old one had spoken for the last time, in ms."""
    new = frames.get(lab.topology.nodes[fault.expected[ip]].mac)
    old = lab.topology.nodes.get(fault.before[ip] or "")
    if new is None or old is None:
        return None
    return float(max(new["first_ms"], frames.get(old.mac, {}).get("last_ms", 0.0)))


def _round(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)


def _row(lab: Lab, fault: MeasuredFault, ip: str, readings: Readings) -> Row:
    heard, probe, frames = readings.heard[ip], readings.probed["ips"][ip], readings.frames[ip]
    newcomer = fault.newcomers.get(ip)
    seen = frames.get(lab.topology.nodes[newcomer].mac) if newcomer else None
    handover = _handover(lab, fault, ip, frames)
    before = fault.before[ip]
    healed = readings.healed[ip] if readings.healed is not None else {}
    return Row(
        run=fault.strike.number,
        victim=fault.victim,
        ip=ip,
        sent=probe["sent"],
        lost=probe["lost"],
        outage_ms=round(probe["outage_ms"], 1),
        takeover_ms=round(seen["first_ms"], 1) if seen else None,
        silent_ms=round(heard["silent_ms"], 1),
        dual_answer_ms=round(heard["dual_answer_ms"], 1),
        owner_before=before,
        owner_after=lab.wire_owner(readings.last[ip]),
        moves=_moves(lab, heard, before),
        expected=fault.expected[ip],
        client_after=readings.client[ip],
        second_after=readings.second[ip],
        prober_gap_ms=round(readings.probed["prober_gap_ms"], 1),
        newcomer=newcomer,
        claimants=sum(lab.macs.get(mac) != before for mac in frames),
        noise=_noise(lab, frames, before),
        noise_ms=_noise_ms(seen["begin_ms"]) if seen else {},
        asked=heard["asked"],
        late=heard["late"],
        answer_ms=round(heard["answer_ms"], 2),
        answer_p99_ms=round(heard["answer_p99_ms"], 2),
        busiest=max((by_mac["busiest"] for by_mac in frames.values()), default=0),
        early=_early(lab, fault, ip, readings),
        handover_ms=_round(handover),
        exit_ms=fault.injected.exit_ms,
        exit_code=fault.injected.exit_code,
        heal_dual_ms=_round(healed.get("dual_answer_ms")),
        heal_silent_ms=_round(healed.get("silent_ms")),
        **readings.tcp[ip],
    )


def _measure(
    lab: Lab, fault: MeasuredFault, bystanders: Bystanders
) -> tuple[list[Row], Bystanders]:
    readings = _read(lab, fault)
    rows: list[Row] = []
    for ip in lab.ips:
        row = _row(lab, fault, ip, readings)
        if ip in fault.hit:
            rows.append(row)
        elif ip not in fault.aside:
            bystanders = bystanders.plus(row)
    return rows, bystanders


@dataclass
class CourseResult:
    """What a whole scenario brought; `notes` are what the faults measured themselves."""

    rows: list[Row]
    bystanders: Bystanders
    failures: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Passed: something was measured, and nothing of it fails."""
        return bool(self.rows) and not self.failures


def run_once(
    lab: Lab,
    name: str,
    strike: Strike,
    result: CourseResult,
    limits: Limits,
    on_strike: Callable[[MeasuredFault], Any] = lambda _fault: None,
) -> None:
    """One fault on a healthy cluster, added to `result`. Raises NotConvergedError.

    `on_strike` is told just before it.
    """
    scenario = SCENARIOS[name]
    fault = _prepare(lab, name, strike, limits)
    on_strike(fault)
    fault.start = time.monotonic()
    fault.injected = scenario.inject(lab, strike)
    # What settled during the fault must still stand a while after it.
    lab.pass_time(time.monotonic() + STEADY + min(scenario.watch, lab.options.watch_at_most))
    lab.wait_until(
        lambda: lab.settled(fault.expected, wire_only=fault.wire_only),
        max(lab.options.settle_within, scenario.settle),
    )
    rows, result.bystanders = _measure(lab, fault, result.bystanders)
    result.rows += rows
    result.notes += [f"run {strike.number}: {note}" for note in fault.injected.notes]
    result.failures += [f"run {strike.number}: {one}" for one in fault.injected.failures]


def _strikes(lab: Lab, name: str, runs: int, random: Random, duration: float) -> Iterable[Strike]:
    """Whom each of the faults hits: of those who own something."""
    owning = sorted(set(oracle.owners(lab.ips, lab.names).values()))
    scenario = SCENARIOS[name]
    many = how_many(scenario.victims, len(lab.names))
    for number in range(1, runs + 1):
        victims = random.sample(owning, min(many, len(owning)))
        victims += scenario.besides(lab, victims[0])
        yield Strike([lab.nodes[victim] for victim in victims], number, duration)


def _suspects(lab: Lab, name: str, last: Strike) -> list[LabNode]:
    """Whom others may have held dead: of groups that were parted all, each by the others.

    A speaker that did not live to the end of the fault begins anew by itself.
    """
    scenario = SCENARIOS[name]
    if scenario.survives and scenario.everyone:
        return list(lab.nodes.values())
    return [node for node in last.victims if scenario.survives or node.running]


@dataclass(frozen=True)
class Course:
    """What a person chose about a whole scenario."""

    name: str
    runs: int
    limits: Limits
    duration: float
    on_strike: Callable[[int], Any] = lambda _number: None


def run(lab: Lab, course: Course, random: Random) -> CourseResult:
    """Start the cluster, strike with repairs in between, and stop it all."""
    result = CourseResult([], Bystanders(), [])
    try:
        lab.start()
        last: Strike | None = None
        for strike in _strikes(lab, course.name, course.runs, random, course.duration):
            if last is not None:
                suspects = _suspects(lab, course.name, last)
                lab.repair()
                lab.renew(suspects)
                lab.converge()
            run_once(lab, course.name, strike, result, course.limits)
            course.on_strike(strike.number)
            last = strike
    except NotConvergedError as error:
        result.failures.append(str(error))
    try:
        lab.stop()
    except LabError as error:
        result.failures.append(str(error))
    result.failures += judge(result, course.limits)
    return result


def judge(result: CourseResult, limits: Limits) -> list[str]:
    """Every way in which rows, faults and bystanders fail."""
    failures = [line for row in result.rows for line in verdict.judge(row, limits)]
    failures += verdict.judge_faults(result.rows, limits)
    return failures + verdict.judge_bystanders(result.bystanders, limits)
