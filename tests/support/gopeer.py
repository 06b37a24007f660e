"""Builds the Go peer once and keeps it in the user's cache."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "foreign" / "gopeer"
BUILD_TIMEOUT = 300.0
"""Seconds; the first build downloads memberlist and compiles it on what may be a slow machine."""


class BuildError(Exception):
    """There is no Go peer, for the reason given."""


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _cached() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "clarion" / f"gopeer-{_digest()}"


def build() -> Path:
    """The path of the program, built if these very sources never were. Raises BuildError."""
    program = _cached()
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise BuildError("no Go toolchain")
    program.parent.mkdir(parents=True, exist_ok=True)
    # Two test runs may build at once: each its own file, the last rename wins.
    unfinished = program.with_name(f"{program.name}.{os.getpid()}")
    # -mod=readonly: what go.sum does not list is not built. Without cgo no C compiler is wanted.
    command = [go, "build", "-mod=readonly", "-o", str(unfinished), "."]
    environment = {**os.environ, "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            command,
            cwd=SOURCES,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"go build took more than {BUILD_TIMEOUT} s") from None
    if done.returncode != 0:
        raise BuildError(f"go build failed: {done.stderr.strip()[-500:]}")
    unfinished.replace(program)
    return program


if __name__ == "__main__":
    try:
        print(build())
    except BuildError as error:
        sys.exit(str(error))
