"""The guide's BGP documents, unchanged, against its two routers; and its scenario 4."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pyroute2 import IPRoute

from bgp_stage import BgpStage, bfd_of, bgp_stage, give, node, service, set_up, up, usual
from frr_container import missing_container
from machine import slowness
from routers import Router
from speakers import Speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
GUIDE = Path(__file__).parents[2] / "golden/guide"
OURS = "192.168.1.11"
ITS = {"router-1": "192.168.1.1", "router-2": "192.168.1.2"}
IP = "10.0.100.1"
ROUTE = f"{IP}/32"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[BgpStage]:
    with bgp_stage(tmp_path, *ITS) as found:
        give(found.node, f"{OURS}/24")
        for name, address in ITS.items():
            give(found.routers[name].host, f"{address}/24")
            configure(found.routers[name], name)
        found.remove("pool")
        found.write_text("guide", (GUIDE / "metallb-bgp-ha-config.yaml").read_text())
        found.write("node", node(**{"metallb.universe.tf/speaker": "true"}))
        found.write("web", *service("web", IP))
        yield found


def configure(router: Router, name: str) -> None:
    """As the guide has its routers: AS 64501, a password each, BFD."""
    password = f"password bgp-secret-{name[-1]}"
    set_up(router, 64501, usual(OURS, password, "timers 30 90", "bfd", my_as="64512"))


def firing(running: Speaker) -> dict[str, list[str]]:
    """Return the peers for which the conditions of the guide's alerts hold just now."""
    text = (GUIDE / "metallb-alerts.yaml").read_text()
    (rules,) = (group for group in yaml.safe_load(text)["spec"]["groups"])
    wanted = {
        rule["alert"]: rule["expr"].split()[0]
        for rule in rules["rules"]
        if re.search(r"_b(gp|fd)_", rule["expr"])
    }
    page = running.get("/metrics")[1]
    return {
        alert: re.findall(rf'^{series}{{peer="([^"]*)"[^}}]*}} 0\.0$', page, re.MULTILINE)
        for alert, series in wanted.items()
    }


def die(stage: BgpStage, name: str) -> None:
    """Turn a router's power off."""
    router = stage.routers[name]
    stage.topology.unplug([router.host])
    router.frr.close()


def come_back(stage: BgpStage, name: str) -> None:
    """Turn it on: it has forgotten all, as nothing was saved."""
    router = stage.routers[name]

    def forget() -> None:
        with IPRoute() as netlink:
            netlink.flush_routes(proto=186)

    router.host.namespace.run(forget)
    stage.topology.plug([router.host])
    for daemon in ("zebra", "bfdd", "bgpd"):
        router.frr.start(daemon)
    configure(router, name)


def seconds_until(running: Speaker, value: float, peer: str) -> float:
    began = time.monotonic()
    wait_until(lambda: running.metric(up(peer)) == value, f"{peer} is {value}", 30.0)
    return time.monotonic() - began


def watched(stage: BgpStage, running: Speaker, name: str) -> bool:
    """Tell whether both sides have BFD up."""
    there = bfd_of(stage.routers[name], OURS).get("status") == "up"
    return there and running.metric(up(ITS[name], "bfd")) == 1


def test_the_guides_documents_and_its_scenario_4(stage: BgpStage) -> None:
    with stage.speaking() as running:
        for name in ITS:
            stage.learns(ROUTE, name, OURS)
            route = stage.routers[name].route(ROUTE)
            assert route is not None
            (path,) = route["paths"]
            assert path["community"]["string"] == "64512:100"
            assert (path["origin"], path["aspath"]["string"]) == ("IGP", "64512")
            neighbor = stage.routers[name].neighbor(OURS)
            assert neighbor["bgpTimerHoldTimeMsecs"] == 90_000
            assert neighbor["bgpTimerKeepAliveIntervalMsecs"] == 30_000
        wait_until(lambda: all(watched(stage, running, name) for name in ITS), "BFD is up")
        wait_until(lambda: not any(firing(running).values()), "no alert")
        die(stage, "router-1")
        down = seconds_until(running, 0, ITS["router-1"])
        assert firing(running)["MetalLBBGPSessionDown"] == [ITS["router-1"]]
        assert stage.routers["router-2"].next_hops(ROUTE) == {OURS}
        come_back(stage, "router-1")
        again = seconds_until(running, 1, ITS["router-1"])
        stage.learns(ROUTE, "router-1", OURS)
        assert running.metric(up(ITS["router-2"])) == 1
        assert stage.routers["router-2"].neighbor(OURS)["connectionsDropped"] == 0
        print(f"router-1 dies: session_up 0 after {down:.2f} s, 1 {again:.2f} s after its return")
        # 2 and 10 s on a machine that has nothing else to do.
        assert (down < 5.0 * slowness(), again < 20.0 * slowness()) == (True, True)
