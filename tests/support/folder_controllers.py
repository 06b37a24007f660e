"""A real controller of a folder in a namespace, for tests."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netns import Host


@contextmanager
def folder_controller(host: Host, source: Path, log: Path, *flags: str) -> Iterator[None]:
    """Run one on port 7472 of the host, or another that `flags` name; it is killed at the end."""
    command = [
        *(sys.executable, "-m", "controller", "--source", str(source)),
        *("--namespace", "metallb-system", "--host", host.ip, *flags),
    ]
    with log.open("wb") as file:
        process = host.namespace.start(command, stdout=file.fileno(), stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.kill()
        process.wait()
