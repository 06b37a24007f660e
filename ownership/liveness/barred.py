"""What keeps a living node from owning an IP, and who owns it then. Pure.

Two things bar a node: its own word in its Meta (it leaves, it has no link), and the fast verdict
on its kernel, on one of its links, or on its process. MetalLB's speakers know of neither, so a
barred node is passed over only if the next in the order of the hash is a Clarion too: else nobody
would announce.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ownership.letters.mark import Flags
from ownership.liveness.verdicts import Subject

BARRING = Flags.NOT_SYNCED | Flags.NO_LINK | Flags.LEAVING | Flags.DAMPED
"""The flags that keep a node from owning; what a later version may add does not."""


@dataclass(frozen=True, slots=True)
class Barred:
    """`nodes` are barred from everything, `links` from what is announced on those links."""

    nodes: frozenset[str] = frozenset()
    links: frozenset[Subject] = frozenset()
    clarion: frozenset[str] = frozenset()
    """The living members that know of bars."""

    @property
    def named(self) -> frozenset[str]:
        """Every node that is barred from something."""
        return self.nodes | {subject.node for subject in self.links}

    def bar(self, node: str, interfaces: frozenset[str] | None) -> bool:
        """Tell whether a service on these interfaces (None: on all) cannot be `node`'s."""
        if node in self.nodes:
            return True
        return any(
            subject.node == node and (interfaces is None or subject.link in interfaces)
            for subject in self.links
        )

    def first(
        self, ranking: Sequence[str], interfaces: frozenset[str] | None
    ) -> tuple[str | None, tuple[str, ...]]:
        """Return the owner among the living candidates in the order of the hash, the best first,
        and the nodes that this depends on. Where all are barred it stays with the best one."""
        for place, node in enumerate(ranking):
            looked_at = tuple(ranking[: place + 2])
            if not self.bar(node, interfaces):
                return node, looked_at
            if place + 1 < len(ranking) and ranking[place + 1] not in self.clarion:
                return node, looked_at
        return (ranking[0] if ranking else None), tuple(ranking)
