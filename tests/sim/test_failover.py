"""Failover in the simulator: every scenario, judged by what clients may notice."""

import pytest

from sim.failover import SCENARIOS, play, table

TELLING = {"gossip-cut-1-ip": 3}
"""Seeds in which a member's heir is declared dead after it, which is what the scenario is for."""


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_clients_notice_no_more_than_they_may(name: str) -> None:
    outcome = play(name, seed=TELLING.get(name, 1))
    assert outcome.broken == ()


def test_the_same_seed_gives_the_same_outcome() -> None:
    assert play("blink-500", seed=7) == play("blink-500", seed=7)


def test_a_death_is_noticed_at_all() -> None:
    """Somebody was silent for as long as the witnesses need: the instrument works."""
    outcome = play("power-off", seed=2)
    assert 0.25 < outcome.silent < 1.0
    assert outcome.moves == 1
    assert table([outcome])[-1].startswith("| power-off | 1 |")
