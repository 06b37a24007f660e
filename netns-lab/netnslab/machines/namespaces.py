"""Anonymous network namespaces: held by a file descriptor, gone when nobody holds them."""

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar

from netnslab.machines import sandbox

P = ParamSpec("P")
T = TypeVar("T")


class _Outcome(Generic[T]):
    """What a thread brings back: a value or an exception."""

    value: T
    error: BaseException | None = None


def _in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a fresh thread and return or raise what it did.

    A thread that has changed its namespace is never reused: it ends.
    """
    outcome: _Outcome[T] = _Outcome()

    def body() -> None:
        try:
            outcome.value = work()
        except BaseException as error:  # handed to the caller, whatever it is
            outcome.error = error

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


class NetworkNamespace:
    """One network namespace. `fd` is what links are moved into it by."""

    def __init__(self, name: str) -> None:
        """Make a new, empty namespace. Raises OSError."""
        self.name = name
        self.fd = _in_thread(self._make)

    @staticmethod
    def _make() -> int:
        sandbox.unshare(sandbox.CLONE_NEWNET)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` inside and return its result.

        A netlink socket belongs to the namespace of the thread that makes it, so `function` makes,
        uses and closes its own.
        """

        def work() -> T:
            sandbox.set_net_namespace(self.fd)
            return function(*args, **kwargs)

        return _in_thread(work)

    def start(
        self,
        command: list[str],
        *,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process inside. Raises OSError where there is no such program."""
        return self.run(subprocess.Popen, command, stdin=stdin, stdout=stdout, stderr=stderr)

    def sysctl(self, key: str, value: int | str) -> None:
        """Write one setting below /proc/sys/net, which follows the thread's own namespace."""
        path = Path("/proc/sys/net") / key
        self.run(path.write_text, str(value))

    def close(self) -> None:
        """Let go of the namespace; the kernel frees it with its last process."""
        os.close(self.fd)
