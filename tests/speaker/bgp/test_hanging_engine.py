"""An engine that hangs: it is said, layer 2 answers meanwhile, and all is right afterwards."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgp_stage import ITS_AS, BgpStage, bgp_stage, manifest, service, set_up, usual
from frr_container import missing_container
from speaker.bgp.routing import NO_ENGINE
from speakers import ask, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
HUNG = 'clarion_bgp_engine{state="hung"}'


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[BgpStage]:
    with bgp_stage(tmp_path) as found:
        found.write("l2", manifest("L2Advertisement", "l2", {"ipAddressPools": ["pool"]}))
        # So long that a session outlives its engine's rest.
        found.peer(holdTime="90s")
        set_up(found.router, ITS_AS, usual(found.node.ip, "timers 30 90"))
        found.write("web-1", *service("web-1", "10.77.9.1"))
        yield found


def answers(stage: BgpStage) -> set[str | None]:
    """Return who says by ARP that he has the services' addresses."""
    return {ask(stage.topology.observer, ip) for ip in ("10.77.9.1", "10.77.9.2")}


def test_bgpd_hangs_and_thaws(stage: BgpStage) -> None:
    with stage.speaking() as running:
        stage.learns("10.77.9.1/32")
        wait_until(lambda: running.get("/readyz") == (200, "ok\n"), "ready")
        stage.container.signal("bgpd", signal.SIGSTOP)
        try:
            wait_until(lambda: running.metric(HUNG) == 1, "said to hang", 30.0)
            # It stays ready: layer 2 works.
            assert running.get("/readyz") == (200, f"ok; {NO_ENGINE}: hung\n")
            stage.write("web-2", *service("web-2", "10.77.9.2"))
            running.wait_for("announce", service="default/web-2", protocol="bgp")
            wait_until(lambda: answers(stage) == {stage.node.mac}, "layer 2 answers for both")
            stage.remove("web-1")
            running.wait_for("withdraw", service="default/web-1", protocol="bgp")
        finally:
            stage.container.signal("bgpd", signal.SIGCONT)
        stage.learns("10.77.9.2/32")
        stage.forgets("10.77.9.1/32")
        wait_until(lambda: running.get("/readyz") == (200, "ok\n"), "ready again")
        assert running.metric(HUNG) == 0
        assert stage.dropped() == 0
