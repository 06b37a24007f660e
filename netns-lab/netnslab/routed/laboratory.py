"""The whole routed set-up: network, routers, nodes, instruments; and the questions asked of it."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from netnslab.errors import LabError
from netnslab.instruments.instrument import Instrument
from netnslab.machines import sandbox
from netnslab.routed import engine, plan
from netnslab.routed.absences import State
from netnslab.routed.fabric import Fabric
from netnslab.routed.nodes import BGPNode, PlainNode, Surroundings
from netnslab.routed.routers import ROUTERS
from netnslab.routed.sessions import Agreement

POLL = 0.02
SPARES = 20
CONVERGES_WITHIN = 40.0
# FRR as a router resets one session by BFD at its own start, so that a state counts as reached only
# after it has stood for a while.
STEADY, STEADY_WITH_BFD = 1.0, 3.0


class NoRoutesError(LabError):
    """The routers did not get the routes that a measurement begins from."""


@dataclass(frozen=True)
class RoutedOptions:
    """What a person or a scenario may choose."""

    nodes: int = 3
    routers: int = 1
    services: int = 4
    given: Agreement = field(default_factory=Agreement)
    router: str = "frr"
    contestant: type[BGPNode] = PlainNode
    converges_within: float = CONVERGES_WITHIN
    logs: Path | None = None


class RoutedLab:
    """Built and torn down as a context manager; needs the sandbox around it."""

    def __init__(self, options: RoutedOptions) -> None:
        """Build network and instruments; start no daemon. Raises LabError, OSError."""
        engine.prepare_machine()
        self.options = options
        given = options.given
        self.ips = [
            plan.service_ip(number, family)
            for family in given.families
            for number in range(options.services)
        ]
        self.spare = [
            plan.service_ip(options.services + number, family)
            for family in given.families
            for number in range(SPARES)
        ]
        self.directory = Path(tempfile.mkdtemp(dir=sandbox.SCRATCH))
        self.fabric = Fabric(options.nodes, options.routers, given.families, ports=given.unnumbered)
        make = ROUTERS[options.router]
        self.routers = {
            name: make(self.fabric, host, given, self.directory)
            for name, host in self.fabric.routers.items()
        }
        self.nodes = self._nodes()
        self._whose = {
            hop: host.name for host in self.fabric.nodes.values() for hop in host.next_hops
        }
        self._instruments: list[Instrument] = []
        prefixes = [plan.prefix(ip) for ip in (*self.ips, *self.spare)]
        self.kernels = {
            name: self._instrument("routes", host, prefixes=prefixes)
            for name, host in self.fabric.routers.items()
        }
        for host in self.fabric.nodes.values():
            self.fabric.serve(host, self.ips)
            served = {"ips": self.ips, "port": plan.ANSWER_PORT, "number": host.number}
            self._instrument("responder", host, **served)
        self.flows = {
            family: self._instrument(
                "flows",
                self.fabric.client,
                ips=[ip for ip in self.ips if (":" in ip) == (family == 6)],
                port=plan.ANSWER_PORT,
                first_port=plan.FIRST_PORT,
                flows=plan.FLOWS,
                rate=plan.FLOW_RATE,
                home=plan.home_ip(family),
            )
            for family in given.families
        }

    def _instrument(self, name: str, host: Any, **settings: Any) -> Instrument:
        made = Instrument(f"routed.{name}", host, settings)
        self._instruments.append(made)
        return made

    def _nodes(self) -> dict[str, BGPNode]:
        given = self.options.given
        routers = {
            name: [host.addresses[family] for family in given.families]
            for name, host in self.fabric.routers.items()
        }
        first = given.families[0]
        nodes = {name: host.addresses[first] for name, host in self.fabric.nodes.items()}
        return {
            name: self.options.contestant(
                Surroundings(host, routers, given, tuple(self.ips), self.directory, nodes)
            )
            for name, host in self.fabric.nodes.items()
        }

    def __enter__(self) -> "RoutedLab":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in self.nodes.values():
            node.kill()
        for router in self.routers.values():
            router.kill()
        for instrument in self._instruments:
            instrument.close()
        if self.options.logs is not None:
            self.options.logs.mkdir(parents=True, exist_ok=True)
            for log in self.directory.glob("*.log"):
                shutil.copy(log, self.options.logs)
        shutil.rmtree(self.directory, ignore_errors=True)

    # Waiting

    def wait_until(self, reached: Callable[[], bool], timeout: float) -> bool:
        """Poll until `reached` or `timeout` seconds have passed; whether it was reached."""
        deadline = time.monotonic() + timeout
        while not reached():
            if time.monotonic() >= deadline:
                return False
            for node in self.nodes.values():
                node.tend()
            time.sleep(POLL)
        return True

    def pass_time(self, seconds: float) -> None:
        """Let time pass, as part of a fault or to look on."""
        until = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() >= until, seconds + 1)

    # What the kernels and the client say

    def routes(self, router: str) -> dict[str, set[str]]:
        """The nodes that a router's kernel sends each prefix to."""
        now = self.kernels[router].ask("state")["now"]
        return {prefix: self._names(hops) for prefix, hops in now.items()}

    def _names(self, hops: Iterable[str]) -> set[str]:
        return {self._whose.get(hop, hop) for hop in hops}

    def changes(self, router: str, start: float) -> list[State]:
        """Every change of a router's kernel since then: moment, prefix, nodes."""
        told = self.kernels[router].ask("since", start=start)["changes"]
        return [(at, prefix, self._names(hops)) for at, prefix, hops in told]

    def everywhere(self, nodes: Iterable[str], routers: Iterable[str] = ()) -> bool:
        """Whether each service's prefix goes to exactly these nodes, at these routers or at all."""
        wanted, shown = set(nodes), {name: self.routes(name) for name in routers or self.routers}
        prefixes = [plan.prefix(ip) for ip in self.ips]
        return all(routes[each] == wanted for routes in shown.values() for each in prefixes)

    def missing(self) -> str:
        """What keeps a measurement from beginning; empty where all has been well for a while."""
        bfd = self.options.given.bfd
        for name, router in self.routers.items():
            if not self.everywhere(self.nodes, [name]):
                return f"{name} does not send every prefix to every node"
            if bfd and len(router.watched()) < self.sessions_of_a_router:
                return f"{name} has BFD with {router.watched()} alone"
            quiet = time.monotonic() - self.kernels[name].ask("state")["last"]
            if quiet < (STEADY_WITH_BFD if bfd else STEADY):
                return f"{name} changed a route {quiet:.1f} s ago"
        for family, instrument in self.flows.items():
            answered = instrument.ask("answered", start=time.monotonic() - STEADY)
            if answered < plan.FLOWS:
                return f"IPv{family}: {answered} of {plan.FLOWS} flows are answered"
        return ""

    @property
    def sessions_of_a_router(self) -> int:
        """How many sessions a router has when all is well."""
        families = 1 if self.options.given.unnumbered else len(self.options.given.families)
        return len(self.nodes) * families

    def resets(self) -> dict[str, dict[str, int]]:
        """By router and node, how often a session between them has gone down since it started."""
        return {name: router.resets() for name, router in self.routers.items()}

    # States that measurements begin and end with

    def start(self) -> None:
        """Start routers, then nodes, and wait until all is well. Raises NoRoutesError."""
        for router in self.routers.values():
            router.start()
        for node in self.nodes.values():
            node.start()
        self.converge()

    def converge(self) -> None:
        """Wait until all is well. Raises NoRoutesError with what was missing."""
        if self.wait_until(lambda: not self.missing(), self.options.converges_within):
            return
        shown = {
            name: {prefix: sorted(hops) for prefix, hops in self.routes(name).items() if hops}
            for name in self.routers
        }
        words = " / ".join(node.last_words() for node in self.nodes.values())
        raise NoRoutesError(f"{self.missing()}; the routers have {shown}\n{words}")

    def repair(self) -> None:
        """Undo whatever a fault did, and wait until all is well. Raises NoRoutesError."""
        self.fabric.plug(self.plugged())
        for router in self.routers.values():
            self.fabric.mend_uplink(router.host)
        for node in self.nodes.values():
            node.announce(self.ips)
            node.start()
        self.converge()

    def plugged(self) -> list[Any]:
        """All that has a cable in the switch."""
        hosts = list(self.fabric.nodes.values())
        return hosts if self.options.given.unnumbered else [*self.fabric.routers.values(), *hosts]

    def mark(self) -> None:
        """Forget what was measured before."""
        now = time.monotonic()
        for instrument in self.flows.values():
            instrument.ask("forget", before=now - STEADY)
        for instrument in self.kernels.values():
            instrument.ask("forget", before=now)
