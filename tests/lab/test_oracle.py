"""The lab's own idea of the right owner, against values worked out with sha256sum."""

import hashlib
from collections import Counter
from itertools import count

import pytest

from netnslab.machines.addresses import service_ip
from netnslab.results import oracle


@pytest.mark.parametrize("ip", ["10.77.1.1", "192.168.1.240", "2001:db8::1"])
def test_the_owner_has_the_lowest_hex_digest(ip: str) -> None:
    nodes = [f"node-{n}" for n in range(1, 9)]
    digests = {hashlib.sha256((n + "#" + ip).encode()).hexdigest(): n for n in nodes}
    assert oracle.owner(ip, reversed(nodes)) == digests[sorted(digests)[0]]


def test_known_digests() -> None:
    # printf %s 'node-1#10.77.1.1' | sha256sum, and so on
    first = hashlib.sha256(b"node-1#10.77.1.1").digest()
    assert first < hashlib.sha256(b"node-2#10.77.1.1").digest()
    assert oracle.owners(["10.77.1.1"], ["node-1", "node-2"]) == {"10.77.1.1": "node-1"}


@pytest.mark.parametrize(("nodes", "services"), [(3, 4), (3, 1), (5, 5), (8, 200), (2, 3)])
def test_service_ips_are_spread_so_that_no_node_is_left_out(nodes: int, services: int) -> None:
    names = [f"node-{n}" for n in range(1, nodes + 1)]
    ips = oracle.spread((service_ip(n) for n in count()), names, services)
    assert len(set(ips)) == services
    owned = Counter(oracle.owners(ips, names).values())
    assert len(owned) == min(nodes, services)
    assert max(owned.values()) <= -(-services // nodes)
