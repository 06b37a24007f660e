"""The page in a real browser: it follows a failover, and an enemy's name stays a name."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

import clarion_peer
from browser import browser, missing_browser
from netns import Host, missing_right
from netnslab.machines.topology import Topology
from small_ring import NODES, small_ring, three_nodes
from speakers import MANIFEST, VIP, Speaker, wait_until

REASON = missing_right() or missing_browser()
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]
SERVICES = {VIP: "web", "10.77.9.2": "api", "10.77.9.3": "dns", "10.77.9.4": "mail"}
EVIL = "x\"><img src=x onerror=document.title='owned'><b>"
"""Of a gossip member: whoever has the key names it so."""
FOLLOWS_WITHIN = 15.0
PICTURE = os.environ.get("CLARION_PICTURE", "")
"""Where a screenshot is to go; the one of docs is made so."""


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with three_nodes() as made:
        yield made


@pytest.fixture
def ring(topology: Topology, tmp_path: Path) -> Iterator[dict[str, Speaker]]:
    pool, ad, service = MANIFEST.split("---\n", 2)
    services = [service.format(name=name, ip=ip) for ip, name in SERVICES.items()]
    manifests = "---\n".join([pool.format(), ad.format(), *services])
    with small_ring(topology, tmp_path, manifests) as running:
        yield running


def text(driver: Chrome, section: str) -> str:
    """Return what one reads there now; the page may just be replaced, so by one script."""
    script = "return document.getElementById(arguments[0])?.innerText ?? ''"
    return str(driver.execute_script(script, section))


def owner_shown(driver: Chrome) -> str:
    """Return who owns the IP, by the page."""
    rows = [line.split() for line in text(driver, "ips").splitlines() if VIP in line]
    return rows[0][2] if rows and len(rows[0]) > 2 else ""


def visit(driver: Chrome, host: Host) -> None:
    driver.get(f"http://{host.ip}:7472/")


def complaints(driver: Chrome) -> list[str]:
    """Return what the browser found wrong with the page, its policy included.

    Not what was late: a page that does not come in time is asked for again.
    """
    found = driver.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in found if entry["source"] != "network"]


def test_the_page_follows_a_power_off(
    topology: Topology, ring: dict[str, Speaker], tmp_path: Path
) -> None:
    def look() -> None:
        with browser(tmp_path) as driver:
            visit(driver, topology.nodes[NODES[0]])
            owner = wait_until(lambda: owner_shown(driver), "somebody owns it", FOLLOWS_WITHIN)
            watcher = next(name for name in NODES if name != owner)
            visit(driver, topology.nodes[watcher])
            wait_until(lambda: owner_shown(driver) == owner, "they agree", FOLLOWS_WITHIN)
            driver.execute_script("window.same = true")
            topology.take_out([topology.nodes[owner]])
            wait_until(lambda: owner_shown(driver) not in ("", owner), "the heir", FOLLOWS_WITHIN)
            wait_until(
                lambda: f"verdict: {owner}'s eth0 is gone" in text(driver, "decisions"),
                "it says why",
                FOLLOWS_WITHIN,
            )
            # It was never loaded anew, and nothing of it was refused.
            assert driver.execute_script("return window.same") is True
            assert complaints(driver) == []
            if PICTURE:
                driver.save_screenshot(PICTURE)

    topology.client.namespace.run(look)


def test_an_enemys_name_is_a_name(
    topology: Topology, ring: dict[str, Speaker], tmp_path: Path
) -> None:
    """A holder of the key may name itself as it likes."""
    enemy, node = topology.observer, topology.nodes[NODES[0]]
    command = [
        *(sys.executable, clarion_peer.__file__, "-name", EVIL, "-bind", enemy.ip),
        *("-secret-file", str(tmp_path / "secretkey")),
    ]
    peer = enemy.namespace.start(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def look() -> None:
        with browser(tmp_path) as driver:
            visit(driver, node)
            wait_until(lambda: EVIL in text(driver, "ring"), "it is shown", FOLLOWS_WITHIN)
            images = driver.execute_script("return document.querySelectorAll('img, b').length")
            assert (images, driver.title) == (0, f"Clarion on {NODES[0]}")
            assert complaints(driver) == []

    try:
        order = json.dumps({"id": 1, "do": "join", "addresses": [f"{node.ip}:7946"]})
        assert peer.stdin is not None
        peer.stdin.write(order.encode() + b"\n")
        peer.stdin.flush()
        topology.client.namespace.run(look)
    finally:
        peer.kill()
        peer.communicate()


def test_a_page_whose_speaker_is_gone_is_shown_as_old(
    topology: Topology, ring: dict[str, Speaker], tmp_path: Path
) -> None:
    def look() -> None:
        with browser(tmp_path) as driver:
            visit(driver, topology.nodes[NODES[0]])
            stale = "return document.body.className"
            assert driver.execute_script(stale) == ""
            ring[NODES[0]].process.kill()
            wait_until(lambda: driver.execute_script(stale) == "stale", "old", FOLLOWS_WITHIN)
            assert VIP in text(driver, "ips")

    topology.client.namespace.run(look)
