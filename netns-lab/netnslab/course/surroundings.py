"""Faults of what surrounds a speaker: addresses, names, clocks, other kernels, plans, policies."""

import signal
import time

from netnslab.course.lasting import AFTERWARDS, healing, nothing_moves, part, returns
from netnslab.course.scenario_table import TABLE
from netnslab.course.strike import Injected, Scenario, Strike
from netnslab.machines import rules
from netnslab.machines.addresses import moved_ip
from netnslab.machines.laboratory import Lab
from netnslab.machines.node import LabNode
from netnslab.results import oracle

READY_WITHIN = 5.0
# From one cut of the cable to the next; half of the time it is in.
PERIOD = TABLE["flap"].amount
# As fast as VRRP with short intervals; the fast verdict takes longer.
FLOATS_AFTER = TABLE["floating-address"].amount
# So much later than the first watch of an API server the last one tells of a change.
LAG = TABLE["plan-edit"].amount
# So long before the heal the minority must have been silent.
LAST = 2.0
SERVICE_UNAVAILABLE = 503


def _new_address(lab: Lab, strike: Strike) -> Injected:
    """A machine loses its power and boots with another address: DHCP, a renumbered network."""
    (victim,) = strike.victims
    lab.topology.unplug([victim.host])
    victim.kill()
    lab.pass_time(time.monotonic() + strike.duration)
    number = lab.names.index(victim.name) + 1
    victim.host = lab.topology.readdress(victim.host, moved_ip(number, strike.number))
    healed = time.monotonic()
    lab.topology.plug([victim.host])
    victim.start()
    lab.wait_until(victim.ready, READY_WITHIN)
    return Injected(healed=healed)


def _same_name(lab: Lab, strike: Strike) -> Injected:
    """A further machine whose speaker believes to be the victim: a clone, a wrong variable."""
    (victim,) = strike.victims
    double = lab.double(victim)
    lab.pass_time(time.monotonic() + strike.duration)
    (status, reason), (first, _) = double.readyz(), victim.readyz()
    lab.part_with_doubles()
    failures = []
    if status != SERVICE_UNAVAILABLE or victim.name not in reason:
        failures.append(f"/readyz of the second {victim.name} says {status}: {reason}")
    if first >= SERVICE_UNAVAILABLE:
        failures.append(f"/readyz of the first {victim.name} says {first}")
    return Injected(notes=[f"/readyz of the second: {status} {reason}"], failures=failures)


def _pause(lab: Lab, strike: Strike) -> Injected:
    """A virtual machine stands still, with its clocks, and goes on: a snapshot, a migration."""
    (victim,) = strike.victims
    paused = time.monotonic()
    lab.topology.take_out([victim.host])
    victim.signal(signal.SIGSTOP)
    lab.pass_time(paused + strike.duration)
    healed = time.monotonic()
    victim.hold_back(healed - paused)
    lab.topology.heal()
    victim.signal(signal.SIGCONT)
    return Injected(healed=healed)


def _flapping(lab: Lab, strike: Strike) -> Injected:
    """Again and again the port leaves its bridge, and comes back."""
    (victim,) = strike.victims
    end = time.monotonic() + strike.duration
    while time.monotonic() < end:
        lab.topology.take_out([victim.host])
        lab.pass_time(time.monotonic() + PERIOD / 2)
        lab.topology.heal()
        lab.pass_time(time.monotonic() + PERIOD / 2)
    return Injected()


def _give_floating(lab: Lab, strike: Strike) -> None:
    """An address besides its own, lower than all, on the victim's link; all nodes learn of it."""
    lab.topology.float_to(strike.victims[0].host)
    lab.pass_time(time.monotonic() + AFTERWARDS)


def _floats_on(lab: Lab, strike: Strike) -> Injected:
    """The power is cut, and another node has the floating address before anybody is missed."""
    (victim,) = strike.victims
    lab.topology.unplug([victim.host])
    victim.kill()
    time.sleep(FLOATS_AFTER)
    other = next(node for node in lab.nodes.values() if node is not victim)
    lab.topology.float_to(other.host)
    return Injected()


def _ip_and_bystander(lab: Lab, victim: LabNode) -> tuple[str, LabNode]:
    """An IP of the victim's, and a node that is neither its owner nor its heir."""
    owners = oracle.owners(lab.ips, lab.names)
    ip = next(ip for ip in lab.ips if owners[ip] == victim.name)
    others = [name for name in lab.names if name != victim.name]
    return ip, next(lab.nodes[name] for name in others if name != oracle.owner(ip, others))


def _foreign_kernel(lab: Lab, strike: Strike) -> Injected:
    """The power is cut, and for an IP of the victim's a kernel answers whose speaker does not."""
    (victim,) = strike.victims
    ip, other = _ip_and_bystander(lab, victim)
    lab.topology.answer(other.host, ip, lab.ips)
    lab.topology.unplug([victim.host])
    victim.kill()
    lab.pass_time(time.monotonic() + strike.duration)
    healed = time.monotonic()
    lab.topology.unanswer()
    return Injected(healed=healed, notes=[f"the kernel of {other.name} answered for {ip}"])


def _plan_edit(lab: Lab, strike: Strike) -> Injected:
    """The advertisement selects the victim no more; it knows so last and first, in turn."""
    losers = [victim.name for victim in strike.victims]
    others = [name for name in lab.names if name not in losers]
    first, last = (others, losers) if strike.number % 2 else (losers, others)
    lab.advertise(losers, first)
    lab.pass_time(time.monotonic() + LAG)
    lab.advertise(losers, last)
    lab.pass_time(time.monotonic() + strike.duration)
    return Injected(notes=[f"{', '.join(last)} read it {LAG:g} s after {', '.join(first)}"])


def _minority(lab: Lab, strike: Strike) -> Injected:
    """Most nodes are parted from the client, and who is left to it must fall silent."""
    cut = time.monotonic()
    part(1, lab, strike)
    lab.pass_time(cut + strike.duration)
    healed = time.monotonic()
    heard = lab.observations(healed - LAST, healed)
    failures = [f"the minority answers for {ip}" for ip, row in heard.items() if row["macs"]]
    spoke = (
        seen for macs in lab.capture.ask("since", start=cut).values() for seen in macs.values()
    )
    last = max((seen["last_ms"] for seen in spoke), default=0.0)
    lab.topology.heal()
    notes = [f"the minority spoke last {last:.0f} ms after the cut"]
    return Injected(healed=healed, notes=notes, failures=failures)


def _policy(lab: Lab, _strike: Strike) -> None:
    lab.topology.filter([node.host for node in lab.nodes.values()], rules.network_policy())


STAGED = {
    "new-address": returns(_new_address, settle=90.0),
    "same-name": nothing_moves(_same_name, spares=1),
    "paused-vm": returns(_pause, held=True),
    # Who has barred itself comes back when that is over.
    "flap": returns(_flapping, settle=90.0),
    "floating-address": Scenario(_floats_on, prepare=_give_floating),
    "foreign-kernel": Scenario(_foreign_kernel, watch=2.0),
    "plan-edit": Scenario(_plan_edit, objects=True),
    "partition-quorum": returns(_minority, everyone=True, objects=True),
    "guide-scenario-3": nothing_moves(healing(_policy)),
}
