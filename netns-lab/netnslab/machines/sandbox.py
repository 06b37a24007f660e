"""The outermost box: user, mount, network and process namespaces that the kernel cleans up.

Everything the lab makes lives below a PID 1 of its own. When that process dies, however it dies,
the kernel kills every process below it and with the last of them frees namespaces, links and the
private tmpfs. So nothing remains even after SIGKILL.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from netnslab.errors import LabError

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
PR_SET_PDEATHSIG = 1

# Hidden by a tmpfs of our own: it exists on every Linux, and nobody keeps results there.
SCRATCH = Path("/dev/shm")  # noqa: S108

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces. Raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def set_net_namespace(fd: int) -> None:
    """Move the calling thread into the network namespace behind `fd`. Raises OSError."""
    _check(_libc.setns(fd, CLONE_NEWNET), "setns")


def _mount(kind: str, target: str, flags: int, options: str = "") -> None:
    result = _libc.mount(
        kind.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _check(result, f"mount {kind} on {target}")


def _map_root(uid: int, gid: int) -> None:
    """Make the calling user root of its own user namespace (user_namespaces(7))."""
    # Without "deny" an unprivileged process may not write its gid_map.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _unshare_all() -> None:
    uid, gid = os.geteuid(), os.getegid()
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET
    try:
        unshare(flags if uid == 0 else flags | CLONE_NEWUSER)
        if uid != 0:
            _map_root(uid, gid)
    except OSError as error:
        if uid == 0:
            raise LabError(f"no right to make namespaces, though root: {error.strerror}") from None
        raise LabError(
            "this machine refuses user namespaces to ordinary users: run it again with sudo"
        ) from None


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    # Cleaning up must not be interrupted by a second, impatient Ctrl-C; SIGKILL still works.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _become_init() -> None:
    """What the child does as PID 1, before it goes on as the lab."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "mount")
    _mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount("tmpfs", str(SCRATCH), MS_NOSUID | MS_NODEV, "mode=0700,size=64m")
    # PID 1 gets only those signals that it has a handler for.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)


def _wait_for(child: int) -> int:
    """Wait for the lab, handing SIGTERM and SIGINT on; return its exit status."""

    def forward(_signal: int, _frame: FrameType | None) -> None:
        os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, forward)
    # A Ctrl-C reaches the whole foreground group, so the lab has it already; once is enough.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def enter() -> None:
    """Return inside the box, as PID 1; the process outside waits and exits with our status.

    Raises LabError where the machine refuses namespaces.
    """
    _unshare_all()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child != 0:
        os._exit(_wait_for(child))
    try:
        _become_init()
    except OSError as error:
        raise LabError(f"could not set up the lab's namespaces: {error.strerror}") from None


def hide(folder: Path) -> None:
    """Put an empty folder of our own over one of the machine's. Raises OSError."""
    _mount("tmpfs", str(folder), MS_NOSUID | MS_NODEV, "mode=0755,size=16m")


def cover(file: Path, by: Path) -> None:
    """Put another file over one of the machine's, for all within the sandbox. Raises OSError."""
    given = (str(by).encode(), str(file).encode(), None, ctypes.c_ulong(MS_BIND), None)
    _check(_libc.mount(*given), f"mount {by} on {file}")
