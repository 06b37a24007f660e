"""What the page shows of a controller's figures."""

from controller.allocation.allocator import Counters
from controller.metrics import Figures
from controller.page import page

POOL = Counters({4: 3, 6: 0}, {4: 1, 6: 0}, {4: 4, 6: 0})


def test_the_leader_shows_pools_and_who_waits() -> None:
    figures = Figures(
        leads=lambda: True,
        pools=lambda: {"<b>first": POOL},
        waiting=lambda: 2,
        certificates=lambda: {"webhook": 86_400.0 * 3},
    )
    text = page("pod-1", figures, None, 86_400.0).decode()
    assert "This replica leads." in text
    assert "&lt;b&gt;first" in text
    assert "3 of 4" in text
    assert '<td class="bad">2</td>' in text
    assert "2.0 days" in text
    assert "There is none: no other replica allocates." in text


def test_another_replica_says_who_counts_and_what_is_wrong() -> None:
    figures = Figures(pools=lambda: {"first": POOL}, stale=lambda: True)
    text = page("pod-2", figures, "no lease yet", 0.0).decode()
    assert "first" not in text
    assert "Not ready: no lease yet" in text
    assert "an older one is in force" in text
