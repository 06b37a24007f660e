"""The file that keeps the addresses: locked, read once, and replaced in one step."""

import contextlib
import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.files.entries import text_of
from kube.address import parse_ip
from kube.document import ManifestError
from kube.files.manifest import MAX_BYTES, read
from kube.objects.core import INGRESS, Service
from kube.problem import Problem, Severity, quoted
from kube.snapshot import read_documents

MODE = 0o644
"""Speakers may run as somebody else."""


class StateError(Exception):
    """The state file cannot be used or written; the text says which and why, in one line."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file held: the good entries by `namespace/name`, and what is wrong with others."""

    entries: Mapping[str, Service]
    problems: tuple[Problem, ...] = ()


class StateFile:
    """One controller's own file. Its methods wait for the disk: call them in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._beside = {
            suffix: path.with_name(f"{path.name}.{suffix}") for suffix in ("lock", "broken")
        }
        # Hidden, so that nobody who looks for manifests reads half of it.
        self._partial = path.with_name(f".{path.name}.partial")
        self._lock: int | None = None
        self._stamp: tuple[int, ...] | None = None

    def open(self) -> Kept:
        """Lock the file and read it. Raises `StateError`.

        What is broken is kept aside as `FILE.broken`. The file itself stays until it is replaced,
        so that no speaker sees it gone.
        """
        self._take_lock()
        content = self._content()
        if content is None:
            return Kept({})
        kept = _read(content, str(self._path))
        if kept.problems:
            self._put_aside()
        return kept

    def save(self, entries: Mapping[str, Service]) -> None:
        """Replace the file, in one step and for good. Raises `StateError`; then it is as before."""
        content = text_of(entries)
        if len(content) > MAX_BYTES:
            raise self._error(f"{len(entries)} services need more than {MAX_BYTES} bytes")
        try:
            self._replace(content)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._partial.unlink()
            raise self._error(error.strerror or "cannot be written") from None

    def is_ours(self) -> bool:
        """Tell whether the file is the one that was read or written last."""
        return self._stamp == self._look()

    def close(self) -> None:
        """Let another controller have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        path = self._beside["lock"]
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
            # The lock of an open file: the kernel takes it back however the process ends.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise self._error("another controller keeps it") from None
        except OSError as error:
            raise self._error(f"{path}: {error.strerror or 'cannot be locked'}") from None

    def _content(self) -> bytes | None:
        """Read the file, one byte beyond the limit at most; None where there is none."""
        try:
            # Without waiting, should it be a pipe.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(error.strerror or "cannot be read") from None
        try:
            with open(descriptor, "rb") as file:
                self._stamp = _stamp(os.fstat(descriptor))
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise self._error(error.strerror or "cannot be read") from None

    def _put_aside(self) -> None:
        """Give the content another name too. The last broken one goes: there is one at most."""
        aside = self._beside["broken"]
        try:
            aside.unlink(missing_ok=True)
            os.link(self._path, aside)
        except OSError:
            # Not every file system has two names for a file.
            try:
                self._path.replace(aside)
            except OSError as error:
                text = f"is broken, and cannot be kept as {aside}: {error.strerror}"
                raise self._error(text) from None

    def _replace(self, content: bytes) -> None:
        descriptor = os.open(
            self._partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        )
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, MODE)
            os.fsync(descriptor)
        self._partial.replace(self._path)
        self._stamp = self._look()
        # The name is kept by the folder, which is a file of its own.
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _look(self) -> tuple[int, ...] | None:
        try:
            return _stamp(self._path.stat())
        except OSError:
            return None

    def _error(self, why: str) -> StateError:
        return StateError(f"state file {self._path}: {why}")


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    # Another name for it changes its ctime, and nothing of what is in it.
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(content: bytes, name: str) -> Kept:
    try:
        documents = read(content, name)
    except ManifestError as error:
        return Kept({}, (error.problem,))
    reading = read_documents(documents)
    problems = list(reading.problems)
    entries: dict[str, Service] = {}
    for found in reading.views.values():
        if not isinstance(found, Service):
            problems.append(Problem(Severity.ERROR, name, 0, "", "", "holds more than Services"))
        elif (wrong := next((ip for ip in found.ingress if parse_ip(ip) is None), None)) is None:
            entries[found.key] = found
        else:
            text = f"{quoted(wrong)} is not an IP address"
            problems.append(found.origin.error(INGRESS, text))
    return Kept(entries, tuple(problems))
