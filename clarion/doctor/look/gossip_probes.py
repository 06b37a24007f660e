"""Pings other nodes' speakers over UDP and TCP, as a member would, and no member. A driver."""

import asyncio
import os
import secrets
from contextlib import suppress
from dataclasses import replace

from clarion.doctor.probe import GossipProbe
from clarion.doctor.reach import PeerReach, ProbeAnswer
from gossip.wire.crypto import Keyring
from gossip.wire.errors import WireError

ROUNDS = 4
"""Datagrams before one takes it for silence: a tenth of all lost makes a ten-thousandth of that."""
ROUND = 0.4
"""Seconds between them."""
PATIENCE = 3.0
"""Seconds for a stream."""
AT_ONCE = 32
_MOST = 65536


async def reach_all(peers: tuple[PeerReach, ...], key: bytes | None) -> tuple[PeerReach, ...]:
    """Return the peers with what came of it."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(peer: PeerReach) -> PeerReach:
        async with turns:
            return await _reach(peer, key)

    return tuple(await asyncio.gather(*map(one, peers)))


async def _reach(peer: PeerReach, key: bytes | None) -> PeerReach:
    ring = None if key is None else Keyring([key])
    probes = [GossipProbe(peer.node, _number(), ring, os.urandom) for _ in range(3)]
    short, full = probes[0].datagram(), probes[1].full_datagram(peer.length)
    udp, udp_full, tcp = await asyncio.gather(
        _ask(peer, probes[0], short), _ask(peer, probes[1], full), _dial(peer, probes[2])
    )
    return replace(peer, udp=udp, udp_full=udp_full, tcp=tcp)


def _number() -> int:
    """Return a sequence number far from those that members count up."""
    return secrets.randbelow(1 << 30) + (1 << 31)


class _Listener(asyncio.DatagramProtocol):
    """Waits for the answer to one ping."""

    def __init__(self, probe: GossipProbe) -> None:
        self.found: asyncio.Future[ProbeAnswer] = asyncio.get_running_loop().create_future()
        self._probe = probe

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Look whether it answers; a word that our key does not open is one, too."""
        answered = self._probe.is_answer(data)
        self._settle(ProbeAnswer.ANSWERED if answered else ProbeAnswer.UNREAD)

    def error_received(self, exc: Exception) -> None:
        """The other kernel says that nobody listens."""
        if isinstance(exc, ConnectionRefusedError):
            self._settle(ProbeAnswer.CLOSED)

    def _settle(self, found: ProbeAnswer) -> None:
        if not self.found.done():
            self.found.set_result(found)


async def _ask(peer: PeerReach, probe: GossipProbe, datagram: bytes) -> ProbeAnswer:
    loop = asyncio.get_running_loop()
    try:
        transport, listener = await loop.create_datagram_endpoint(
            lambda: _Listener(probe), remote_addr=(peer.ip, peer.port)
        )
    except OSError:
        return ProbeAnswer.SILENT
    try:
        for _ in range(ROUNDS):
            transport.sendto(datagram)
            with suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(listener.found), ROUND)
        return ProbeAnswer.SILENT
    finally:
        listener.found.cancel()
        transport.close()


async def _dial(peer: PeerReach, probe: GossipProbe) -> ProbeAnswer:
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(peer.ip, peer.port)
            try:
                writer.write(probe.request())
                return await _answer(reader, probe)
            finally:
                writer.close()
    except ConnectionRefusedError:
        return ProbeAnswer.CLOSED
    except (TimeoutError, OSError):
        return ProbeAnswer.SILENT


async def _answer(reader: asyncio.StreamReader, probe: GossipProbe) -> ProbeAnswer:
    """Read until the answer is whole, or can be none."""
    gathered = probe.reader()
    try:
        while chunk := await reader.read(_MOST):
            if gathered.feed(chunk):
                answered = probe.answers(gathered.message())
                return ProbeAnswer.ANSWERED if answered else ProbeAnswer.UNREAD
    except (WireError, ConnectionResetError):
        pass
    return ProbeAnswer.UNREAD
