"""Quiet clusters of ours, for a minute: what they send, and what processor time they take.

The figures are IP packets and bytes a node and second, sent.
"""

from typing import Protocol

import pytest

from machine import slowness
from steady import Cost

NO_MORE_THAN = 1.1
"""Times what a Go peer sends."""
GO_PACKETS, GO_SIZE = 2.28, 226.0
"""The median of eight Go peers with AES-GCM, measured for two minutes from their start."""
GO_ALONE = {3: (2.34, 231.0), 8: (2.64, 253.0)}
"""As measured here on a quiet machine. On a busy one Go's ticker drops ticks, so that its peers
send less than they should, and less than ours."""
CPU = 0.01
"""Of one core, for each agent."""

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]


class Costs(Protocol):
    """By kind and number of nodes."""

    def result(self, kind: str, nodes: int, /) -> Cost: ...


def _tell(what: str, cost: Cost) -> None:
    packets, size, cpu = cost.spent
    print(f"{what}: {packets:.2f} packets/s {size:.0f} B/s, {cpu:.2%} of a core")


@pytest.mark.parametrize("nodes", [3, 8])
def test_as_many_send_no_more_than_go_peers_beside_them(costs: Costs, nodes: int) -> None:
    ours, theirs = costs.result("clarion", nodes), costs.result("go", nodes)
    _tell(f"{nodes} of ours", ours)
    _tell(f"{nodes} of Go's", theirs)
    assert not ours.troubles
    packets, size = GO_ALONE[nodes]
    assert 0 < ours.spent.packets <= NO_MORE_THAN * max(packets, theirs.spent.packets)
    assert 0 < ours.spent.size <= NO_MORE_THAN * max(size, theirs.spent.size)
    assert ours.spent.cpu <= CPU * slowness()


def test_fifty_send_no_more_each_than_one_of_eight_go_peers(costs: Costs) -> None:
    ours = costs.result("clarion", 50)
    _tell("50 of ours", ours)
    assert 0 < ours.spent.packets <= NO_MORE_THAN * GO_PACKETS
    assert 0 < ours.spent.size <= NO_MORE_THAN * GO_SIZE
