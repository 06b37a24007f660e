"""Who should own which IP: the published rule, worked out apart from the speaker's own code."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator


def owner(ip: str, nodes: Iterable[str]) -> str:
    """The node, of those alive, whose SHA-256 of `node#ip` is lowest. Needs at least one node."""
    return min(nodes, key=lambda node: hashlib.sha256(f"{node}#{ip}".encode()).digest())


def owners(ips: Iterable[str], nodes: Iterable[str]) -> dict[str, str]:
    """`owner` for each of many IPs."""
    alive = list(nodes)
    return {ip: owner(ip, alive) for ip in ips}


def spread(candidates: Iterator[str], nodes: list[str], count: int) -> list[str]:
    """Pick `count` of the candidate IPs so that the hash gives every node its even share."""
    share = -(-count // len(nodes))
    taken: Counter[str] = Counter()
    picked: list[str] = []
    while len(picked) < count:
        ip = next(candidates)
        node = owner(ip, nodes)
        # Until every node owns one, nobody gets a second: any victim then loses something.
        lacking = count - len(picked) <= sum(1 for n in nodes if not taken[n])
        if taken[node] < share and not (lacking and taken[node]):
            taken[node] += 1
            picked.append(ip)
    return picked
