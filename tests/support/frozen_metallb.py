"""What clients are answered when a MetalLB speaker that stood still goes on, beside two of ours.

As root, `python tests/support/frozen_metallb.py --thaws 10 --rest 10` prints a table.
"""

import argparse
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

import cluster as clusters
import metallb
from arp_taps import Asker, Tap, watched
from cluster import NODES, Cluster, service
from netnslab.instruments import arp
from ownership.election.election import order
from speakers import Speaker, wait_until

OURS, OWNER = NODES[:2], NODES[2]
IPS_AN_HEIR = 2
INTERVAL = 0.02
"""Seconds between two questions for an IP."""
DEAD_WITHIN = 30.0
"""Seconds: memberlist's verdict on one of three members takes 5 to 7 s, from its defaults."""
BURST = 1.1
"""Seconds between the announcements that MetalLB sends for 5 s after every change of its view."""
BEHIND = 0.001
"""Seconds by which a question must come after the owner's answer to count as `late`: two processors
may hand two frames to the tap and to the speaker each in its own order."""
QUIET = 1.0
"""Seconds for which an heir has answered nothing, when it is held to have ended."""


def _ips() -> dict[str, str]:
    """IP to heir: by the hash, MetalLB's node owns each."""
    found: dict[str, str] = {}
    wanted = dict.fromkeys(OURS, IPS_AN_HEIR)
    for number in range(1, 250):
        owner, heir, _ = order(NODES, ip := f"10.77.9.{number}")
        if owner == OWNER and wanted[heir]:
            wanted[heir] -= 1
            found[ip] = heir
    return found


@dataclass(frozen=True)
class Thaw:
    """How one IP went back to its owner; all in ms, from the moment the owner goes on."""

    ip: str
    heir: str
    stale: int
    """Questions of the frozen time that the owner answers now: they had waited in its socket."""
    answers: float
    """The owner's first answer to a question since."""
    known: float
    """Gossip tells the heir that the owner lives."""
    asked: float
    """The heir asks the wire first."""
    told: float
    """The owner's answer reaches the heir."""
    ended: float
    """The heir's last answer."""
    twice: int
    """Questions since with two answers."""
    never: int
    """Questions since that nobody answered."""
    late: int
    """Questions that the heir answered though the owner's answer had reached it before them."""

    @property
    def handover(self) -> float:
        """From the heir's knowledge to its last answer; 0 where it gave no more."""
        return max(0.0, self.ended - self.known)


class Ring:
    """Two of our speakers and one of MetalLB's, which owns every IP."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._heirs = _ips()
        self._asker = Asker(cluster.hosts["asker"], list(self._heirs), INTERVAL)
        self._taps = {node: Tap(cluster.hosts[node]) for node in NODES}
        self._owner: Speaker | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start all, and end what is not the cluster's."""
        for number, ip in enumerate(self._heirs):
            self._cluster.server.apply_all(service(f"web{number}", ip))
        for node in OURS:
            self._cluster.start(node)
        self._owner = metallb.start(self._cluster, OWNER)
        try:
            with watched(self._asker, list(self._taps.values())):
                self._answering({OWNER}, time.monotonic(), 60.0)
                yield
        finally:
            self._owner.process.kill()
            self._owner.process.wait()

    def thaw(self, rest: float) -> list[Thaw]:
        """Freeze MetalLB's speaker until ours have its IPs, and `rest` seconds more; let it go on
        until it alone answers."""
        assert self._owner is not None
        self._answering({OWNER}, time.monotonic())
        # Frozen in the middle of its announcements it would go on with them: an easier case.
        wait_until(self._hushed, f"{OWNER} announces nothing")
        self._owner.process.send_signal(signal.SIGSTOP)
        try:
            self._answering(set(OURS), time.monotonic(), DEAD_WITHIN)
            time.sleep(rest)
            began = time.monotonic()
        finally:
            self._owner.process.send_signal(signal.SIGCONT)
        self._answering({OWNER}, began, DEAD_WITHIN)
        return [self._thaw(ip, heir, began) for ip, heir in self._heirs.items()]

    def _answering(self, nodes: set[str], since: float, within: float = 15.0) -> None:
        """Wait until every IP is answered for by one of these, and for a while by nobody else."""

        def settled() -> bool:
            recent = max(since, time.monotonic() - QUIET)
            answered = {node: self._answered(node, recent) for node in NODES}
            others = set().union(*(answered[node] for node in NODES if node not in nodes))
            named = set().union(*(answered[node] for node in nodes))
            return time.monotonic() - since > QUIET and not others and named == set(self._heirs)

        wait_until(settled, f"{nodes} answer for all IPs, and they alone", within)

    def _answered(self, node: str, since: float) -> set[str]:
        sent = self._taps[node].sent(arp.REPLY)
        return {packet.spa for at, packet in sent if at >= since and packet.spa in self._heirs}

    def _hushed(self) -> bool:
        owner = self._taps[OWNER]
        recent = (p for at, p in list(owner.frames) if at > time.monotonic() - 2 * BURST)
        return not any(p.sha == owner.host.mac and p.spa == p.tpa for p in recent)

    # ---- what was seen

    def _thaw(self, ip: str, heir: str, began: float) -> Thaw:
        by_owner, by_heir = self._answers(OWNER, ip, began), self._answers(heir, ip, began)
        fresh = {number: at for number, at in by_owner.items() if self._asked(number) >= began}
        told = self._told(ip, heir, began)
        moments = {
            "answers": min(fresh.values()),
            "known": self._known(heir, began),
            "asked": self._asks(ip, heir, began),
            "told": told,
            "ended": max(by_heir.values(), default=began),
        }
        return Thaw(
            ip,
            heir,
            stale=len(by_owner) - len(fresh),
            twice=len(fresh.keys() & by_heir.keys()),
            never=len(self._questions(ip, began) - fresh.keys() - by_heir.keys()),
            late=len(self._reached(heir, told + BEHIND) & by_heir.keys()),
            **{name: 1000 * (at - began) for name, at in moments.items()},
        )

    def _asks(self, ip: str, heir: str, since: float) -> float:
        """When the heir asked the wire first; NaN where it did not."""
        sent = self._taps[heir].sent(arp.REQUEST)
        return next((at for at, packet in sent if at >= since and packet.tpa == ip), float("nan"))

    def _told(self, ip: str, heir: str, since: float) -> float:
        """When the owner's answer, or its announcement, reached the heir; NaN where none did."""
        owner, tap = self._taps[OWNER].host, self._taps[heir]
        seen = (
            at
            for at, packet in list(tap.frames)
            if at >= since
            and (packet.spa, packet.sha) == (ip, owner.mac)
            and (packet.tha == tap.host.mac or packet.tpa == ip)
        )
        return next(seen, float("nan"))

    def _reached(self, node: str, since: float) -> set[int]:
        """The questions that came to the node from then on."""
        numbers = {
            self._asker.number(packet.sha)
            for at, packet in list(self._taps[node].frames)
            if at >= since and packet.operation == arp.REQUEST
        }
        return {number for number in numbers if number is not None}

    def _answers(self, node: str, ip: str, since: float) -> dict[int, float]:
        """By question: when the node answered it."""
        found: dict[int, float] = {}
        for at, packet in self._taps[node].sent(arp.REPLY):
            number = self._asker.number(packet.tha) if at >= since and packet.spa == ip else None
            if number is not None:
                found[number] = at
        return found

    def _questions(self, ip: str, since: float) -> set[int]:
        """Those for the IP that have had time to be answered."""
        until = time.monotonic() - QUIET / 2
        asked = enumerate(list(self._asker.asked))
        return {number for number, (at, of) in asked if of == ip and since <= at < until}

    def _asked(self, number: int) -> float:
        return self._asker.asked[number][0]

    def _known(self, heir: str, since: float) -> float:
        """When the heir's log says that the owner lives."""
        behind = time.monotonic() - time.time()
        for line in self._cluster.speakers[heir].events("member"):
            at = datetime.fromisoformat(line["ts"]).timestamp() + behind
            if at >= since and (line["node"], line["state"]) == (OWNER, "alive"):
                return at
        raise AssertionError(f"{heir} does not know that {OWNER} lives")


@contextmanager
def running(folder: Path) -> Iterator[Ring]:
    """A ring that has settled; everything is killed at the end."""
    with clusters.running(folder) as cluster:
        ring = Ring(cluster)
        with ring.running():
            yield ring


def main() -> None:
    """Print one line an IP and thaw, and the middle and the worst of each column."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--thaws", type=int, default=10)
    parser.add_argument("--rest", type=float, default=10.0)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="frozen-"))
    folder.mkdir(parents=True, exist_ok=True)
    print("logs in", folder, flush=True)
    seen: list[Thaw] = []
    moments = ("answers", "known", "asked", "told", "ended", "handover")
    columns = (*moments, "stale", "twice", "never", "late")
    print(f"{'':>12} {'heir':>6}", *(f"{name:>9}" for name in columns))
    with running(folder) as ring:
        for _ in range(given.thaws):
            for one in ring.thaw(given.rest):
                seen.append(one)
                figures = (f"{getattr(one, name):9.1f}" for name in columns)
                print(f"{one.ip:>12} {one.heir:>6}", *figures, flush=True)
    for word, of in (("median", median), ("worst", max)):
        figures = (f"{of([getattr(one, name) for one in seen]):9.1f}" for name in columns)
        print(f"{word:>12} {'':>6}", *figures)


if __name__ == "__main__":
    main()
