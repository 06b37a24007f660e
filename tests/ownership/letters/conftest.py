"""Letters travel in gossip: its tiny network in virtual time, and one node alone on a bench."""

from collections.abc import Callable

import pytest

from gossip_bench import Bench, Network


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def new_bench() -> Callable[..., Bench]:
    return Bench
