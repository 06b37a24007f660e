"""Many nodes dying at once take no longer than one (docs/adr/0005-many-deaths.md)."""

from collections.abc import Callable
from statistics import median

import pytest

from sim.report import Result

SEEDS = range(10)
Deaths = Callable[[int, int, int, bool], Result]


@pytest.mark.parametrize(("nodes", "died"), [(4, 2), (5, 3), (5, 4), (8, 5), (20, 8)])
def test_many_deaths_take_no_more_than_one_and_a_half(
    nodes: int, died: int, deaths: Deaths
) -> None:
    one = [deaths(nodes, 1, seed, True) for seed in SEEDS]
    many = [deaths(nodes, died, seed, True) for seed in SEEDS]
    assert all(result.ok and result.false_deaths == 0 for result in many)
    assert all(len(result.detections) == died * (nodes - died) for result in many)
    whole, alone = ([max(r.last_detections) for r in runs] for runs in (many, one))
    assert median(whole) <= 1.5 * median(alone)
    assert max(whole) <= 1.5 * max(alone)


@pytest.mark.parametrize(("nodes", "died", "first", "last"), [(4, 2, 13.0, 15.4), (5, 4, 25.6, 50)])
def test_model_agrees_with_measured_memberlist(
    nodes: int, died: int, first: float, last: float, deaths: Deaths
) -> None:
    """Without our course the same cases take what real Go agents took, in seconds."""
    runs = [deaths(nodes, died, seed, False) for seed in SEEDS]
    assert median(min(r.first_detections) for r in runs) == pytest.approx(first, rel=0.1)
    assert median(max(r.last_detections) for r in runs) == pytest.approx(last, rel=0.2)


@pytest.mark.parametrize("nodes", [4, 8])
def test_nobody_dies_before_memberlist_would_let_them(nodes: int, deaths: Deaths) -> None:
    """A probe of a second and the shortest suspicion of four are the least in any case."""
    for seed in SEEDS:
        assert min(deaths(nodes, nodes - 1, seed, True).first_detections) >= 4.0
