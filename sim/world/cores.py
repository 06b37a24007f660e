"""The speaker's own cores of one simulated node, and the clock of its contact. Pure."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ownership.announcing.announcer import Announcer
from ownership.announcing.clients import Clients
from ownership.contact import LONGEST_GAP, Contact
from ownership.election.quorum import Quorum
from ownership.failover import Failover
from ownership.handing import Handing
from ownership.liveness.targets import Timing
from ownership.ownership import Ownership
from plan.service import Withheld
from sim.world.responder import Responder
from sim.world.site import LINK, Site
from sim.world.unwatched import Unwatched

if TYPE_CHECKING:
    from random import Random

BITE = 0.001
"""Seconds of a bite, as in the daemon."""


class Cores:
    """What a process of the speaker holds besides gossip: one core, and what it is made of."""

    def __init__(self, site: Site, rng: "Random", bites: "Random", now: float) -> None:
        """`bites` says when a bite of work is over, where the site wants any."""
        self._site = site
        self.contact = Contact(now)
        clients = Clients()
        self.announcer = Announcer(self.contact, clients)
        handing: Handing = Unwatched(self.announcer)
        if site.failover_after is not None:
            timing = Timing.of(site.failover_after)
            handing = Failover(site.node, timing, self.announcer, self.contact, rng, now)
        quorum = Quorum(site.quorum)
        self.ownership = Ownership(site.node, self.contact, self.announcer, handing, quorum)
        self.responder = Responder(site, self.announcer, clients, self.ownership)
        for service, plan in site.plans.items():
            self.ownership.set_plan(service, plan, "configuration")
        self.responder.take_link(now)
        self._bites = bites
        self._seen = now

    @property
    def watched(self) -> bool:
        """Whether others are watched; else only gossip says who lives."""
        return self._site.failover_after is not None

    def set_candidates(self, nodes: frozenset[str]) -> None:
        """Take a configuration in which these nodes may own."""
        withheld = None if self._site.node in nodes else Withheld.NO_MATCHING_ADVERTISEMENT
        for service, known in self._site.plans.items():
            plan = replace(known, candidates=nodes, withheld=withheld)
            self.ownership.set_plan(service, plan, "configuration")

    def tick(self, now: float) -> bool:
        """Note that the process runs; true where it stood still, and waiting frames are stale."""
        self._seen = now
        return self.ownership.tick(now)

    def run_up_to(self, now: float) -> None:
        """Note that the process ran all the time up to now, when something happens.

        Heartbeats change nothing by themselves unless contact holds something back, here or on a
        link: so as few as will do are made up for here. As events of their own they would be most
        of a run.
        """
        while now - self._seen > LONGEST_GAP:
            self.tick(self._seen + LONGEST_GAP)
        if self.contact.holding:
            self.tick(now)

    def handle_echo(self, ip: IPv4Address, token: bytes, now: float) -> None:
        """Take an echo reply that the kernel passed on."""
        self.ownership.handle_echo(LINK, ip, token, now)

    def enough(self) -> bool:
        """Say at random that a bite is over, as often as the run wants it."""
        often = self._site.bites
        return often > 0.0 and self._bites.random() < often

    def settle(self, now: float) -> None:
        """Bring announcements in line, or as much of it as one bite takes."""
        self.ownership.settle(now, self.enough)

    @property
    def stirred(self) -> bool:
        """Whether what came in has to be looked at; a hold whose time is over is part of that."""
        if self.ownership.stirred:
            return True
        return self.contact.holding and self.contact.deadline() <= self._seen

    @property
    def restless_at(self) -> float:
        """When the process has to run next for the sake of what is not done yet, or held back."""
        if self.ownership.busy:
            # The loop turns once: what waits in the sockets is read before the next bite.
            return self._seen + BITE
        if self.ownership.unsettled:
            # What was sent has brought something up that nobody has looked at yet.
            return self._seen
        return self.contact.deadline() if self.contact.holding else float("inf")
