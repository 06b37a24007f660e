"""Changes of links and addresses out of rtnetlink messages: built by hand, and the kernel's own."""

import asyncio
import struct
from collections.abc import Container, Iterator, Mapping
from functools import partial
from ipaddress import ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2 import IPRoute

from link.interface import Interface, may_answer
from link.netlink import news
from link.netlink.messages import HEADER, split
from link.netlink.monitor import Monitor
from link.netlink.table import AddressGone, AddressSet, Change, LinkGone, LinkSet
from netns import missing_right
from netnslab.machines.namespaces import NetworkNamespace

MAC = bytes.fromhex("02000000000a")
UP, BROADCAST, NOARP = 0x1, 0x2, 0x80
DADFAILED, OPTIMISTIC, TENTATIVE = 0x08, 0x04, 0x40
STORM = 100

in_namespaces = pytest.mark.skipif(missing_right() is not None, reason=str(missing_right()))


def attribute(kind: int, value: bytes) -> bytes:
    data = struct.pack("=HH", 4 + len(value), kind) + value
    return data.ljust(len(data) + 3 & ~3, b"\0")


def link(*attributes: bytes, flags: int = UP | BROADCAST, family: int = 0) -> bytes:
    return struct.pack("=BxHiII", family, 1, 2, flags, 0) + b"".join(attributes)


def address(*attributes: bytes, family: int = 2, prefix: int = 24, flags: int = 0) -> bytes:
    return struct.pack("=BBBBI", family, prefix, flags, 0, 2) + b"".join(attributes)


NAME, HARDWARE = attribute(3, b"eth0\0"), attribute(1, MAC)
CARRIER = attribute(33, b"\1")
FOUR, SIX = attribute(2, bytes((192, 0, 2, 1))), attribute(1, b"\xfe\x80" + bytes(13) + b"\1")
HOST, LOCAL = ip_interface("192.0.2.1/24"), ip_interface("fe80::1/64")
WIDE = attribute(8, struct.pack("=I", TENTATIVE))


def eth0(**fields: Any) -> LinkSet:
    plain = {"up": True, "carrier": False, "broadcast": True, "noarp": False}
    return LinkSet(Interface(2, **{"name": "eth0", "mac": b"", **plain, **fields}))


@pytest.mark.parametrize(
    ("kind", "body", "change"),
    [
        (16, link(NAME, HARDWARE, CARRIER), eth0(mac=MAC, carrier=True)),
        (16, link(NAME, attribute(33, b"\0")), eth0()),
        (16, link(NAME, flags=NOARP), eth0(up=False, broadcast=False, noarp=True)),
        (16, link(NAME, attribute(10, struct.pack("=i", 7))), eth0(master=7)),
        (16, link(NAME, attribute(1, bytes(4))), eth0()),
        (16, link(attribute(3, b"\xff\0")), eth0(name="\udcff")),
        (16, link(NAME, family=7), None),
        (17, link(NAME), LinkGone(2)),
        (17, link(NAME, family=7), None),
        (20, address(FOUR), AddressSet(2, HOST)),
        (20, address(attribute(1, bytes(4)), FOUR), AddressSet(2, HOST)),
        (21, address(FOUR), AddressGone(2, HOST)),
        (20, address(SIX, family=10, prefix=64), AddressSet(2, LOCAL)),
        (20, address(SIX, family=10, prefix=64, flags=TENTATIVE), AddressGone(2, LOCAL)),
        (20, address(SIX, WIDE, family=10, prefix=64), AddressGone(2, LOCAL)),
        (
            20,
            address(SIX, family=10, prefix=64, flags=TENTATIVE | OPTIMISTIC),
            AddressSet(2, LOCAL),
        ),
        (20, address(SIX, family=10, prefix=64, flags=DADFAILED), AddressGone(2, LOCAL)),
        (20, address(SIX), None),
        (20, address(FOUR, prefix=33), None),
        (20, address(FOUR, family=10), None),
        (24, link(NAME), None),
    ],
)
def test_what_a_message_says(kind: int, body: bytes, change: Change | None) -> None:
    assert news.read(kind, body) == change


@given(st.sampled_from([16, 17, 20, 21]), st.binary(max_size=80))
def test_any_bytes_are_survived(kind: int, body: bytes) -> None:
    news.read(kind, body)
    for found, rest in split(HEADER.pack(HEADER.size + len(body), kind, 0, 0, 0) + body):
        assert news.read(found, rest) == news.read(kind, body)


def test_a_cut_message_is_no_change_or_lacks_attributes() -> None:
    for kind, whole, fewest in ((16, link(NAME, HARDWARE), 16), (20, address(FOUR), 16)):
        for length in range(len(whole)):
            change = news.read(kind, whole[:length])
            assert change is None or length >= fewest


# ---- the kernel's own


@pytest.fixture
def namespace() -> Iterator[NetworkNamespace]:
    made = NetworkNamespace("news")
    yield made
    made.close()


async def _watch(
    namespace: NetworkNamespace, work: Any, last: str
) -> tuple[Mapping[int, Interface], int]:
    """Run `work` beside a monitor; return what it told when `last` came, and how often it told."""
    complete, told = asyncio.Event(), 0
    known: Mapping[int, Interface] = {}

    def take(interfaces: Mapping[int, Interface], own_macs: Container[bytes]) -> None:
        nonlocal known, told
        known, told = interfaces, told + 1
        if any(found.name == last for found in interfaces.values()):
            complete.set()

    monitor = Monitor(take, partial(may_answer, None))
    await monitor.start()
    await asyncio.to_thread(namespace.run, work)
    await asyncio.wait_for(complete.wait(), 20.0)
    monitor.close()
    return known, told


def _add(netlink: Any, name: str) -> int:
    netlink.link("add", ifname=name, kind="veth", peer={"ifname": f"{name}-x"})
    return int(netlink.link_lookup(ifname=name)[0])


@pytest.mark.root
@in_namespaces
def test_it_reads_the_kernels_table_as_pyroute2_does(namespace: NetworkNamespace) -> None:
    def build() -> None:
        with IPRoute() as netlink:
            bridge = netlink.link("add", ifname="br0", kind="bridge") and "br0"
            index = _add(netlink, "one0")
            netlink.addr("add", index=index, address="192.0.2.1", prefixlen=24)
            netlink.link("set", index=_add(netlink, "two0"), state="up", arp=False)
            netlink.link("set", index=index, master=netlink.link_lookup(ifname=bridge)[0])
            netlink.link("set", index=_add(netlink, "last0"), state="up")

    def oracle() -> dict[str, tuple[str, bool, int | None]]:
        with IPRoute() as netlink:
            return {
                found.get("IFLA_IFNAME"): (
                    found.get("IFLA_ADDRESS"),
                    bool(found["flags"] & UP),
                    found.get("IFLA_MASTER"),
                )
                for found in netlink.get_links()
            }

    async def whole() -> Mapping[int, Interface]:
        told: list[Mapping[int, Interface]] = []
        monitor = Monitor(lambda interfaces, own_macs: told.append(interfaces))
        await monitor.start()
        monitor.close()
        return told[0]

    namespace.run(build)
    ours = namespace.run(asyncio.run, whole())
    assert {
        found.name: (found.mac.hex(":"), found.up, found.master) for found in ours.values()
    } == namespace.run(oracle)
    one = next(found for found in ours.values() if found.name == "one0")
    assert ip_interface("192.0.2.1/24") in one.addresses


@pytest.mark.root
@in_namespaces
def test_links_that_may_not_answer_come_and_go_without_a_word(namespace: NetworkNamespace) -> None:
    """Work is counted, not time: a call for each of them, or for a few, cannot pass."""

    def storm() -> None:
        with IPRoute() as netlink:
            for number in range(STORM):
                index = _add(netlink, f"down{number}")
                netlink.addr("add", index=index, address=f"192.0.2.{number + 1}", prefixlen=32)
                netlink.link("del", index=index)
            netlink.link("set", index=_add(netlink, "last0"), state="up")

    known, told = namespace.run(asyncio.run, _watch(namespace, storm, "last0"))
    assert [found.name for found in known.values()] == ["last0"]
    # The table at the start, and what the last one brings.
    assert told <= 3
