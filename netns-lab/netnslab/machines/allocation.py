"""The one process that gives the services of a folder their addresses, and what it has given."""

import json
import signal
import subprocess
import sys
from pathlib import Path

DEFAULT_CONTROLLER = [sys.executable, "-m", "controller"]
POOL_ANNOTATION = "metallb.io/ip-allocated-from-pool"
EXIT_WITHIN = 5.0


class Controller:
    """A controller without a cluster: it reads the manifests, and keeps a state file."""

    def __init__(self, command: list[str], source: Path, folder: Path) -> None:
        """`folder` is where its state file and its log are; nothing is started yet."""
        self.state = folder / "state.json"
        flags = [f"--source={source}", f"--state={self.state}", "--port=0", "--log-level=info"]
        self._command = [*command, *flags]
        self._log = folder / "controller.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. Raises OSError where there is no such program."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def given(self) -> dict[str, tuple[str, str]]:
        """Address and pool by the name of the service, as the state file says."""
        try:
            items = json.loads(self.state.read_bytes())["items"]
        except FileNotFoundError:
            return {}
        found = {}
        for item in items:
            metadata = item["metadata"]
            pool = metadata.get("annotations", {}).get(POOL_ANNOTATION, "")
            for entry in item["status"]["loadBalancer"]["ingress"]:
                found[metadata["name"]] = entry["ip"], pool
        return found

    def last_words(self) -> str:
        """The end of the log, for a person who asks why it did not work."""
        return self._log.read_bytes()[-1500:].decode(errors="replace")

    def close(self) -> None:
        """End it."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(EXIT_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
