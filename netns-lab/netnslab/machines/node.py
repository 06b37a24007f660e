"""One node: its backend, its speaker process, and what the speaker has said."""

import json
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from netnslab.errors import LabError
from netnslab.instruments.instrument import Instrument
from netnslab.machines.addresses import ECHO_PORT
from netnslab.machines.cgroups import Group
from netnslab.machines.held import HeldClock
from netnslab.machines.topology import Host

# What is kept of the log for the demo; the rest stays in the file.
MOST_EVENTS = 1000
HTTP_PORT = 7472
DEFAULT_SPEAKER = [sys.executable, "-m", "speaker"]


@dataclass(frozen=True)
class Launch:
    """What all speakers of a run have in common. `held`: their clocks can be held back."""

    command: list[str]
    source: Path
    secret: Path
    logs: Path
    seeds: list[str]
    flags: tuple[str, ...] = ()
    held: bool = False


class LabNode:
    """A node of the lab. Its data plane runs from the start, its speaker from `start`."""

    def __init__(
        self,
        host: Host,
        launch: Launch,
        ips: list[str],
        group: Group | None = None,
        name: str = "",
    ) -> None:
        """Start the backend. `group`: what limits the speaker. Raises LabError.

        `name`: what the speaker calls itself, where that is not the host's name.
        """
        self.host = host
        self.group = group
        self.name = name or host.name
        self.events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._launch = launch
        self._backend = Instrument("echo", host, {"ips": ips, "port": ECHO_PORT})
        self._speaker: subprocess.Popen[bytes] | None = None
        self._log = launch.logs / f"{host.name}.log"
        self._log.touch()
        self._read = 0
        self._frozen = self._ready = False
        self._clock = HeldClock(launch.logs / f"{host.name}.clock") if launch.held else None

    def _command(self) -> list[str]:
        launch, ip = self._launch, self.host.gossip_ip
        flags = {
            "source": launch.source,
            "node-name": self.name,
            "ml-bindaddr": ip,
            "ml-bindport": 7946,
            "ml-secret-key-path": launch.secret,
            "join": ",".join(launch.seeds),
            "port": HTTP_PORT,
            "host": ip,
            "log-level": "info",
        }
        join = self.group.join if self.group else []
        held = self._clock.command() if self._clock else []
        own = [f"--{name}={value}" for name, value in flags.items()]
        return [*join, *held, *launch.command, *own, *launch.flags]

    def hold_back(self, seconds: float) -> None:
        """Set the speaker's clocks back by so much more."""
        if self._clock is None:
            raise LabError("this scenario's speakers have the machine's own clocks")
        self._clock.hold_back(seconds)

    def readyz(self) -> tuple[int, str]:
        """What the speaker says about itself: status and reason; 0 where nobody answers."""

        def ask() -> tuple[int, str]:
            asked = HTTPConnection(self.host.gossip_ip, HTTP_PORT, timeout=2.0)
            try:
                asked.request("GET", "/readyz")
                answer = asked.getresponse()
                return answer.status, answer.read().decode(errors="replace").strip()
            except OSError as error:
                return 0, str(error)
            finally:
                asked.close()

        return self.host.namespace.run(ask)

    def start(self) -> None:
        """Start the speaker; its log goes on where the last one ended."""
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
        """Take in what the speaker has written since the last call."""
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

    def log_lines(self) -> list[bytes]:
        """All whole lines that its speakers have written, since the first one."""
        return self._log.read_bytes().split(b"\n")[:-1]

    def last_words(self) -> str:
        """The end of the log, for a person who asks why it did not work."""
        return self._log.read_bytes()[-1500:].decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send the speaker a signal; nothing where it has gone already."""
        if self._speaker is not None and self.running:
            self._speaker.send_signal(number)
            if number in (signal.SIGSTOP, signal.SIGCONT):
                self._frozen = number == signal.SIGSTOP

    def kill(self) -> None:
        """End the speaker at once."""
        self.signal(signal.SIGKILL)
        if self._speaker is not None:
            self._speaker.wait()
        self._frozen = False

    def wait(self, timeout: float) -> float | None:
        """Wait for the speaker to exit by itself; the moment, or None where it has not."""
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
        """End speaker and backend."""
        self.kill()
        self._backend.close()
        if self.group is not None:
            self.group.close()
