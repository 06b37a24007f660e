"""What a node costs in the steady state, counted by the simulator."""

import pytest

from sim.cost import BYTES_LIMIT, HEAD, Cost, Spent, measure


@pytest.fixture(scope="module")
def small() -> Cost:
    return measure(nodes=4, seconds=20.0)


def test_a_node_sends_less_than_it_may(small: Cost) -> None:
    assert 0 < small.most_sent <= BYTES_LIMIT


def test_echoes_are_as_many_as_three_watchers_make(small: Cost) -> None:
    """Ten a second to each of three, and an answer to each of three, of 60 bytes each."""
    for spent in small.by_node:
        assert spent.echo == pytest.approx(60 * 60, rel=0.03)


def test_more_nodes_cost_a_node_no_more(small: Cost) -> None:
    large = measure(nodes=16, seconds=20.0)
    assert large.most_sent == pytest.approx(small.most_sent, rel=0.1)
    events = [max(spent.events for spent in cost.by_node) for cost in (small, large)]
    assert events[1] == pytest.approx(events[0], rel=0.15)


def test_a_row_fits_its_head(small: Cost) -> None:
    assert small.row().count("|") == HEAD[0].count("|")


def test_too_many_bytes_or_too_much_time_is_not_ok() -> None:
    spent = Spent(BYTES_LIMIT / 2, 0.0, BYTES_LIMIT / 2, 0.0, 1.0)
    assert Cost(2, (spent, spent), 2.0).ok
    assert not Cost(2, (spent, spent), 2.1).ok
    assert not Cost(2, (spent, Spent(BYTES_LIMIT, 1.0, 0.0, 0.0, 1.0)), 0.1).ok
