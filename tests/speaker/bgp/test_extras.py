"""`bgpextras` through a whole speaker: what a node takes of a router, what the engine refuses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bgp_stage import COMES_UP, ITS_AS, MY_AS, BgpStage, Manifest, bgp_stage, service, set_up, usual
from frr_container import missing_container
from speakers import Speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
OURS, THEIRS = "10.77.9.1/32", "172.16.1.1/32"
STALE = "metallb_k8s_client_config_stale_bool"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[BgpStage]:
    """A router that announces a route of its own, which nobody is to take unasked."""
    with bgp_stage(tmp_path) as found:
        found.peer()
        more = ["no bgp network import-check", "address-family ipv4 unicast", f"network {THEIRS}"]
        set_up(found.router, ITS_AS, usual(found.node.ip), [*more, "exit-address-family"])
        found.write("web", *service("web", "10.77.9.1"))
        yield found


def config_map(text: str) -> Manifest:
    about = {"name": "bgpextras", "namespace": "metallb-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"extras": text}}


def accepting(stage: BgpStage, *more: str) -> str:
    """Return MetalLB's own example: what has the node take every route of the router."""
    tor = stage.router.host.ip
    lines = ("ip prefix-list all permit 0.0.0.0/0 le 32", f"route-map {tor}-in permit 20")
    return "\n".join([*lines, "  match ip address prefix-list all", *more, ""])


def takes(stage: BgpStage) -> bool:
    """Tell whether the node's kernel has the router's route."""
    run = stage.node.namespace.run
    return run(lambda: "172.16.1.1" in _routes())


def _routes() -> str:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        return " ".join(str(each.get_attr("RTA_DST")) for each in netlink.get_routes(family=2))


def complaints(running: Speaker) -> list[str]:
    lines = running.events("source")
    return [line["problem"] for line in lines if "bgpextras" in line["problem"]]


def test_routes_are_taken_while_the_lines_are_there(stage: BgpStage) -> None:
    with stage.speaking() as running:
        stage.learns(OURS)
        assert not takes(stage)
        stage.write("extras", config_map(accepting(stage)))
        wait_until(lambda: takes(stage), "the route is taken", COMES_UP)
        # A line that the engine does not know: all of what is new goes, and nothing of what was.
        stage.write("extras", config_map(accepting(stage, "!", f"router bgp {MY_AS}", " oh dear")))
        wait_until(lambda: complaints(running), "a complaint")
        (said,) = complaints(running)
        wait_until(lambda: running.metric(STALE) == 1, "it is stale")
        assert said.startswith("error: ConfigMap metallb-system/bgpextras: data.extras: line 6: ")
        assert "bgpd does not know it" in said
        # One that is never typed: not even what else has changed is in force.
        stage.write("extras", config_map("do write"))
        wait_until(lambda: running.metric(STALE) == 1, "it is stale")
        wait_until(lambda: "line 1: is a command" in complaints(running)[-1], "a complaint")
        assert takes(stage)
        stage.remove("extras")
        wait_until(lambda: not takes(stage), "it is taken no more", COMES_UP)
        wait_until(lambda: running.metric(STALE) == 0, "it is not stale")
        assert stage.router.next_hops(OURS) == {stage.node.ip}
        assert stage.dropped() == 0


def test_what_one_speaker_typed_the_next_one_takes_back(stage: BgpStage) -> None:
    stage.write("extras", config_map(accepting(stage, "neighbor x password sesame")))
    with stage.speaking() as running:
        wait_until(lambda: complaints(running), "a complaint", COMES_UP)
        stage.write("extras", config_map(accepting(stage)))
        wait_until(lambda: takes(stage), "the route is taken", COMES_UP)
        assert "sesame" not in stage.log.read_text()
        running.process.kill()
        running.process.wait()
    stage.remove("extras")
    assert b"sesame" not in (stage.container.folder / "extras").read_bytes()
    assert (stage.container.folder / "extras").stat().st_mode & 0o777 == 0o600
    with stage.speaking():
        wait_until(lambda: not takes(stage), "it is taken no more", COMES_UP)
        stage.learns(OURS)
    assert stage.dropped() == 0
