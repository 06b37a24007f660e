"""Faults that outlast what gossip remembers, and that heal while the instruments still look on."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from netnslab.course.scenario_table import TABLE
from netnslab.course.strike import Injected, Scenario, Strike
from netnslab.machines import rules
from netnslab.machines.laboratory import Lab
from netnslab.machines.node import LabNode
from netnslab.results import oracle

# What a return or a heal may bring about is looked at for so long, and then the end awaited.
AFTERWARDS = 5.0
# The heir is stopped when it has had the IPs for a few seconds.
BETWEEN = 6.0
EXITS_WITHIN = 5.0
# Long runs ask less often, or the questions would be what the machine is busy with.
RATE = 200

Inject = Callable[[Lab, Strike], Injected]


def healing(apply: Callable[[Lab, Strike], None]) -> Inject:
    """A fault that is there for so many seconds and then gone, in one moment."""

    def inject(lab: Lab, strike: Strike) -> Injected:
        apply(lab, strike)
        lab.pass_time(time.monotonic() + strike.duration)
        healed = time.monotonic()
        lab.topology.heal()
        return Injected(healed=healed)

    return inject


def _dropping(script: Callable[[list[LabNode]], str]) -> Inject:
    """Frames that the switch loses, by the victims' ports."""
    return healing(lambda lab, strike: lab.topology.drop(script(strike.victims)))


def _filtering(script: str, *, everywhere: bool) -> Inject:
    """A firewall rule, on all nodes or on the victims alone."""

    def apply(lab: Lab, strike: Strike) -> None:
        nodes = lab.nodes.values() if everywhere else strike.victims
        lab.topology.filter([node.host for node in nodes], script)

    return healing(apply)


def _take_out(lab: Lab, strike: Strike) -> None:
    lab.topology.take_out([victim.host for victim in strike.victims])


def part(islands: int, lab: Lab, strike: Strike) -> None:
    """The victims go, evenly, to so many islands; client and second host stay with the rest."""
    hosts = [victim.host for victim in strike.victims]
    lab.topology.part([hosts[number::islands] for number in range(islands)])


def kill_speaker(lab: Lab, strike: Strike) -> Injected:
    """The speaker is away for so long and then starts anew; its machine never fails."""
    (victim,) = strike.victims
    victim.kill()
    lab.pass_time(time.monotonic() + strike.duration)
    victim.start()
    lab.wait_until(victim.ready, EXITS_WITHIN)
    return Injected()


def _stop_the_heir(lab: Lab, strike: Strike) -> Injected:
    """One speaker dies, and later the one that took its IPs over is stopped in a planned way."""
    first, heir = strike.victims
    first.kill()
    lab.pass_time(time.monotonic() + BETWEEN)
    heir.signal(signal.SIGTERM)
    heir.wait(EXITS_WITHIN)
    code = heir.exit_code()
    heir.kill()
    lab.pass_time(time.monotonic() + strike.duration)
    return Injected(exit_code=code)


def _heir(lab: Lab, first: str) -> list[str]:
    """Who takes over what the first victim owns, or the first of it."""
    owned = next(ip for ip, owner in oracle.owners(lab.ips, lab.names).items() if owner == first)
    return [oracle.owner(owned, [name for name in lab.names if name != first])]


def returns(inject: Inject, **rest: Any) -> Scenario:
    """One node is struck, and owns again in the end."""
    return replace(Scenario(inject, survives=True, watch=AFTERWARDS, rate=RATE), **rest)


def nothing_moves(inject: Inject, **rest: Any) -> Scenario:
    """Every IP is looked at, and none of them needs to move."""
    return returns(inject, calm=True, everyone=True, **rest)


def _parts(name: str) -> Scenario:
    """All groups of the table but the first, with which the clients are, go to islands."""
    inject = healing(partial(part, len(TABLE[name].groups) - 1))
    return returns(inject, everyone=True)


_SILENT = returns(healing(_take_out))
_NO_REQUESTS = _filtering(rules.no_echo_requests(), everywhere=True)
_NO_REPLIES = _filtering(rules.no_echo_replies(), everywhere=False)
# A host's usual limit is 10. Each is asked 30 times a second.
_FEW_REQUESTS = _filtering(
    rules.few_echo_requests(round(TABLE["echo-limited"].amount)), everywhere=True
)

STAGED = {
    "gossip-cut-120": nothing_moves(_dropping(lambda _victims: rules.no_gossip())),
    "kill-120": returns(kill_speaker),
    "heir-stopped": Scenario(_stop_the_heir, besides=_heir, rate=RATE),
    "deaf": returns(_dropping(lambda victims: rules.deaf_port(victims[0].host.port))),
    "mute": returns(_dropping(lambda victims: rules.mute_port(victims[0].host.port))),
    "one-way": nothing_moves(
        _dropping(lambda victims: rules.one_way(victims[0].host.port, victims[1].host.port))
    ),
    "echo-filtered": nothing_moves(_NO_REQUESTS),
    "echo-filtered-one": nothing_moves(_NO_REPLIES),
    "echo-limited": nothing_moves(_FEW_REQUESTS),
    "silent-8": _SILENT,
    "silent-60": _SILENT,
    "switch-pause-60": returns(_dropping(lambda _victims: rules.pause()), everyone=True),
    "partition-2-2": _parts("partition-2-2"),
    "partition-2-3": _parts("partition-2-3"),
    "partition-2-2-2": _parts("partition-2-2-2"),
}
