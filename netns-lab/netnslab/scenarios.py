"""The faults: what is done to a cluster, to whom, and who should own the IPs afterwards."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace

from netnslab import attacked, lasting, rules, surroundings
from netnslab.errors import LabError
from netnslab.instrument import Instrument
from netnslab.laboratory import Lab
from netnslab.node import Node
from netnslab.strike import Injected, Scenario, Strike

# How long a machine that reboots still forwards after its speaker has exited.
FORWARDS_ON = 0.5
EXITS_WITHIN = 5.0
# Between the two signals of an impatient person.
IMPATIENCE = 0.05
# A killed speaker is back within the 10 s that must not cost a connection.
AWAY = 5.0
# Losing this share of the frames into and again out of every port costs 18.5 % of the questions.
LOSS_PERCENT = 5.0
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
    """Cuts the announcing link either way, in turn; gossip has its own and goes on."""
    cut = _cable_node if strike.number % 2 else _cable_switch
    return cut(lab, strike)


def _kill(_lab: Lab, strike: Strike) -> Injected:
    strike.victims[0].kill()
    return Injected()


def _terminate(victim: Node, signals: int = 1) -> Injected:
    """Sends SIGTERM, perhaps twice, and times the exit from the last."""
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
        steps.append(_stop(lab, Strike([node], strike.number, 0.0)))
        lab.pass_time(time.monotonic() + 1.0)
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
    lab.topology.drop(rules.lossy(LOSS_PERCENT))
    lab.pass_time(start + strike.duration)
    heard = lab.heard(start, time.monotonic())
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
            cut, periods = node.group.throttled()
            notes.append(f"{name}: {cut} of {periods} periods throttled")
    return Injected(notes=notes)


def _dead_for_good(lab: Lab, strike: Strike) -> None:
    """Kills the victim's speaker and waits until its heirs have all it owned."""
    (victim,) = strike.victims
    victim.kill()
    lab.topology.unplug([victim.host])
    lab.converge([name for name in lab.names if name != victim.name])
    lab.topology.plug([victim.host])


def _calm(inject: Callable[[Lab, Strike], Injected], duration: float) -> Scenario:
    return Scenario(inject, survives=True, calm=True, duration=duration, watch=3.0)


def _blink(duration: float) -> Scenario:
    return _calm(_dropping(lambda strike: rules.silent_port(strike.victims[0].host.port)), duration)


def _everyone(scenario: Scenario) -> Scenario:
    return replace(scenario, everyone=True)


def _pause(duration: float) -> Scenario:
    return _everyone(_calm(_dropping(lambda _strike: rules.paused()), duration))


_UPLINK = Scenario(_uplink, uplink=True)
_FIVE = Scenario(_power_off, nodes=5, services=5)
# Long runs ask less often, or their record would not fit into memory.
_LOSS = replace(_everyone(_calm(_loss, 600.0)), rate=100)
_QUOTA = replace(
    _everyone(_calm(_quota, 1800.0)), nodes=5, services=5, rate=100, cpu=0.2, watch=5.0
)

SCENARIOS = {
    "power-off": Scenario(_power_off),
    "cable-node": Scenario(_cable_node),
    "cable-switch": Scenario(_cable_switch),
    "uplink": _UPLINK,
    "half": replace(_FIVE, victims=lambda nodes: (nodes + 1) // 2),
    "all-but-one": replace(_FIVE, victims=lambda nodes: nodes - 1),
    "kill": Scenario(_kill, watch=5.0),
    "freeze": Scenario(_freeze, survives=True, duration=10.0),
    "restart": Scenario(lasting.killed, survives=True, duration=AWAY),
    "thaw": Scenario(_freeze, survives=True, duration=15.0),
    "stop": Scenario(_stop),
    "stop-twice": Scenario(_stop_twice),
    "rejoin": Scenario(_start, survives=True, prepare=_dead_for_good),
    "rolling": _everyone(Scenario(_rolling, survives=True)),
    "blink-100": _blink(0.1),
    "blink-250": _blink(0.25),
    "blink-500": _blink(0.5),
    "blink-1000": _blink(1.0),
    "switch-pause-500": _pause(0.5),
    "switch-pause-2000": _pause(2.0),
    "gossip-cut": _everyone(_calm(_dropping(lambda _strike: rules.no_gossip()), 30.0)),
    "freeze-1s": _calm(_freeze, 1.0),
    "loss": _LOSS,
    "quota": _QUOTA,
    **lasting.SCENARIOS,
    **surroundings.SCENARIOS,
    **attacked.SCENARIOS,
}
