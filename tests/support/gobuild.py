"""Builds a Go program of the tests once and keeps it in the user's cache."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path


class BuildError(Exception):
    """There is no such program, for the reason given."""


def build_once(name: str, sources: Path, timeout: float, *flags: str, package: str = ".") -> Path:
    """The path of the program, built if these very sources and flags never were.

    `timeout` is in seconds: the first build downloads modules, on what may be a slow machine.
    `package` is one of another module, where the program is not ours. Raises BuildError.
    """
    program = _cache() / f"{name}-{_digest(sources, flags)}"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise BuildError("no Go toolchain")
    program.parent.mkdir(parents=True, exist_ok=True)
    # Two test runs may build at once: each its own file, the last rename wins.
    unfinished = program.with_name(f"{program.name}.{os.getpid()}")
    # -mod=readonly: what go.sum does not list is not built. Without cgo no C compiler is wanted.
    command = [go, "build", "-mod=readonly", *flags, "-o", str(unfinished), package]
    # A compiler that collects garbage less often takes a tenth less time, and some memory.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOGC": "400"}
    try:
        done = subprocess.run(
            command,
            cwd=sources,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"go build took more than {timeout} s") from None
    if done.returncode != 0:
        raise BuildError(f"go build failed: {done.stderr.strip()[-500:]}")
    unfinished.replace(program)
    return program


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clarion"


def _digest(sources: Path, flags: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for path in sorted(sources.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update("\0".join(flags).encode())
    return digest.hexdigest()[:16]
