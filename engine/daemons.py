"""FRR's daemons: which ones there are, in what order they start and end, with what arguments."""

import resource
from pathlib import Path
from typing import NamedTuple

PROGRAMS = Path("/usr/lib/frr")
ROUTER = "bgpd"
"""It ends first and alone: its end closes the sessions, and nothing that comes after can be
taken for a fault of a living router."""
WATCHER = "bfdd"
"""It has to send in time whatever else runs, or routers take the node for dead."""
PRIORITY = 1
"""Of real time, the lowest: ahead of all that has none, and behind all else that has one."""
MOST_FILES = 100_000


class Crew(NamedTuple):
    """The daemons of one engine, by the stages in which they start. One waits for those before."""

    stages: tuple[tuple[str, ...], ...]
    with_bfd: bool

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for stage in self.stages for name in stage)

    @property
    def endings(self) -> tuple[tuple[str, ...], ...]:
        """The stages in which they end."""
        others = tuple(name for name in self.names if name != ROUTER)
        return ((ROUTER,), others) if others else ((ROUTER,),)


def crew(programs: Path, with_bfd: bool) -> Crew:
    """Return who is to run. FRR has had `mgmtd` since version 9; where it is, zebra needs it."""
    if not with_bfd:
        return Crew(((ROUTER,),), False)
    first = (("mgmtd",),) if (programs / "mgmtd").exists() else ()
    # bgpd and bfdd ask zebra once, and then not again for 10 seconds.
    return Crew((*first, ("zebra",), (ROUTER, "bfdd")), True)


def arguments(daemon: str, programs: Path, with_bfd: bool) -> list[str]:
    """Return the command of a daemon. It stays whoever starts it, and listens on no TCP port."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = MOST_FILES if limit == resource.RLIM_INFINITY else min(MOST_FILES, limit)
    return [
        *(str(programs / daemon), "-A", "127.0.0.1", "-P", "0", "--limit-fds", str(files)),
        *("--log", "stdout", "--log-level", "informational"),
        # mgmtd keeps no file of its own.
        *(() if daemon == "mgmtd" else ("-f", "/dev/null")),
        # -p 0: port 179 of the node may belong to somebody else.
        *(("-p", "0") if daemon == ROUTER else ()),
        # Without a right nothing can be given up (-S), and there is no zebra to be asked (-Z).
        *(("-u", "root", "-g", "root") if with_bfd else ("-Z", "-S")),
    ]
