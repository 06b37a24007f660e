"""The cluster's state from a directory of manifests, for a process without Kubernetes.

`_Directory` holds what was read last and runs in a thread: reading and parsing must not hold the
event loop. A thread does not stop Python's other threads, but it makes them wait for up to the
interpreter's switch interval (5 ms by default) each time they wake; the parser makes only short
calls into C, so it is never longer than that.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kube.document import Document, ManifestError
from kube.files.manifest import MAX_BYTES, read
from kube.objects.reading import LAYER2, WITH_BGP
from kube.problem import Problem, Severity, fault, worst_first
from kube.snapshot import BgpScope, Reading, Snapshot, assemble, read_documents

if TYPE_CHECKING:
    from kube.config import PoolConfig

POLL = 0.8
"""Seconds between looks at the directory."""
SETTLE = 0.1
"""Seconds until the second look at a file that has just changed."""
MAX_FILES = 1_000
MAX_TOTAL_BYTES = 64 * 1024 * 1024
SUFFIXES = (".yaml", ".yml", ".json")

OnChange = Callable[[Snapshot, tuple[Problem, ...]], None]
Pause = Callable[[], None]
"""Called often by the thread that reads, in which it may sleep."""


class SourceError(Exception):
    """The directory cannot be read at all; the text says which and why, in one line."""


def _in_haste() -> Pause:
    return lambda: None


def check_apart(directory: Path, state: Path) -> None:
    """Raise `SourceError` where the state file would be read as a manifest of the directory."""
    listed = state.name.endswith(SUFFIXES) and not state.name.startswith(".")
    if listed and state.parent.resolve() == directory.resolve():
        raise SourceError(f"state file {state}: lies among the manifests of {directory}")


class DirectorySource:
    """Tells `on_change`, in the event loop, the state of the directory now and when it changes."""

    def __init__(
        self,
        directory: Path,
        namespace: str,
        on_change: OnChange,
        leisure: Callable[[], Pause] = _in_haste,
        state: Path | None = None,
        bgp_of: str = "",
    ) -> None:
        """`leisure` makes the pauses of one look at the directory, in the thread that looks.

        `state` is a controller's file: the statuses in it go before those of the manifests.
        `bgp_of` names the node whose BGP is wanted; empty: the kinds of BGP are not read.
        """
        self._directory = _Directory(directory, namespace, leisure, state, bgp_of)
        self._on_change = on_change
        self._wake = asyncio.Event()

    def reload(self) -> None:
        """Read everything again now (SIGHUP). Call it from the event loop."""
        self._wake.set()

    async def run(self) -> None:
        """Read and watch until cancelled. Raises `SourceError` if the first look fails."""
        changed = await asyncio.to_thread(self._directory.load)
        while True:
            if changed is not None:
                self._on_change(*changed)
            forced = await self._sleep(POLL if self._directory.settled else SETTLE)
            changed = await asyncio.to_thread(self._directory.poll, forced)

    async def _sleep(self, seconds: float) -> bool:
        """Wait; tell if `reload` was called."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells one version of a file from the next; `error` where it cannot even be looked at."""

    inode: int = 0
    size: int = 0
    modified: int = 0
    changed: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    """The version of a file that was read, and the last good state of what it defines."""

    stamp: _Stamp
    reading: Reading


class _Directory:
    """What the directory held when last read. Only one thread at a time may call it."""

    def __init__(
        self,
        path: Path,
        namespace: str,
        leisure: Callable[[], Pause] = _in_haste,
        state: Path | None = None,
        bgp_of: str = "",
    ) -> None:
        self.settled = True
        """False: some file was changing, look again soon."""
        self._path = path
        self._namespace = namespace
        self._state = state
        # Among the names of files in the directory it is the one with slashes.
        self._state_name = str(state.absolute()) if state is not None else ""
        self._seen: dict[str, _Stamp] = {}
        self._files: dict[str, _File] = {}
        self._config: PoolConfig | None = None
        self._bgp = BgpScope(bgp_of) if bgp_of else None
        self._kinds = WITH_BGP if bgp_of else LAYER2
        self._told: tuple[Snapshot, tuple[Problem, ...]] | None = None
        self._trouble: tuple[Problem, ...] = ()
        self._leisure = leisure
        self._pause = _in_haste()

    def load(self) -> tuple[Snapshot, tuple[Problem, ...]] | None:
        """Read everything for the first time. Raises `SourceError`."""
        if self._state is not None:
            check_apart(self._path, self._state)
        try:
            listing = self._list()
        except OSError as error:
            text = f"source directory {self._path}: {error.strerror or 'cannot be read'}"
            raise SourceError(text) from None
        return self._take(listing, forced=True)

    def poll(self, forced: bool = False) -> tuple[Snapshot, tuple[Problem, ...]] | None:
        """Look again; give the state if it differs from the last one given. Never raises.

        A file is read, or forgotten, when two looks have found it the same: whoever writes a file
        in place truncates it first, and an empty file would withdraw its services. `forced` reads
        all files at once, changed or not.
        """
        # Not at the start, when nothing is answered before all is read.
        self._pause = self._leisure()
        try:
            listing = self._list()
        except OSError as error:
            text = f"cannot be read: {error.strerror}; the last state is kept"
            return self._tell((_problem(str(self._path), text),), changed=False)
        return self._take(listing, forced)

    def _list(self) -> dict[str, _Stamp]:
        """Stat all manifests but hidden ones, through symbolic links, as in a ConfigMap.

        And first the state file, if there is one: before anything is given there is none.
        """
        with os.scandir(self._path) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.name.endswith(SUFFIXES) and not entry.name.startswith(".")
            )
        if self._state is not None and os.path.lexists(self._state):
            names.insert(0, self._state_name)
        stamps = {name: _stamp(self._path / name) for name in names}
        return {name: found for name, found in stamps.items() if found is not None}

    def _take(
        self, listing: Mapping[str, _Stamp], forced: bool
    ) -> tuple[Snapshot, tuple[Problem, ...]] | None:
        listing, trouble = self._within_limits(listing)
        before, self._seen = self._seen, dict(listing)
        self.settled, changed = True, False
        for name in {*listing, *self._files}:
            now = listing.get(name)
            known = self._files.get(name)
            if not forced and now == (known.stamp if known else None):
                continue
            if not forced and now != before.get(name):
                self.settled = False
                continue
            changed = True
            if now is None:
                del self._files[name]
            else:
                self._files[name] = self._read(name, now, known)
        return self._tell(trouble, changed)

    def _within_limits(
        self, listing: Mapping[str, _Stamp]
    ) -> tuple[dict[str, _Stamp], tuple[Problem, ...]]:
        """Leave out files beyond the limits, the last in the alphabet first."""
        kept: dict[str, _Stamp] = {}
        total = 0
        for name, stamp in listing.items():
            total += stamp.size
            if len(kept) == MAX_FILES:
                text = f"more than {MAX_FILES} manifests; {name} and later ones are not read"
                return kept, (_problem(str(self._path), text),)
            if total > MAX_TOTAL_BYTES:
                text = f"more than {MAX_TOTAL_BYTES} bytes; {name} and later ones are not read"
                return kept, (_problem(str(self._path), text),)
            kept[name] = stamp
        return kept, ()

    def _in_no_hurry(self, documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            self._pause()
            yield document

    def _read(self, name: str, stamp: _Stamp, known: _File | None) -> _File:
        """Parse a file; what cannot be read of it keeps its last good state."""
        last = known.reading if known else Reading()
        try:
            if stamp.error:
                raise _unreadable(name, stamp.error)
            content, stamp = _content(self._path / name, name)
            documents = self._in_no_hurry(read(content, name, self._pause))
            reading = read_documents(documents, self._kinds)
        except ManifestError as error:
            return _File(stamp, replace(last, problems=(error.problem,)))
        except Exception as error:
            return _File(stamp, replace(last, problems=(fault("", error, name),)))
        kept = {key: last.views[key] for key in reading.broken if key in last.views}
        return _File(stamp, replace(reading, views={**reading.views, **kept}))

    def _tell(
        self, trouble: tuple[Problem, ...], changed: bool
    ) -> tuple[Snapshot, tuple[Problem, ...]] | None:
        if self._told is not None and not changed and trouble == self._trouble:
            return None
        self._trouble = trouble
        names = sorted(self._files.keys() - {self._state_name})
        readings = [self._files[name].reading for name in names]
        state = self._files.get(self._state_name)
        statuses = state.reading if state is not None else None
        snapshot, problems = assemble(readings, self._namespace, self._config, statuses, self._bgp)
        self._config = snapshot.config
        if self._bgp is not None:
            self._bgp = replace(self._bgp, last=snapshot.bgp)
        now = snapshot, tuple(worst_first((*trouble, *problems)))
        if now == self._told:
            return None
        self._told = now
        return now


def _stamp(path: Path) -> _Stamp | None:
    """Stat a file. None for what is none; a link that leads nowhere may be half of a change."""
    try:
        found = path.stat()
    except OSError as error:
        return _Stamp(error=error.strerror or "cannot be read")
    return _stamp_of(found) if stat.S_ISREG(found.st_mode) else None


def _stamp_of(found: os.stat_result) -> _Stamp:
    return _Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _content(path: Path, name: str) -> tuple[bytes, _Stamp]:
    """Read a file, one byte beyond the limit at most, and stamp what was read."""
    try:
        # Without waiting, should it have become a pipe since.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            stamp = _stamp_of(os.fstat(descriptor))
            return file.read(MAX_BYTES + 1), stamp
    except OSError as error:
        raise _unreadable(name, error.strerror or "cannot be read") from None


def _unreadable(name: str, why: str) -> ManifestError:
    return ManifestError(_problem(name, why))


def _problem(file: str, message: str) -> Problem:
    return Problem(Severity.ERROR, file, 0, "", "", message)
