"""Passwords of sessions: by both ways, changed at run time, wrong, and never told to anybody."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgp_stage import COMES_UP, ITS_AS, BgpStage, bgp_stage, secret, service, set_up, up, usual
from frr_container import missing_container
from speakers import Speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
WORDS = ("inline-S3same", "secret-S3same", "rotated-S3same", "spaced S3same")
PASSWORD_OF_ALL = "S3same"
REFERENCE = {"name": "tor-secret", "namespace": "metallb-system"}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[BgpStage]:
    with bgp_stage(tmp_path) as found:
        found.write("web", *service("web", "10.77.9.1"))
        yield found


def expects(stage: BgpStage, password: str) -> None:
    """Have the router ask for a password."""
    set_up(stage.router, ITS_AS, usual(stage.node.ip, f"password {password}"))


def outputs(stage: BgpStage, running: Speaker) -> dict[str, str]:
    """Return all that people and programs can read of the speaker and of its engine."""
    pids = [running.process.pid, *stage.container.pids().values(), stage.container.first]
    said = {path: running.get(path)[1] for path in ("/metrics", "/readyz", "/healthz")}
    said["log"] = stage.log.read_text()
    said["engine's log"] = "\n".join(stage.container.lines())
    for pid in pids:
        for part in ("cmdline", "environ"):
            said[f"{part} of {pid}"] = Path(f"/proc/{pid}/{part}").read_text(errors="replace")
    for path in stage.container.folder.rglob("*"):
        if path.is_file() and os.stat(path).st_size:
            said[str(path)] = path.read_text(errors="replace")
    return said


def refusals(running: Speaker) -> list[str]:
    """Return what was said of the Secret that cannot be a password."""
    said = [str(line["problem"]) for line in running.events("source")]
    return [text for text in said if "passwordSecret" in text and "invalid characters" in text]


def joins(stage: BgpStage, running: Speaker) -> None:
    """Wait until the session is up on both sides, so that its end can be seen."""
    wait_until(lambda: stage.router.established(stage.node.ip), "the session is up", COMES_UP)
    stage.learns("10.77.9.1/32")
    session = up(stage.router.host.ip)
    wait_until(lambda: running.metric(session) == 1, "the session is up here")


def test_passwords_by_every_way_and_told_to_nobody(stage: BgpStage) -> None:
    inline, by_secret, rotated, spaced = WORDS
    peer = up(stage.router.host.ip)
    expects(stage, inline)
    stage.peer(password=inline)
    with stage.speaking() as running:
        joins(stage, running)
        stage.write("secret", secret("tor-secret", by_secret))
        stage.peer(passwordSecret=REFERENCE)
        expects(stage, by_secret)
        joins(stage, running)
        stage.write("secret", secret("tor-secret", rotated))
        wait_until(lambda: running.metric(peer) == 0, "a session with a wrong password ends")
        refused = running.get("/metrics")[1]
        assert running.metric("clarion_bgp_refused_lines_total") == 0
        # No word of the engine: the configuration is refused, and the last good one stays.
        stage.write("secret", secret("tor-secret", spaced))
        wait_until(lambda: refusals(running), "a word about it")
        for name, text in outputs(stage, running).items():
            assert PASSWORD_OF_ALL not in text, name
        assert PASSWORD_OF_ALL not in refused
        stage.write("secret", secret("tor-secret", rotated))
        expects(stage, rotated)
        joins(stage, running)
        status, _ = running.stop()
        assert status == 0
    assert PASSWORD_OF_ALL not in stage.log.read_text()
    assert PASSWORD_OF_ALL not in "\n".join(stage.container.lines())
