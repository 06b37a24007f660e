"""A cluster's objects mutated by their structure: JSON that is whole, with anything in any place.

Mutations of the text seldom get past the parser of JSON. Here an input is a list of changes, three
bytes each: of which object, at which place in it, and what is there instead.
"""

import copy
import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import Any

from kube.api.reflector import Reflector, Resource
from kube.problem import Problem
from kube.snapshot import Reading, assemble
from plan.planner import Planner
from plan.release import Options

NAMESPACE, NODE = "metallb-system", "n1"
MOST_CHANGES = 8
LONGEST = 3 * MOST_CHANGES
_SELECTORS = [
    {
        "matchLabels": {"side": "a"},
        "matchExpressions": [{"key": "rack", "operator": "In", "values": ["a", "b"]}],
    }
]
OBJECTS: dict[str, dict[str, Any]] = {
    "Service": {
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": "u",
            "resourceVersion": "7",
            "labels": {"side": "a"},
            "annotations": {"metallb.io/loadBalancerIPs": "192.0.2.10"},
        },
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerClass": None,
            "loadBalancerIP": "192.0.2.10",
            "externalTrafficPolicy": "Local",
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.10"}, {"ip": "2001:db8::10"}]}},
    },
    "EndpointSlice": {
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["10.1.0.1"],
                "nodeName": NODE,
                "conditions": {"ready": True, "serving": True, "terminating": False},
            },
            {"addresses": ["10.1.0.2"], "nodeName": "n2", "conditions": {"ready": False}},
        ],
    },
    "Node": {
        "metadata": {"name": NODE, "labels": {"rack": "a", "side": "a"}},
        "spec": {"unschedulable": False},
        "status": {"conditions": [{"type": "NetworkUnavailable", "status": "False"}]},
    },
    "Namespace": {"metadata": {"name": "shop", "labels": {"side": "a"}}},
    "IPAddressPool": {
        "metadata": {"name": "first", "namespace": NAMESPACE, "labels": {"side": "a"}},
        "spec": {
            "addresses": ["192.0.2.0/28", "2001:db8::1-2001:db8::ff"],
            "autoAssign": True,
            "avoidBuggyIPs": False,
            "serviceAllocation": {
                "priority": 50,
                "namespaces": ["shop"],
                "namespaceSelectors": _SELECTORS,
                "serviceSelectors": _SELECTORS,
            },
        },
    },
    "L2Advertisement": {
        "metadata": {"name": "l2", "namespace": NAMESPACE},
        "spec": {
            "ipAddressPools": ["first"],
            "ipAddressPoolSelectors": _SELECTORS,
            "nodeSelectors": _SELECTORS,
            "serviceSelectors": _SELECTORS,
            "interfaces": ["eth0"],
        },
    },
}
KINDS = tuple(OBJECTS)
_WHOLE = {kind: json.dumps(found) for kind, found in OBJECTS.items()}
GONE = object()
INSTEAD: tuple[Any, ...] = (
    *(GONE, None, True, False, 0, -1, 1 << 63, 1e308, "", "x", [], {}, [None], {"": None}),
    *("a\tb\n", "\ud800", "é" * 300, "192.0.2.0/33", "10.0.0.9-10.0.0.1", "0.0.0.0/0", "::/0"),
    *("fe80::1%eth0", "::ffff:192.0.2.1", "192.0.2.10, 192.0.2.11", "2001:db8::10", "ClusterIP"),
    *("NotIn", "Exists", [[]], [{}], {"a": {"a": {"a": []}}}, ["x"] * 50, {"rack": 1}),
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of an object: what holds it, and under which key or index."""
    keys = tuple(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def changed(data: bytes) -> dict[str, str]:
    """Give the objects that the input changes, as JSON, after all its changes."""
    touched: dict[str, Any] = {}
    for at in range(0, min(len(data), LONGEST) - 2, 3):
        kind, place, instead = KINDS[data[at] % len(KINDS)], data[at + 1], data[at + 2]
        if kind not in touched:
            touched[kind] = json.loads(_WHOLE[kind])
        if places := list(_places(touched[kind])):
            _change(*places[place % len(places)], INSTEAD[instead % len(INSTEAD)])
    return {kind: json.dumps(found) for kind, found in touched.items()}


def _change(holder: Any, key: Any, value: Any) -> None:
    if value is GONE:
        del holder[key]
    else:
        holder[key] = copy.deepcopy(value)


def seeds() -> list[bytes]:
    """Return no change, each kind of value somewhere, and changes of every object."""
    values = [bytes((number % 6, 7 * number % 256, number)) for number in range(len(INSTEAD))]
    return [b"", *values, b"".join(values[:MOST_CHANGES])]


def _watched(kind: str, text: str) -> Reflector:
    """A watch that has brought this object."""
    reflector = Reflector(Resource(kind, "/"), random.Random(1))
    reflector.begin_page(b'{"metadata":{"resourceVersion":"1"}}')
    reflector.end_page()
    reflector.event(f'{{"type": "ADDED", "object": {text}}}'.encode())
    return reflector


@cache
def _whole(kind: str) -> Reflector:
    reflector = _watched(kind, _WHOLE[kind])
    assert len(reflector.objects) == 1
    assert not reflector.problems
    return reflector


def cluster(data: bytes, check: Callable[[Problem], None]) -> None:
    """Bring the objects through the watch, the index and the planner, which give problems only."""
    texts = changed(data)
    views: dict[tuple[str, str, str], Any] = {}
    for kind in KINDS:
        reflector = _watched(kind, texts[kind]) if kind in texts else _whole(kind)
        for problem in chain.from_iterable(reflector.problems.values()):
            check(problem)
        views |= {(kind, *key): view for key, view in reflector.objects.items()}
    snapshot, problems = assemble([Reading(views)], NAMESPACE)
    planner = Planner(Options(NODE))
    planner.take(snapshot, None)
    while planner.pending:
        planner.advance()
    for problem in (*problems, *planner.problems()):
        check(problem)
    for plan in planner.plans.values():
        assert all(isinstance(ip, IPv4Address | IPv6Address) for ip in plan.ips)
