"""Members of a memberlist cluster as processes in namespaces: ours, and the foreign ones.

Each kind of peer is driven and observed the same way. What happens is kept in its journal, with
the time it reached us (`time.monotonic()`, seconds).
"""

import base64
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gopeer
from netns import Host

PORT = 7946
RPC_PORT = 7373
ANSWER_TIMEOUT = 15.0
STOP_TIMEOUT = 5.0
READY_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Happening:
    """`kind` is join, suspect, recovered, dead, left, update, refuted, ready or log."""

    at: float
    kind: str
    name: str = ""
    text: str = ""


@dataclass(frozen=True)
class Options:
    """What every peer of a cluster must agree on.

    `keys`: the first one encrypts. `delegate`: the versions MIN,MAX,CUR that ours claim; those of
    the foreign are built in. `secret`: the file that ours take their key from and watch.
    """

    keys: tuple[bytes, ...] = ()
    label: str = ""
    delegate: str = "0,0,0"
    secret: Path | None = None


SERF_DELEGATE = "2,5,5"


class Silence(AssertionError):  # noqa: N818 - an AssertionError, so that pytest shows it as one
    """What was waited for did not happen in time."""


@dataclass
class Journal:
    """What one peer said, in order; written by its reader thread."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    entries: list[Happening] = field(default_factory=list)

    def add(self, kind: str, name: str = "", text: str = "") -> None:
        """Note something that happens now."""
        with self.changed:
            self.entries.append(Happening(time.monotonic(), kind, name, text))
            self.changed.notify_all()

    def find(
        self, kind: str, name: str | None = None, *, since: float = 0.0, text: str = ""
    ) -> list[Happening]:
        """All entries of this kind, about `name` if given, that contain `text`."""
        with self.changed:
            return [
                entry
                for entry in self.entries
                if entry.kind == kind
                and entry.at >= since
                and name in (None, entry.name)
                and text in entry.text
            ]


# memberlist's own log lines, alike in the versions of both foreign peers.
_LOG = (
    (re.compile(r"memberlist: Refuting a (?:suspect|dead) message"), "refuted"),
    (re.compile(r"memberlist: Suspect (\S+) has failed, no acks"), "accused"),
)
_SERF_LOG = (
    (re.compile(r"memberlist: Suspect (\S+) has failed, no acks"), "suspect"),
    (re.compile(r"serf: EventMemberJoin: (\S+)"), "join"),
    (re.compile(r"serf: EventMemberFailed: (\S+)"), "dead"),
    (re.compile(r"serf: EventMemberLeave: (\S+)"), "left"),
    (re.compile(r"serf: EventMemberUpdate: (\S+)"), "update"),
    (re.compile(r"Serf agent running!"), "ready"),
)


class Peer:
    """A process in a host's namespace, its journal, and the signals to torment it with."""

    kind: ClassVar[str]

    def __init__(self, host: Host, name: str, command: Sequence[str]) -> None:
        """Starts the process. Nothing is known of it before `wait_ready`."""
        self.host, self.name, self.ip = host, name, host.ip
        self.journal = Journal()
        self.alive = True
        # In the namespace's own thread, so that the child inherits the namespace.
        self._process = host.namespace.run(
            lambda: subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        )
        self._reader = threading.Thread(target=self._read, name=f"reader of {self.name}")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard(line.decode(errors="replace").strip())

    def _heard(self, line: str) -> None:
        raise NotImplementedError

    def _log(self, line: str) -> None:
        self.journal.add("log", text=line)
        for pattern, kind in _LOG:
            if found := pattern.search(line):
                self.journal.add(kind, found[1] if pattern.groups else self.name, line)

    def wait_ready(self) -> None:
        """Waits until the peer listens. Raises Silence."""
        self.wait("ready", self.name, READY_TIMEOUT)

    def wait(self, kind: str, name: str, within: float, *, since: float = 0.0) -> Happening:
        """The first such entry, waiting for it up to `within` seconds. Raises Silence."""
        deadline = time.monotonic() + within
        with self.journal.changed:
            while True:
                if found := self.journal.find(kind, name, since=since):
                    return found[0]
                left = deadline - time.monotonic() if self.alive else 0.0
                if left <= 0:
                    raise Silence(f"{self.name} saw no {kind} of {name} in {within} s\n{self}")
                self.journal.changed.wait(left)

    def errors(self, about: str = "") -> list[str]:
        """Log lines by which memberlist refuses something, those with `about` in them."""
        lines = [entry.text for entry in self.journal.find("log", text=about)]
        return [line for line in lines if "[ERR]" in line or "[WARN]" in line]

    def members(self) -> dict[str, str]:
        """Name to alive, suspect, dead or left, as this peer has it now."""
        raise NotImplementedError

    def incarnations(self) -> dict[str, int]:
        """Name to incarnation, as far as this kind of peer tells."""
        raise NotImplementedError

    def join(self, ips: Iterable[str]) -> int:
        """Push/pull with these; how many of them agreed."""
        raise NotImplementedError

    def leave(self) -> None:
        """Say goodbye, and go on running."""
        raise NotImplementedError

    def stats(self) -> dict[str, Any]:
        """What the peer counts; at least `health`."""
        raise NotImplementedError

    def key(self, verb: str, key: bytes) -> int:
        """`verb` is install, use or remove; how many peers did it. Raises PeerError."""
        raise NotImplementedError

    def kill(self) -> float:
        """SIGKILL; the time of it."""
        at = time.monotonic()
        self._process.send_signal(signal.SIGKILL)
        self._reap()
        return at

    def freeze(self) -> float:
        """SIGSTOP; the time of it."""
        self._process.send_signal(signal.SIGSTOP)
        return time.monotonic()

    def thaw(self) -> float:
        """SIGCONT; the time of it."""
        self._process.send_signal(signal.SIGCONT)
        return time.monotonic()

    def stop(self) -> None:
        """End the process, whatever its state; harmless when it has ended."""
        if self.alive:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGKILL)
            self._reap()
            with self.journal.changed:
                self.journal.changed.notify_all()

    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _reap(self) -> None:
        self.alive = False
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        # The output ends with the last process that holds it, and only then the pid may be reused.
        self._reader.join(STOP_TIMEOUT)
        self._process.wait(STOP_TIMEOUT)
        self._process.stdout.close()

    def __str__(self) -> str:
        tail = [f"  {e.at:.3f} {e.kind} {e.name} {e.text}" for e in self.journal.entries[-40:]]
        return "\n".join([f"--- {self.name} ({self.kind})", *tail])


class PeerError(Exception):
    """A peer would not do what it was asked."""


class JsonPeer(Peer):
    """A peer that takes orders and tells events as JSON lines."""

    def __init__(self, host: Host, name: str, command: Sequence[str]) -> None:
        self._answers: dict[int, dict[str, Any]] = {}
        self._asked = 0
        super().__init__(host, name, command)

    def _heard(self, line: str) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            # Not ours: a panic or a traceback, wanted in the failure report.
            self._log(line)
        elif "answer" in said:
            with self.journal.changed:
                self._answers[said["answer"]] = said
                self.journal.changed.notify_all()
        elif said.get("event") == "log":
            self._log(str(said["text"]))
        else:
            self.journal.add(str(said["event"]), str(said.get("name", "")))

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Give an order and wait for its answer. Raises PeerError, Silence."""
        assert self._process.stdin is not None
        self._asked += 1
        number = self._asked
        order = {"id": number, "do": do, **arguments}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        with self.journal.changed:
            done = self.journal.changed.wait_for(lambda: number in self._answers, ANSWER_TIMEOUT)
            if not done:
                raise Silence(f"{self.name} did not answer {do}\n{self}")
            answer = self._answers.pop(number)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def members(self) -> dict[str, str]:
        """Name to alive, suspect, dead or left, as this peer has it now."""
        return {row["name"]: row["state"] for row in self.ask("members")["members"]}

    def incarnations(self) -> dict[str, int]:
        """Name to incarnation."""
        return {row["name"]: row["incarnation"] for row in self.ask("members")["members"]}

    def stats(self) -> dict[str, Any]:
        """What the peer counts; at least `health`."""
        return self.ask("stats")

    def join(self, ips: Iterable[str]) -> int:
        """Push/pull with these; how many of them agreed."""
        return int(self.ask("join", addresses=[f"{ip}:{PORT}" for ip in ips])["joined"])

    def leave(self) -> None:
        """Say goodbye, and go on running."""
        self.ask("leave", timeout=1.0)

    def key(self, verb: str, key: bytes) -> int:
        """`verb` is install, use or remove; how many peers did it. Raises PeerError."""
        self.ask(verb, key=base64.b64encode(key).decode())
        return 1


def _json_flags(host: Host, name: str, options: Options) -> list[str]:
    flags = ["-name", name, "-bind", host.ip]
    if options.label:
        flags += ["-label", options.label]
    for key in options.keys:
        flags += ["-key", base64.b64encode(key).decode()]
    return flags


class GoPeer(JsonPeer):
    """The Go program on hashicorp/memberlist. Raises BuildError where it cannot be built."""

    kind = "go"

    def __init__(self, host: Host, name: str, options: Options, *flags: str) -> None:
        command = [str(gopeer.build()), *_json_flags(host, name, options), *flags]
        super().__init__(host, name, command)


class ClarionPeer(JsonPeer):
    """One of ours."""

    kind = "clarion"

    def __init__(self, host: Host, name: str, options: Options) -> None:
        program = str(Path(__file__).with_name("clarion_peer.py"))
        flags = [*_json_flags(host, name, options), "-delegate-version", options.delegate]
        if options.secret is not None:
            flags += ["-secret-file", str(options.secret)]
        super().__init__(host, name, [sys.executable, program, *flags])


class ClarionCrowd(JsonPeer):
    """Many of ours in one process, on addresses from the host's upwards.

    `join` has each of them join; what happens to any of them is in the one journal.
    """

    kind = "clarion"

    def __init__(self, host: Host, name: str, options: Options, count: int) -> None:
        program = str(Path(__file__).with_name("clarion_crowd.py"))
        flags = [*_json_flags(host, name, options), "-count", str(count)]
        super().__init__(host, name, [sys.executable, program, *flags])

    def seen(self) -> int:
        """How many members are alive to the one who sees the fewest."""
        return int(self.ask("seen")["seen"])


# serf knows nothing of its parent, so a shell's child sees our end of the pipe close and ends it:
# no agent outlives the tests, however they end. Descriptor 3, as sh gives background jobs no stdin.
_LEASH = 'exec 3<&0; (cat <&3 >/dev/null; kill -KILL $$) & exec "$@" </dev/null 3<&-'


class SerfPeer(Peer):
    """Debian's `serf agent`. It has no labels."""

    kind = "serf"

    def __init__(self, host: Host, name: str, options: Options) -> None:
        assert not options.label, "serf 0.8 has no labels"
        assert len(options.keys) <= 1, "more keys are installed later"
        self._rpc = f"-rpc-addr=127.0.0.1:{RPC_PORT}"
        command = ["serf", "agent", f"-node={name}", f"-bind={host.ip}:{PORT}", self._rpc]
        command += ["-log-level=debug"]
        if options.keys:
            command += [f"-encrypt={base64.b64encode(options.keys[0]).decode()}"]
        super().__init__(host, name, ["sh", "-c", _LEASH, "serf", *command])

    def _heard(self, line: str) -> None:
        self._log(line)
        for pattern, kind in _SERF_LOG:
            if found := pattern.search(line):
                self.journal.add(kind, found[1] if pattern.groups else self.name, line)

    def serf(self, *arguments: str) -> str:
        """Runs a serf command against this agent. Raises PeerError with what it printed."""
        command = ["serf", arguments[0], self._rpc, *arguments[1:]]
        done = self.host.namespace.run(
            lambda: subprocess.run(
                command, capture_output=True, text=True, timeout=ANSWER_TIMEOUT, check=False
            )
        )
        if done.returncode != 0:
            raise PeerError(f"{shlex.join(arguments[:1])}: {done.stdout}{done.stderr}")
        return done.stdout

    def members(self) -> dict[str, str]:
        """Name to alive, dead or left; serf shows suspects as alive."""
        rows = json.loads(self.serf("members", "-format", "json"))["members"]
        return {row["name"]: row["status"].replace("failed", "dead") for row in rows}

    def stats(self) -> dict[str, Any]:
        """`health`, and how many decrypt."""
        return {
            "health": int(json.loads(self.serf("info", "-format", "json"))["serf"]["health_score"])
        }

    def join(self, ips: Iterable[str]) -> int:
        """Push/pull with these; how many of them agreed."""
        said = self.serf("join", *[f"{ip}:{PORT}" for ip in ips])
        found = re.search(r"contacting (\d+) nodes", said)
        return int(found[1]) if found else 0

    def leave(self) -> None:
        """Say goodbye; the agent ends itself after that."""
        self.serf("leave")

    def key(self, verb: str, key: bytes) -> int:
        """`verb` is install, use or remove; one agent has all serf agents of the cluster do it.

        How many did. Raises PeerError.
        """
        try:
            self.serf("keys", f"-{verb}={base64.b64encode(key).decode()}")
        except PeerError as error:
            # It asks every member, and those who are no serf cannot answer.
            if found := re.search(r"(\d+)/\d+ nodes reported success", str(error)):
                return int(found[1])
            raise
        return len(self.members())


def settle(peers: Iterable[Peer], wanted: Callable[[Peer], bool], within: float, what: str) -> None:
    """Asks every peer until `wanted` holds for all of them. Raises Silence."""
    deadline = time.monotonic() + within
    waiting = list(peers)
    while waiting := [peer for peer in waiting if not wanted(peer)]:
        if time.monotonic() > deadline:
            report = "\n".join(f"{peer.members()}\n{peer}" for peer in waiting)
            raise Silence(f"not within {within} s: {what}\n{report}")
        time.sleep(0.02)


def all_alive(peers: Sequence[Peer], within: float) -> None:
    """Every one of `peers` lists all of them as alive. Raises Silence."""
    expected = {peer.name: "alive" for peer in peers}
    settle(peers, lambda peer: peer.members() == expected, within, f"all of {list(expected)} alive")
