"""The whole set-up: segment, manifests, speakers, instruments; and the questions asked of it."""

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any

from netnslab.errors import LabError
from netnslab.instruments.instrument import Instrument
from netnslab.instruments.probe import usual_rate
from netnslab.machines import cgroups, manifests, sandbox
from netnslab.machines.addresses import ASKER_IP, ASKER_IP6, ECHO_PORT, MANY, node_name, service_ip
from netnslab.machines.allocation import Controller
from netnslab.machines.cgroups import Group
from netnslab.machines.node import DEFAULT_SPEAKER, LabNode, Launch
from netnslab.machines.topology import NUD_REACHABLE, Host, Topology
from netnslab.results import oracle

POLL = 0.05
# An answer that has stood so long, and nobody else's beside it, is taken as settled.
STEADY = 1.0
CONVERGE_WITHIN = 60.0
# A gap in the answers this long is not settled; lesser ones are for the measurement to judge.
UNSTEADY_MS = 400.0
# As long as the longest silence that any table allows; then the row says who did not come.
SETTLE_WITHIN = 12.0
EXIT_WITHIN = 5.0
# Of many wrong IPs a person reads a few.
MOST_NAMED = 5


class NotConvergedError(LabError):
    """The speakers did not reach the state that a measurement begins from."""


@dataclass(frozen=True)
class LabOptions:
    """What a person or a scenario may choose.

    `rate`: UDP questions a second and IP, 0 the usual; `uplink`: gossip on a link of its own;
    `cpu`, `memory`: cores and MiB for each speaker, 0 without limit; `flags`: more for its command
    line; `objects`: the manifests hold Nodes, labelled with their names, and each speaker reads a
    copy; `spares`: machines without a speaker; `held`: the speakers' clocks can be held back;
    `recorded`: gossip is recorded from the first word on; `controller`: the command of one that
    gives the services their addresses, which else are in the manifests. `tick` is called in every
    turn of every wait; `logs` is where the speakers' logs are kept.
    """

    nodes: int = 3
    services: int = 4
    family: int = 4
    rate: int = 0
    uplink: bool = False
    cpu: float = 0.0
    memory: int = 0
    flags: tuple[str, ...] = ()
    objects: bool = False
    spares: int = 0
    held: bool = False
    recorded: bool = False
    converge_within: float = CONVERGE_WITHIN
    settle_within: float = SETTLE_WITHIN
    watch_at_most: float = inf
    speaker: list[str] = field(default_factory=lambda: list(DEFAULT_SPEAKER))
    controller: list[str] = field(default_factory=list)
    tick: Callable[[], None] = lambda: None
    logs: Path | None = None


class Lab:
    """Built and torn down as a context manager; needs the sandbox around it."""

    def __init__(self, options: LabOptions) -> None:
        """Build segment and instruments; start no speaker. Raises LabError, OSError."""
        self.options = options
        self.names = [node_name(number) for number in range(1, options.nodes + 1)]
        candidates = (service_ip(number, options.family) for number in count())
        self.ips = oracle.spread(candidates, self.names, options.services)
        self.directory = Path(tempfile.mkdtemp(dir=sandbox.SCRATCH))
        spares = [f"spare-{number}" for number in range(1, options.spares + 1)]
        machines = self.names + spares
        self.topology = Topology(machines, options.family, uplink=options.uplink)
        self._sources = self._folders()
        self._doubles: list[LabNode] = []
        source = self.directory / "manifests"
        made = Controller(options.controller, source, self.directory)
        self.controller = made if options.controller else None
        self.nodes = self._nodes()
        self.macs = {host.mac: name for name, host in self.topology.nodes.items()}
        watched = {"ips": self.ips, "port": ECHO_PORT}
        topology = self.topology
        asker = ASKER_IP6 if options.family == 6 else ASKER_IP
        self.capture = Instrument("capture", topology.bridge_host, {**watched, "asker": asker})
        self.observer = Instrument("observer", topology.observer, {"ip": asker, "ips": self.ips})
        rate = options.rate or usual_rate(len(self.ips))
        asked = {**watched, "rate": rate, "icmp": len(self.ips) > MANY}
        self.prober = Instrument("probe", topology.client, asked)
        self.tcp = Instrument("tcp", topology.client, watched)
        self.recorder = (
            Instrument("recorder", topology.bridge_host, {}) if options.recorded else None
        )

    def _nodes(self) -> dict[str, LabNode]:
        hosts = self.topology.nodes
        options, own = self.options, {name: hosts[name].ip for name in self.names}
        for folder in set(self._sources.values()):
            folder.mkdir()
            manifests.write(
                folder, self.ips, own, objects=options.objects, statuses=not self.controller
            )
        secret = self.directory / "secretkey"
        manifests.write_secret(secret)
        seeds = [hosts[name].gossip_ip for name in self.names]
        paths = secret, self.directory
        flags = options.flags
        if self.controller is not None:
            flags = (*flags, f"--state={self.controller.state}")
        self._launches = {
            name: Launch(options.speaker, folder, *paths, seeds, flags, options.held)
            for name, folder in self._sources.items()
        }
        for host in hosts.values():
            self.topology.serve(host, self.ips)
        if options.cpu:
            cgroups.sweep()
        return {
            name: LabNode(hosts[name], launch, self.ips, self._group(name))
            for name, launch in self._launches.items()
        }

    def _group(self, name: str) -> Group | None:
        options = self.options
        return Group(name, options.cpu, options.memory) if options.cpu else None

    def _folders(self) -> dict[str, Path]:
        """Where each speaker reads: one folder for all; with Node objects a copy for each.

        Each watch of an API server is as late as it is, and so is each copy.
        """
        common = self.directory / "manifests"
        apart = self.options.objects
        return {name: self.directory / f"of-{name}" if apart else common for name in self.names}

    def double(self, node: LabNode) -> LabNode:
        """Start a speaker of the same name on a spare machine; `repair` ends it."""
        host = self.topology.nodes[f"spare-{len(self._doubles) + 1}"]
        double = LabNode(host, self._launches[node.name], self.ips, name=node.name)
        self._doubles.append(double)
        double.start()
        return double

    def part_with_doubles(self) -> None:
        """End every double, its machine's backend too."""
        while self._doubles:
            self._doubles.pop().close()

    def advertise(self, but: Iterable[str] = (), readers: Iterable[str] = ()) -> None:
        """Edit the advertisement: who is in `but` is not selected.

        `readers`: whose copies; without any, everybody's.
        """
        for folder in {self._sources[name] for name in readers or self.names}:
            manifests.advertise(folder, self.ips, tuple(but))

    def __enter__(self) -> "Lab":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.part_with_doubles()
        if self.controller is not None:
            self.controller.close()
        for node in self.nodes.values():
            node.close()
        for instrument in (self.prober, self.tcp, self.observer, self.capture, self.recorder):
            if instrument is not None:
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
            self.options.tick()
            time.sleep(POLL)
        return True

    def pass_time(self, until: float) -> None:
        """Let time pass, as part of a fault, up to that moment."""
        self.wait_until(lambda: time.monotonic() >= until, until - time.monotonic() + 1)

    # What the wire and the client say

    def observations(self, start: float, end: float) -> dict[str, Any]:
        """The second host's `measure.Heard` by IP."""
        return dict(self.observer.ask("window", start=start, end=end))

    def wire_owner(self, heard: dict[str, Any]) -> str | None:
        """The node whose MAC answered last within what was heard."""
        macs = heard["macs"]
        return self.macs.get(macs[-1]) if macs else None

    def client_owners(self, client: Host | None = None) -> dict[str, str | None]:
        """Where the own neighbour entries of a client, the prober's or another, send each IP."""
        known = self.topology.neighbours(client or self.topology.client)
        return {ip: self.macs.get(known[ip][0]) if ip in known else None for ip in self.ips}

    def settled(self, expected: dict[str, str], *, wire_only: bool = False) -> bool:
        """Whether for a whole second each IP was answered by its expected owner alone.

        The client's own entries must name it too, but with `wire_only`. So must the second one's,
        where it has any: who has none asks, and is misled by nobody.
        """
        now = time.monotonic()
        heard = self.observations(now - STEADY, now)
        macs = {ip: [self.topology.nodes[owner].mac] for ip, owner in expected.items()}
        steady = all(
            row["macs"] == macs[ip]
            and row["silent_ms"] < UNSTEADY_MS
            and row["dual_answer_ms"] == 0
            for ip, row in heard.items()
        )
        return steady and (wire_only or self._clients_agree(expected))

    def _clients_agree(self, expected: dict[str, str]) -> bool:
        second = self.client_owners(self.topology.observer)
        return self.client_owners() == expected and all(
            second[ip] in (None, owner) for ip, owner in expected.items()
        )

    def require_silence(self, when: str) -> None:
        """Raises LabError where anybody answers for a service IP though no speaker runs."""
        start = time.monotonic()
        self.pass_time(start + 0.5)
        answered = [
            ip for ip, row in self.observations(start, time.monotonic()).items() if row["macs"]
        ]
        if answered:
            raise LabError(f"{when}, somebody answers for {', '.join(answered)}")

    # States that measurements begin and end with

    def start(self) -> None:
        """Show that nobody answers, then start all speakers and wait for the right owners."""
        self.require_silence("before any speaker was started")
        for node in self.nodes.values():
            node.start()
        self.converge()

    def assign(self) -> dict[str, tuple[str, str]]:
        """Have a controller give the services their addresses; who has which, and of which pool.

        Raises NotConvergedError unless it gives out exactly those of the pool.
        """
        controller = self.controller
        if controller is None:
            return {}
        controller.start()

        def done() -> bool:
            return len(controller.given()) == len(self.ips) or not controller.running

        self.wait_until(done, self.options.converge_within)
        given = controller.given()
        if sorted(ip for ip, _ in given.values()) != sorted(self.ips):
            words = controller.last_words()
            raise NotConvergedError(f"the controller did not give the addresses out:\n{words}")
        return given

    def repair(self) -> None:
        """Undo every fault: cables in, frozen speakers thawed, dead ones started.

        A node that has another address keeps it: the cluster has learned it.
        """
        self.topology.heal()
        self.part_with_doubles()
        self.advertise()
        for node in self.nodes.values():
            node.signal(signal.SIGCONT)
            if not node.running:
                node.start()

    def renew(self, nodes: list[LabNode]) -> None:
        """Begin the speakers of these nodes anew, one behind the other.

        Who was judged gone twice within a minute bars itself for a while, as one that flaps: of a
        fault that comes once that is no part, and only its own memory tells a speaker of it.
        """
        for node in nodes:
            node.signal(signal.SIGTERM)
            if node.wait(EXIT_WITHIN) is None:
                node.kill()
            node.start()
            self.wait_until(node.ready, self.options.converge_within)

    def converge(self, alive: list[str] | None = None) -> None:
        """Wait until exactly the hash's owners among `alive` answer. Raises NotConvergedError."""
        names = alive or self.names
        expected = oracle.owners(self.ips, names)
        for node in (self.nodes[name] for name in names):
            if not self.wait_until(node.ready, self.options.converge_within):
                words = node.last_words()
                raise NotConvergedError(f"the speaker of {node.name} did not get ready:\n{words}")
        if not self.wait_until(lambda: self.settled(expected), self.options.converge_within):
            raise NotConvergedError(f"the hash's owners do not answer: {self._wrong(expected)}")

    def _wrong(self, expected: dict[str, str]) -> str:
        """Who answers instead of the expected owners."""
        now = time.monotonic()
        answering = {
            ip: [self.macs.get(mac, mac) for mac in row["macs"]]
            for ip, row in self.observations(now - STEADY, now).items()
        }
        wrong = [
            f"{ip} by {' and '.join(answering[ip]) or 'nobody'} instead of {owner}"
            for ip, owner in expected.items()
            if answering[ip] != [owner]
        ]
        if len(wrong) > MOST_NAMED:
            wrong = [*wrong[:MOST_NAMED], f"and {len(wrong) - MOST_NAMED} more"]
        return "; ".join(wrong) or "not steadily, or the client's entries differ"

    def warm(self, ips: list[str]) -> None:
        """Make the client one whose entries were confirmed just now. Raises NotConvergedError.

        A client that happens to verify its entry in the middle of a fault loses by that alone. The
        second one has no traffic but this: its entries move only by what it is told. Of many IPs it
        knows these alone: all namespaces share one table, which the kernel keeps small.
        """
        second = ips if len(self.ips) > MANY else self.ips
        warmed = [(self.topology.client, ips), (self.topology.observer, second)]
        for client, its in warmed:
            self.topology.verify_neighbours(client, its)

        def confirmed() -> bool:
            return all(self._confirmed(client, its) for client, its in warmed)

        if not self.wait_until(confirmed, self.options.converge_within):
            raise NotConvergedError("the owners do not answer the clients' own unicast questions")

    def _confirmed(self, client: Host, ips: list[str]) -> bool:
        known = self.topology.neighbours(client)
        # Entries that there are none of yet, or that have failed, are made as by any user's packet.
        self.topology.greet(client, [ip for ip in ips if ip not in known])
        return all(ip in known and known[ip][1] & NUD_REACHABLE for ip in ips)

    def focus(self, ips: list[str]) -> None:
        """Have the second host look closely at these."""
        self.observer.ask("focus", ips=ips)

    def mark(self, before: float) -> None:
        """Have the instruments forget what was before that moment."""
        for instrument in (self.prober, self.tcp, self.observer, self.capture):
            instrument.ask("mark", before=before)

    def stop(self) -> None:
        """End all speakers, then show that nobody answers any more. Raises LabError."""
        self.topology.heal()
        self.part_with_doubles()
        for node in self.nodes.values():
            node.signal(signal.SIGCONT)
            node.signal(signal.SIGTERM)
        for node in self.nodes.values():
            node.wait(EXIT_WITHIN)
            node.kill()
        self.require_silence("after all speakers have stopped")
