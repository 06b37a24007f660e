"""Many gossip agents of ours in one process; orders and events as in clarion_peer.py.

join    each agent joins; the answer counts those who agreed, over all of them
seen    how many members are alive to the agent that sees the fewest
stats   what all of them refused, suspected and declared dead, and whose probes failed
"""

import argparse
import asyncio
import copy
from collections import Counter
from ipaddress import ip_address
from typing import Any

from clarion_peer import Peer, arguments, say, serve


def _one_of_many(settings: argparse.Namespace, number: int) -> Peer:
    own = copy.copy(settings)
    own.name = f"{settings.name}{number}"
    own.bind = str(ip_address(settings.bind) + number)
    return Peer(own)


class Crowd:
    """All agents, and the orders to them."""

    def __init__(self, peers: list[Peer]) -> None:
        self.peers = peers

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order; the answer's own fields. Raises ValueError."""
        match order["do"]:
            case "join":
                answers = await asyncio.gather(*(peer.obey(order) for peer in self.peers))
                return {"joined": sum(answer["joined"] for answer in answers)}
            case "seen":
                return {"seen": min(len(peer.swim.live()) for peer in self.peers)}
            case "stats":
                return self._stats()
            case other:
                raise ValueError(f"no such order: {other}")

    def _stats(self) -> dict[str, Any]:
        sums: Counter[str] = Counter()
        sent: Counter[str] = Counter()
        for peer in self.peers:
            stats = peer.swim.stats
            sums["refused"] += stats.refusals.total()
            sums["suspicions"] += stats.suspicions
            sums["deaths"] += stats.deaths
            sums["probes_failed"] += stats.probes_failed
            sums["health"] += stats.health
            sent.update({kind.name.lower(): count for kind, count in stats.sent.items()})
        return {**sums, "sent": dict(sent)}


async def main() -> None:
    """Run until standard input ends."""
    parser = arguments()
    parser.add_argument("-count", type=int, required=True)
    settings = parser.parse_args()
    crowd = Crowd([_one_of_many(settings, number) for number in range(settings.count)])
    for peer in crowd.peers:
        await peer.agent.start()
    say(event="ready", name=settings.name)
    await serve(crowd.obey)
    for peer in crowd.peers:
        await peer.agent.close()


if __name__ == "__main__":
    asyncio.run(main())
