"""How long things take, on the clock: a cold start, and how soon the metric tells of a session."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from pyroute2 import IPRoute

from bgp_stage import ITS_AS, BgpStage, bfd_of, bgp_stage, manifest, service, set_up, up, usual
from speakers import Speaker, wait_until

RUNS = 5
BGP = 186
"""The protocol of routes that come from BGP, as in linux/rtnetlink.h."""
PREFIX = "10.77.9.1/32"
WITHIN = 60.0


def of_a_cold_start(folder: Path) -> dict[str, Any]:
    """Return the seconds from two containers that start to the router's kernel, those of them that
    were over when the speaker wrote its first line, and how many sessions it took."""
    found, starts, sessions = [], [], set()
    for number in range(RUNS):
        (own := folder / f"cold-{number}").mkdir()
        with bgp_stage(own) as stage:
            _watching(stage)
            stage.container.kill()
            began = time.monotonic()
            stage.container.start()
            with stage.speaking() as running:
                running.wait_for("start", timeout=WITHIN)
                starts.append(time.monotonic() - began)
                stage.learns(PREFIX)
                found.append(time.monotonic() - began)
                _bfd_is_up(stage)
                sessions.add(stage.router.neighbor(stage.node.ip)["connectionsEstablished"])
    figures = {"median_s": median(found), "worst_s": max(found), "of_it_start_s": median(starts)}
    return {**figures, "sessions": sorted(sessions)}


def of_the_metric(folder: Path) -> dict[str, Any]:
    """Return the seconds until `metallb_bgp_session_up` is 0 after a router's power went off, with
    BFD 300 x 3, and until it is 1 after the router's daemons run again; the worst of several."""
    downs, ups = [], []
    (own := folder / "metric").mkdir()
    with bgp_stage(own) as stage:
        _watching(stage)
        with stage.speaking() as running:
            for _ in range(RUNS):
                stage.learns(PREFIX)
                _shows(running, stage, 1)
                _bfd_is_up(stage)
                downs.append(_seconds(lambda: _die(stage), lambda: _shows(running, stage, 0)))
                ups.append(_seconds(lambda: _return(stage), lambda: _shows(running, stage, 1)))
    return {"down_s": max(downs), "up_s": max(ups), "runs": RUNS}


def _watching(stage: BgpStage) -> None:
    stage.write("profile", manifest("BFDProfile", "watch", {}))
    stage.peer(bfdProfile="watch")
    stage.write("web", *service("web", "10.77.9.1"))
    set_up(stage.router, ITS_AS, usual(stage.node.ip, "bfd"))


def _bfd_is_up(stage: BgpStage) -> None:
    def seen() -> bool:
        return bool(bfd_of(stage.router, stage.node.ip).get("status") == "up")

    wait_until(seen, "BFD is up", WITHIN)


def _shows(running: Speaker, stage: BgpStage, value: int) -> None:
    series = up(stage.router.host.ip)
    wait_until(lambda: running.metric(series) == value, f"{series} is {value}", WITHIN)


def _seconds(first: Callable[[], None], then: Callable[[], None]) -> float:
    first()
    began = time.monotonic()
    then()
    return time.monotonic() - began


def _die(stage: BgpStage) -> None:
    """Turn the router's power off."""
    stage.topology.unplug([stage.router.host])
    stage.router.frr.close()


def _return(stage: BgpStage) -> None:
    """Turn it on: it has forgotten all, as nothing was saved."""

    def forget() -> None:
        with IPRoute() as netlink:
            netlink.flush_routes(proto=BGP)

    stage.router.host.namespace.run(forget)
    stage.topology.plug([stage.router.host])
    for daemon in ("zebra", "bfdd", "bgpd"):
        stage.router.frr.start(daemon)
    set_up(stage.router, ITS_AS, usual(stage.node.ip, "bfd"))
