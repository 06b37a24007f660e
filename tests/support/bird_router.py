"""A router that is not FRR: BIRD 2 in a namespace, configured by a file, asked by its socket."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netns import Host

BIRD = "/usr/sbin/bird"
WITHIN = 20.0
_FILE = """\
log "{log}" all;
router id 10.255.0.2;
protocol device {{}}
protocol kernel {{ ipv4 {{ export all; }}; }}
protocol bfd {{ interface "eth0" {{ interval 100 ms; multiplier 3; }}; }}
protocol bgp node {{
  local {own} as {its_as};
  neighbor {peer} as {my_as};
  hold time 9;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  {more}
  ipv4 {{ import all; export none; }};
}}
"""


def missing_bird() -> str | None:
    """Why there is no BIRD here, None where there is."""
    return None if shutil.which(BIRD) and shutil.which("birdc") else "not installed: BIRD"


class BirdRouter:
    """One that runs."""

    def __init__(self, host: Host, folder: Path) -> None:
        self._host, self._folder = host, folder

    def say(self, command: str) -> str:
        """Return what it answers, as for people."""
        asked = ["birdc", "-s", str(self._folder / "ctl"), *command.split()]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout

    def configure(self, **values: object) -> None:
        """Write its file anew, and have it read if it runs."""
        log = self._folder / "log"
        (self._folder / "bird.conf").write_text(_FILE.format(log=log, own=self._host.ip, **values))
        if (self._folder / "ctl").exists():
            assert "Reconfigur" in self.say("configure"), self.say("configure")

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, and return when it answers."""
        files = ["-c", "bird.conf", "-s", "ctl", "-P", "pid"]
        files = [word if word[0] == "-" else str(self._folder / word) for word in files]
        quiet = subprocess.DEVNULL
        process = self._host.namespace.start([BIRD, "-f", *files], stdout=quiet, stderr=quiet)
        until = time.monotonic() + WITHIN
        while "Daemon is up" not in self.say("show status"):
            assert process.poll() is None, "BIRD ended"
            assert time.monotonic() < until, "BIRD does not answer"
            time.sleep(0.01)
        return process


@contextmanager
def bird_router(host: Host, **values: object) -> Iterator[BirdRouter]:
    """Run one: `my_as` is the node's, `its_as` the router's, `more` lines of the session."""
    folder = Path(tempfile.mkdtemp(prefix="bird-"))
    router = BirdRouter(host, folder)
    try:
        router.configure(**values)
        process = router.start()
        try:
            yield router
        finally:
            process.kill()
            process.wait(WITHIN)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
