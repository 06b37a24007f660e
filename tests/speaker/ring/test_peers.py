"""The gossip side of whole speakers: the debug table, a changed secret, a mismatched ring."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns import Host, missing_right
from speaker.ring.rekeying import SecretRefusal
from speakers import Speaker, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]


WAYS = ("sent", "received")


def gossip(hosts: dict[str, Host], name: str, secret: Path) -> list[str]:
    seeds = ",".join(host.ip for host in hosts.values())
    flags = {"ml-bindaddr": hosts[name].ip, "join": seeds, "ml-secret-key-path": str(secret)}
    return [f"--{flag}={value}" for flag, value in flags.items()]


@pytest.fixture
def pair(
    hosts: dict[str, Host], source: Path, tmp_path: Path
) -> Iterator[tuple[Speaker, Speaker, Path]]:
    secret = tmp_path / "secretkey"
    secret.write_text("a secret of more than sixteen bytes")
    one, two = hosts.values()
    flags = [gossip(hosts, host.name, secret) for host in (one, two)]
    with (
        speaker(one, source, *flags[0], log=tmp_path / "one") as first,
        speaker(two, source, *flags[1], log=tmp_path / "two") as second,
    ):
        first.wait_for("member", node="node-2", state="alive")
        second.wait_for("member", node="node-1", state="alive")
        yield first, second, secret


def debug(host: Host, node: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "speaker", "--node-name", node, "--memberlist-debug"]
    return host.namespace.run(
        subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
    )


def test_memberlist_debug_prints_the_members(
    pair: tuple[Speaker, Speaker, Path], hosts: dict[str, Host]
) -> None:
    done = debug(hosts["node-1"], "node-1")
    header, own, other = done.stdout.splitlines()
    assert done.returncode == 0
    assert header.split() == ["NAME", "ADDRESS", "STATE", "INCARNATION", "HEALTH"]
    assert own.split()[:3] == ["node-1", f"{hosts['node-1'].ip}:7946", "alive"]
    assert other.split()[:3] == ["node-2", f"{hosts['node-2'].ip}:7946", "alive"]


def test_gossip_is_on_the_metrics_page_and_nothing_of_it_is_lost(
    pair: tuple[Speaker, Speaker, Path],
) -> None:
    first, second, _ = pair
    acked = 'clarion_gossip_probes_total{outcome="acked"}'
    wait_until(lambda: (first.metric(acked) or 0) >= 2, "two probes were answered")
    wait_until(lambda: (second.metric(acked) or 0) >= 2, "two of the other one, too")
    for one in (first, second):
        for series in (
            *(f'clarion_gossip_datagrams_total{{direction="{way}"}}' for way in WAYS),
            *(f'clarion_gossip_{way}_bytes_total{{transport="udp"}}' for way in WAYS),
            *(f'clarion_gossip_{way}_bytes_total{{transport="tcp"}}' for way in WAYS),
            *(f'clarion_gossip_messages_{way}_total{{type="push_pull"}}' for way in WAYS),
            "clarion_gossip_exchanges_total",
        ):
            assert (one.metric(series) or 0) > 0, series
        assert one.metric("clarion_gossip_events_lost_total") == 0
        assert one.metric("clarion_gossip_broadcasts_dropped_total") == 0
        assert one.metric('clarion_dropped_total{reason="gossip_decrypt"}') == 0
        for table in ("links", "routes"):
            assert one.metric(f'clarion_netlink_resyncs_total{{table="{table}"}}') == 0


def test_memberlist_debug_without_a_speaker_is_one_line_and_status_1(
    hosts: dict[str, Host],
) -> None:
    done = debug(hosts["node-1"], "node-9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "speaker: no speaker answers on node node-9\n"


SQUAT = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
held = socket.socket(socket.AF_UNIX)
held.bind(chr(0) + "clarion/speaker/node-1")
held.listen()
print("held", flush=True)
while True:
    connection, _ = held.accept()
    with connection:
        connection.sendall(bytes(sys.argv[1], "ascii"))
"""


@pytest.fixture
def squatter(hosts: dict[str, Host]) -> Iterator[subprocess.Popen[bytes]]:
    """Nobody, who holds the address of the local socket and has a forged table to tell."""
    forged = '{"schema":1,"node":"a","verb":"members"}\n{"row":["\\u001b]0;","a","alive",1,0]}\n'
    process = hosts["node-1"].namespace.start(
        [sys.executable, "-c", SQUAT, forged], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_who_holds_the_debug_address_stops_no_speaker_and_is_not_believed(
    hosts: dict[str, Host], source: Path, tmp_path: Path, squatter: subprocess.Popen[bytes]
) -> None:
    """The speaker ended with status 1, and what the other said went to the terminal as it was."""
    flags = gossip(hosts, "node-1", tmp_path / "secretkey")
    (tmp_path / "secretkey").write_text("a secret of more than sixteen bytes")
    with speaker(hosts["node-1"], source, *flags, log=tmp_path / "one") as running:
        running.wait_for("ready")
        warning = running.wait_for("local_socket")
        assert (warning["level"], warning["error"]) == ("warning", "Address already in use")
        done = debug(hosts["node-1"], "node-1")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "speaker: user 65534 listens in the place of the speaker on node node-1\n"
        )
        assert running.process.poll() is None
        assert len(running.events("local_socket")) == 1


def test_a_changed_secret_is_accepted_without_a_restart(
    pair: tuple[Speaker, Speaker, Path],
) -> None:
    first, second, secret = pair
    secret.write_text("")
    assert "is empty" in first.wait_for("secret")["error"]
    secret.write_text("a")
    assert "short" in first.wait_for("secret", reason="short")["error"]
    refused = 'clarion_gossip_secret_refused_total{reason="%s"}'
    assert [first.metric(refused % reason) for reason in SecretRefusal] == [1, 1, 0]
    secret.write_text("another secret of more than sixteen bytes")
    for one in (first, second):
        one.wait_for("secret", state="accepted")
        assert one.metric("clarion_gossip_key_unproved_members") == 1
        assert one.metric('clarion_members{state="alive"}') == 2
    assert "another secret" not in first.log.read_text()


def test_another_key_is_refused_by_both_counted_and_holds_the_speaker(
    hosts: dict[str, Host], source: Path, tmp_path: Path
) -> None:
    one, two = hosts.values()
    for name in ("right", "wrong"):
        (tmp_path / name).write_text(f"the {name} secret of more than sixteen bytes")
    right = gossip(hosts, "node-1", tmp_path / "right")
    wrong = gossip(hosts, "node-2", tmp_path / "wrong")
    with speaker(one, source, *right, log=tmp_path / "one") as first:
        first.wait_for("ready")
        with speaker(two, source, *wrong, log=tmp_path / "two") as second:
            second.wait_for("exchange_failed", peer=one.ip)
            wait_until(
                lambda: (first.metric('clarion_dropped_total{reason="gossip_decrypt"}') or 0) > 0,
                "a refusal counted",
            )
            assert "decrypt" in first.wait_for("gossip_refused")["reasons"]
            assert second.get("/readyz")[0] == 503
            assert first.metric('clarion_members{state="alive"}') == 1
            assert second.metric('clarion_members{state="alive"}') == 1
            assert len(first.events("gossip_refused")) == 1


def test_mismatched_delegate_versions_are_refused_with_a_hint(
    hosts: dict[str, Host], source: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secretkey"
    secret.write_text("a secret of more than sixteen bytes")
    one, two = hosts.values()
    flags = [gossip(hosts, host.name, secret) for host in (one, two)]
    with speaker(one, source, *flags[0], log=tmp_path / "one") as first:
        first.wait_for("ready")
        other = [*flags[1], "--ml-delegate-version=2,5,5"]
        with speaker(two, source, *other, log=tmp_path / "two") as second:
            refused = second.wait_for("exchange_failed", peer=one.ip)
            assert refused["reason"] == "incompatible"
            assert "CLARION_ML_DELEGATE_VERSION" in refused["hint"]
            assert first.metric('clarion_members{state="alive"}') == 1
