"""A speaker with 1,000 service IPs: small, and deaf to what is none of its business."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bench.__main__ import service_ips
from bench.client import Asker, processor_seconds, storm
from dualstack import Machine, dualstack, manifests
from limits import resident
from machine import slowness
from netns import missing_right
from speakers import Speaker, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]

IPS = service_ips(1_000)
MOST_MIB = 90.0
FOREIGN = 20_000
MOST_SECONDS = 0.02
"""Of processor time for 100,000 questions about other IPs."""


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[str, Machine]]:
    with dualstack("client", "node", "stranger") as made:
        yield made


@pytest.fixture(scope="module")
def running(
    machines: dict[str, Machine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Speaker]:
    folder = tmp_path_factory.mktemp("thousand")
    source = manifests(folder / "source", *IPS)
    with speaker(machines["node"].host, source, log=folder / "log") as started:
        wait_until(lambda: len(started.events("announce")) == len(IPS), "all announced", 30.0)
        # The last of the five rounds of announcements is over.
        time.sleep(7.0)
        yield started


def test_it_fits_into_90_mib_after_taking_over_all(running: Speaker) -> None:
    assert running.metric('clarion_kernel_filter{family="ipv4",interface="eth0",level="exact"}')
    running.get("/metrics")
    whole, _ = resident(running.process.pid)
    assert whole <= MOST_MIB


def test_questions_about_other_ips_cost_it_nothing(
    running: Speaker, machines: dict[str, Machine]
) -> None:
    """What the process uses while it is flooded, over what it uses in peace; the best of three."""
    pid = running.process.pid

    def used(meanwhile: Any) -> float:
        before = processor_seconds(pid)
        meanwhile()
        return processor_seconds(pid) - before

    def flood() -> None:
        os.waitpid(storm(machines["stranger"], FOREIGN, 1.0), 0)

    more = [used(flood) - used(lambda: time.sleep(1.0)) for _ in range(3)]
    assert min(more) / FOREIGN * 100_000 <= MOST_SECONDS * slowness()
    asker = Asker(machines["client"], IPS[-1])
    flooding = storm(machines["stranger"], FOREIGN, 1.0)
    found, lost = asker.latencies(300, 0.001)
    os.waitpid(flooding, 0)
    asker.close()
    assert lost == 0
    assert len(found) == 300
