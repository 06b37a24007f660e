"""Where the figures come from: each part counts for itself, and is asked when somebody scrapes."""

from collections.abc import Callable

from ownership.failover import Failover
from ownership.ownership import Ownership
from process.health import Health
from speaker.metrics.collector import Figures
from speaker.ring.peers import Peers
from speaker.upkeep import Upkeep
from speaker.wire.layer2 import Layer2


def gather(
    core: Ownership,
    failover: Failover,
    layer2: Layer2,
    peers: Peers,
    health: Health,
    upkeep: Upkeep,
    log_lines_dropped: Callable[[], int],
) -> Figures:
    """Return the figures; what a part is not asked for, its owner keeps current in them."""
    return Figures(
        node=core.node,
        layer2=layer2.stats,
        announced=core.services(),
        serves=core.serves,
        owners=core.owners,
        plans=core.plans(),
        members=peers.states,
        refusals=peers.refusals,
        gossip=peers.stats,
        gossip_streams=peers.streams,
        key_unproved=peers.unproved,
        gossip_encrypted=peers.encrypted,
        secrets_refused=peers.secrets_refused,
        key_age=peers.key_age,
        without_quorum=core.lacking,
        unowned=core.unowned,
        failover=failover.stats,
        log_lines_dropped=log_lines_dropped,
        http_refused=health.refused.counts,
        survived=upkeep.survived,
    )
