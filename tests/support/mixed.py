"""A cluster of three foreign agents and two of ours."""

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from foreign_peers import Options, Peer, Silence, all_alive, settle
from netns import traffic

FOREIGN, OURS = 3, 2
KEY_ATTEMPTS = 6


def tell_foreign(peers: list[Peer], verb: str, key: bytes) -> None:
    """Have all of these install, use or remove a key. Raises Silence.

    One serf agent asks all others of its kind, by gossip that is sent four times to anybody. Ours
    take it and do not pass it on, so that one time in fourteen a serf agent of three hears nothing:
    it is asked again, which changes nothing where it was done.
    """
    if peers[0].kind != "serf":
        assert sum(peer.key(verb, key) for peer in peers) == len(peers)
        return
    if not any(peers[0].key(verb, key) >= len(peers) for _ in range(KEY_ATTEMPTS)):
        raise Silence(f"not all of {[peer.name for peer in peers]} did {verb} the key")


class Spent(NamedTuple):
    """Packets and bytes sent, Ethernet and ARP included, and seconds of processor time."""

    packets: float
    size: float
    cpu: float


@dataclass
class Cluster:
    """The five peers, and when (`time.monotonic()`) the last had joined and all had seen all."""

    kind: str
    options: Options
    foreign: list[Peer]
    ours: list[Peer]
    tried: bool = False
    joined: float = 0.0
    converged: float = 0.0
    spent: dict[str, Spent] = field(default_factory=dict)

    @property
    def peers(self) -> list[Peer]:
        """Those still running."""
        return [peer for peer in self.foreign + self.ours if peer.alive]

    def join(self, within: float = 10.0) -> None:
        """Bring all together: ours through theirs, theirs through ours. Raises Silence."""
        self.tried = True
        for peer in self.peers:
            peer.wait_ready()
        (first, second, third), (one, other) = self.foreign, self.ours
        assert one.join([first.ip]) == 1
        assert second.join([one.ip]) == 1
        assert other.join([second.ip]) == 1
        assert third.join([other.ip]) == 1
        self.joined = time.monotonic()
        all_alive(self.peers, within)
        self.converged = time.monotonic()
        self.spent = {peer.name: self._spent(peer) for peer in self.peers}

    @staticmethod
    def _spent(peer: Peer) -> Spent:
        packets, size = traffic(peer.host)
        return Spent(packets, size, peer.cpu())

    def spent_since_joined(self, peers: list[Peer]) -> Spent:
        """The mean of these peers, a second, since all had seen all."""
        seconds = (time.monotonic() - self.converged) * len(peers)
        differences = [
            [now - before for now, before in zip(self._spent(p), self.spent[p.name], strict=True)]
            for p in peers
        ]
        return Spent(*(sum(column) / seconds for column in zip(*differences, strict=True)))

    def calm(self) -> None:
        """Wait until every health score is zero: after a failure memberlist probes more slowly."""
        settle(self.peers, lambda peer: int(peer.stats()["health"]) == 0, 15.0, "healthy again")

    def accusations(self, since: float = 0.0) -> list[str]:
        """Every suspicion and death that any peer saw, readable."""
        return [
            f"{peer.name}: {entry.kind} {entry.name}"
            for peer in self.foreign + self.ours
            for kind in ("suspect", "dead", "refuted")
            for entry in peer.journal.find(kind, since=since)
        ]
