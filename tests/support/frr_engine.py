"""A real FRR for tests: its daemons in a network namespace, with a folder of their own.

    with engine("node") as frr:
        frr.say("bgpd", "show version")

The vty is spoken here a second time and on purpose, blocking and dull, so that it can judge ours.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyroute2 import IPRoute

from netnslab.machines.namespaces import NetworkNamespace

PROGRAMS = Path("/usr/lib/frr")
DAEMONS = ("zebra", "bgpd", "bfdd")
WITHIN = 20.0
"""Seconds after which a daemon that has no socket yet, or does not answer, hangs."""


def missing_engine() -> str | None:
    """Why there is no FRR here, None where there is."""
    lacking = [name for name in DAEMONS if not (PROGRAMS / name).exists()]
    return f"not installed: {', '.join(lacking)}" if lacking else None


class RefusedLineError(AssertionError):
    """A daemon did not take a line."""


class FrrEngine:
    """Daemons that run. `folder` holds `bgpd.vty` and its like."""

    def __init__(self, namespace: NetworkNamespace, folder: Path, listen: int) -> None:
        self.namespace, self.folder, self._listen = namespace, folder, listen
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        folder.chmod(0o755)
        shutil.chown(folder, "frr", "frr")
        (folder / "empty.conf").touch()

    def start(self, daemon: str) -> None:
        """Start one daemon and return when its socket takes connections."""
        command = [
            *(str(PROGRAMS / daemon), "--vty_socket", str(self.folder)),
            *("-f", str(self.folder / "empty.conf"), "-i", str(self.folder / f"{daemon}.pid")),
            *("-z", str(self.folder / "zserv.api"), "-A", "127.0.0.1", "-P", "0"),
            *("--log", f"file:{self.folder / daemon}.log", "--limit-fds", "1000"),
            *{
                "bgpd": ("-p", str(self._listen)),
                "bfdd": ("--bfdctl", str(self.folder / "bfdd.sock")),
                "zebra": (),
            }[daemon],
        ]
        quiet = subprocess.DEVNULL
        self.processes[daemon] = self.namespace.start(command, stdout=quiet, stderr=quiet)
        until = time.monotonic() + WITHIN
        while not self._opens(daemon):
            assert self.processes[daemon].poll() is None, f"{daemon} ended"
            assert time.monotonic() < until, f"{daemon} has no socket"
            time.sleep(0.01)

    def stop(self, daemon: str) -> None:
        """End one daemon, however it feels, and take its socket away."""
        self.processes[daemon].kill()
        self.processes.pop(daemon).wait(WITHIN)
        self.socket(daemon).unlink(missing_ok=True)

    def close(self) -> None:
        """End all daemons that still run."""
        for daemon in list(self.processes):
            self.stop(daemon)

    def socket(self, daemon: str) -> Path:
        """Where the daemon listens for its vty."""
        return self.folder / f"{daemon}.vty"

    def say(self, daemon: str, *commands: str) -> str:
        """Return the answer to the last command. Raises `RefusedLineError` for a status but 0."""
        text = ""
        for command, (status, text) in zip(commands, self.answers(daemon, commands), strict=True):
            if status:
                raise RefusedLineError(f"{daemon} answers {status} to {command!r}: {text}")
        return text

    def configure(self, daemon: str, lines: Sequence[str]) -> None:
        """Type configuration. Raises `RefusedLineError` for the first line that is not taken."""
        self.say(daemon, "enable", "configure terminal", *lines, "end")

    def running(self, daemon: str) -> str:
        """Return what `show running-config` prints."""
        return self.say(daemon, "enable", "show running-config")

    def answers(self, daemon: str, commands: Sequence[str]) -> list[tuple[int, str]]:
        """Status and text of each command, over one connection."""
        return ask_vty(self.socket(daemon), commands)

    def _opens(self, daemon: str) -> bool:
        with socket.socket(socket.AF_UNIX) as vty:
            return vty.connect_ex(str(self.socket(daemon))) == 0


def ask_vty(path: Path, commands: Sequence[str]) -> list[tuple[int, str]]:
    """Return status and text of each command, asked of the daemon whose socket that is."""
    with socket.socket(socket.AF_UNIX) as vty:
        vty.settimeout(WITHIN)
        vty.connect(str(path))
        vty.sendall(b"".join(command.encode() + b"\0" for command in commands))
        return [_answer(vty) for _ in commands]


def _answer(vty: socket.socket) -> tuple[int, str]:
    """Read one answer, byte by byte at its end: what follows is another's."""
    read = bytearray()
    while read[-4:-1] != b"\0\0\0":
        part = vty.recv(4096, socket.MSG_PEEK)
        assert part, "the daemon is gone"
        end = part.find(b"\0\0\0")
        read += vty.recv(end + 4 if end >= 0 else max(1, len(part.rstrip(b"\0"))))
    return read[-1], read[:-4].decode("utf-8", "replace")


def _raise_loopback() -> None:
    with IPRoute() as netlink:
        netlink.link("set", index=1, state="up")


@contextmanager
def engine(
    name: str,
    daemons: Sequence[str] = DAEMONS,
    namespace: NetworkNamespace | None = None,
    listen: int = 0,
) -> Iterator[FrrEngine]:
    """FRR in the namespace, a new one if none is given. `listen`: bgpd's port, 0 for none."""
    with ExitStack() as stack:
        if namespace is None:
            namespace = NetworkNamespace(name)
            stack.callback(namespace.close)
            namespace.run(_raise_loopback)
        folder = Path(tempfile.mkdtemp(prefix=f"frr-{name}-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        running = FrrEngine(namespace, folder, listen)
        stack.callback(running.close)
        for daemon in daemons:
            running.start(daemon)
        yield running
