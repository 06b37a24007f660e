"""A power-off in the midst of everything that a host without the key can do."""

import json
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from netnslab.course.strike import Injected, Scenario, Strike
from netnslab.instruments.instrument import Instrument
from netnslab.machines.laboratory import Lab
from netnslab.machines.node import LabNode
from netnslab.results import oracle

# What a pod has, by the manifests.
CPU, MEMORY = 0.2, 128
# So much of it passes before the power goes.
BEFORE = 0.4
# Seconds in which answers are timed before it begins.
CALM = 3.0
ATTACKER = "spare-1"
MOST_LINES = 10
"""Lines a minute that a node may log because of strangers; the scenario takes less than one."""
# What is told of a death: once about each IP, service and node.
DEEDS = frozenset(
    ("leader", "announce", "withdraw", "verdict", "member", "flags", "barred", "not_barred")
)
ABOUT = ("event", "ip", "service", "node", "interface", "state")
# Of many events a person reads a few.
MOST_NAMED = 3


def _attack(lab: Lab, strike: Strike) -> Injected:
    """All attacks at once, a power-off among them, and then a look at what has become of it."""
    (victim,) = strike.victims
    notes = [_calm(lab)]
    logged = {name: len(node.log_lines()) for name, node in lab.nodes.items()}
    cut = {name: _throttled_periods(node) for name, node in lab.nodes.items()}
    done, ended = _besiege(lab, strike)
    failures = [f"the attack by {name} did nothing" for name, count in done.items() if not count]
    ended += [name for name, node in lab.nodes.items() if node is not victim and not node.running]
    failures += [f"the speaker of {name} ended" for name in dict.fromkeys(ended)]
    notes.append(", ".join(f"{count} {name}" for name, count in done.items()))
    for name, node in lab.nodes.items():
        note, failed = _look_at(node, node.log_lines()[logged[name] :])
        notes.append(f"{note}, {_throttled_periods(node) - cut[name]} periods throttled")
        failures += failed
    return Injected(notes=notes, failures=failures)


def _calm(lab: Lab) -> str:
    """How fast answers are before anything happens: on a busy machine they are late without it."""
    began = time.monotonic()
    lab.pass_time(began + CALM)
    heard = lab.observations(began, time.monotonic())
    slowest = max(row["answer_p99_ms"] for row in heard.values())
    return f"99 % of answers within {slowest:.1f} ms before it began"


def _throttled_periods(node: LabNode) -> int:
    return 0 if node.group is None else node.group.throttled_periods()[0]


def _besiege(lab: Lab, strike: Strike) -> tuple[dict[str, int], list[str]]:
    """How often each attack struck, and whose speakers had ended before the power-off."""
    (victim,) = strike.victims
    targets = [node.host.gossip_ip for node in lab.nodes.values()]
    attacker = Instrument("attacker", lab.topology.nodes[ATTACKER], {"targets": targets})
    try:
        began = time.monotonic()
        attacker.ask("begin", **_recording(lab))
        lab.pass_time(began + BEFORE * strike.duration)
        ended = [name for name, node in lab.nodes.items() if not node.running]
        owners = oracle.owners(lab.ips, lab.names)
        owned = [ip for ip in lab.ips if owners[ip] == victim.name]
        lab.topology.unplug([victim.host])
        # At once, so that not even the first verdict is reached without it.
        attacker.ask("forge", mac=victim.host.mac, ips=owned)
        victim.kill()
        lab.pass_time(began + strike.duration)
        return dict(attacker.ask("counts")), ended
    finally:
        attacker.close()


def _recording(lab: Lab) -> dict[str, Any]:
    return {} if lab.recorder is None else dict(lab.recorder.ask("recording"))


def _look_at(node: LabNode, lines: list[bytes]) -> tuple[str, list[str]]:
    """What became of one node: a note, and every way in which it failed."""
    said, failures = strangers_lines(lines), []
    note = f"{node.name}: {said.total()} lines about strangers"
    if said.total() > MOST_LINES:
        most = ", ".join(f"{count} {event}" for event, count in said.most_common(MOST_NAMED))
        failures.append(f"{node.name} logged {said.total()} lines about strangers: {most}")
    if node.group is not None:
        note += f", {node.group.peak() >> 20} MiB at most"
        if kills := node.group.kills():
            failures.append(f"{node.name} was killed {kills} times for lack of memory")
    return note, failures


def strangers_lines(lines: Iterable[bytes]) -> Counter[str]:
    """The events of those lines that tell of no death, or tell of it again."""
    told: set[tuple[Any, ...]] = set()
    counted: Counter[str] = Counter()
    for line in lines:
        try:
            event = json.loads(line)
            about = tuple(str(event.get(name)) for name in ABOUT)
        except (ValueError, AttributeError):
            counted["no JSON"] += 1
            continue
        if event.get("event") not in DEEDS or about in told:
            counted[str(event.get("event"))] += 1
        told.add(about)
    return counted


STAGED = {
    "attacked": Scenario(
        _attack,
        watch=2.0,
        rate=100,
        cpu=CPU,
        memory=MEMORY,
        spares=1,
        recorded=True,
    ),
}
