"""How the lab does each scenario of bgp.toml."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from netnslab.course.scenario_table import LabTableError
from netnslab.routed import plan
from netnslab.routed.laboratory import RoutedLab
from netnslab.routed.nodes import ENGINE, SPEAKER, BGPNode
from netnslab.routed.table import FILE, ROUTED, RoutedEntry

CHANGES = 100
# So many changes long a prefix of a node stays as it is, or two changes might be one at the router.
RESTS = 10
RETURNS_WITHIN = 30.0
# As long as it takes a router to send on to a neighbour that it had forgotten.
PAUSE = 0.5


@dataclass(frozen=True)
class RoutedStrike:
    """One fault about to happen: to whom, as the table says, in an order that chance draws."""

    victim: BGPNode
    entry: RoutedEntry
    random: Random


@dataclass(frozen=True)
class Change:
    """One change of the configuration: when it was asked for, and what a router is to show."""

    at: float
    node: str
    prefix: str
    announced: bool


@dataclass(frozen=True)
class Struck:
    """What a fault did. Moments are CLOCK_MONOTONIC.

    `gone`: the nodes that the routers are to withdraw; `stays`: they are not there in the end;
    `back_from`: from when on the return is timed; `ended`: when each node's planned stop ended;
    `restarted`: routers that were struck themselves; `reset`: nodes whose sessions end, though no
    route of theirs may leave.
    """

    at: float
    gone: tuple[str, ...] = ()
    stays: bool = False
    back_from: float | None = None
    ended: dict[str, float] = field(default_factory=dict)
    restarted: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()
    changes: list[Change] = field(default_factory=list)


Inject = Callable[[RoutedLab, RoutedStrike], Struck]


def _power_off(lab: RoutedLab, strike: RoutedStrike) -> Struck:
    """The cable first, then the processes: nothing of them gets out."""
    at = lab.fabric.unplug([strike.victim.around.host])
    strike.victim.kill()
    return Struck(at, (strike.victim.name,), stays=True)


def _silence(lab: RoutedLab, strike: RoutedStrike) -> Struck:
    at = lab.fabric.take_out([strike.victim.around.host])
    return Struck(at, (strike.victim.name,), stays=True)


def _peer_failure(lab: RoutedLab, strike: RoutedStrike) -> Struck:
    """Its client has it back only once it has routes: a router without any is no way."""
    name = next(iter(lab.routers))
    router = lab.routers[name]
    at = lab.fabric.cut_uplink(router.host)
    lab.fabric.unplug([router.host])
    router.kill()
    lab.pass_time(strike.entry.lasts)
    back = lab.fabric.plug([router.host])
    router.start()
    lab.wait_until(lambda: lab.everywhere(lab.nodes, [name]), RETURNS_WITHIN)
    lab.fabric.mend_uplink(router.host)
    return Struck(at, back_from=back, restarted=(name,))


def _router_restart(lab: RoutedLab, strike: RoutedStrike) -> Struck:
    (name, router), *_ = lab.routers.items()
    at = time.monotonic()
    router.kill()
    lab.pass_time(strike.entry.lasts)
    back = time.monotonic()
    router.start()
    lab.wait_until(lambda: lab.everywhere(lab.nodes), RETURNS_WITHIN)
    return Struck(at, back_from=back, restarted=(name,))


def _kill(part: str) -> Inject:
    def inject(lab: RoutedLab, strike: RoutedStrike) -> Struck:
        at = time.monotonic()
        strike.victim.kill(part)
        lab.pass_time(strike.entry.lasts)
        strike.victim.start()
        gone = () if part == SPEAKER else (strike.victim.name,)
        return Struck(at, gone, back_from=at if gone else None)

    return inject


def _stop(lab: RoutedLab, strike: RoutedStrike) -> Struck:
    """As a reboot that leaves no time at all."""
    name, at = strike.victim.name, time.monotonic()
    strike.victim.stop()
    ended = lab.fabric.unplug([strike.victim.around.host])
    return Struck(at, (name,), stays=True, ended={name: ended})


def _rolling(lab: RoutedLab, strike: RoutedStrike) -> Struck:
    at, ended = time.monotonic(), {}
    for name, node in lab.nodes.items():
        node.stop()
        ended[name] = lab.fabric.unplug([node.around.host])
        lab.pass_time(strike.entry.lasts)
        lab.fabric.plug([node.around.host])
        node.start()
        lab.converge()
    return Struck(at, tuple(lab.nodes), ended=ended)


def _config_storm(lab: RoutedLab, strike: RoutedStrike) -> Struck:
    """Each change adds a spare prefix to what a node announces, or takes one away."""
    pairs = [(name, ip) for name in lab.nodes for ip in lab.spare]
    recent: deque[tuple[str, str]] = deque(maxlen=RESTS)
    wanted = {name: set(lab.ips) for name in lab.nodes}
    at = time.monotonic()
    changes = []
    for number in range(CHANGES):
        lab.pass_time(at + number * strike.entry.lasts / CHANGES - time.monotonic())
        name, ip = strike.random.choice([pair for pair in pairs if pair not in recent])
        recent.append((name, ip))
        wanted[name] ^= {ip}
        announced = ip in wanted[name]
        changes.append(Change(time.monotonic(), name, plan.prefix(ip), announced))
        lab.nodes[name].announce(wanted[name])
    lab.pass_time(PAUSE)
    return Struck(at, changes=changes)


def _graceful_restart(_lab: RoutedLab, strike: RoutedStrike) -> Struck:
    at = time.monotonic()
    strike.victim.kill(ENGINE)
    strike.victim.start()
    return Struck(at, reset=(strike.victim.name,))


STAGED_ROUTED: dict[str, Inject] = {
    "bgp-power-off": _power_off,
    "bgp-silence": _silence,
    "bgp-peer-failure": _peer_failure,
    "bgp-router-restart": _router_restart,
    "bgp-kill-speaker": _kill(SPEAKER),
    "bgp-kill-engine": _kill(ENGINE),
    "bgp-kill-bgpd": _kill("bgpd"),
    "bgp-kill-bfdd": _kill("bfdd"),
    "bgp-kill-zebra": _kill("zebra"),
    "bgp-stop": _stop,
    "bgp-rolling": _rolling,
    "bgp-config-storm": _config_storm,
    "bgp-graceful-restart": _graceful_restart,
}
for _name in STAGED_ROUTED.keys() ^ ROUTED.keys():
    raise LabTableError(f"{FILE}: {_name}: not in the table and in STAGED_ROUTED alike")
