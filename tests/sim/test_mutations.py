"""Scenarios that no fault of the speaker could break would prove nothing: so some are put in."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gossip.config import LAN
from sim.failover import play
from speaker.contact import Contact

Mutation = Callable[[pytest.MonkeyPatch], None]


def one_witness(patch: pytest.MonkeyPatch) -> None:
    """Let a single node's word be a verdict."""
    patch.setattr("speaker.verdict.NEEDED", 1)


def no_hold(patch: pytest.MonkeyPatch) -> None:
    """Let a link that comes back be trusted at once."""
    patch.setattr(Contact, "link_returned", lambda *_: None)


def late_rejoin(patch: pytest.MonkeyPatch) -> None:
    """Let groups that were parted find together when MetalLB's would."""
    patch.setattr("sim.failover.LAN", replace(LAN, rejoin_interval=60.0))


@pytest.mark.parametrize(
    ("scenario", "seed", "mutation"),
    [
        ("one-way", 1, one_witness),
        ("blink-1000", 1, no_hold),
        ("partition-2-2", 2, late_rejoin),
        ("partition-2-3", 1, late_rejoin),
        ("partition-2-2-2", 2, late_rejoin),
    ],
)
def test_a_speaker_that_breaks_a_rule_is_found_out(
    scenario: str, seed: int, mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    assert play(scenario, seed).broken != ()
