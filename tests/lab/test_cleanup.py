"""However the lab ends, nothing of it remains."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).with_name("standin.py")

pytestmark = [pytest.mark.root, pytest.mark.lab]


def processes(token: str) -> list[int]:
    """Every process on this machine that carries the token in its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and token.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def eventually(true: Callable[[], bool], seconds: float) -> bool:
    """Polls a condition that real processes bring about."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["SIGTERM", "Ctrl-C", "SIGKILL"],
)
def test_nothing_remains(number: signal.Signals, code: int, tmp_path: Path) -> None:
    token = str(tmp_path)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'netns-lab'}:{ROOT}"}
    before = {*Path("/dev/shm").iterdir(), *Path("/run").glob("netns/*")}
    speaker = f"{sys.executable} {STAND_IN} right --token={token}"
    controller = f"{sys.executable} {STAND_IN.with_name('standin_controller.py')} right"
    arguments = ["--speaker", speaker, "demo", "--controller", f"{controller} --token={token}"]
    command = [sys.executable, "-m", "netnslab", *arguments]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as outermost:
        # Outermost, PID 1 inside, a controller, and three speakers.
        assert eventually(lambda: len(processes(token)) >= 6, 30)
        if number == signal.SIGINT:
            os.killpg(outermost.pid, number)
        else:
            outermost.send_signal(number)
        assert outermost.wait(20) == code
    assert eventually(lambda: not processes(token), 5)
    assert {*Path("/dev/shm").iterdir(), *Path("/run").glob("netns/*")} == before
