"""The scenarios: what scenarios.toml says of each, and how the lab does it to a cluster.

Those that heal while the instruments look on are in `lasting`, those of the speakers' surroundings
in `surroundings`, and the siege in `attacked`.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import replace

from netnslab.course import attacked, lasting, surroundings
from netnslab.course.scenario_table import FILE, TABLE, Entry, LabTableError
from netnslab.course.strike import Injected, Scenario, Strike
from netnslab.errors import LabError
from netnslab.instruments.instrument import Instrument
from netnslab.machines import rules
from netnslab.machines.laboratory import Lab
from netnslab.machines.node import LabNode

# How long a machine that reboots still forwards after its speaker has exited.
FORWARDS_ON = 0.5
EXITS_WITHIN = 5.0
# Between the two signals of an impatient person.
IMPATIENCE = 0.05
# Losing 5 % of the frames into and again out of every port costs 18.5 % of the questions.
PLAUSIBLE = (9.0, 28.0)
STORM_RATE = 20_000


def _power_off(lab: Lab, strike: Strike) -> Injected:
    """All cables in one go, then the processes: nothing of them gets out after the first."""
    lab.topology.unplug([victim.host for victim in strike.victims])
    for victim in strike.victims:
        victim.signal(signal.SIGKILL)
    for victim in strike.victims:
        victim.kill()
    return Injected()


def _cable_node(lab: Lab, strike: Strike) -> Injected:
    lab.topology.unplug([victim.host for victim in strike.victims])
    return Injected()


def _cable_switch(lab: Lab, strike: Strike) -> Injected:
    lab.topology.take_out([victim.host for victim in strike.victims])
    return Injected()


def _uplink(lab: Lab, strike: Strike) -> Injected:
    """Cut the announcing link either way, in turn; gossip has its own and goes on."""
    cut = _cable_node if strike.number % 2 else _cable_switch
    return cut(lab, strike)


def _kill(_lab: Lab, strike: Strike) -> Injected:
    strike.victims[0].kill()
    return Injected()


def _terminate(victim: LabNode, signals: int = 1) -> Injected:
    """Send SIGTERM, perhaps twice, and time the exit from the last."""
    victim.signal(signal.SIGTERM)
    for _ in range(signals - 1):
        time.sleep(IMPATIENCE)
        victim.signal(signal.SIGTERM)
    start = time.monotonic()
    at = victim.wait(EXITS_WITHIN)
    code = victim.exit_code()
    victim.kill()
    return Injected(None if at is None else round((at - start) * 1000, 1), code)


def _stop(lab: Lab, strike: Strike) -> Injected:
    """As a reboot does: SIGTERM, and soon after the exit the machine forwards no more."""
    (victim,) = strike.victims
    injected = _terminate(victim)
    lab.pass_time(time.monotonic() + FORWARDS_ON)
    lab.topology.unplug([victim.host])
    return injected


def _stop_twice(_lab: Lab, strike: Strike) -> Injected:
    # Whoever is told twice need not call it a success.
    return replace(_terminate(strike.victims[0], signals=2), exit_code=None)


def _rolling(lab: Lab, strike: Strike) -> Injected:
    """Every node in turn is stopped as by a reboot and comes back before the next."""
    steps: list[Injected] = []
    for node in lab.nodes.values():
        began = time.monotonic()
        steps.append(_stop(lab, Strike([node], strike.number, 0.0)))
        lab.pass_time(began + strike.duration)
        lab.topology.plug([node.host])
        node.start()
        lab.converge()
    exits = [step.exit_ms for step in steps if step.exit_ms is not None]
    return Injected(
        max(exits) if len(exits) == len(steps) else None,
        next((step.exit_code for step in steps if step.exit_code), 0),
    )


def _freeze(lab: Lab, strike: Strike) -> Injected:
    (victim,) = strike.victims
    victim.signal(signal.SIGSTOP)
    lab.pass_time(time.monotonic() + strike.duration)
    # Before the signal, or what the speaker does at once would count as done while it was frozen.
    thawed = time.monotonic()
    victim.signal(signal.SIGCONT)
    return Injected(thawed=thawed)


def _start(_lab: Lab, strike: Strike) -> Injected:
    strike.victims[0].start()
    return Injected()


def _dropping(script: Callable[[Strike], str]) -> Callable[[Lab, Strike], Injected]:
    """A fault of the switch that passes: these rules for so many seconds."""

    def inject(lab: Lab, strike: Strike) -> Injected:
        rules_now = script(strike)
        start = time.monotonic()
        lab.topology.drop(rules_now)
        midway = time.monotonic()
        # What loading took counts as half in force already, and so does what clearing will take.
        rest = strike.duration - (midway - start)
        lab.pass_time(midway + rest - 0.1)
        time.sleep(max(0.0, midway + rest - time.monotonic()))
        lab.topology.undrop()
        return Injected(notes=[f"frames dropped for {(time.monotonic() - midway) * 1000:.0f} ms"])

    return inject


def _loss(lab: Lab, strike: Strike) -> Injected:
    """First shows that frames are lost, and how many."""
    start = time.monotonic()
    lab.topology.drop(rules.lossy(100 * TABLE["loss"].amount))
    lab.pass_time(start + strike.duration)
    heard = lab.observations(start, time.monotonic())
    lab.topology.undrop()
    asked = sum(row["asked"] for row in heard.values())
    answered = sum(row["answered"] for row in heard.values())
    protocol = "NDP" if lab.options.family == 6 else "ARP"
    share = 100 * (1 - answered / max(1, asked))
    if not PLAUSIBLE[0] < share < PLAUSIBLE[1]:
        raise LabError(f"{share:.1f} % of the round trips failed: that is not the loss asked for")
    return Injected(notes=[f"{share:.1f} % of {asked} round trips of {protocol} failed"])


def _quota(lab: Lab, strike: Strike) -> Injected:
    """A storm of broadcasts upon speakers that are short of CPU."""
    host = lab.topology.observer
    given = {"mac": host.mac, "rate": STORM_RATE, "family": lab.options.family}
    storm = Instrument("storm", host, given)
    try:
        lab.pass_time(time.monotonic() + strike.duration)
        notes = [f"storm of {storm.ask('rate'):.0f} questions/s"]
    finally:
        storm.close()
    for name, node in lab.nodes.items():
        if node.group is not None:
            cut, periods = node.group.throttled_periods()
            notes.append(f"{name}: {cut} of {periods} periods throttled")
    return Injected(notes=notes)


def _kill_for_good(lab: Lab, strike: Strike) -> None:
    """Kill the victim's speaker and wait until its heirs have all it owned."""
    (victim,) = strike.victims
    victim.kill()
    lab.topology.unplug([victim.host])
    lab.converge([name for name in lab.names if name != victim.name])
    lab.topology.plug([victim.host])


def _calm(inject: Callable[[Lab, Strike], Injected]) -> Scenario:
    return Scenario(inject, survives=True, calm=True, watch=3.0)


def _everyone(scenario: Scenario) -> Scenario:
    return replace(scenario, everyone=True)


_POWER_OFF = Scenario(_power_off)
_BLINK = _calm(_dropping(lambda strike: rules.silent_port(strike.victims[0].host.port)))
_PAUSE = _everyone(_calm(_dropping(lambda _strike: rules.pause())))
_FREEZE = Scenario(_freeze, survives=True)

STAGED = {
    "power-off": _POWER_OFF,
    "cable-node": Scenario(_cable_node),
    "cable-switch": Scenario(_cable_switch),
    "uplink": Scenario(_uplink),
    "half": _POWER_OFF,
    "all-but-one": _POWER_OFF,
    "kill": Scenario(_kill, watch=5.0),
    "freeze": _FREEZE,
    "restart": Scenario(lasting.kill_speaker, survives=True),
    "thaw": _FREEZE,
    "stop": Scenario(_stop),
    "stop-twice": Scenario(_stop_twice),
    "rejoin": Scenario(_start, survives=True, prepare=_kill_for_good),
    "rolling": _everyone(Scenario(_rolling, survives=True)),
    "blink-100": _BLINK,
    "blink-250": _BLINK,
    "blink-500": _BLINK,
    "blink-1000": _BLINK,
    "switch-pause-500": _PAUSE,
    "switch-pause-2000": _PAUSE,
    "gossip-cut": _everyone(_calm(_dropping(lambda _strike: rules.no_gossip()))),
    "freeze-1s": _calm(_freeze),
    # Long runs ask less often, or their record would not fit into memory.
    "loss": replace(_everyone(_calm(_loss)), rate=100),
    "quota": replace(_everyone(_calm(_quota)), rate=100, cpu=0.2, watch=5.0),
    **lasting.STAGED,
    **surroundings.STAGED,
    **attacked.STAGED,
}


def _join(staged: Scenario, entry: Entry) -> Scenario:
    """The lab's part of a scenario, and what the table says of it."""
    quorum = () if entry.quorum == "off" else (f"--quorum={entry.quorum}",)
    return replace(
        staged,
        nodes=entry.nodes,
        services=entry.services,
        victims=entry.victims,
        duration=entry.lasts,
        uplink=entry.uplink,
        flags=(*staged.flags, *quorum),
    )


for _name in STAGED.keys() ^ TABLE.keys():
    raise LabTableError(f"{FILE}: {_name}: not in the table and in STAGED alike")
SCENARIOS = {name: _join(STAGED[name], entry) for name, entry in TABLE.items()}
