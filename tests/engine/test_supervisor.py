"""FRR's container as a whole: real daemons, started and ended together by the first process."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from frr_container import (
    GROUP,
    NOBODY,
    PROMPT_RIGHTS,
    REALTIME,
    WITHIN,
    FrrContainer,
    frr_container,
    missing_container,
    wait_until,
)
from machine import slowness

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
ALL = {"zebra", "bgpd", "bfdd"}


@pytest.fixture
def container() -> Iterator[FrrContainer]:
    with frr_container() as running:
        running.wait_for("ready")
        yield running


@pytest.fixture
def running(container: FrrContainer) -> FrrContainer:
    container.want()
    container.wait_for("running")
    return container


def status(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_nothing_runs_before_it_is_wanted_nor_after(container: FrrContainer) -> None:
    assert container.pids() == {}
    assert (container.folder / "daemons").read_text().split() == ["zebra", "bgpd", "bfdd"]
    container.want()
    container.wait_for("running")
    assert container.pids().keys() == ALL
    container.want(False)
    container.wait_for("idle")
    assert container.pids() == {}
    container.want()
    container.wait_for("running", 2)


def test_zebra_listens_before_anybody_asks_it(running: FrrContainer) -> None:
    starts = [name for name in running.names() if name.startswith("start ")]
    assert starts == ["start zebra", "start bgpd", "start bfdd"]
    hello = [line for line in running.lines() if "says hello" in line]
    assert hello, "bgpd and bfdd found zebra at their first try"


@pytest.mark.parametrize("victim", sorted(ALL))
def test_one_dead_daemon_restarts_all(running: FrrContainer, victim: str) -> None:
    before = running.pids()
    began = time.monotonic()
    running.signal(victim, signal.SIGKILL)
    running.wait_for("running", 2)
    assert time.monotonic() - began < 5.0 * slowness()
    after = running.pids()
    assert after.keys() == ALL
    assert not set(before.values()) & set(after.values())
    exits = [name for name in running.names() if name.startswith("exit ")]
    ended = sorted(ALL - {victim, "bgpd"})
    # Who died, then bgpd, then who is left.
    first = [f"exit {name}" for name in dict.fromkeys([victim, "bgpd"])]
    assert exits[: len(first)] == first
    assert sorted(exits[len(first) :]) == [f"exit {name}" for name in ended]


def test_one_that_hangs_is_killed_when_it_should_end(running: FrrContainer) -> None:
    running.signal("bfdd", signal.SIGSTOP)
    running.want(False)
    running.wait_for("idle")
    (code,) = [event["code"] for event in running.events() if event.get("daemon") == "bfdd"
               and event["event"] == "exit"]  # fmt: skip
    assert code == -signal.SIGKILL


def test_told_to_end_it_ends_bgpd_first_and_leaves_nobody(running: FrrContainer) -> None:
    pids = running.pids()
    assert running.stop() == 0
    exits = [name for name in running.names() if name.startswith("exit ")]
    assert exits[0] == "exit bgpd"
    assert sorted(exits) == sorted(f"exit {name}" for name in ALL)
    assert not [pid for pid in pids.values() if Path(f"/proc/{pid}").exists()]
    assert [event["code"] for event in running.events() if event["event"] == "exit"] == [0, 0, 0]


def test_told_to_end_before_it_was_wanted_it_ends(container: FrrContainer) -> None:
    assert container.stop() == 0
    assert container.names() == ["ready", "stop", "ended"]


def test_it_buries_other_peoples_children(running: FrrContainer) -> None:
    """A process whose parent has died is the first process's."""
    inside = ["nsenter", f"--target={running.first}", "--pid", "sh", "-c", "(exec sleep 0.01) &"]
    for _ in range(3):
        subprocess.run(inside, check=True, timeout=WITHIN)

    def only_daemons() -> bool:
        path = Path(f"/proc/{running.first}/task/{running.first}/children")
        return len(path.read_text().split()) == len(ALL)

    wait_until(only_daemons, "a dead child is still there")


def test_rights_with_bfd_are_four_and_no_more(running: FrrContainer) -> None:
    net_bind, net_admin, net_raw, sys_admin = (1 << bit for bit in (10, 12, 13, 21))
    for pid in (running.first, *running.pids().values()):
        found = status(pid)
        assert int(found["CapBnd"], 16) == net_bind | net_admin | net_raw | sys_admin
        assert found["NoNewPrivs"] == "1"
        limits = Path(f"/proc/{pid}/limits").read_text()
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"], "a dump of memory holds passwords"


def refuses_realtime() -> bool:
    """Tell whether the kernel shares real time out among groups, and has given none to ours."""
    scheduler = (os.SCHED_RR, os.sched_param(1))
    try:
        pid = os.posix_spawn("/bin/true", ["true"], {}, scheduler=scheduler)
    except PermissionError:
        return True
    os.waitpid(pid, 0)
    return False


def test_bfd_goes_first_where_it_is_wanted_and_allowed() -> None:
    if refuses_realtime():
        pytest.skip("no real-time priority here")
    with frr_container(flags=(REALTIME,), rights=PROMPT_RIGHTS) as container:
        container.want()
        container.wait_for("running")
        policies = {name: os.sched_getscheduler(pid) for name, pid in container.pids().items()}
        assert policies == {**dict.fromkeys(ALL, os.SCHED_OTHER), "bfdd": os.SCHED_RR}
        assert os.sched_getparam(container.pids()["bfdd"]).sched_priority == 1
        assert os.sched_getscheduler(container.first) == os.SCHED_OTHER


def test_without_the_right_to_it_bfd_runs_as_all_others_and_that_is_told() -> None:
    with frr_container(flags=(REALTIME,)) as container:
        container.want()
        container.wait_for("running")
        assert container.pids().keys() == ALL
        assert os.sched_getscheduler(container.pids()["bfdd"]) == os.SCHED_OTHER
        assert container.names().count("no real-time priority bfdd") == 1


def test_the_sockets_are_the_speakers_too(running: FrrContainer) -> None:
    """As root without a right to pass over modes, and by the group that the pod has."""
    for daemon in ALL:
        found = (running.folder / f"{daemon}.vty").stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, GROUP, 0o770)


def test_without_bfd_it_is_bgpd_alone_as_nobody() -> None:
    with frr_container(with_bfd=False) as container:
        container.want()
        container.wait_for("running")
        assert (container.folder / "daemons").read_text().split() == ["bgpd"]
        (pid,) = container.pids().values()
        found = status(pid)
        assert found["Uid"].split() == [str(NOBODY)] * 4
        assert int(found["CapBnd"], 16) == int(found["CapEff"], 16) == 0
        assert (container.folder / "bgpd.vty").stat().st_gid == GROUP
        container.signal("bgpd", signal.SIGKILL)
        container.wait_for("running", 2)
        assert container.stop() == 0


def test_what_it_writes_is_in_the_shared_folder(running: FrrContainer) -> None:
    """The root is read-only: what would be written elsewhere shows as a complaint of a daemon."""
    found = {path.name for path in running.folder.iterdir()}
    assert {"daemons", "wanted", "bgpd.vty", "zebra.vty", "bfdd.vty", "zserv.api"} <= found
    complaints = [line for line in running.lines() if "ailed" in line or "could" in line]
    # Crash logs, which go to the standard output, too.
    assert [line for line in complaints if "/var/tmp/frr" not in line] == []


def test_the_hook_waits_until_the_speaker_has_drained(running: FrrContainer) -> None:
    hook = running.drained(within=WITHIN)
    with pytest.raises(subprocess.TimeoutExpired):
        hook.wait(0.3)
    (running.folder / "drained").touch()
    assert hook.wait(WITHIN) == 0
    assert running.pids().keys() == ALL, "the hook itself ends nothing"


def test_the_hook_waits_for_no_speaker_that_wants_no_engine(container: FrrContainer) -> None:
    assert container.drained(within=WITHIN).wait(WITHIN / 2) == 0


def test_the_hook_does_not_wait_for_ever(running: FrrContainer) -> None:
    assert running.drained(within=0.1).wait(WITHIN) == 1


def test_a_speaker_that_drained_long_ago_does_not_count(container: FrrContainer) -> None:
    """The folder outlives a container."""
    (container.folder / "drained").touch()
    container.stop()
    assert (container.folder / "drained").exists()
    container.start()
    container.wait_for("ready", 2)
    assert not (container.folder / "drained").exists()
