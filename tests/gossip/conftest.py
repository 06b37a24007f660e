"""A tiny network in virtual time, and one node alone on a bench."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gossip.config import LAN, Config
from gossip.wire.messages import Alive, NodeState
from gossip_bench import Bench, Network, make_alive, make_row


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def new_network() -> Callable[..., Network]:
    return Network


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def new_bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def alive() -> Callable[..., Alive]:
    """Make an alive message; node n7 lives at 10.0.0.7."""
    return make_alive


@pytest.fixture
def row() -> Callable[..., NodeState]:
    """Make a push/pull row."""
    return make_row


@pytest.fixture
def lan_without() -> Callable[..., Config]:
    """Make a LAN configuration with some fields changed."""
    return lambda **changes: replace(LAN, **changes)
