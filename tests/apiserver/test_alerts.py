"""The alert on an API server that does not answer, raised by one that was killed."""

import shutil
from pathlib import Path

import pytest

import cluster as clusters
import netns
from cluster import NODES, service
from prometheus import Target, prometheus

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(netns.missing_right() is not None, reason=str(netns.missing_right())),
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="the package prometheus is missing"
    ),
]


def test_an_api_server_that_is_gone(apiserver_binaries: None, tmp_path: Path) -> None:
    with clusters.running(tmp_path) as made:
        made.server.apply_all(service("web", "10.77.9.1"))
        host = made.hosts[NODES[0]]
        target = Target(f"{host.ip}:7472", NODES[0])
        with prometheus(made.hosts["asker"], tmp_path / "prometheus", [target]) as watching:
            made.start(NODES[0]).wait_for("ready", 40.0)
            watching.wait_for_scrapes(target.instance)
            watching.wait_for_evaluation()
            assert "ClarionApiBehind" not in watching.raised()
            made.server.kill()
            watching.wait_for_alert("ClarionApiBehind", 60.0)
