"""The whole speaker as a process in a network namespace: what an operator and a client see."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from link.mac import parse_mac
from machine import slowness
from netns import Host, missing_right
from ownership.contact import START_SILENCE
from speakers import MANIFEST, VIP, Speaker, ask, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]

RSS_LIMIT_KIB = 80 * 1024


@pytest.fixture
def lone(hosts: dict[str, Host], source: Path, log: Path) -> Iterator[Speaker]:
    """A speaker without gossip: it announces at once."""
    with speaker(hosts["node-1"], source, log=log) as running:
        running.wait_for("ready")
        yield running


def test_it_answers_counts_and_is_ready(lone: Speaker, hosts: dict[str, Host]) -> None:
    assert ask(hosts["node-2"], VIP) == hosts["node-1"].mac
    assert ask(hosts["node-2"], "10.77.9.2") is None
    assert lone.get("/healthz") == (200, "ok\n")
    assert lone.get("/readyz") == (200, "ok\n")
    assert lone.get("/else")[0] == 404
    assert lone.metric(f'metallb_layer2_requests_received{{ip="{VIP}"}}') == 1
    assert lone.metric(f'metallb_layer2_responses_sent{{ip="{VIP}"}}') == 1
    # The kernel keeps questions about other IPs away from the process.
    assert lone.metric('clarion_dropped_total{reason="not_announced"}') is None
    series = 'clarion_kernel_filter{family="ipv4",interface="eth0",level="exact"}'
    assert lone.metric(series) == 1
    announced = f'{{ip="{VIP}",node="node-1",protocol="layer2",service="default/web"}}'
    assert lone.metric(f"metallb_speaker_announced{announced}") == 1
    assert lone.metric(f'clarion_leader{{ip="{VIP}"}}') == 1
    reason = lone.wait_for("announce", ip=VIP)["reason"]
    assert lone.metric(f'clarion_takeover_seconds_count{{cause="{reason}"}}') == 1
    assert lone.wait_for("leader", ip=VIP)["owner"] == "node-1"
    assert parse_mac(hosts["node-1"].mac)


def test_memory_stays_under_the_limit(lone: Speaker) -> None:
    status = Path(f"/proc/{lone.process.pid}/status").read_text()
    rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    assert int(rss.split()[1]) <= RSS_LIMIT_KIB, rss


def test_sigterm_stops_answering_and_exits_with_0_within_2_s(
    lone: Speaker, hosts: dict[str, Host]
) -> None:
    status, seconds = lone.stop()
    assert (status, seconds <= 2.0 * slowness()) == (0, True)
    assert ask(hosts["node-2"], VIP) is None
    assert lone.events("withdraw")[-1]["reason"] == "leaving"


def test_an_edit_is_seen(lone: Speaker, source: Path) -> None:
    second = MANIFEST.format(name="second", ip="10.77.9.2").split("---\n", 2)[2]
    (source / "b.yaml").write_text(second)
    lone.wait_for("announce", ip="10.77.9.2")
    (source / "b.yaml").unlink()
    lone.wait_for("withdraw", ip="10.77.9.2", reason="serviceDeleted")


def test_a_broken_file_keeps_the_last_good_state_and_says_where(
    lone: Speaker, source: Path, hosts: dict[str, Host]
) -> None:
    good = (source / "a.yaml").read_text()
    (source / "a.yaml").write_text(good.replace("kind: Service\n", "kind: [Service\n"))
    problem = lone.wait_for("source")["problem"]
    assert "a.yaml:" in problem
    wait_until(lambda: lone.metric("metallb_k8s_client_config_stale_bool") == 1, "stale")
    assert ask(hosts["node-2"], VIP) == hosts["node-1"].mac
    (source / "a.yaml").write_text(good)
    wait_until(lambda: lone.metric("metallb_k8s_client_config_stale_bool") == 0, "repaired")


def test_an_ip_outside_every_pool_is_named_and_the_rest_works(
    hosts: dict[str, Host], source: Path, log: Path
) -> None:
    stray = MANIFEST.format(name="stray", ip="10.99.0.1").split("---\n", 2)[2]
    (source / "stray.yaml").write_text(stray)
    with speaker(hosts["node-1"], source, log=log) as running:
        running.wait_for("announce", ip=VIP)
        problem = running.wait_for("source")["problem"]
    for part in ("stray.yaml", "default/stray", "status.loadBalancer.ingress", "10.99.0.1"):
        assert part in problem


def test_what_is_announced_outlives_a_typing_error_in_its_pool(
    lone: Speaker, source: Path, hosts: dict[str, Host]
) -> None:
    """Until it changes itself: then nothing holds it any more."""
    stale = "metallb_k8s_client_config_stale_bool"
    lone.wait_for("announce", ip=VIP)
    manifest = (source / "a.yaml").read_text()
    mistyped = manifest.replace("10.77.9.0/24", "10.77.8.0/24")
    assert mistyped != manifest
    (source / "a.yaml").write_text(mistyped)
    problem = lone.wait_for("source")["problem"]
    assert VIP in problem
    assert "stays in force" in problem
    wait_until(lambda: lone.metric(stale) == 1, "stale")
    assert ask(hosts["node-2"], VIP) == hosts["node-1"].mac
    assert not lone.events("withdraw")
    (source / "a.yaml").write_text(mistyped.replace(VIP, "10.77.9.2"))
    lone.wait_for("withdraw", ip=VIP, reason="ipNotAllowed")
    wait_until(lambda: lone.metric(stale) == 0, "no longer stale")
    (source / "a.yaml").write_text(manifest)
    lone.wait_for("announce", ip=VIP)
    wait_until(lambda: ask(hosts["node-2"], VIP) == hosts["node-1"].mac, "answered again")


NODE = "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {}}}\n"


def test_by_majority_nothing_is_announced_without_most_of_the_nodes(
    hosts: dict[str, Host], source: Path, log: Path
) -> None:
    """A node alone: of three, of itself once the others' objects are deleted, of two."""

    def nodes(*names: str) -> None:
        (source / "nodes.yaml").write_text("".join(NODE.format(name) for name in names))

    def lacking() -> float | None:
        return running.metric("clarion_without_quorum")

    nodes("node-1", "node-2", "node-3")
    flags = ("--ml-bindaddr", hosts["node-1"].ip, "--quorum=majority")
    with speaker(hosts["node-1"], source, *flags, log=log) as running:
        running.wait_for("ready")
        wait_until(lambda: lacking() == 1, "no majority")
        assert running.get("/readyz")[0] == 200
        assert ask(hosts["node-2"], VIP) is None
        nodes("node-1")
        wait_until(lambda: ask(hosts["node-2"], VIP) == hosts["node-1"].mac, "an answer")
        assert lacking() == 0
        nodes("node-1", "node-2")
        assert running.wait_for("withdraw", ip=VIP)["reason"] == "quorum"
        assert ask(hosts["node-2"], VIP) is None
        (source / "nodes.yaml").unlink()
        problem = running.wait_for("source")["problem"]
        assert "--quorum=majority: no Node object is known" in problem


def test_contact_before_claim(hosts: dict[str, Host], source: Path, log: Path) -> None:
    """A seed that never answers holds the speaker back for three seconds, not longer."""
    gossip = ("--ml-bindaddr", hosts["node-1"].ip, "--join", hosts["node-2"].ip)
    with speaker(hosts["node-1"], source, *gossip, log=log) as running:
        running.wait_for("contact", state="held")
        assert ask(hosts["node-2"], VIP) is None
        assert running.get("/readyz")[0] == 503
        made = running.wait_for("contact", state="made")
        assert made["by"] == "silence"
        assert START_SILENCE <= made["waited"] < 2 * START_SILENCE
        wait_until(lambda: ask(hosts["node-2"], VIP) == hosts["node-1"].mac, "an answer")


def test_a_port_in_use_is_one_clear_line(
    hosts: dict[str, Host], source: Path, log: Path, tmp_path: Path
) -> None:
    host = hosts["node-1"]
    other = tmp_path / "other"
    with speaker(host, source, "--ml-bindaddr", host.ip, log=other) as first:
        first.wait_for("interface")
        for flags in ([], ["--port", "0", "--ml-bindaddr", host.ip]):
            with speaker(host, source, *flags, log=log) as second:
                assert second.process.wait(10) == 1
                fatal = second.wait_for("fatal")
                assert f"{host.ip}" in fatal["error"]
                assert "in use" in fatal["error"]
                assert "7472" in fatal["error"] or "7946" in fatal["error"]


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
def test_without_the_right_it_says_which_one_is_missing(
    hosts: dict[str, Host], source: Path
) -> None:
    source.parent.chmod(0o755)
    command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable]
    flags = ["-m", "speaker", "--source", str(source), "--node-name", "n", "--port", "0"]
    process = hosts["node-1"].namespace.start(
        [*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = process.communicate(timeout=20)[0].decode()
    fatal = [json.loads(line) for line in output.splitlines() if '"fatal"' in line]
    assert process.returncode == 1
    assert "NET_RAW" in fatal[0]["error"]
    assert "Traceback" not in output


def test_a_missing_source_folder_is_one_clear_line(
    hosts: dict[str, Host], tmp_path: Path, log: Path
) -> None:
    with speaker(hosts["node-1"], tmp_path / "nowhere", log=log) as running:
        assert running.process.wait(10) == 1
        assert "nowhere" in running.wait_for("fatal")["error"]
