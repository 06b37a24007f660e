"""What becomes of ServiceBGPStatus objects: the rules alone."""

import random

import pytest

from kube.objects.metallb import BGPStatus
from speaker.cluster.bgp_status import reconcile_routes, route_object_name, routes_of
from speaker.cluster.status import Action, Create, Delete, Write

WEB = "shop/web"
MINE, SECOND = route_object_name("a", WEB), route_object_name("a", WEB, 1)
THEIRS = route_object_name("b", WEB)


def _found(name: str, *peers: str, node: str = "a", written: bool = True) -> BGPStatus:
    status = (node, WEB) if written else ("", "/")
    return BGPStatus("metallb-system", name, node, WEB, status, peers)


@pytest.mark.parametrize(
    ("peers", "objects", "actions"),
    [
        # Announced to nobody: our own objects go.
        ((), [], []),
        ((), [_found(MINE, "r1")], [Delete(MINE)]),
        ((), [_found(MINE, written=False), _found("bgp-x", "r1")], [Delete(MINE), Delete("bgp-x")]),
        # Announced: exactly one, ours, with these peers.
        (("r1",), [], [Create(MINE), Write(MINE)]),
        (("r1",), [_found(MINE, "r1")], []),
        (("r1",), [_found(MINE, written=False)], [Write(MINE)]),
        (("r1", "r2"), [_found(MINE, "r1")], [Write(MINE)]),
        (("r1",), [_found(MINE, "r1", "r2")], [Write(MINE)]),
        (("r1", "r2"), [_found(MINE, "r1", "r2")], []),
        # Somebody has changed their order: it is ours to choose.
        (("r1", "r2"), [_found(MINE, "r2", "r1")], [Write(MINE)]),
        # Those of another node are never touched, whether we announce or not.
        ((), [_found(THEIRS, "r1", node="b")], []),
        (("r1",), [_found(THEIRS, "r1", node="b")], [Create(MINE), Write(MINE)]),
        (("r1",), [_found(MINE, "r1"), _found(THEIRS, node="b", written=False)], []),
        # One under a name that MetalLB chose is as good; a second one is not.
        (("r1",), [_found("bgp-x7k2p", "r1")], []),
        (("r2",), [_found("bgp-x7k2p", "r1")], [Write("bgp-x7k2p")]),
        (("r1",), [_found("bgp-x7k2p", "r1"), _found(MINE, "r1")], [Delete("bgp-x7k2p")]),
    ],
)
def test_a_node_keeps_one_object_while_it_has_peers(
    peers: tuple[str, ...], objects: list[BGPStatus], actions: list[Action]
) -> None:
    assert reconcile_routes("a", WEB, peers, objects) == actions


def test_an_object_whose_status_is_another_service_s_for_good_is_replaced() -> None:
    wrong = BGPStatus("metallb-system", MINE, "a", WEB, ("a", "shop/other"), ("r1",))
    actions = [Create(SECOND), Write(SECOND), Delete(MINE)]
    assert reconcile_routes("a", WEB, ("r1",), [wrong]) == actions


def test_a_name_that_is_taken_out_of_our_sight_is_not_used() -> None:
    anew = reconcile_routes("a", WEB, ("r1",), [], {MINE})
    assert anew == [Create(SECOND), Write(SECOND)]
    # It was ours all the same, and is in sight by now.
    assert reconcile_routes("a", WEB, ("r1",), [_found(MINE)], {MINE}) == [Write(MINE)]
    both = [_found(SECOND, "r1"), _found(MINE, "r1")]
    assert reconcile_routes("a", WEB, ("r1",), both, {MINE}) == [Delete(SECOND)]


def test_whatever_the_start_one_round_gives_exactly_one_object() -> None:
    rng = random.Random(7)
    for _ in range(300):
        names = rng.sample([MINE, SECOND, THEIRS, "bgp-1", "bgp-2"], rng.randrange(6))
        store = {
            name: _found(
                name,
                *rng.sample(["r1", "r2"], rng.randrange(3)),
                node="b" if name == THEIRS else rng.choice("ab"),
                written=rng.random() < 0.5,
            )
            for name in names
        }
        others = {name: found for name, found in store.items() if found.node != "a"}
        taken = others.keys()
        for action in reconcile_routes("a", WEB, ("r1",), store.values(), taken):
            match action:
                case Delete(name):
                    del store[name]
                case Create(name):
                    assert name not in store
                    store[name] = _found(name, written=False)
                case Write(name):
                    store[name] = _found(name, "r1")
        (left,) = (found for found in store.values() if found.node == "a")
        assert (left.status, left.peers) == (("a", WEB), ("r1",))
        assert {name: found for name, found in store.items() if found.node != "a"} == others
        assert reconcile_routes("a", WEB, ("r1",), store.values(), taken) == []


def test_the_status_is_the_whole_of_it() -> None:
    assert routes_of("a", WEB, ("r1", "r2")) == {
        "status": {
            "node": "a",
            "serviceName": "web",
            "serviceNamespace": "shop",
            "peers": ["r1", "r2"],
        }
    }


def test_names_are_of_node_and_service_and_fit() -> None:
    nodes, services = ("a", "b"), ("shop/web", "shop/w", "sho/pweb")
    names = {route_object_name(node, service) for node in nodes for service in services}
    assert len(names) == 6
    assert all(name.startswith("bgp-") and len(name) == 20 for name in names)
