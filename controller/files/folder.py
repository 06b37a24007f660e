"""Gives the services of a folder of manifests their addresses, and keeps them in a state file."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from structlog.typing import FilteringBoundLogger as Log

from controller.allocation.assignments import Assignments
from controller.allocation.io import ServiceEvent, StatusWrite
from controller.allocation.pools import Pools
from controller.files import entries as state
from controller.files.state_file import StateError, StateFile
from kube.config import PoolConfig
from kube.files.directory import DirectorySource, check_apart
from kube.objects.core import Service
from kube.objects.metallb import IPAddressPool
from kube.problem import Problem, Severity
from kube.snapshot import Snapshot, with_status
from process.logs import Sparing

LOOK = 1.0
"""Seconds until what failed is tried again, and until somebody else's hand in the file is seen."""
BITE = 0.005
"""Seconds of deciding in one turn of the loop."""
_READ_BY_THEMSELVES = ("Service ", "EndpointSlice ", "Node ", "Namespace ")
"""Objects that may be broken without anybody wondering what else may stand there."""


@dataclass(slots=True)
class FolderFigures:
    """What is counted."""

    writes: int = 0
    """How often the state file was written."""
    failed_writes: int = 0
    updates: int = 0
    """How often the folder was different."""
    loaded: bool = False
    """Whether there has been a valid configuration of pools."""
    stale: bool = False
    """Whether anything in the folder is not used, so that an older state of it is in force."""
    problems: Counter[str] = field(default_factory=Counter)
    """What is wrong with the manifests now, by severity."""


class FolderController:
    """The whole controller where there is no cluster. Only its loop may call it."""

    def __init__(
        self,
        source: Path,
        path: Path,
        namespace: str,
        lb_class: str | None,
        log: Log,
        clock: Callable[[], float],
    ) -> None:
        """`path` is the state file; `clock` gives seconds."""
        self.core = Assignments(lb_class)
        self.figures = FolderFigures()
        self.settled = asyncio.Event()
        """Set once all that can have an address has it, for the first time."""
        self._folder, self._path = source, path
        self._file = StateFile(path)
        self._source = DirectorySource(source, namespace, self.take)
        self._log, self._clock, self._sparing = log, clock, Sparing(clock)
        self._wake = asyncio.Event()
        self._news: tuple[Snapshot, tuple[Problem, ...]] | None = None
        self._blind = True
        """Whether there may be objects that we have never seen."""
        self._manifests: dict[str, Service] = {}
        self._entries: dict[str, Service] = {}
        self._unseen: set[str] = set()
        """Kept services of which there was no manifest since the start."""
        self._config: tuple[PoolConfig, tuple[IPAddressPool, ...]] | None = None
        self._default = 4
        self._due: dict[str, None] = {}
        self._dirty = False
        """Whether the file is to be written though no address has changed."""
        self._said: frozenset[Problem] = frozenset()

    async def run(self) -> None:
        """Give addresses until cancelled. Raises `SourceError` or `StateError` at the start."""
        check_apart(self._folder, self._path)
        await self.open()
        reading = asyncio.create_task(self._source.run())
        reading.add_done_callback(lambda _: self._wake.set())
        try:
            while not reading.done():
                await self.turn()
            await reading
        finally:
            reading.cancel()

    def reload(self) -> None:
        """Read everything again now (SIGHUP)."""
        self._source.reload()

    def close(self) -> None:
        """Let another controller have the state file."""
        self._file.close()

    @property
    def waiting_for(self) -> str | None:
        """Why no addresses are given; None where they are."""
        if self._blind:
            return "the manifests are not all read"
        return None if self._config else "there is no valid configuration of pools"

    # ---- what comes in

    async def open(self) -> None:
        """Lock the state file and read it. Raises `StateError`."""
        kept = await asyncio.to_thread(self._file.open)
        self._entries = dict(kept.entries)
        self._unseen = set(self._entries)
        if kept.problems:
            self._dirty = True
            first, more = kept.problems[0], len(kept.problems) - 1
            aside = f"{self._path}.broken"
            self._log.error("state", problem=str(first), more=more, kept_as=aside)

    def take(self, snapshot: Snapshot, problems: tuple[Problem, ...]) -> None:
        """Have the next turn act on the state of the folder."""
        self._news = snapshot, problems
        self._wake.set()

    def _take_news(self) -> None:
        if self._news is None:
            return
        (snapshot, problems), self._news = self._news, None
        self._report(problems)
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        # What a file held that was never read nobody knows: perhaps the pools of all that is kept.
        self._blind &= any(not each.object.startswith(_READ_BY_THEMSELVES) for each in errors)
        if self._blind:
            return
        self._unseen -= snapshot.services.keys()
        if not errors:
            self._unseen.clear()
        self._take_pools(snapshot)
        self._take_services(snapshot)
        if not self.core.leads:
            self.core.lead()

    def _take_pools(self, snapshot: Snapshot) -> None:
        """Take the pools, unless it is an older configuration that is in force."""
        config, pools = snapshot.config, snapshot.pools
        in_force = self._config[0] if self._config else None
        if config is None or config is in_force or (config, pools) == self._config:
            return
        self._config = config, pools
        self.figures.loaded = True
        versions = {span.version for span, _ in config.ranges}
        self._default = 6 if versions == {6} else 4
        self.core.set_pools(Pools(pools, config))

    def _take_services(self, snapshot: Snapshot) -> None:
        self._manifests = {**self._stand_ins(snapshot.services), **snapshot.services}
        labels = {name: found.labels for name, found in snapshot.namespaces.items()}
        self.core.set_namespaces(state.namespaces(labels, self._manifests.values()))
        known = self.core.services()
        for key in known.keys() - self._manifests.keys():
            self.core.handle_service(key, None)
        for key in self._manifests:
            if known.get(key) != (view := self._view(key)):
                self.core.handle_service(key, view)
        self._forget_others()

    def _stand_ins(self, services: Mapping[str, Service]) -> dict[str, Service]:
        """Have addresses stay with services whose manifests are broken, unless others share them:
        then they are in good hands."""
        shown = (with_status(service, self._entries.get(key)) for key, service in services.items())
        taken = {ip for service in shown for ip in service.ingress}
        kept = {key: self._entries[key] for key in self._unseen if key in self._entries}
        return {
            key: state.stand_in(entry, self.core.lb_class)
            for key, entry in kept.items()
            if taken.isdisjoint(entry.ingress)
        }

    def _forget_others(self) -> None:
        """Drop what is kept for services that are gone, or that are not ours."""
        ours = self.core.services().keys() | self._unseen
        gone = self._entries.keys() - ours
        for key in gone:
            del self._entries[key]
        self._dirty |= bool(gone)

    def _view(self, key: str) -> Service:
        """Return a service as if the state file were its status."""
        found = with_status(self._manifests[key], self._entries.get(key))
        return state.completed(found, self._default)

    def _report(self, problems: tuple[Problem, ...]) -> None:
        """Log each problem once, as long as it lasts."""
        levels = {Severity.ERROR: self._log.error, Severity.WARNING: self._log.warning}
        for problem in problems:
            if problem not in self._said:
                levels.get(problem.severity, self._log.debug)("source", problem=str(problem))
        self._said = frozenset(problems)
        self.figures.updates += 1
        self.figures.problems = Counter(problem.severity.value for problem in problems)
        self.figures.stale = Severity.ERROR.value in self.figures.problems

    # ---- what follows

    async def turn(self) -> None:
        """Wait for news, or for the next look; decide, and write what was decided."""
        try:
            async with asyncio.timeout(LOOK):
                await self._wake.wait()
        except TimeoutError:
            self._look_at_file()
        self._wake.clear()
        self._take_news()
        await self._settle()

    def _look_at_file(self) -> None:
        if self.core.leads and not self._dirty and not self._file.is_ours():
            self._dirty = True
            text = "was changed or removed by somebody else, and is written anew"
            self._log.warning("state", problem=f"{self._path}: {text}")

    async def _settle(self) -> None:
        """Decide until nothing is left, and write it all at once; again if that leaves anything."""
        while self.core.leads:
            self.core.settle(self._bite())
            self._due.update(dict.fromkeys(self.core.due()))
            if self.core.busy:
                await asyncio.sleep(0)
                continue
            self._tell(self.core.events())
            if not await self._write():
                return

    def _bite(self) -> Callable[[], bool]:
        end = self._clock() + BITE
        return lambda: self._clock() > end

    async def _write(self) -> bool:
        """Write what is due. Return whether that was anything, so that there may be more to do."""
        wanted = {key: write for key in self._due if (write := self.core.wanted(key)) is not None}
        if not wanted and not self._dirty:
            self._due.clear()
            if self._config:
                self.settled.set()
            return False
        entries = self._after(wanted)
        if not await self._save(entries):
            return False
        self._entries, self._dirty = entries, False
        self._due.clear()
        for key in wanted:
            self.core.handle_written(key, self._view(key))
        return True

    def _after(self, wanted: Mapping[str, StatusWrite]) -> dict[str, Service]:
        """Return what is kept once these are written."""
        entries = dict(self._entries)
        for key, write in wanted.items():
            entries.pop(key, None)
            if (found := state.entry(self._manifests[key], write)) is not None:
                entries[key] = found
        return entries

    async def _save(self, entries: dict[str, Service]) -> bool:
        """Write the file in a thread; what fails is tried again at the next look."""
        if entries == self._entries and not self._dirty:
            return True
        saving = asyncio.ensure_future(asyncio.to_thread(self._file.save, entries))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            # Nobody else may have the file before it is done.
            await asyncio.wait([saving])
            raise
        except StateError as error:
            self.figures.failed_writes += 1
            if (more := self._sparing.ask(str(error))) is not None:
                self._log.error("state", problem=str(error), more=more)
            return False
        self.figures.writes += 1
        return True

    def _tell(self, events: list[ServiceEvent]) -> None:
        for told in events:
            log = self._log.info if told.type == "Normal" else self._log.warning
            log("address", service=told.service, reason=told.reason, message=told.message)
