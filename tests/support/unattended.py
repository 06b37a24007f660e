"""Clusters whose secret file changes, and whose agents of ours do the rest by themselves."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from foreign_peers import SERF_DELEGATE, ClarionPeer, GoPeer, Options, Peer, SerfPeer
from gossip.rotation import COMPLAIN_INTERVAL, IDLE, SETTLE, TRIAL_INTERVAL
from gossip.wire.crypto import metallb_key
from mixed import FOREIGN, OURS, Cluster, tell_foreign
from netns import segment
from speaker.ring.secret_file import POLL

OLD_SECRET, NEW_SECRET = (
    b"the secret of yesterday, 32 and more",
    b"the secret of today, as long as that",
)
OLD_KEY, NEW_KEY = metallb_key(OLD_SECRET), metallb_key(NEW_SECRET)
SLACK = 10.0
"""Seconds that a busy machine may be late."""


@dataclass(frozen=True)
class Story:
    """What happened. `took`: seconds from the changed file to the new key's use, for each of ours.

    `decrypt_errors` are those of the foreign peers that had been given the key, and of ours.
    `blocked` are the peers that each of ours named, and `keys` how many keys it has in the end.
    """

    took: tuple[float, ...]
    decrypt_errors: tuple[str, ...]
    accusations: tuple[str, ...]
    members: tuple[dict[str, str], ...]
    blocked: tuple[frozenset[str], ...]
    keys: tuple[int, ...]


class _Ring(NamedTuple):
    cluster: Cluster
    secret: Path

    def change_secret(self) -> float:
        """Swap the file as kubelet does, whole; the time of it."""
        fresh = self.secret.with_suffix(".new")
        fresh.write_bytes(NEW_SECRET)
        fresh.replace(self.secret)
        return time.monotonic()


def _begin(stack: ExitStack, kind: str, folder: Path) -> _Ring:
    """Three foreign agents and two of ours, all alive. Raises Silence."""
    secret = folder / "secretkey"
    secret.write_bytes(OLD_SECRET)
    delegate = SERF_DELEGATE if kind == "serf" else "0,0,0"
    options = Options(keys=(OLD_KEY,), delegate=delegate)
    hosts = iter(stack.enter_context(segment([f"h{n}" for n in range(FOREIGN + OURS)])).values())
    foreign: list[Peer] = []
    ours: list[Peer] = []
    for number in range(FOREIGN):
        foreign.append(
            {"go": GoPeer, "serf": SerfPeer}[kind](next(hosts), f"{kind}{number}", options)
        )
        stack.callback(foreign[-1].stop)
    watching = Options(delegate=delegate, secret=secret)
    for number in range(OURS):
        ours.append(ClarionPeer(next(hosts), f"ours{number}", watching))
        stack.callback(ours[-1].stop)
    cluster = Cluster(kind, options, foreign, ours)
    cluster.join(within=10.0)
    return _Ring(cluster, secret)


def _told(ring: _Ring, changed: float, informed: list[Peer]) -> Story:
    cluster = ring.cluster
    errors = [f"{peer.name}: {line}" for peer in informed for line in peer.errors("ecrypt")]
    for peer in cluster.ours:
        errors += [f"{peer.name}: {reason}" for reason in peer.stats()["refusals"]]
    used = [peer.journal.find("key_used") for peer in cluster.ours]
    return Story(
        took=tuple(found[0].at - changed for found in used if found),
        decrypt_errors=tuple(errors),
        accusations=tuple(cluster.accusations()),
        members=tuple(peer.members() for peer in cluster.peers),
        blocked=tuple(
            frozenset(entry.name for entry in peer.journal.find("key_blocked"))
            for peer in cluster.ours
        ),
        keys=tuple(
            peer.ask("keys")["keys"] for peer in cluster.ours if isinstance(peer, ClarionPeer)
        ),
    )


def rotation(kind: str, folder: Path, stack: ExitStack) -> Story:
    """The foreign accept the key, ours get the file; once ours use it, so do the foreign.

    Ends when ours have dropped the old key. Raises Silence.
    """
    ring = _begin(stack, kind, folder)
    foreign, ours = ring.cluster.foreign, ring.cluster.ours
    tell_foreign(foreign, "install", NEW_KEY)
    changed = ring.change_secret()
    for peer in ours:
        peer.wait("key_used", "", SETTLE + POLL + TRIAL_INTERVAL + SLACK)
    tell_foreign(foreign, "use", NEW_KEY)
    tell_foreign(foreign, "remove", OLD_KEY)
    for peer in ours:
        peer.wait("key_dropped", "", IDLE + SLACK)
    return _told(ring, changed, foreign)


def blocked(kind: str, folder: Path, stack: ExitStack) -> tuple[Story, Story]:
    """Some foreign agents get the key late: the last of Go's, or all of serf's.

    What was so before they got it, and once ours used it. Raises Silence.
    """
    ring = _begin(stack, kind, folder)
    foreign, ours = ring.cluster.foreign, ring.cluster.ours
    informed, late = (foreign[:-1], foreign[-1:]) if kind == "go" else ([], foreign)
    for peer in informed:
        peer.key("install", NEW_KEY)
    changed = ring.change_secret()
    for peer in ours:
        for name in sorted(peer.name for peer in late):
            within = SETTLE + COMPLAIN_INTERVAL + POLL + TRIAL_INTERVAL + SLACK
            peer.wait("key_blocked", name, within)
    before = _told(ring, changed, informed)
    tell_foreign(late, "install", NEW_KEY)
    for peer in ours:
        peer.wait("key_used", "", TRIAL_INTERVAL + SLACK)
    return before, _told(ring, changed, informed)
