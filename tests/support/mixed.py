"""A cluster of three foreign agents and two of ours."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from foreign_peers import Options, Peer, Silence, all_alive, settle
from weighing import Sent, sent, total, weigh

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
    sent: dict[str, Sent] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def peers(self) -> list[Peer]:
        """Those still running."""
        return [peer for peer in self.foreign + self.ours if peer.alive]

    def join(self, within: float = 10.0) -> None:
        """Bring all together: ours through theirs, theirs through ours. Raises Silence."""
        self.tried = True
        for peer in self.peers:
            peer.wait_ready()
            weigh(peer.host)
        (first, second, third), (one, other) = self.foreign, self.ours
        assert one.join([first.ip]) == 1
        assert second.join([one.ip]) == 1
        assert other.join([second.ip]) == 1
        assert third.join([other.ip]) == 1
        self.joined = time.monotonic()
        all_alive(self.peers, within)
        self.converged = time.monotonic()
        self.sent = {peer.name: sent(peer.host) for peer in self.peers}
        self.cpu = {peer.name: peer.cpu() for peer in self.peers}

    def sent_since_joined(self, peers: Sequence[Peer]) -> Sent:
        """All that these peers have sent since all had seen all."""
        return total([sent(peer.host) - self.sent[peer.name] for peer in peers])

    def cpu_since_joined(self, peers: Sequence[Peer]) -> float:
        """The mean of these peers, as a share of one core."""
        used = sum(peer.cpu() - self.cpu[peer.name] for peer in peers)
        return used / len(peers) / (time.monotonic() - self.converged)

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
