from collections.abc import Callable
from dataclasses import replace

import pytest

from gossip.config import LAN
from sim.report import Result
from sim.run import simulate
from sim.world.faults import Fault, FaultKind
from sim.world.world import Setup

Deaths = Callable[[int, int, int, bool], Result]


@pytest.fixture
def deaths() -> Deaths:
    """Let the last `died` of `nodes` lose power at once; `together`: with our own course."""

    def run(nodes: int, died: int, seed: int, together: bool) -> Result:
        config = replace(LAN, check_together=together)
        victims = tuple(f"n{number + 1}" for number in range(nodes - died, nodes))
        fault = Fault(10.0 + (seed % 10) / 10, FaultKind.POWER_OFF, victims)
        setup = Setup(nodes=nodes, seed=seed, services=0, config=config)
        return simulate(setup, [fault], "deaths")

    return run
