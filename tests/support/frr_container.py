"""FRR's container without a container runtime: our supervisor as the first of its processes.

    with frr_container() as container:
        container.want()
        container.wait_for("running")

What the image and the pod bring: a read-only root, one shared folder, the group of the sockets with
the image's number, and the rights that the manifest leaves.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from netnslab.machines.namespaces import NetworkNamespace

ROOT = Path(__file__).parents[2]
GROUP = 179
"""Of the sockets: the number that Containerfile.frr gives it."""
NOBODY = 65534
RIGHTS = ("net_admin", "net_raw", "sys_admin", "net_bind_service")
PROMPT_RIGHTS = (*RIGHTS, "sys_nice")
"""With the one that real-time priority wants."""
REALTIME = "--realtime"
WITHIN = 20.0
"""Seconds that anything here may take on a machine that has much else to do."""
POLL = 0.01
_INSIDE = """
mkdir -p /run/frr && mount --make-rprivate / && mount --bind "$1" /run/frr &&
    mount --bind "$2" /etc/group &&
    mount -t proc proc /proc && mount -o remount,bind,ro / && shift 2 && exec "$@"
"""


def missing_container() -> str | None:
    """Why no such container can run here, None where it can."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [name for name in ("setpriv", "unshare") if shutil.which(name) is None]
    if not Path("/usr/lib/frr/bgpd").exists():
        lacking.append("FRR")
    return f"not installed: {', '.join(lacking)}" if lacking else None


def wait_until(done: Callable[[], Any], what: str, within: float = WITHIN) -> None:
    """Return as soon as `done` says so."""
    until = time.monotonic() + within
    while not done():
        assert time.monotonic() < until, what
        time.sleep(POLL)


class FrrContainer:
    """A container that runs. `folder` is what it shares with the speaker."""

    def __init__(
        self,
        work: Path,
        namespace: NetworkNamespace,
        with_bfd: bool,
        flags: Sequence[str],
        rights: Sequence[str],
    ) -> None:
        self.namespace = namespace
        self.folder, self._log = work / "run", work / "log"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        shutil.copytree(ROOT / "engine", work / "code/engine", dirs_exist_ok=True)
        (work / "group").write_text(_groups())
        self._command = [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _INSIDE, "sh"),
            *(str(self.folder), str(work / "group"), *confined(with_bfd, rights)),
            *("env", f"PYTHONPATH={work / 'code'}", "PYTHONDONTWRITEBYTECODE=1"),
            *(os.path.realpath(sys.executable), "-m", "engine"),
            *(() if with_bfd else ("--without-bfd",)),
            *flags,
        ]
        self.start()

    def start(self) -> None:
        """Start it, or start it again in the same folder, as a kubelet does when it has ended."""
        with self._log.open("ab") as log:
            output = log.fileno()
            self.process = self.namespace.start(
                self._command, stdout=output, stderr=subprocess.STDOUT
            )

    def want(self, wanted: bool = True) -> None:
        """Do what the speaker does where it has BGP objects, or has none any more."""
        path = self.folder / "wanted"
        path.touch() if wanted else path.unlink()

    def lines(self) -> list[str]:
        """Return all that was written, by the supervisor and by the daemons."""
        return self._log.read_text(errors="replace").splitlines()

    def events(self) -> list[dict[str, Any]]:
        """Return the supervisor's own lines."""
        return [json.loads(line) for line in self.lines() if line.startswith("{")]

    def names(self) -> list[str]:
        """Return the events with their daemons, as `start bgpd`."""
        return [
            f"{event['event']} {event['daemon']}" if "daemon" in event else str(event["event"])
            for event in self.events()
        ]

    def wait_for(self, name: str, times: int = 1) -> None:
        """Return once the event has been written so many times since the start."""
        wait_until(lambda: self.names().count(name) >= times, f"no {name}: {self.lines()}")

    def pids(self) -> dict[str, int]:
        """Return the daemons that live, with their numbers out here."""
        return {
            name: pid
            for pid in _children(self.first)
            if (name := _name(pid)) in ("mgmtd", "zebra", "bgpd", "bfdd")
        }

    @property
    def first(self) -> int:
        """Return the number that the supervisor has out here; inside it is 1."""
        (pid,) = _children(self.process.pid)
        return pid

    def signal(self, daemon: str, number: signal.Signals) -> None:
        """Send a signal to a daemon."""
        os.kill(self.pids()[daemon], number)

    def stop(self) -> int:
        """Do what a kubelet does at the end of a pod; return the exit status."""
        os.kill(self.first, signal.SIGTERM)
        return self.process.wait(WITHIN)

    def drained(self, within: float) -> subprocess.Popen[bytes]:
        """Start what the manifest has as `preStop`."""
        command = [
            *(os.path.realpath(sys.executable), "-m", "engine", "drained"),
            *("--folder", str(self.folder), "--within", str(within)),
        ]
        return subprocess.Popen(command, cwd=ROOT)

    def kill(self) -> None:
        """End it, however it feels."""
        self.process.kill()
        self.process.wait(WITHIN)


def confined(with_bfd: bool, rights: Sequence[str] = RIGHTS) -> Sequence[str]:
    """Return the rights that a container has, as a command before its own."""
    if with_bfd:
        kept = ",".join(f"+{name}" for name in rights)
        bounds = ["--bounding-set=-all," + kept, "--groups", str(GROUP)]
    else:
        user = ["--reuid", str(NOBODY), "--regid", str(GROUP), "--clear-groups"]
        bounds = ["--bounding-set=-all", *user]
    return ["setpriv", *bounds, "--inh-caps=-all", "--no-new-privs"]


def _groups() -> str:
    """Return /etc/group as it is in the image."""
    lines = Path("/etc/group").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("frrvty:")]
    return "".join([*kept, f"frrvty:x:{GROUP}:frr,root\n"])


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return ""


def _raise_loopback() -> None:
    with IPRoute() as netlink:
        netlink.link("set", index=1, state="up")


@contextmanager
def frr_container(
    with_bfd: bool = True,
    namespace: NetworkNamespace | None = None,
    flags: Sequence[str] = (),
    rights: Sequence[str] = RIGHTS,
) -> Iterator[FrrContainer]:
    """A container in a node's network, or in one of its own. `flags`: more of them for it."""
    with ExitStack() as stack:
        if namespace is None:
            namespace = NetworkNamespace("engine")
            stack.callback(namespace.close)
            namespace.run(_raise_loopback)
        # Short, as the name of a UNIX socket has to be.
        work = Path(tempfile.mkdtemp(prefix="frr-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        work.chmod(0o755)
        container = FrrContainer(work, namespace, with_bfd, flags, rights)
        stack.callback(container.kill)
        yield container
