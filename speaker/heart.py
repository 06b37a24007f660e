"""Makes the core of a speaker from its settings, with the parts that others look into."""

import random
from dataclasses import dataclass

from ownership.announcing.announcer import Announcer
from ownership.announcing.clients import Clients
from ownership.contact import Contact
from ownership.election.quorum import Quorum
from ownership.failover import Failover
from ownership.liveness.targets import Timing
from ownership.ownership import Ownership
from speaker.settings import Settings


@dataclass(frozen=True, slots=True)
class Heart:
    """The core; the announcer and the clients, as answering a frame is to gain no call; and
    failover, for its figures."""

    core: Ownership
    announcer: Announcer
    clients: Clients
    failover: Failover

    def busy(self) -> bool:
        """Tell whether there is anything that log lines have to wait for."""
        return self.core.busy or self.announcer.urgent


def make_heart(settings: Settings, now: float) -> Heart:
    """Without gossip there is nobody to have contact with."""
    node, after = settings.node_name, settings.failover_after
    contact, clients = Contact(now, alone=not settings.gossips), Clients()
    announcer = Announcer(contact, clients, settings.announce_rate, settings.announce_refresh)
    timing = Timing.of(after) if after else None
    failover = Failover(node, timing, announcer, contact, random.SystemRandom(), now)
    core = Ownership(node, contact, announcer, failover, Quorum(settings.quorum))
    return Heart(core, announcer, clients, failover)
