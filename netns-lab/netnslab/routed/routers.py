"""Routers: FRR, and BIRD as a second judge. Each learns routes and puts them into its kernel."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from netnslab.errors import LabError
from netnslab.routed import sessions
from netnslab.routed.engine import LOOK, STARTS_WITHIN, LabEngine
from netnslab.routed.fabric import Fabric, RoutedHost
from netnslab.routed.sessions import Agreement

BIRD, BIRDC = Path("/usr/sbin/bird"), Path("/usr/sbin/birdc")


class Router(Protocol):
    """What the lab asks of a router."""

    host: RoutedHost

    def start(self) -> None:
        """Start with an empty kernel and the lab's configuration. Raises LabError."""

    def kill(self) -> None:
        """End it at once, as a power cut does."""

    def watched(self) -> set[str]:
        """The nodes' addresses at which BFD holds a session up."""

    def resets(self) -> dict[str, int]:
        """How often each node's sessions have gone down since the start."""


def _of_ports(fabric: Fabric, given: Agreement) -> dict[str, str]:
    """Whom a router peers with: session names, and addresses, or ports where there are none."""
    if given.unnumbered:
        return {name: host.port for name, host in fabric.nodes.items()}
    return {
        f"{name}-v{family}": host.addresses[family]
        for name, host in fabric.nodes.items()
        for family in given.families
    }


def _by_node(counts: dict[str, int]) -> dict[str, int]:
    """The sum of a node's sessions: their names are the node's and the family."""
    found: dict[str, int] = {}
    for name, count in counts.items():
        node = name.removesuffix("-v4").removesuffix("-v6")
        found[node] = found.get(node, 0) + count
    return found


class FrrRouter:
    """A router whose daemons take the lab's lines at each start."""

    def __init__(self, fabric: Fabric, host: RoutedHost, given: Agreement, logs: Path) -> None:
        self.host = host
        self._fabric, self._given = fabric, given
        self._engine = LabEngine(host.name, host.namespace, logs, listens=True)

    def start(self) -> None:
        """As of any router."""
        self._fabric.flush(self.host)
        self._engine.start()
        self._engine.type(self._given.lines_of_bfd, "bfdd")
        nodes = _of_ports(self._fabric, self._given).values()
        own = f"10.88.0.{self.host.number}"
        self._engine.type(sessions.lines_of_router(self._given, own, nodes))

    def kill(self) -> None:
        """As of any router."""
        self._engine.kill()

    def watched(self) -> set[str]:
        """As of any router."""
        peers = self._engine.show("show bfd peers json", "bfdd")
        return {peer["peer"] for peer in peers if peer["status"] == "up"}

    def resets(self) -> dict[str, int]:
        """As of any router."""
        shown = self._engine.show("show bgp neighbors json")
        neighbours = _of_ports(self._fabric, self._given)
        return _by_node(
            {name: int(shown[at]["connectionsDropped"]) for name, at in neighbours.items()}
        )


class BirdRouter:
    """BIRD 2: other code for the same RFCs."""

    def __init__(self, fabric: Fabric, host: RoutedHost, given: Agreement, logs: Path) -> None:
        if not BIRD.exists():
            raise LabError("BIRD is needed: install the package bird2")
        self.host = host
        self._fabric, self._logs = fabric, logs
        self._sessions = _of_ports(fabric, given)
        self._file = logs / f"{host.name}.conf"
        self._control = logs / f"{host.name}.ctl"
        own = f"10.88.0.{host.number}"
        self._file.write_text(sessions.text_of_bird(given, own, self._sessions))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """As of any router."""
        self._fabric.flush(self.host)
        self._control.unlink(missing_ok=True)
        command = [str(BIRD), "-f", "-c", str(self._file), "-s", str(self._control)]
        with (self._logs / f"{self.host.name}-bird.log").open("ab") as log:
            self._process = self.host.namespace.start(
                command, stdout=log.fileno(), stderr=log.fileno()
            )
        deadline = time.monotonic() + STARTS_WITHIN
        while "up" not in self._ask("show status"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = (self._logs / f"{self.host.name}-bird.log").read_text()[-500:]
                raise LabError(f"BIRD did not start: {words}")
            time.sleep(LOOK)

    def _ask(self, question: str) -> str:
        command = [str(BIRDC), "-s", str(self._control), question]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        return done.stdout

    def kill(self) -> None:
        """As of any router."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def watched(self) -> set[str]:
        """As of any router: lines of address, interface, state."""
        rows = (line.split() for line in self._ask("show bfd sessions").splitlines())
        return {row[0] for row in rows if len(row) > 2 and row[2] == "Up"}

    def resets(self) -> dict[str, int]:
        """BIRD keeps no such count: what is not Established counts as one."""
        rows = [line.split() for line in self._ask("show protocols").splitlines()]
        states = {row[0]: row[-1] for row in rows if len(row) > 4 and row[1] == "BGP"}
        return _by_node(
            {name: int(states[name.replace("-", "_")] != "Established") for name in self._sessions}
        )


ROUTERS: dict[str, Callable[[Fabric, RoutedHost, Agreement, Path], Router]] = {
    "frr": FrrRouter,
    "bird": BirdRouter,
}
