"""Who is gone, and who watches whom, for those who ask nothing else of failover. Pure.

Whoever draws traffic by other means than an address on the link wants to know of nodes alone: a
machine that is gone, whatever it owned, and members that are no Clarion.
"""

from ownership.liveness.roster import Roster
from ownership.liveness.routed_witness import RoutedWitness
from ownership.liveness.witness import Witness


class Lives:
    """Looks at the members and at the verdicts; asking again costs next to nothing."""

    def __init__(
        self, roster: Roster, witness: Witness, routed: RoutedWitness, *, fast: bool
    ) -> None:
        """Unless `fast`, what gossip declares is all that counts."""
        self._roster, self._witness, self._fast = roster, witness, fast
        self._routed = routed
        self._version = -1
        self._dead = self._strangers = frozenset[str]()

    def gone(self) -> frozenset[str]:
        """Name the Clarions that are judged gone, or declared dead and not back since.

        One that has left is not among them, nor one whose process alone is silent: its machine
        forwards.
        """
        self._look()
        if not self._fast:
            return self._dead
        return self._dead | self._witness.gone() | self._routed.gone()

    def ask_over_routers(self, wanted: bool, now: float) -> None:
        """Watch the nodes of other subnets, too, or them no more. Nobody is watched unless fast."""
        self._routed.set_on(wanted and self._fast, now)

    def strangers(self) -> frozenset[str]:
        """Name the living members that are no Clarion."""
        self._look()
        return self._strangers

    def watched_by(self, name: str) -> tuple[str, ...]:
        """Name the nodes that a living Clarion watches, as far as this node knows the ring."""
        return self._roster.watched_by(name)

    def _look(self) -> None:
        if self._version == self._roster.version:
            return
        self._version, self._dead = self._roster.version, self._roster.dead()
        peers = self._roster.peers()
        self._strangers = frozenset(
            peer.name for peer in peers if peer.living and peer.start_id is None
        )
