"""A second judge: BIRD 2 as the router, with password, communities and BFD."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bgp_stage import ITS_AS, MY_AS, BgpStage, bgp_stage, manifest, service, up
from bird_router import BirdRouter, bird_router, missing_bird
from frr_container import missing_container
from speakers import wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
    pytest.mark.skipif(missing_bird() is not None, reason=missing_bird() or ""),
]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[BgpStage]:
    with bgp_stage(tmp_path) as found:
        # Its place is BIRD's here.
        found.router.frr.close()
        yield found


@pytest.fixture
def bird(stage: BgpStage) -> Iterator[BirdRouter]:
    more = 'password "bird-word"; bfd on;'
    node = stage.node.ip
    with bird_router(stage.router.host, my_as=MY_AS, its_as=ITS_AS, peer=node, more=more) as found:
        yield found


def says(bird: BirdRouter, command: str, *words: str) -> None:
    """Wait until its answer has all of these words."""
    wait_until(lambda: all(word in bird.say(command) for word in words), f"{words}", 30.0)


def test_session_password_communities_and_bfd(stage: BgpStage, bird: BirdRouter) -> None:
    peer = stage.router.host.ip
    stage.pool(communities=["64500:7", "large:64500:1:2"])
    stage.write("profile", manifest("BFDProfile", "watch", {}))
    stage.peer(password="bird-word", bfdProfile="watch")
    stage.write("web", *service("web", "10.77.9.1"))
    with stage.speaking() as running:
        route = "show route all 10.77.9.1/32"
        says(bird, route, "(64500,7)", "(64500, 1, 2)", "BGP.as_path: 64500")
        says(bird, route, "BGP.origin: IGP", f"via {stage.node.ip}")
        says(bird, "show bfd sessions", stage.node.ip, "Up")
        wait_until(lambda: running.metric(up(peer, "bfd")) == 1, "BFD is up here")
        wait_until(lambda: running.metric(up(peer)) == 1, "BGP is up here")
        stage.pool(communities=["64500:8"])
        says(bird, route, "(64500,8)")
        assert "64500,7" not in bird.say(route)
        stage.remove("web")
        says(bird, route, "Network not found")
        down = f'metallb_bfd_session_down_events{{peer="{peer}",vrf="default"}}'
        assert running.metric(down) == 0
        assert running.metric(up(peer)) == 1
