"""One node: its backend, its speaker process, and what the speaker has said."""

import json
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netnslab.addresses import ECHO_PORT
from netnslab.cgroups import CpuGroup
from netnslab.instrument import Instrument
from netnslab.topology import Host

# What is kept of the log for the demo; the rest stays in the file.
MOST_EVENTS = 1000
DEFAULT_SPEAKER = [sys.executable, "-m", "speaker"]


@dataclass(frozen=True)
class Launch:
    """What all speakers of a run have in common."""

    command: list[str]
    source: Path
    secret: Path
    logs: Path
    seeds: list[str]


class Node:
    """A node of the lab. Its data plane runs from the start, its speaker from `start`."""

    def __init__(
        self, host: Host, launch: Launch, ips: list[str], cpu: CpuGroup | None = None
    ) -> None:
        """Starts the backend. `cpu`: the group that limits the speaker. Raises LabError."""
        self.host = host
        self.cpu = cpu
        self.name = host.name
        self.events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._launch = launch
        self._backend = Instrument("echo", host, {"ips": ips, "port": ECHO_PORT})
        self._speaker: subprocess.Popen[bytes] | None = None
        self._log = launch.logs / f"{host.name}.log"
        self._log.touch()
        self._read = 0
        self._frozen = self._ready = False

    def _command(self) -> list[str]:
        launch, ip = self._launch, self.host.gossip_ip
        flags = {
            "source": launch.source,
            "node-name": self.name,
            "ml-bindaddr": ip,
            "ml-bindport": 7946,
            "ml-secret-key-path": launch.secret,
            "join": ",".join(launch.seeds),
            "port": 7472,
            "host": ip,
            "log-level": "info",
        }
        join = self.cpu.join if self.cpu else []
        return [*join, *launch.command, *(f"--{name}={value}" for name, value in flags.items())]

    def start(self) -> None:
        """Starts the speaker; its log goes on where the last one ended."""
        self.read_log()
        self.events.clear()
        self._ready = False
        with self._log.open("ab") as log:
            self._speaker = self.host.namespace.start(
                self._command(), stdout=log.fileno(), stderr=log.fileno()
            )

    @property
    def running(self) -> bool:
        """Whether there is a speaker process, frozen or not."""
        return self._speaker is not None and self._speaker.poll() is None

    @property
    def pid(self) -> int:
        """The process of the speaker, 0 where none was started."""
        return 0 if self._speaker is None else self._speaker.pid

    @property
    def frozen(self) -> bool:
        """Whether the speaker is stopped by SIGSTOP."""
        return self._frozen

    def ready(self) -> bool:
        """Whether the speaker has said so since its start."""
        self.read_log()
        return self.running and self._ready

    def read_log(self) -> None:
        """Takes in what the speaker has written since the last call."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            *lines, _partial = log.read().split(b"\n")
        for line in lines:
            self._read += len(line) + 1
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                self.events.append(event)
                self._ready |= event.get("event") == "ready"

    def last_words(self) -> str:
        """The end of the log, for a person who asks why it did not work."""
        return self._log.read_bytes()[-1500:].decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Sends the speaker a signal; nothing where it has gone already."""
        if self._speaker is not None and self.running:
            self._speaker.send_signal(number)
            if number in (signal.SIGSTOP, signal.SIGCONT):
                self._frozen = number == signal.SIGSTOP

    def kill(self) -> None:
        """Ends the speaker at once."""
        self.signal(signal.SIGKILL)
        if self._speaker is not None:
            self._speaker.wait()
        self._frozen = False

    def wait(self, timeout: float) -> float | None:
        """Waits for the speaker to exit by itself; the moment, or None where it has not."""
        try:
            if self._speaker is not None:
                self._speaker.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        return time.monotonic()

    def exit_code(self) -> int | None:
        """What the speaker exited with; negative is a signal."""
        return None if self._speaker is None else self._speaker.poll()

    def close(self) -> None:
        """Ends speaker and backend."""
        self.kill()
        self._backend.close()
        if self.cpu is not None:
            self.cpu.close()
