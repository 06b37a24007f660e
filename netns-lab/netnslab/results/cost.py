"""What a speaker costs while nothing happens: processor time and bytes sent, at its own link."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from netnslab.machines.laboratory import Lab

# The rounds of announcements after a start are over by then.
QUIET_AFTER = 8.0
CPU_LIMIT, BYTES_LIMIT = 2.0, 6 * 1024


@dataclass(frozen=True)
class NodeCost:
    """One node: per cent of a core, and bytes of frames a second."""

    node: str
    cpu: float
    sent: float

    @property
    def ok(self) -> bool:
        """Within what a node may cost."""
        return self.cpu <= CPU_LIMIT and self.sent <= BYTES_LIMIT


def measure(lab: Lab, seconds: float) -> list[NodeCost]:
    """Start all speakers, take every instrument away, and look at each node for a while."""
    lab.start()
    for instrument in (lab.prober, lab.tcp, lab.observer, lab.capture):
        instrument.close()
    lab.pass_time(time.monotonic() + QUIET_AFTER)
    before = {name: _spending(node.pid) for name, node in lab.nodes.items()}
    lab.pass_time(time.monotonic() + seconds)
    costs = []
    for name, node in lab.nodes.items():
        (at, cpu, sent), (then, cpu_then, sent_then) = _spending(node.pid), before[name]
        lasted = at - then
        costs.append(NodeCost(name, 100 * (cpu - cpu_then) / lasted, (sent - sent_then) / lasted))
    return costs


def _spending(pid: int) -> tuple[float, float, int]:
    """The moment, the seconds of processor time, and the bytes sent from the process's namespace
    by all links but the loopback."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(times[11]) + int(times[12])
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    links = dict(line.strip().split(":", 1) for line in lines)
    sent = sum(int(counts.split()[8]) for name, counts in links.items() if name != "lo")
    return time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), sent
