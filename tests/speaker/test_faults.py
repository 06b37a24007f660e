"""Whole speakers with one fault in each: nothing ends or fails without a word.

`faulty` puts an error into one function of a real speaker. What is essential is fatal, with one
line, and hands over; anything else goes on, is counted and is named.
"""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyroute2 import IPRoute

import faulty
from faulty import POISON, TEXT
from netns import Host, missing_right
from speakers import MANIFEST, VIP, Speaker, ask, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]

SECOND, THIRD = "10.77.9.2", "10.77.9.3"


def add(source: Path, name: str, ip: str) -> None:
    """Add a service to the folder."""
    (source / f"{name}.yaml").write_text(service(name, ip))


def service(name: str, ip: str) -> str:
    return MANIFEST.format(name=name, ip=ip).split("---\n", 2)[2]


def survived(running: Speaker, part: str) -> float:
    return running.metric(f'clarion_survived_total{{part="{part}"}}') or 0.0


def wait_survived(running: Speaker, part: str) -> None:
    wait_until(lambda: survived(running, part) >= 1, f"an error of {part} that is counted")
    line = running.wait_for("survived", part=part)
    assert line["error"] == f"InjectedError: {TEXT}"
    assert "Traceback" in line["exception"]


def lives_on(running: Speaker, host: Host, asker: Host, source: Path) -> None:
    """It takes what is new, answers for it, and hands over in the end."""
    add(source, "second", SECOND)
    running.wait_for("announce", ip=SECOND)
    wait_until(lambda: ask(asker, SECOND) == host.mac, "an answer for what is new")
    assert running.get("/healthz") == (200, "ok\n")
    status, seconds = running.stop()
    assert (status, seconds <= 2.0) == (0, True)
    assert {line["ip"] for line in running.events("withdraw")} >= {VIP, SECOND}


def ended_by(running: Speaker, error: str) -> None:
    """It has ended with one line that names the part."""
    assert running.process.wait(15) == 1
    (fatal,) = running.events("fatal")
    assert fatal["error"].startswith(error)


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ("turn_once", "turn"),
        ("heartbeat_once", "timer"),
        ("half_announced_once", "service"),
        ("prepare_once", "planning"),
        ("filters_once", "planning"),
    ],
)
def test_once_is_survived(
    hosts: dict[str, Host], source: Path, log: Path, fault: str, part: str
) -> None:
    host, other = hosts.values()
    with speaker(host, source, log=log, fault=fault) as running:
        running.wait_for("ready")
        if part == "planning":
            # The change of which the planning fails is not lost: the fault works but once.
            add(source, "third", THIRD)
            running.wait_for("announce", ip=THIRD)
        wait_survived(running, part)
        wait_until(lambda: ask(other, VIP) == host.mac, "an answer for what was there")
        lives_on(running, host, other, source)


def test_a_service_that_cannot_be_announced_costs_itself_only(
    hosts: dict[str, Host], source: Path, log: Path
) -> None:
    with speaker(hosts["node-1"], source, log=log, fault="announcing_one_service") as running:
        running.wait_for("ready")
        add(source, POISON, THIRD)
        wait_survived(running, "service")
        assert running.wait_for("survived", part="service")["service"] == f"default/{POISON}"
        lives_on(running, hosts["node-1"], hosts["node-2"], source)


def test_a_service_that_cannot_be_planned_is_named_and_costs_itself_only(
    hosts: dict[str, Host], source: Path, log: Path
) -> None:
    """From the start on: a speaker that ended would meet it again in its next life."""
    add(source, POISON, THIRD)
    with speaker(hosts["node-1"], source, log=log, fault="plan_of_one_service") as running:
        running.wait_for("ready")
        problem = running.wait_for("source", level="error")["problem"]
        assert f"default/{POISON}" in problem
        assert TEXT in problem
        assert running.metric('clarion_source_problems{severity="error"}') == 1
        assert ask(hosts["node-2"], VIP) == hosts["node-1"].mac
        lives_on(running, hosts["node-1"], hosts["node-2"], source)


def test_a_frame_costs_itself_only(hosts: dict[str, Host], source: Path, log: Path) -> None:
    host, other = hosts.values()
    with speaker(host, source, log=log, fault="frame_once") as running:
        running.wait_for("ready")
        ask(other, VIP)
        wait_survived(running, "frames")
        assert ask(other, VIP) == host.mac
        lives_on(running, host, other, source)


def test_a_socket_that_fails_is_opened_anew(
    hosts: dict[str, Host], source: Path, log: Path
) -> None:
    host, other = hosts.values()
    with speaker(host, source, log=log, fault="socket_once") as running:
        running.wait_for("ready")
        ask(other, VIP)
        running.wait_for("interface", interface="eth0", state="closed")
        wait_until(lambda: ask(other, VIP) == host.mac, "an answer by another socket")
        assert survived(running, "links") == 1
        lives_on(running, host, other, source)


@contextmanager
def another_link(host: Host) -> Iterator[str]:
    """A link that comes up now, with its other end in the same namespace."""

    def change(command: str, name: str, **what: str) -> None:
        with IPRoute() as netlink:
            netlink.link(command, ifname=name, **what)

    def make() -> None:
        change("add", "extra0", kind="veth", peer="extra1")
        for name in ("extra0", "extra1"):
            change("set", name, state="up")

    host.namespace.run(make)
    try:
        yield "extra0"
    finally:
        host.namespace.run(change, "del", "extra0")


@pytest.mark.parametrize("fault", ["netlink_once", "links_once"])
def test_news_of_links_are_not_lost(
    hosts: dict[str, Host], source: Path, log: Path, fault: str
) -> None:
    host, other = hosts.values()
    with speaker(host, source, log=log, fault=fault) as running:
        running.wait_for("ready")
        with another_link(host) as name:
            wait_survived(running, "links")
            running.wait_for("interface", interface=name, state="answering")
        running.wait_for("interface", interface=name, state="closed")
        lives_on(running, host, other, source)


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ("turn_always", "turn: InjectedError"),
        ("source_raises", "source: InjectedError"),
        ("source_ends", "source: ended"),
    ],
)
def test_what_is_essential_is_fatal(
    hosts: dict[str, Host], source: Path, log: Path, fault: str, part: str
) -> None:
    with speaker(hosts["node-1"], source, log=log, fault=fault) as running:
        if fault.startswith("source"):
            running.wait_for("ready")
            running.process.send_signal(signal.SIGHUP)
        ended_by(running, part)
        if fault.startswith("source"):
            assert [line["reason"] for line in running.events("withdraw")] == ["leaving"]


def test_the_api_thread_is_essential(hosts: dict[str, Host], source: Path, log: Path) -> None:
    kubeconfig = source / "kubeconfig"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context:"
        " {cluster: a, user: a}}], clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}],"
        " users: [{name: a, user: {}}]}"
    )
    host = hosts["node-1"]
    command = ["env", f"KUBECONFIG={kubeconfig}", sys.executable, faulty.__file__]
    command += ["api_thread_raises", "-m", "speaker", "--node-name", host.name, "--host", host.ip]
    with log.open("wb") as output:
        process = host.namespace.start(command, stdout=output.fileno(), stderr=output.fileno())
    ended_by(Speaker(process, log, host), "source: InjectedError")


# ---- gossip


def gossip(hosts: dict[str, Host], name: str) -> tuple[str, ...]:
    seeds = ",".join(host.ip for host in hosts.values())
    return ("--ml-bindaddr", hosts[name].ip, "--join", seeds)


@contextmanager
def pair(
    hosts: dict[str, Host], source: Path, folder: Path, fault: str, *flags: str
) -> Iterator[tuple[Speaker, Speaker]]:
    """Two speakers; the first has the fault."""
    one, two = hosts.values()
    mine = (*gossip(hosts, "node-1"), *flags)
    with (
        speaker(one, source, *mine, log=folder / "one", fault=fault) as first,
        speaker(two, source, *gossip(hosts, "node-2"), log=folder / "two") as second,
    ):
        second.wait_for("member", node="node-1", state="alive")
        yield first, second


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ("datagram_once", "gossip"),
        ("gossip_timer_once", "gossip"),
        ("gossip_event_once", "gossip"),
        ("seeds_once", "seeds"),
        ("failover_once", "failover"),
    ],
)
def test_once_is_survived_in_gossip(
    hosts: dict[str, Host], source: Path, tmp_path: Path, fault: str, part: str
) -> None:
    with pair(hosts, source, tmp_path, fault) as (first, second):
        wait_survived(first, part)
        first.wait_for("ready")
        # It hears of what happens after that: by its timer, or by datagrams and events.
        if "timer" in fault:
            second.process.kill()
            first.wait_for("member", node="node-2", state="dead")
        else:
            second.stop()
            first.wait_for("member", node="node-2", state="left")
        wait_until(lambda: ask(hosts["node-2"], VIP) == hosts["node-1"].mac, "the takeover")
        assert first.stop()[0] == 0


def test_a_node_that_can_read_no_datagram_says_so(
    hosts: dict[str, Host], source: Path, tmp_path: Path
) -> None:
    """It lives on: a datagram may come from anybody, so none may end a speaker."""
    with pair(hosts, source, tmp_path, "datagram_always") as (first, _):
        wait_survived(first, "gossip")
        wait_until(lambda: "datagrams failed" in first.get("/readyz")[1], "that it is not ready")
        assert first.get("/readyz")[0] == 503
        # One line, however many there were.
        assert survived(first, "gossip") > 2
        assert len(first.events("survived")) == 1
        assert first.stop()[0] == 0


@pytest.mark.parametrize(
    ("fault", "part"), [("gossip_timer_always", "gossip"), ("failover_always", "failover")]
)
def test_a_timer_that_never_works_again_is_fatal(
    hosts: dict[str, Host], source: Path, tmp_path: Path, fault: str, part: str
) -> None:
    with pair(hosts, source, tmp_path, fault) as (first, second):
        assert first.process.wait(15) == 1
        (fatal,) = first.events("fatal")
        assert fatal["error"] == f"{part}: InjectedError: {TEXT}"
        # The other one owns all of it, whoever owned it before.
        wait_until(lambda: ask(hosts["node-1"], VIP) == hosts["node-2"].mac, "the other's answer")
        assert second.process.poll() is None


def test_the_secret_is_watched_again(hosts: dict[str, Host], source: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secretkey"
    secret.write_text("a secret of more than sixteen bytes")
    host = hosts["node-1"]
    flags = ("--ml-bindaddr", host.ip, "--ml-secret-key-path", str(secret))
    with speaker(host, source, *flags, log=tmp_path / "log", fault="secret_once") as running:
        running.wait_for("interface")
        wait_survived(running, "secret")
        secret.write_text("another secret of more than sixteen bytes")
        running.wait_for("secret", state="accepted")


# ---- the end


def test_a_hand_over_that_fails_does_not_keep_it_from_ending(
    hosts: dict[str, Host], source: Path, log: Path
) -> None:
    with speaker(hosts["node-1"], source, log=log, fault="leaving_raises") as running:
        running.wait_for("ready")
        status, seconds = running.stop()
        assert (status, seconds <= 2.0) == (0, True)
        assert running.events("survived")[-1]["message"] == "leaving"


def test_a_thread_that_hangs_does_not_keep_it_from_ending(
    hosts: dict[str, Host], source: Path, log: Path
) -> None:
    with speaker(hosts["node-1"], source, log=log, fault="disk_hangs") as running:
        running.wait_for("ready")
        # It hangs from the second look at the folder on, asked for by SIGHUP.
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: hanging(running.process.pid), "the thread that hangs")
        assert running.stop()[0] == 0
        assert running.events("withdraw")


def hanging(pid: int) -> bool:
    """Whether the fault's thread has said that it sleeps: its name is what the system shows."""
    tasks = Path(f"/proc/{pid}/task")
    return any(name_of(task) == "hangs\n" for task in tasks.iterdir())


def name_of(task: Path) -> str:
    """The name of a thread, none for one that has ended since it was listed."""
    try:
        return (task / "comm").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


# ---- who reads the log

MANY = 800


def many(source: Path, count: int = MANY) -> None:
    """Write so many services at once, in one file that is there whole or not at all."""
    text = "---\n".join(
        service(f"many-{number}", f"10.77.{10 + number // 200}.{number % 200 + 1}")
        for number in range(count)
    )
    pool = (source / "a.yaml").read_text().replace("10.77.9.0/24", "10.77.0.0/16")
    (source / "a.yaml").write_text(pool)
    (source / "many.tmp").write_text(text)
    os.rename(source / "many.tmp", source / "many.yaml")


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(writer)
        os.close(reader)


def last_of_many(count: int = MANY) -> str:
    return f"10.77.{10 + (count - 1) // 200}.{(count - 1) % 200 + 1}"


def test_a_log_reader_that_rests_holds_nothing_up(
    hosts: dict[str, Host], source: Path, log: Path
) -> None:
    host, other = hosts.values()
    with pipe() as (_, writer), speaker(host, source, log=log, output=writer) as running:
        wait_until(lambda: ask(other, VIP) == host.mac, "an answer")
        many(source)
        wait_until(lambda: ask(other, last_of_many()) == host.mac, "all of the services", 30.0)
        # They have been announced, with a line each: more than the pipe holds.
        wait_until(lambda: full(writer), "a full pipe")
        assert ask(other, VIP) == host.mac
        assert running.get("/healthz") == (200, "ok\n")
        status, seconds = running.stop()
        assert (status, seconds <= 2.0) == (0, True)
        assert ask(other, VIP) is None


def full(writer: int) -> bool:
    return not select.select([], [writer], [], 0)[1]


def test_a_log_reader_that_goes_away_ends_nothing(
    hosts: dict[str, Host], source: Path, log: Path
) -> None:
    host, other = hosts.values()
    reader, writer = os.pipe()
    with speaker(host, source, log=log, output=writer) as running:
        os.close(writer)
        wait_until(lambda: ask(other, VIP) == host.mac, "an answer")
        os.close(reader)
        add(source, "second", SECOND)
        wait_until(lambda: ask(other, SECOND) == host.mac, "an answer for what is new")
        name = "clarion_log_lines_dropped_total"
        wait_until(lambda: (running.metric(name) or 0) > 0, "dropped lines that are counted")
        status, seconds = running.stop()
        assert (status, seconds <= 2.0) == (0, True)
        assert ask(other, VIP) is None


def test_the_last_line_is_read_by_who_reads(
    hosts: dict[str, Host], source: Path, tmp_path: Path
) -> None:
    """It says why a process has ended that ended at once."""
    with (
        pipe() as (reader, writer),
        speaker(hosts["node-1"], tmp_path / "nowhere", log=tmp_path / "log", output=writer) as one,
    ):
        assert one.process.wait(15) == 1
        lines = os.read(reader, 65_536).decode().splitlines()
        assert sum('"fatal"' in line for line in lines) == 1
        assert '"stop"' in lines[-1]
