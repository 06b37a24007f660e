"""A thousand services at once, a thousand changes; and how long one takes."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from bgp_stage import BgpStage, Manifest, bgp_stage, manifest, service
from frr_container import missing_container
from machine import slowness
from routers import Router
from speakers import Speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
MANY = 1000
BGP = 186
"""The protocol of routes that come from BGP, as in linux/rtnetlink.h."""
COLOURS = ("red", "blue", "green")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[BgpStage]:
    with bgp_stage(tmp_path) as found:
        found.write("pool", manifest("IPAddressPool", "pool", {"addresses": ["10.78.0.0/16"]}))
        ads = [
            manifest(
                "BGPAdvertisement",
                colour,
                {
                    "ipAddressPools": ["pool"],
                    "communities": [f"64500:{number}"],
                    "serviceSelectors": [{"matchLabels": {"colour": colour}}],
                },
            )
            for number, colour in enumerate(COLOURS)
        ]
        found.write("ads", *ads)
        found.peer()
        yield found


def ip(number: int) -> str:
    return f"10.78.{number // 250}.{number % 250 + 1}"


def write(stage: BgpStage, colours: dict[int, str]) -> None:
    """Write all services in one file."""
    objects: list[Manifest] = []
    for number, colour in colours.items():
        objects += service(f"web-{number}", ip(number), labels={"colour": colour})
    stage.write("web", *objects)


def in_kernel(router: Router) -> int:
    """Return how many routes the router's kernel has from BGP."""

    def count() -> int:
        with IPRoute() as netlink:
            return len(list(netlink.get_routes(proto=BGP, family=2)))

    return router.host.namespace.run(count)


def one_more(stage: BgpStage, running: Speaker, number: int) -> float:
    """Return the seconds from the plan to the router's kernel."""
    name = f"one-{number}"
    stage.write(name, *service(name, ip(number), labels={"colour": "red"}))
    running.wait_for("announce", service=f"default/{name}")
    began = time.monotonic()
    stage.learns(f"{ip(number)}/32")
    return round(time.monotonic() - began, 3)


def test_a_thousand_services_and_a_thousand_changes(stage: BgpStage) -> None:
    chance = random.Random(7)
    router = stage.router
    with stage.speaking() as running:
        stage.write("first", *service("first", "10.78.200.1", labels={"colour": "red"}))
        stage.learns("10.78.200.1/32")
        times = [one_more(stage, running, number) for number in range(3)]
        print("one service, from planned to the router's kernel:", times)
        typed = running.metric("clarion_bgp_lines_total")
        assert typed is not None
        write(stage, dict.fromkeys(range(10, MANY + 10), "red"))
        wait_until(
            lambda: (running.metric("clarion_bgp_lines_total") or 0) >= typed + MANY, "typed"
        )
        began = time.monotonic()
        wait_until(lambda: in_kernel(router) == MANY + 4, "all routes", 30.0)
        took = time.monotonic() - began
        print(f"{MANY} services are in the router's kernel {took:.2f} s after they were typed")
        left = [number for number in range(10, MANY + 10) if chance.random() < 0.7]
        colours = {number: chance.choice(COLOURS) for number in left}
        write(stage, colours)
        wait_until(lambda: in_kernel(router) == len(colours) + 4, "those that are left", 30.0)
        assert stage.dropped() == 0
        assert router.neighbor(stage.node.ip)["connectionsEstablished"] == 1
        wait_until(lambda: _communities(router) == _wanted(colours), "their communities", 30.0)
        assert running.metric("clarion_bgp_refused_lines_total") == 0
        assert running.metric("clarion_bgp_comparisons_total") == 2
        limit = slowness()
        assert (took < 5.0 * limit, min(times) < limit) == (True, True)


def _wanted(colours: dict[int, str]) -> dict[str, int]:
    found = {f"64500:{number}": 0 for number in range(len(COLOURS))}
    for colour in (*colours.values(), *["red"] * 4):
        found[f"64500:{COLOURS.index(colour)}"] += 1
    return found


def _communities(router: Router) -> dict[str, int]:
    """Return how many routes carry each community."""
    said = {
        f"64500:{number}": router.frr.say(
            "bgpd", "enable", f"show bgp ipv4 unicast community 64500:{number}"
        )
        for number in range(len(COLOURS))
    }
    return {name: text.count("10.78.") for name, text in said.items()}
