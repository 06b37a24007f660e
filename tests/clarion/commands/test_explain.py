"""Each rule that keeps a node out is named with what it was held against."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

import clarion_chance
from clarion.answers import Explained, NodeRow
from clarion.commands import explain
from clarion.sources.picture import Picture
from clarion.standing import standings
from clarion_command import run
from clarion_world import DUMP
from plan.explain import NodeRule
from plan.release import Options, Release
from plan.route_planner import RoutePlanner

SEEDS = range(200)
FROM = ("--from", str(DUMP))


def chance(seed: int) -> Picture:
    random = Random(seed)
    return clarion_chance.picture(clarion_chance.world(random), clarion_chance.options(random))


def explained(picture: Picture) -> Iterator[Explained]:
    for standing in standings(picture):
        yield from explain.answer(picture, standing.service.key).services


# ---- it is what the cores decide


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_admitted_is_who_is_a_candidate(seed: int) -> None:
    picture = chance(seed)
    by_key = {standing.service.key: standing for standing in standings(picture)}
    for found in explained(picture):
        standing = by_key[found.service]
        admitted = {row.node for row in found.nodes if row.admitted}
        if standing.why is None:
            assert admitted == set(standing.plan.candidates or ())
            assert found.order[0] == found.owner
        elif found.nodes and "can serve" not in standing.why and "no endpoints" not in standing.why:
            assert admitted == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_bgp_announces_is_what_each_speaker_plans(seed: int) -> None:
    picture = chance(seed)
    tables = {name: _routes(picture, name) for name in picture.snapshot.nodes}
    for found in explained(picture):
        for row in found.bgp:
            wanted = tables[row.node].get(found.service, {})
            shown = {
                route.prefix: {
                    offer.peer: (offer.communities, offer.local_pref) for offer in route.offers
                }
                for route in row.routes
            }
            assert shown == wanted
            assert row.announces is bool(wanted)


def _routes(picture: Picture, node: str) -> dict[str, Any]:
    """Plan all routes of a node as its speaker does; return those of each service."""
    snapshot = picture.snapshot
    config = picture.bgp.config(snapshot.nodes[node])
    planner = RoutePlanner(replace(picture.options, own_node=node))
    planner.take(replace(snapshot, bgp=config), None)
    while planner.pending:
        planner.advance()
    planner.table.changes()
    return {
        key: {
            str(prefix): {
                peer: (
                    tuple(f"{high}:{low}" for high, low in sorted(offer.communities)),
                    offer.local_pref,
                )
                for peer, offer in planner.table.routes[prefix].items()
            }
            for prefix in plan.wishes
            if prefix in planner.table.routes
        }
        for key, plan in planner.plans.items()
        if any(prefix in planner.table.routes for prefix in plan.wishes)
    }


def test_the_worlds_by_chance_have_all_rules_in_them() -> None:
    rules: set[str] = set()
    for seed in SEEDS:
        for found in explained(chance(seed)):
            rules |= {row.rule for row in found.nodes} | {row.rule for row in found.bgp}
    # What is not valid for a node, and what its links are, no chance brings here.
    assert rules >= set(NodeRule) - {NodeRule.NO_INTERFACE, NodeRule.NO_CONFIGURATION}


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_bare(seed: int) -> None:
    for found in explained(chance(seed)):
        details = [row.detail for row in found.nodes] + [row.detail for row in found.bgp]
        assert [text for text in details if " " not in text or "notOwner" in text] == []
        assert found.owner is not None or (found.why is not None and " " in found.why)


# ---- in words

NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"rack": "a"}}}
POOL = clarion_chance.custom("IPAddressPool", "p", {"addresses": ["10.0.0.0/24"]})


def selecting(*selectors: dict[str, Any], **spec: Any) -> dict[str, Any]:
    wanted = {"nodeSelectors": list(selectors)} if selectors else {}
    return clarion_chance.custom("L2Advertisement", "ad", {**wanted, **spec})


def service(local: bool = False) -> list[dict[str, Any]]:
    policy = "Local" if local else "Cluster"
    labels = {"kubernetes.io/service-name": "web"}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
         "spec": {"type": "LoadBalancer", "externalTrafficPolicy": policy},
         "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
         "metadata": {"name": "web-x", "labels": labels},
         "endpoints": [{"addresses": ["10.1.1.1"], "nodeName": "n2"}]},
    ]  # fmt: skip


def node(**changed: Any) -> dict[str, Any]:
    return {**NODE, **changed}


LABELS = {"matchLabels": {"rack": "b"}}
EXPRESSION = {"matchExpressions": [{"key": "rack", "operator": "In", "values": ["b", "c"]}]}
MISSING = {"matchLabels": {"disk": "ssd"}}
KEEPS_OUT = {"matchExpressions": [{"key": "rack", "operator": "DoesNotExist"}]}
EXCLUDED = {"name": "n1", "labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}}
CORDONED = {"unschedulable": True}
DOWN = {"conditions": [{"type": "NetworkUnavailable", "status": "True"}]}


@pytest.mark.parametrize(
    ("objects", "rule", "detail"),
    [
        ([NODE, selecting()], "admitted", "selected by L2Advertisement ad"),
        ([NODE, selecting(LABELS)], "notSelected", "ad: rack=b is wanted, the label is rack=a"),
        (
            [NODE, selecting(EXPRESSION)],
            "notSelected",
            "ad: rack in (b,c) is wanted, the label is rack=a",
        ),
        (
            [NODE, selecting(MISSING)],
            "notSelected",
            "ad: disk=ssd is wanted, there is no label disk",
        ),
        (
            [NODE, selecting(KEEPS_OUT, MISSING)],
            "notSelected",
            "ad: !rack is wanted, the label is rack=a or "
            "disk=ssd is wanted, there is no label disk",
        ),
        (
            [node(metadata=EXCLUDED), selecting()],
            "excluded",
            "it has the label node.kubernetes.io/exclude-from-external-load-balancers",
        ),
        (
            [node(status=DOWN), selecting()],
            "networkUnavailable",
            "its condition NetworkUnavailable is True",
        ),
        (
            [node(spec=CORDONED), selecting()],
            "admitted",
            "selected by L2Advertisement ad; its cordon does not count",
        ),
    ],
)
def test_layer_2_says(objects: list[dict[str, Any]], rule: str, detail: str) -> None:
    assert _row([*objects, POOL, *service()]) == (rule, detail)


def test_a_cordon_counts_where_it_is_to() -> None:
    objects = [node(spec=CORDONED), selecting(), POOL, *service()]
    detail = "spec.unschedulable is true (taint node.kubernetes.io/unschedulable)"
    for options in (Options("", drain_on_cordon=True), Options("", release=Release.V0_14_9)):
        assert _row(objects, options) == ("cordoned", detail)


def test_a_local_service_wants_an_endpoint() -> None:
    detail = "externalTrafficPolicy is Local, and no endpoint that can serve is on it"
    assert _row([NODE, selecting(), POOL, *service(local=True)]) == ("noLocalEndpoints", detail)


def test_the_missing_interface_is_named_where_links_are_known() -> None:
    objects = [NODE, selecting(interfaces=["eth1", "eth0"]), POOL, *service()]
    picture = clarion_chance.picture(objects)
    (found,) = explain.answer(picture, "web", {"n1": frozenset({"ens5"})}).services
    row = found.nodes[0]
    assert (row.rule, row.detail) == ("noInterface", "it has none of the interfaces eth0, eth1")
    (found,) = explain.answer(picture, "web", {"n1": frozenset({"eth1"})}).services
    assert found.nodes[0].admitted


def _row(objects: list[dict[str, Any]], options: Options | None = None) -> tuple[str, str]:
    (found,) = explain.answer(clarion_chance.picture(objects, options), "web").services
    row: NodeRow = found.nodes[0]
    return row.rule, row.detail


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("asleep", "none of its endpoints can serve"),
        ("hidden", "no L2Advertisement is for its pool spare"),
        ("lonely", "externalTrafficPolicy is Local, and no node that is admitted has an endpoint"),
        ("late", "it is pending: no address was given to it"),
    ],
)
def test_nobody_owns_it_because(name: str, why: str) -> None:
    ran = run("explain", name, *FROM, "-o", "json")
    assert ran.status == 1
    assert ran.data["services"][0]["why"] == why


def test_a_pool_that_holds_no_such_address_is_said() -> None:
    objects = [NODE, selecting(), *service()]
    other = clarion_chance.custom("IPAddressPool", "p", {"addresses": ["10.9.0.0/24"]})
    (found,) = explain.answer(clarion_chance.picture([*objects, other]), "web").services
    assert found.why == "10.0.0.1 is in no IPAddressPool"


def test_services_that_share_an_address_are_all_explained() -> None:
    extra = [{**service()[0], "metadata": {"name": "other"}}]
    found = explain.answer(
        clarion_chance.picture([NODE, selecting(), POOL, *service(), *extra]), "10.0.0.1"
    )
    assert [each.service for each in found.services] == ["default/other", "default/web"]
    assert not found.well


@pytest.mark.parametrize("asked", ["nothing", "10.0.0.77", "default/nothing", "\x1b[31m"])
def test_what_is_not_there_is_said(asked: str) -> None:
    ran = run("explain", asked, *FROM)
    assert ran.status == 1
    assert "no service is named" in ran.out
    assert "\x1b" not in ran.out


# ---- who waits


def test_every_pool_is_named_for_a_service_that_waits() -> None:
    data = run("explain", "late", *FROM, "-o", "json").data["services"][0]["allocation"]
    assert {row["pool"]: row["detail"] for row in data["pools"]} == {
        "tenant": "it is not for the namespace",
        "primary": "none of its IPv4 addresses is free",
        "routed": "autoAssign is off",
        "spare": "autoAssign is off",
    }
    assert data["events"] == ['Failed to allocate IP for "shop/late": no available IPs']


def test_a_service_that_would_get_an_address_is_told_which() -> None:
    """Then there is no controller."""
    objects = [NODE, selecting(), POOL, *service()]
    del objects[3]["status"]
    (found,) = explain.answer(clarion_chance.picture(objects), "web").services
    assert found.allocation is not None
    assert (found.allocation.ips, found.allocation.pool) == (("10.0.0.0",), "p")
    assert found.allocation.pools == ()


def test_without_a_valid_configuration_it_is_said() -> None:
    broken = clarion_chance.custom("IPAddressPool", "p", {"addresses": ["10.0.0.0/99"]})
    answer = explain.answer(clarion_chance.picture([NODE, broken, *service()]), "web")
    assert answer.services[0].why == "there is no valid configuration of pools and advertisements"
    assert [found.field for found in answer.remarks] == ["spec.addresses[0]"]
