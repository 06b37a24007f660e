"""What a change would move is what differs between two elections, each done from nothing."""

from collections import Counter
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

import clarion_chance
from clarion.answers import Simulation
from clarion.commands import owners, simulate
from clarion.commands.simulate import WhatIf
from clarion.sources.picture import Picture
from clarion.sources.trouble import UnseenError
from clarion.standing import standings
from clarion_command import run, written
from clarion_world import DUMP
from kube.objects.core import Node
from ownership.election import election
from ownership.election.election import order

FROM = ("--from", str(DUMP))
Owned = dict[tuple[str, str], str | None]


def chance(seed: int) -> tuple[Picture, WhatIf]:
    random = Random(seed)
    picture = clarion_chance.picture(clarion_chance.world(random), clarion_chance.options(random))
    nodes = sorted(picture.snapshot.nodes)
    labels = tuple(
        (random.choice(nodes), random.choice(("rack=a", "rack=b", "rack-")))
        for _ in range(random.randint(0, 4))
    )
    if random.random() < 0.5:
        # Where all stand, what labels do shows.
        return picture, WhatIf(labels=labels)
    added = ("n8", "n9")[: random.randint(0, 2)]
    down = tuple(random.sample(nodes, random.randint(0, len(nodes))))
    return picture, WhatIf(down, added, labels)


def _owned(picture: Picture, down: tuple[str, ...] = ()) -> Owned:
    """Elect everything from nothing, by the order of the hash."""
    found: Owned = {}
    for standing in standings(picture):
        made = standing.plan
        alive = set(made.candidates or ()) - set(down) if standing.why is None else set()
        ranked = order(alive, made.hash_ip, made.scores)
        found |= {(str(ip), made.service): ranked[0] if ranked else None for ip in made.ips}
    return found


@pytest.mark.parametrize("seed", range(300))
def test_moves_are_what_differs(seed: int) -> None:
    picture, change = chance(seed)
    found = simulate.answer(picture, change)
    after = picture.with_views(
        {("Node", picture.namespace, key[2]): view
         for key, view in change.views(picture.snapshot.nodes).items()}
    )  # fmt: skip
    one, other = _owned(picture), _owned(after, change.down)
    wanted = {key: (one.get(key), other.get(key)) for key in one.keys() | other.keys()}
    given = {row.ip for row in found.moves if (row.ip, row.service) not in other}
    moves = {
        (row.ip, row.service): (row.before, row.after)
        for row in found.moves
        # What a controller would give has an owner after that, and is no part of either picture.
        if row.ip not in given
    }
    assert moves == {key: pair for key, pair in wanted.items() if pair[0] != pair[1]}
    _counted(found)


def _counted(found: Simulation) -> None:
    kinds = Counter(
        "lost" if row.after is None else "gained" if row.before is None else "moved"
        for row in found.moves
    )
    counts = found.counts
    assert (counts.lost, counts.gained, counts.moved) == tuple(
        kinds[name] for name in ("lost", "gained", "moved")
    )
    assert found.well is (counts.lost == 0)
    change = Counter[str]()
    for row in found.moves:
        change.update({row.after: 1} if row.after else {})
        change.subtract({row.before: 1} if row.before else {})
    assert {row.node: row.after - row.before for row in found.nodes} == {
        node: count for node, count in change.items() if count
    }
    assert all(row.reason for row in found.moves)


def test_chance_brings_moves_of_all_kinds() -> None:
    reasons = Counter(
        row.reason.split(" ", 1)[-1]
        for seed in range(300)
        for row in simulate.answer(*chance(seed)).moves
    )
    assert {"stops", "is added", "may not own it any more", "comes first now"} <= reasons.keys()


def test_what_changes_costs_what_it_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five million hashes for a thousand nodes and five thousand IPs, not for both pictures."""
    hashed = 0
    real = sha256

    def counting(data: bytes) -> Any:
        nonlocal hashed
        hashed += 1
        return real(data)

    monkeypatch.setattr(election, "sha256", counting)
    nodes, count = [f"n{index}" for index in range(60)], 200
    picture = clarion_chance.picture(_large(nodes, count))
    victim = owners.answer(picture).owners[0].owner
    hashed = 0
    found = simulate.answer(picture, WhatIf(down=(str(victim),)))
    moved = found.counts.moved
    assert 0 < moved < 20
    assert hashed == len(nodes) * count + (len(nodes) - 1) * moved


def _large(nodes: list[str], count: int) -> list[dict[str, Any]]:
    return [
        *({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in nodes),
        clarion_chance.custom("IPAddressPool", "p", {"addresses": ["10.0.0.0/16"]}),
        clarion_chance.custom("L2Advertisement", "a", {}),
        *(each for index in range(count) for each in _pair(index, nodes)),
    ]


def _pair(index: int, nodes: list[str]) -> list[dict[str, Any]]:
    made, slices = clarion_chance.service(Random(1), index, nodes)
    made["spec"]["externalTrafficPolicy"] = "Cluster"
    made["status"]["loadBalancer"]["ingress"] = [{"ip": f"10.0.7.{index}"}]
    slices["endpoints"] = [{"addresses": ["10.1.1.1"], "nodeName": nodes[0]}]
    return [made, slices]


# ---- by the command line


def test_an_ip_without_an_owner_is_status_1() -> None:
    """All that may own them stop."""
    ran = run("simulate", "--down", "worker-1,worker-2,worker-3,worker-6", *FROM, "-o", "json")
    assert ran.status == 1
    assert ran.data["counts"]["lost"] == 3
    assert {row["reason"] for row in ran.data["moves"]} == {"worker-1 stops", "worker-3 stops"}


def test_a_manifest_is_applied_as_kubectl_would(tmp_path: Path) -> None:
    """A service keeps its status, a pool that shrinks takes addresses, a new service gets one."""
    text = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: primary, namespace: metallb-system}
spec: {addresses: [192.168.1.101-192.168.1.120]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {type: LoadBalancer, externalTrafficPolicy: Cluster, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: fresh, namespace: shop}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: fresh-x, namespace: shop, labels: {kubernetes.io/service-name: fresh}}
endpoints: [{addresses: [10.1.1.1], nodeName: worker-1}]
"""
    ran = run("simulate", "-f", written(tmp_path, text), *FROM, "-o", "json")
    moves = {(row["service"], row["ip"]): row for row in ran.data["moves"]}
    assert ran.status == 1
    assert moves["shop/web", "192.168.1.100"]["after"] is None
    assert moves["shop/web", "192.168.1.100"]["reason"] == "192.168.1.100 is in no IPAddressPool"
    new = [row for row in ran.data["moves"] if row["service"] == "shop/fresh"]
    assert [row["before"] for row in new] == [None]
    assert new[0]["after"] is not None
    assert "shop/late" in {row["service"] for row in ran.data["moves"]}


def test_what_would_be_refused_moves_nothing(tmp_path: Path) -> None:
    """Speakers go on by what was in force; who applies it is told."""
    text = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: primary, namespace: metallb-system}
spec: {addresses: [192.168.1.0/99]}
"""
    ran = run("simulate", "-f", written(tmp_path, text), *FROM, "-o", "json")
    assert ran.status == 1
    assert (ran.data["moves"], ran.data["counts"]["lost"]) == ([], 0)
    assert [found["field"] for found in ran.data["remarks"]] == ["spec.addresses[0]"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((), "no change: give --down, --add, --label or -f"),
        (("--down", "worker-99"), "--down worker-99: there is no such node"),
        (("--add", "Worker_1"), "--add Worker_1: this is no name of a node"),
        (("--add", "worker-1"), "--add worker-1: there is a node of this name"),
        (("--label", "worker-99", "a=b"), "--label worker-99: there is no such node"),
        (("--label", "worker-1", "a"), "--label worker-1 a: neither key=value nor key-"),
        (("--label", "worker-1", "a=b c"), "--label worker-1 a=b c: neither key=value nor key-"),
        (("-f", "/nowhere.yaml"), "/nowhere.yaml: No such file or directory"),
    ],
)
def test_no_change_that_can_be_made(change: tuple[str, ...], message: str) -> None:
    ran = run("simulate", *change, *FROM)
    assert (ran.status, ran.out, ran.err) == (2, "", f"clarion: {message}\n")


def test_nodes_of_the_manifest_may_be_named() -> None:
    change = WhatIf(down=("new",), manifests={("Node", "", "new"): Node("new")})
    assert change.views({}) == {("Node", "", "new"): Node("new")}
    with pytest.raises(UnseenError):
        WhatIf(down=("newer",)).views({"new": Node("new")})
