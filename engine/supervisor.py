"""The first process of FRR's container: does what the rule says, and buries whoever dies."""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from engine.daemons import PRIORITY, WATCHER, Crew, arguments
from engine.folder import DAEMONS, DRAINED, WANTED, socket_of
from engine.rule import End, Order, Phase, Rule, Start

LOOKS_EVERY = 0.2
"""Seconds between two looks at the folder: a file that appears tells nobody."""
LOOKS_OFTEN = 0.02
"""The same while a daemon starts, which routers wait for."""
ENDING = (signal.SIGTERM, signal.SIGINT)
SIGNALS = (*ENDING, signal.SIGCHLD)


def run(folder: Path, programs: Path, crew: Crew, realtime: bool = False) -> None:
    """Keep the engine as the folder's files want it, until SIGTERM. Raises OSError at its start.

    `realtime`: BFD's daemon gets real-time priority, where the kernel lets us give it.
    """
    # Who dumps a daemon's memory dumps its passwords.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Blocked, so that none gets lost between two looks; each is taken by `sigtimedwait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    _Supervisor(folder, programs, crew, realtime).run()


class _Supervisor:
    def __init__(self, folder: Path, programs: Path, crew: Crew, realtime: bool) -> None:
        self._folder, self._programs, self._crew = folder, programs, crew
        self._prompt = frozenset((WATCHER,)) if realtime else frozenset[str]()
        self._rule = Rule(crew)
        self._pids: dict[int, str] = {}
        self._told = Phase.IDLE

    def run(self) -> None:
        (self._folder / DRAINED).unlink(missing_ok=True)
        self._introduce()
        tell("ready", daemons=self._crew.names)
        while self._rule.phase is not Phase.ENDED:
            self._look(time.monotonic())
            for order in self._rule.orders():
                self._obey(order)
            self._tell_phase()
            self._sleep()
        self._tell_phase()

    def _introduce(self) -> None:
        """Say who runs here. Renamed, so that nobody reads half of it."""
        path = self._folder / DAEMONS
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(f"{name}\n" for name in self._crew.names))
        fresh.replace(path)

    def _look(self, now: float) -> None:
        for pid, status in _dead():
            if name := self._pids.pop(pid, None):
                tell("exit", daemon=name, code=os.waitstatus_to_exitcode(status))
                self._rule.handle_exit(name, now)
        for name in self._rule.awaited:
            if socket_of(self._folder, name).exists():
                self._rule.handle_open(name, now)
        self._rule.handle_wanted((self._folder / WANTED).exists(), now)
        self._rule.handle_timeout(now)

    def _tell_phase(self) -> None:
        if self._rule.phase is not self._told:
            self._told = self._rule.phase
            tell(self._told)

    def _obey(self, order: Order) -> None:
        match order:
            case Start(name):
                self._start(name)
            case End(name, at_once):
                # Ours until it is buried, so the number is nobody else's.
                for pid in [pid for pid, known in self._pids.items() if known == name]:
                    os.kill(pid, signal.SIGKILL if at_once else signal.SIGTERM)

    def _start(self, name: str) -> None:
        # One that a killed daemon has left would be taken for the new one's.
        socket_of(self._folder, name).unlink(missing_ok=True)
        command = arguments(name, self._programs, self._crew.with_bfd)
        try:
            pid = self._promptly(command) if name in self._prompt else _spawn(command)
        except OSError as error:
            tell("cannot start", daemon=name, error=error.strerror)
            self._rule.handle_exit(name, time.monotonic())
            return
        self._pids[pid] = name
        tell("start", daemon=name, pid=pid)

    def _promptly(self, command: list[str]) -> int:
        """Spawn with real-time priority, or as any other where that is refused: a pod without
        SYS_NICE, or a kernel that shares real time out among groups and gave none to this one."""
        try:
            return _spawn(command, scheduler=(os.SCHED_RR, os.sched_param(PRIORITY)))
        except PermissionError as error:
            tell("no real-time priority", daemon=WATCHER, error=error.strerror)
            return _spawn(command)

    def _sleep(self) -> None:
        most = LOOKS_OFTEN if self._rule.awaited else LOOKS_EVERY
        due = self._rule.deadline()
        wait = most if due is None else min(most, max(0.0, due - time.monotonic()))
        taken = signal.sigtimedwait(SIGNALS, wait)
        if taken is not None and taken.si_signo in ENDING:
            tell("stop")
            self._rule.handle_end(time.monotonic())


def _spawn(command: list[str], **more: Any) -> int:
    signals: dict[str, Any] = {"setsigmask": (), "setsigdef": (signal.SIGPIPE,)}
    return os.posix_spawn(command[0], command, os.environ, **signals, **more)


def _dead() -> list[tuple[int, int]]:
    """Bury all who have died, whoever's children they were; return number and status of each."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        found.append((pid, status))


def tell(event: str, **fields: object) -> None:
    """Write one line for people, as the speaker's are."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()
