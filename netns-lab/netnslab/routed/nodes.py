"""What announces on a node. A speaker that is to be measured takes the place of `PlainNode`.

The lab calls nothing but what `BGPNode` has. Service IPs, backend and links are the lab's own, so
that whoever is measured only has to tell routers of prefixes.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netnslab.errors import LabError
from netnslab.routed import plan, sessions
from netnslab.routed.engine import DAEMONS, LabEngine
from netnslab.routed.fabric import RoutedHost
from netnslab.routed.sessions import Agreement

SPEAKER, ENGINE = "speaker", "engine"
PARTS = (SPEAKER, ENGINE, *DAEMONS)
WITHDRAWN_WITHIN = 0.5
"""Seconds between a planned stop's last UPDATE and its end: RFC 8326 leaves it to the operator."""


@dataclass(frozen=True)
class Surroundings:
    """What a node is told of the network: its machine, whom it peers with, how, and for which IPs.

    `routers`: by name the addresses of each, one for each family; `nodes`: an address of each, the
    own one included; `logs`: a folder of the run.
    """

    host: RoutedHost
    routers: dict[str, list[str]]
    given: Agreement
    ips: Sequence[str]
    logs: Path
    nodes: dict[str, str]

    @property
    def neighbours(self) -> list[str]:
        """The address of every session, or the link where they have none."""
        if self.given.unnumbered:
            return [plan.NODES_LINK]
        return [address for addresses in self.routers.values() for address in addresses]


class BGPNode(ABC):
    """A node's announcer: all of its processes, whatever these are."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.name = around.host.name

    @abstractmethod
    def start(self) -> None:
        """Start all of it that does not run, and announce what was last asked for.

        Returns without waiting for routers. Raises LabError.
        """

    @abstractmethod
    def stop(self) -> None:
        """End as planned, as on SIGTERM: first lead the traffic away. Returns when it has ended."""

    @abstractmethod
    def kill(self, part: str = "") -> None:
        """End at once one of `PARTS`, or all of it."""

    @abstractmethod
    def announce(self, ips: Iterable[str]) -> None:
        """From now on announce exactly these service IPs. Returns as soon as that is asked for."""

    def tend(self) -> None:  # noqa: B027
        """Called again and again while the lab waits, for whoever has no process of its own."""

    def last_words(self) -> str:
        """What a person wants to read when it did not work."""
        return ""


class IdleNode(BGPNode):
    """Does nothing: every scenario has to fail with it."""

    def start(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""

    def kill(self, part: str = "") -> None:
        """Nothing."""

    def announce(self, ips: Iterable[str]) -> None:
        """Nothing."""


class PlainNode(BGPNode):
    """FRR that the lab itself types lines into: what can be had without any speaker of ours.

    It has no process `speaker`, so that a kill of that changes nothing.
    """

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._engine = LabEngine(self.name, around.host.namespace, around.logs)
        self._wanted: set[str] = set(around.ips)
        self._typed: set[str] = set()
        self._watched: set[str] = set()

    def start(self) -> None:
        """Start FRR anew, if one daemon is not there: single ones would cost sessions."""
        if self._engine.running:
            return
        # bgpd first: the routers learn at once what the others' end would tell them later.
        self._engine.kill(("bgpd", "bfdd", "zebra"))
        self._engine.start()
        self._typed, self._watched = set(), set()
        given, around = self.around.given, self.around
        self._engine.type(given.lines_of_bfd, "bfdd")
        own = f"10.88.0.{10 + around.host.number}"
        self._engine.type(sessions.lines_of_node(given, own, around.neighbours))
        self.announce(self._wanted)

    def announce(self, ips: Iterable[str]) -> None:
        """One line for each IP that differs."""
        self._wanted = set(ips)
        changed = sorted(self._wanted ^ self._typed)
        if changed and self._engine.running:
            lines = {ip: ip in self._wanted for ip in changed}
            self._engine.type(sessions.lines_of_routes(self.around.given, lines))
            self._typed = set(self._wanted)

    def tend(self) -> None:
        """Have BFD watch each neighbour whose session has come up for the first time."""
        if not self.around.given.bfd or not self._engine.running:
            return
        waiting = [each for each in self.around.neighbours if each not in self._watched]
        if not waiting:
            return
        shown = self._engine.show("show bgp neighbors json")
        for each in waiting:
            if _established(shown, each):
                lines = sessions.lines_of_watch(self.around.given, each)
                self._engine.type([f"router bgp {self.around.given.node_as}", *lines, "exit"])
                self._watched.add(each)

    def stop(self) -> None:
        """Withdraw, wait for the routers, then end."""
        if self._engine.running:
            wanted = self._wanted
            self.announce(())
            self._wanted = wanted
            time.sleep(WITHDRAWN_WITHIN)
        self._engine.stop()

    def kill(self, part: str = "") -> None:
        """The engine is all there is."""
        if part not in ("", *PARTS):
            raise LabError(f"{part}: no part of a node")
        if part in DAEMONS:
            self._engine.kill([part])
        elif part != SPEAKER:
            self._engine.kill()

    def last_words(self) -> str:
        """The ends of the daemons' logs."""
        return self._engine.last_words()


def _established(shown: dict[str, Any], neighbour: str) -> bool:
    return bool(shown.get(neighbour, {}).get("bgpState") == "Established")
