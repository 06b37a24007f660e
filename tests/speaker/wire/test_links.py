"""How sockets and filters come and go with links, on a link that every host has."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Interface
from typing import Any

import pytest
import structlog

from link.filter import Program, arp_program, ndp_program
from link.interface import Interface
from link.packet_socket import MakeProgram, PacketSocket, check_right
from speaker.wire import links
from speaker.wire.links import Links


def missing_right() -> str | None:
    """Why this process can open no packet sockets, None where it can."""
    try:
        check_right()
    except OSError as error:
        return error.strerror
    return None


pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]

MAC, OTHER_MAC = b"\x02\0\0\0\0\x0a", b"\x02\0\0\0\0\x0b"
ADDRESSES = frozenset({IPv6Interface("fe80::a/64")})
LO = Interface(1, "lo", MAC, True, True, True, False, addresses=ADDRESSES)
BARE = replace(LO, addresses=frozenset())
IPV4 = frozenset({IPv4Address("10.77.9.1")})
IPV6 = frozenset({IPv6Address("2001:db8:77::9:1")})
WITHIN = 20.0


def refuse(*_: Any) -> int:
    raise OSError(105, "injected")


async def settle(rig: Links, interface: Interface | None) -> None:
    """Tell of this link alone, or of none, and let groups be joined."""
    rig.set_interfaces({} if interface is None else {interface.index: interface})
    await asyncio.sleep(0)


def run(scenario: Callable[[Links, asyncio.Event], Any]) -> None:
    async def course() -> None:
        again = asyncio.Event()
        rig = Links(lambda link, side: None, again.set, structlog.get_logger())
        try:
            async with asyncio.timeout(WITHIN):
                await scenario(rig, again)
        finally:
            rig.close()

    asyncio.run(course())


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """The exact program of each filter that a socket was given."""
    given: list[Program] = []
    refilter = PacketSocket.refilter

    def noting(used: PacketSocket, make: MakeProgram, steps: Any) -> int | None:
        given.append(make(0))
        return refilter(used, make, steps)

    monkeypatch.setattr(PacketSocket, "refilter", noting)
    return given


def test_the_ipv6_side_is_there_while_there_is_an_address_to_speak_from() -> None:
    async def scenario(rig: Links, again: asyncio.Event) -> None:
        for interface, families in ((BARE, {"ipv4"}), (LO, {"ipv4", "ipv6"}), (BARE, {"ipv4"})):
            await settle(rig, interface)
            assert rig.stats.filters.keys() == {("lo", family) for family in families}
            assert {side.family.name for _, side in rig.sides()} == families
            assert rig.usable() == {1: interface}
        await settle(rig, None)
        assert (rig.usable(), rig.stats.filters, list(rig.sides())) == ({}, {}, [])
        assert not again.is_set()

    run(scenario)


def test_filters_follow_service_ips_and_mac(programs: list[Program]) -> None:
    async def scenario(rig: Links, again: asyncio.Event) -> None:
        rig.set_service_ips(IPV4 | IPV6)
        await settle(rig, LO)
        assert programs == [arp_program(MAC, IPV4), ndp_program(MAC, IPV6)]
        await settle(rig, LO)
        assert len(programs) == 2, "nothing has changed"
        await settle(rig, replace(LO, mac=OTHER_MAC))
        assert programs[2:] == [arp_program(OTHER_MAC, IPV4), ndp_program(OTHER_MAC, IPV6)]
        rig.set_service_ips(frozenset())
        assert programs[4:] == [
            arp_program(OTHER_MAC, frozenset()),
            ndp_program(OTHER_MAC, frozenset()),
        ]

    run(scenario)


def test_the_arp_filter_learns_a_new_mac_that_comes_as_ipv6_goes(programs: list[Program]) -> None:
    async def scenario(rig: Links, again: asyncio.Event) -> None:
        rig.set_service_ips(IPV4 | IPV6)
        await settle(rig, LO)
        await settle(rig, replace(BARE, mac=OTHER_MAC))
        assert programs[2:] == [arp_program(OTHER_MAC, IPV4)]

    run(scenario)


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_socket_without_its_filter_is_closed_and_opened_anew(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "RETRY_INTERVAL", 0.0)
    closed: list[PacketSocket] = []
    close = PacketSocket.close

    def noting(used: PacketSocket) -> None:
        closed.append(used)
        close(used)

    async def scenario(rig: Links, again: asyncio.Event) -> None:
        if family == "ipv6":
            await settle(rig, BARE)
        with monkeypatch.context() as patch:
            patch.setattr(PacketSocket, "refilter", refuse)
            patch.setattr(PacketSocket, "close", noting)
            rig.set_interfaces({1: LO})
        assert len(closed) == 1
        assert {side.family.name for _, side in rig.sides()} == ({"ipv4"} - {family})
        await again.wait()
        await settle(rig, LO)
        assert {side.family.name for _, side in rig.sides()} == {"ipv4", "ipv6"}
        assert rig.usable() == {1: LO}

    run(scenario)


def test_a_link_whose_socket_fails_is_closed_until_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "RETRY_INTERVAL", 0.0)

    async def scenario(rig: Links, again: asyncio.Event) -> None:
        await settle(rig, LO)
        link = rig.get(1)
        assert link is not None
        rig.reopen(link)
        rig.reopen(link)
        assert (rig.get(1), rig.names()) == (None, frozenset())
        await again.wait()
        await settle(rig, LO)
        assert rig.names() == {"lo"}
        assert rig.get(1) is not link

    run(scenario)
