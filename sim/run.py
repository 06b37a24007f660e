"""One run from its name to its result."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from gossip.config import LAN
from gossip.wire.packet import WireConfig
from sim.chance import make_rng
from sim.invariants import Checker
from sim.report import Result
from sim.scenarios import SCENARIOS
from sim.world.faults import Fault
from sim.world.world import Setup, World

STEP = 1.0
CALM = 5.0
"""Seconds that a run goes on after all is well, so that late trouble shows."""
JOINED_UP_TO = 64
"""Larger clusters start settled: joining them one by one is all that a run would be."""
_SHARE_JOINING = 0.5
_SHARE_COMPRESSING = 0.25

Progress = Callable[[float, float], None]


def _no_progress(done: float, whole: float) -> None:
    """Show nothing."""


def plan_setup(nodes: int, seed: int, services: int = 4) -> Setup:
    """Draw from the seed whether the cluster joins or starts settled, and whether it compresses.

    Compression in Python is dear: a few small clusters are enough to know that it works.
    """
    rng = make_rng(seed, "setup")
    joins = rng.random() < _SHARE_JOINING and nodes <= JOINED_UP_TO
    compress = rng.random() < _SHARE_COMPRESSING and nodes <= JOINED_UP_TO
    config = replace(LAN, wire=WireConfig(compress=compress))
    return Setup(nodes=nodes, seed=seed, services=services, converged=not joins, config=config)


def plan_faults(nodes: int, seed: int, scenario: str) -> list[Fault]:
    """Draw the faults of a scenario from the seed; KeyError for an unknown one."""
    names = [f"n{number + 1}" for number in range(nodes)]
    return SCENARIOS[scenario](make_rng(seed, "faults"), names)


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Let the garbage collector not walk a million table rows again and again: half the time."""
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def simulate(
    setup: Setup,
    faults: list[Fault],
    scenario: str,
    duration: float | None = None,
    progress: Progress = _no_progress,
    world: World | None = None,
) -> Result:
    """Run to the end; without a duration that is some seconds after all has settled."""
    world = world or World(setup)
    checker = Checker(world, faults)
    world.start(faults)
    with quiet_collector():
        _run_to_end(world, checker, duration, progress)
    checker.finish()
    return summarize(world, checker, faults, scenario)


def _run_to_end(world: World, checker: Checker, duration: float | None, progress: Progress) -> None:
    end = duration if duration is not None else checker.deadline()
    calm_since: float | None = None
    while world.elapsed < end:
        world.run(min(end, world.elapsed + STEP))
        progress(world.elapsed, end)
        if duration is not None or world.elapsed <= checker.last_fault + CALM:
            continue
        if not checker.converged():
            calm_since = None
        elif calm_since is None:
            calm_since = world.elapsed
        elif world.elapsed >= calm_since + CALM:
            break


def summarize(world: World, checker: Checker, faults: list[Fault], scenario: str) -> Result:
    """Make the result of a finished run."""
    machines = list(world.machines.values())
    node_seconds = len(machines) * world.elapsed
    per_crash = [list(crash.seen.values()) for crash in checker.crashes if crash.seen]
    observer = world.observer
    return Result(
        nodes=world.setup.nodes,
        seed=world.setup.seed,
        scenario=scenario,
        elapsed=world.elapsed,
        faults=[f"at {fault.at:.3f} s: {fault}" for fault in faults],
        violations=checker.violations,
        detections=[after for seen in per_crash for after in seen],
        first_detections=[min(seen) for seen in per_crash],
        last_detections=[max(seen) for seen in per_crash],
        false_deaths=len(checker.false_deaths),
        false_suspicions=checker.false_suspicions,
        packets_per_second=sum(machine.packets_sent for machine in machines) / node_seconds,
        bytes_per_second=sum(machine.bytes_sent for machine in machines) / node_seconds,
        stream_bytes_per_second=sum(machine.stream_bytes for machine in machines) / node_seconds,
        silent={str(ip): seen.silent for ip, seen in observer.seen.items()},
        dual={str(ip): seen.dual for ip, seen in observer.seen.items()},
        services=world.setup.services,
        changes=checker.changes,
        digest=world.trace.digest(),
    )
