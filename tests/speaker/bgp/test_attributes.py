"""What routers are told, changed at run time: attributes, aggregates, who hears of what."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from bgp_stage import COMES_UP, BgpStage, Manifest, bgp_stage, manifest, node, service
from frr_container import missing_container
from speakers import wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
POOL = manifest("IPAddressPool", "pool", {"addresses": ["10.77.9.0/24"]})
ALIASES = manifest(
    "Community",
    "ours",
    {
        "communities": [
            {"name": "late", "value": "64500:9"},
            {"name": "big", "value": "large:1:2:3"},
        ]
    },
)
ONE, TWO = "10.77.9.1/32", "10.77.9.130/32"
BLUE = {"matchLabels": {"colour": "blue"}}
Told = dict[str, tuple[str, str]]
"""Prefix to communities and large communities."""


def ad(name: str, **spec: Any) -> Manifest:
    return manifest("BGPAdvertisement", name, {"ipAddressPools": ["pool"], **spec})


@dataclass(frozen=True)
class Step:
    """A configuration, and all that each router is to know then."""

    what: str
    ads: tuple[Manifest, ...]
    left: Told
    right: Told
    labels: tuple[str, str] = ("blue", "red")
    """Of the node and of the service `two`."""


PLAIN: Told = {ONE: ("", ""), TWO: ("", "")}
BOTH: Told = {"10.77.9.0/25": ("", ""), "10.77.9.128/25": ("", "")}
STEPS = (
    Step(
        "communities, well-known and large ones and aliases",
        (ad("a", communities=["64500:7", "65535:65281", "large:64500:1:4294967295", "late"]),),
        dict.fromkeys(PLAIN, ("64500:7 64500:9 no-export", "64500:1:4294967295")),
        dict.fromkeys(PLAIN, ("64500:7 64500:9 no-export", "64500:1:4294967295")),
    ),
    Step(
        "each peer its own, and a union",
        (
            ad("a", communities=["64500:1"], peers=["left"]),
            ad("b", communities=["64500:2"], peers=["right"]),
            ad("c", communities=["64500:3", "big"], peers=["right"]),
        ),
        dict.fromkeys(PLAIN, ("64500:1", "")),
        dict.fromkeys(PLAIN, ("64500:2 64500:3", "1:2:3")),
    ),
    Step(
        "aggregates, and their parts beside them",
        (ad("a", aggregationLength=25), ad("b", peers=["left"], communities=["64500:4"])),
        {**BOTH, **dict.fromkeys(PLAIN, ("64500:4", ""))},
        BOTH,
    ),
    Step("services with a label", (ad("a", serviceSelectors=[BLUE]),), {}, {}),
    Step(
        "a service gets the label",
        (ad("a", serviceSelectors=[BLUE]),),
        {TWO: ("", "")},
        {TWO: ("", "")},
        ("blue", "blue"),
    ),
    Step("the node loses it", (ad("a", nodeSelectors=[BLUE]),), {}, {}, ("red", "red")),
    Step("and gets it back", (ad("a", nodeSelectors=[BLUE], peers=["left", "no"]),), PLAIN, {}),
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[BgpStage]:
    with bgp_stage(tmp_path, "left", "right") as found:
        found.write("one", *service("one", "10.77.9.1"))
        found.write("aliases", ALIASES)
        found.peer("left")
        found.peer("right")
        yield found


def told(stage: BgpStage, name: str) -> Told:
    """Return all that a router has heard."""
    router = stage.routers[name]
    table = json.loads(router.frr.say("bgpd", "enable", "show bgp ipv4 unicast json"))
    found: Told = {}
    for prefix in table.get("routes", {}):
        route = router.route(prefix)
        if route is not None:
            (path,) = route["paths"]
            each = (
                path.get(kind, {}).get("string", "") for kind in ("community", "largeCommunity")
            )
            small, large = each
            found[str(ip_network(prefix))] = (small, large)
    return found


def hears(stage: BgpStage, what: str, wanted: dict[str, Told]) -> None:
    """Wait until each router knows exactly what is wanted."""
    wait_until(
        lambda: {name: told(stage, name) for name in wanted} == wanted,
        f"{what}: {wanted}",
        COMES_UP,
    )


def test_every_change_is_told_exactly_and_resets_nothing(stage: BgpStage) -> None:
    stage.write("pool", POOL, *STEPS[0].ads)
    with stage.speaking() as running:
        for step in STEPS:
            of_node, of_service = step.labels
            stage.write("node", node(colour=of_node))
            stage.write("two", *service("two", "10.77.9.130", labels={"colour": of_service}))
            stage.write("pool", POOL, *step.ads)
            wanted = {"left": step.left, "right": step.right}
            hears(stage, step.what, wanted)
        assert (stage.dropped("left"), stage.dropped("right")) == (0, 0)
        assert running.metric("clarion_bgp_refused_lines_total") == 0
        # A peer's own selector: the node that loses the label has no session with it.
        stage.peer("left", nodeSelectors=[BLUE])
        stage.write("node", node(colour="red"))
        wait_until(lambda: not stage.routers["left"].established(stage.node.ip), "no session")
        stage.write("node", node(colour="blue"))
        wait_until(lambda: stage.routers["left"].established(stage.node.ip), "again", COMES_UP)
        assert stage.dropped("right") == 0
