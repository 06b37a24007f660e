"""One FRR in a namespace: its daemons, and the sockets by which they take lines.

Nodes and routers have the same; what they are told differs (`sessions`).
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from netnslab.errors import LabError
from netnslab.machines import sandbox
from netnslab.machines.namespaces import NetworkNamespace

PROGRAMS = Path("/usr/lib/frr")
SOCKETS = Path("/run/frr")
DAEMONS = ("zebra", "bgpd", "bfdd")
STARTS_WITHIN = 15.0
ANSWERS_WITHIN = 10.0
EXITS_WITHIN = 10.0
# The daemons share two processors with the stopwatch: one look every so many seconds is enough.
LOOK = 0.02
OK = 0
MOST_ANSWER = 1 << 24
_END = b"\0\0\0"


def prepare_machine() -> None:
    """Give the sandbox a folder for sockets, and a root that the daemons take for one of theirs.

    They refuse an owner who is not in the group `frrvty`; in a user namespace there is no other
    than root. Raises LabError where FRR is not installed.
    """
    if not all((PROGRAMS / name).exists() for name in DAEMONS):
        raise LabError("FRR is needed: install the package frr")
    SOCKETS.mkdir(parents=True, exist_ok=True)
    sandbox.hide(SOCKETS)
    lines = Path("/etc/group").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("frrvty:")]
    groups = sandbox.SCRATCH / "group"
    groups.write_text("\n".join([*kept, "frrvty:x:0:root", ""]))
    sandbox.cover(Path("/etc/group"), groups)


class EngineRefusalError(LabError):
    """A daemon did not take a line."""


class LabEngine:
    """The daemons of one machine."""

    def __init__(
        self, name: str, namespace: NetworkNamespace, logs: Path, *, listens: bool = False
    ) -> None:
        """Start nothing yet. `logs`: where each daemon's output goes; `listens`: on port 179."""
        self.name = name
        self.folder = SOCKETS / name
        self._namespace, self._logs = namespace, logs
        self._listens = listens
        self._empty = logs / "empty.conf"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all daemons and wait for their sockets. Raises LabError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._empty.touch()
        # Whoever does not find zebra tries again only 10 s later.
        self._begin(DAEMONS[:1])
        self._begin(DAEMONS[1:])

    def _begin(self, names: Sequence[str]) -> None:
        for name in names:
            self._vty(name).unlink(missing_ok=True)
            self._running[name] = self._start(name)
        deadline = time.monotonic() + STARTS_WITHIN
        while not all(self._answers(name) for name in names):
            if time.monotonic() > deadline or self._running[names[0]].poll() is not None:
                raise LabError(f"{self.name}: FRR did not start: {self.last_words()}")
            time.sleep(LOOK)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        # A change of next hops is to be one step for IPv6 too; and port 179 of a node is not ours.
        own = {"zebra": ["--v6-rr-semantics"], "bgpd": [] if self._listens else ["-p", "0"]}
        command = [
            *(str(PROGRAMS / name), "-f", str(self._empty), "-N", self.name),
            *("-A", "127.0.0.1", "-P", "0", "-u", "root", "-g", "root"),
            *("--log", "stdout", "--limit-fds", "10000", *own.get(name, ())),
        ]
        with (self._logs / f"{self.name}-{name}.log").open("ab") as log:
            return self._namespace.start(command, stdout=log.fileno(), stderr=log.fileno())

    def _vty(self, name: str) -> Path:
        return self.folder / f"{name}.vty"

    def _answers(self, name: str) -> bool:
        try:
            self.type([], name)
        except (LabError, OSError):
            return False
        return True

    @property
    def running(self) -> bool:
        """Whether every daemon lives."""
        lives = (name in self._running and self._running[name].poll() is None for name in DAEMONS)
        return all(lives)

    def pid(self, name: str) -> int:
        """The process of a daemon; 0 where it was not started."""
        return self._running[name].pid if name in self._running else 0

    def last_words(self) -> str:
        """The end of each log, for a person who asks why it did not work."""
        logs = (self._logs / f"{self.name}-{name}.log" for name in DAEMONS)
        return " | ".join(log.read_text()[-300:] for log in logs if log.exists())

    def kill(self, names: Iterable[str] = DAEMONS) -> None:
        """End daemons at once, and all before any is waited for."""
        chosen = [self._running.pop(name) for name in names if name in self._running]
        for process in chosen:
            process.kill()
        for process in chosen:
            process.wait()

    def stop(self, names: Iterable[str] = DAEMONS) -> None:
        """Tell daemons to go, bgpd first as it closes sessions; those that stay are killed."""
        for name in sorted(names, key=("bgpd", "bfdd", "zebra").index):
            if name in self._running:
                self._running[name].send_signal(signal.SIGTERM)
                self._wait(self._running.pop(name))

    @staticmethod
    def _wait(process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(EXITS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def type(self, lines: Iterable[str], daemon: str = "bgpd") -> None:
        """Have a daemon take lines of configuration. Raises LabError for one that it refuses."""
        # Without lines, no lock of the configuration either: only a look whether it answers.
        wanted = list(lines)
        body = ["configure terminal", *wanted, "end"] if wanted else []
        commands = ["enable", *body]
        for command, (status, text) in zip(commands, self._ask(commands, daemon), strict=True):
            if status != OK:
                raise EngineRefusalError(f"{self.name} {daemon}: {status} {command!r} {text[:200]}")

    def show(self, command: str, daemon: str = "bgpd") -> Any:
        """Return the answer to a question that has one in JSON. Raises LabError."""
        _, (status, text) = self._ask(["enable", command], daemon)
        if status != OK:
            raise EngineRefusalError(f"{self.name} {daemon}: {status} {command!r}")
        return json.loads(text or "{}")

    def _ask(self, commands: list[str], daemon: str) -> list[tuple[int, str]]:
        """Every answer's status and text, in order; all commands are written at once."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as vty:
                vty.settimeout(ANSWERS_WITHIN)
                vty.connect(str(self._vty(daemon)))
                vty.sendall(b"".join(line.encode() + b"\0" for line in commands))
                return _answers(vty, len(commands))
        except OSError as error:
            raise LabError(f"{self.name} {daemon}: {os.strerror(error.errno or 0)}") from None


def _answers(vty: socket.socket, wanted: int) -> list[tuple[int, str]]:
    """An answer is text, three NUL bytes, and a byte of status, which may itself be NUL."""
    found: list[tuple[int, str]] = []
    data = b""
    while len(found) < wanted:
        at = data.find(_END)
        if at >= 0 and len(data) > at + len(_END):
            found.append((data[at + len(_END)], data[:at].decode(errors="replace")))
            data = data[at + len(_END) + 1 :]
            continue
        more = vty.recv(1 << 16)
        if not more or len(data) > MOST_ANSWER:
            raise LabError("the daemon went away")
        data += more
    return found
