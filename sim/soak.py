"""Many random runs, on several processes: what CI does with 200 seeds."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from sim.chance import make_rng
from sim.report import Result
from sim.run import plan_faults, plan_setup, simulate

SMALLEST, LARGEST = 5, 50
SERVICES = 1
_CHUNK = 4


def cluster_size(seed: int) -> int:
    """Draw the number of nodes from the seed."""
    return make_rng(seed, "size").randint(SMALLEST, LARGEST)


def run_seed(seed: int) -> Result:
    """Run the scenario `random` with this seed."""
    nodes = cluster_size(seed)
    setup = plan_setup(nodes, seed, SERVICES)
    return simulate(setup, plan_faults(nodes, seed, "random"), "random")


def soak(first: int, seeds: int, processes: int) -> Iterator[Result]:
    """Run that many seeds from `first` on; results come in the order of the seeds."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_seed, range(first, first + seeds), chunksize=_CHUNK)
