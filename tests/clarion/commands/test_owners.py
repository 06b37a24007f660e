"""Who owns what is what the speakers would find, each for itself, by the same objects."""

from dataclasses import replace
from random import Random

import pytest

import clarion_chance
from clarion.commands import owners
from clarion.standing import Ranking, standings
from clarion_command import run
from clarion_world import DUMP
from ownership.election.election import order
from plan.planner import plan
from plan.release import Options

SEEDS = range(300)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_owner_is_the_one_node_that_would_announce(seed: int) -> None:
    random = Random(seed)
    options = clarion_chance.options(random)
    picture = clarion_chance.picture(clarion_chance.world(random), options)
    found = {row.service: row.owner for row in owners.answer(picture).owners}
    seen = {}
    for node in picture.snapshot.nodes:
        plans, _ = plan(picture.snapshot, replace(options, own_node=node))
        for key, made in plans.items():
            ranked = order(made.candidates or (), made.hash_ip, made.scores)
            if made.withheld is None and ranked[:1] == [node]:
                assert key not in seen
                seen[key] = node
    assert {key: owner for key, owner in found.items() if owner is not None} == seen


@pytest.mark.parametrize("count", [1, 2, 3, 4, 10])
def test_the_next_ones_are_those_of_the_order(count: int) -> None:
    for seed in range(60):
        picture = clarion_chance.picture(clarion_chance.world(Random(seed)))
        for standing in standings(picture):
            made = standing.plan
            wanted = [] if standing.why else order(made.candidates or (), made.hash_ip, made.scores)
            assert Ranking().first(standing, count) == wanted[:count]


def test_the_worlds_by_chance_have_all_kinds_in_them() -> None:
    rows = [
        row
        for seed in SEEDS
        for row in owners.answer(
            clarion_chance.picture(clarion_chance.world(Random(seed)), Options(""))
        ).owners
    ]
    assert len({row.why for row in rows}) > 6
    assert sum(row.owner is not None for row in rows) > 100
    assert {row.protocols for row in rows} == {(), ("layer2",), ("bgp",), ("layer2", "bgp")}


def test_what_wants_no_owner_is_not_missed() -> None:
    data = run("owners", "--from", str(DUMP), "-o", "json").data
    by_bgp = [row for row in data["owners"] if row["protocols"] == ["bgp"]]
    assert [row["service"] for row in by_bgp] == ["shop/dns", "shop/mail"]
    assert {row["why"] for row in by_bgp} == {"announced by BGP alone"}
    assert data["pending"] == ["shop/choosy", "shop/late"]


def test_interfaces_are_those_of_the_owner() -> None:
    """Two advertisements that select other nodes name other interfaces."""
    racks = {"n1": "a", "n2": "b"}
    objects = [
        *(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": n, "labels": {"rack": r}}}
            for n, r in racks.items()
        ),
        clarion_chance.custom("IPAddressPool", "p", {"addresses": ["10.0.0.0/24"]}),
        *(
            clarion_chance.custom(
                "L2Advertisement",
                rack,
                {"nodeSelectors": [{"matchLabels": {"rack": rack}}], "interfaces": [f"if-{rack}"]},
            )
            for rack in racks.values()
        ),
        *(
            each
            for index in range(20)
            for each in clarion_chance.service(Random(index), index, list(racks))
        ),
    ]
    rows = [row for row in owners.answer(clarion_chance.picture(objects)).owners if row.owner]
    assert {row.owner for row in rows} == {"n1", "n2"}
    assert all(row.interfaces == (f"if-{racks[row.owner or '']}",) for row in rows)
