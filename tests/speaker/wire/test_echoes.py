"""Echo sockets as the driver has them: by a link, and by whatever way the kernel knows."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest
import structlog

from link.address import IPAddress
from link.interface import Interface
from netns import missing_right
from netnslab.machines.topology import Topology
from ownership.io import ROUTED, EchoRequest
from speaker.wire.echoes import Echoes

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]
LO = Interface(1, "lo", bytes(6), True, True, True, False)
WITHIN = 20.0
TOKENS = [b"by link.", b"by route", b"again..."]


class Heard:
    """What came in, and by which way."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, IPAddress, bytes]] = []
        self.news = asyncio.Event()

    def take(self, ifindex: int, ip: IPAddress, token: bytes, now: float) -> None:
        self.replies.append((ifindex, ip, token))
        self.news.set()

    async def wait_for(self, replies: int) -> None:
        while len(self.replies) < replies:
            self.news.clear()
            await self.news.wait()


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
def test_a_socket_on_no_link_is_there_whatever_becomes_of_the_links(ip: str) -> None:
    """And what is asked by one way is heard by no other, though both sockets get all replies."""
    host, asked = Topology(["asker"]).nodes["asker"], ip_address(ip)

    async def course() -> list[tuple[int, IPAddress, bytes]]:
        links, heard = {LO.index: replace(LO)}, Heard()
        log = structlog.get_logger()
        echoes = Echoes(lambda: links, heard.take, lambda: None, lambda: 0.0, log)
        async with asyncio.timeout(WITHIN):
            echoes.send(EchoRequest(LO.index, asked, TOKENS[0]))
            await heard.wait_for(1)
            echoes.send(EchoRequest(ROUTED, asked, TOKENS[1]))
            await heard.wait_for(2)
            links.clear()
            echoes.set_interfaces(links)
            echoes.send(EchoRequest(LO.index, asked, b"no link."))
            echoes.send(EchoRequest(ROUTED, asked, TOKENS[2]))
            await heard.wait_for(3)
        echoes.close()
        return heard.replies

    found = host.namespace.run(asyncio.run, course())
    ways = (LO.index, ROUTED, ROUTED)
    assert found == [(way, asked, token) for way, token in zip(ways, TOKENS, strict=True)]
