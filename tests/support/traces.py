"""What simulated runs send, as digests: `python tests/support/traces.py FIRST LAST [SCENARIO ...]`.

One line a run: scenario, seed, outcome, and a digest of every frame and datagram with its time and
sender. Two trees whose lines are equal behave alike, so this is how a change that is to change
nothing is proved. Give both the same PYTHONHASHSEED, or none: a run is to be the same under each.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from gossip.io import Datagram  # noqa: E402 - the folder above is not on the path before
from sim.failover import play  # noqa: E402
from sim.failover_scenarios import SCENARIOS  # noqa: E402
from sim.world.machine import Machine  # noqa: E402
from sim.world.segment import Segment  # noqa: E402
from sim.world.world import World  # noqa: E402


class Recorder:
    """Hashes what runs send, by standing before the simulated network."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        for name in ("send", "send_all", "flood"):
            setattr(Segment, name, self._carrying(getattr(Segment, name)))
        send_datagram = World.send_datagram

        def recorded(world: World, machine: Machine, datagram: Datagram) -> None:
            self._note(world.now, machine.name, datagram.to, datagram.data)
            send_datagram(world, machine, datagram)

        setattr(World, "send_datagram", recorded)  # noqa: B010 - a method of a class, on purpose

    def line(self, scenario: str, seed: int) -> str:
        """Play a run and write its line."""
        self._digest = hashlib.sha256()
        outcome = play(scenario, seed)
        figures = (outcome.silent, outcome.moves, outcome.dual, outcome.outage, outcome.told)
        said = (scenario, seed, *figures, list(outcome.broken), self._digest.hexdigest()[:16])
        return " ".join(map(str, said))

    def _carrying(self, carry: Any) -> Any:
        def recorded(segment: Segment, source: str, what: Any) -> None:
            for frame in (
                what if isinstance(what, Sequence) and not isinstance(what, bytes) else [what]
            ):
                self._note(segment._heap.now, source, frame)
            carry(segment, source, what)

        return recorded

    def _note(self, *what: object) -> None:
        self._digest.update(repr(what).encode())


def main(first: str, last: str, *scenarios: str) -> None:
    """Print the lines of these scenarios, or of all."""
    recorder = Recorder()
    for scenario in scenarios or SCENARIOS:
        for seed in range(int(first), int(last) + 1):
            print(recorder.line(scenario, seed), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
