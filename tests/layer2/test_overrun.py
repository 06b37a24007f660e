"""Netlink that loses news, as more links change than its socket holds: the table is read anew."""

import asyncio
from collections.abc import Container, Mapping

import pytest
from pyroute2 import IPRoute

from link.interface import Interface
from link.netlink.monitor import Monitor
from netns import missing_right
from netnslab.machines.namespaces import NetworkNamespace

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]

CHANGES = 3_000
"""About 4 MB of news, where the socket holds 1."""


def make(*names: str) -> None:
    """Add pairs of links."""
    with IPRoute() as netlink:
        for name in names:
            netlink.link("add", ifname=name, kind="veth", peer={"ifname": f"{name}-x"})


def storm(last: bool) -> None:
    """Change a link so often that the news about it do not fit; at last others come and go."""
    with IPRoute() as netlink:
        index = netlink.link_lookup(ifname="flap0")[0]
        for number in range(CHANGES):
            netlink.link("set", index=index, mtu=1_000 + number % 2)
        if last:
            netlink.link("del", index=netlink.link_lookup(ifname="gone0")[0])
    if last:
        make("late0")


@pytest.mark.parametrize("overruns", [1, 3])
def test_nothing_is_missing_after_an_overrun(overruns: int) -> None:
    """Later ones fall into the dump that the first has asked for."""
    namespace = NetworkNamespace("overrun")
    try:
        namespace.run(make, "flap0", "gone0")
        names, resyncs = namespace.run(asyncio.run, _watch(namespace, overruns))
    finally:
        namespace.close()
    assert names >= {"flap0", "late0"}
    assert "gone0" not in names
    assert resyncs >= overruns


async def _watch(namespace: NetworkNamespace, overruns: int) -> tuple[set[str], int]:
    """Overrun a monitor so often; return the links that it knows then, and how often it resynced.

    The loop stands still while the news come, so that the monitor reads none of them.
    """
    names: set[str] = set()
    complete = asyncio.Event()

    def take(interfaces: Mapping[int, Interface], own_macs: Container[bytes]) -> None:
        nonlocal names
        names = {link.name for link in interfaces.values()}
        if "late0" in names:
            complete.set()

    monitor = Monitor(take)
    await monitor.start()
    for number in range(overruns):
        namespace.run(storm, number == overruns - 1)
        # Two turns of the loop: it is told of the loss, and has just asked for all.
        for _ in range(2):
            await asyncio.sleep(0)
    await asyncio.wait_for(complete.wait(), 2.0)
    monitor.close()
    return names, monitor.resyncs
