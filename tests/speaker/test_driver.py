"""What the witness does with an echo or an announcement, before the next frame is read."""

import asyncio
import random
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from gossip.wire.messages import State
from link.address import IPAddress
from link.echo import EchoReply
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.contact import Contact
from ownership.failover import Failover
from ownership.handover.heir import ASKS_AT_ONCE
from ownership.io import EchoRequest
from ownership.letters import letters
from ownership.letters.courier import Letter
from ownership.letters.letters import Hello, Kind, PeerLink
from ownership.letters.mark import Flags
from ownership.liveness.kernels import Timing
from ownership.liveness.roster import Peer
from speaker import driver as witness_module
from speaker.driver import Witness

VIP = IPv4Address("198.51.100.1")
NOW = 50.0
LINK_B = PeerLink("ens1", b"\x02\0\0\0\0\x0b", (IPv4Address("192.0.2.2"),))
ETH0 = Interface(
    7,
    "eth0",
    b"\x02\0\0\0\0\x0a",
    up=True,
    carrier=True,
    broadcast=True,
    noarp=False,
    addresses=frozenset({IPv4Interface("192.0.2.1/24")}),
)


def make_witness(
    on_change: Callable[[], None],
    clock: Callable[[], float] = lambda: NOW,
    ask: Callable[[IPAddress, int, bytes | None], None] = lambda ip, ifindex, mac: None,
) -> Witness:
    """Node `a`, which knows `b` and `c`; what it sends goes nowhere."""
    contact = Contact(NOW)
    contact.exchanged(NOW, True, NOW)
    contact.events()
    announcer = Announcer(contact)
    core = Failover("a", Timing.of(0.35), announcer, contact, random.Random(1), NOW)
    core.set_interfaces({ETH0.index: ETH0}, NOW)
    core.set_peers(
        (Peer("b", 1, Flags.NONE, State.ALIVE), Peer("c", 2, Flags.NONE, State.ALIVE)), NOW
    )
    hello = letters.encode_hello(Hello((LINK_B,)))
    core.letter(Letter(Kind.HELLO, "b", "b", 1, hello), NOW)
    layer2 = SimpleNamespace(usable=dict, ask=ask)
    peers = SimpleNamespace(send=lambda letter: None, set_flags=lambda flags: None)
    log = structlog.get_logger()
    return Witness(core, announcer, cast(Any, layer2), cast(Any, peers), clock, on_change, log)


def reply_to(request: EchoRequest) -> Any:
    """A socket by which that has come, and no more."""
    reply = EchoReply(witness_module._IDENTIFIER, 1, request.token)
    replies = [(witness_module._write_ip(request.ip), reply)]
    return SimpleNamespace(receive=lambda most: [replies.pop()] if replies else [])


@pytest.mark.parametrize("gone", [True, False])
def test_an_echo_that_voids_a_verdict_is_acted_upon_at_once(gone: bool) -> None:
    """The heir of a node that is back must not answer the next question for it."""

    async def overhear() -> list[frozenset[str]]:
        witness = make_witness(lambda: None)
        if gone:
            witness.letter(Letter(Kind.GONE, "c", "b", 1, b"ens1"))
            assert witness.core.bars().named == {"b"}
        else:
            witness.settle()
        named: list[frozenset[str]] = []
        witness.on_void = lambda: named.append(frozenset(witness.core.bars().named))
        witness.core.handle_timeout(NOW + 1.0)
        [request] = witness.core.requests()
        socket = reply_to(request)
        witness._readable(ETH0.index, socket)
        witness._readable(ETH0.index, socket)
        witness.close()
        return named

    assert asyncio.run(overhear()) == ([frozenset()] if gone else [])


def test_an_announcement_alone_voids_no_verdict() -> None:
    """It proves that its sender sends, not that it hears: so it is asked, and its echo counts."""

    async def overhear() -> frozenset[str]:
        witness = make_witness(lambda: None)
        witness.letter(Letter(Kind.GONE, "c", "b", 1, b"ens1"))
        witness.announced(VIP, ETH0.index, LINK_B.mac, NOW)
        witness.core.handle_timeout(NOW)
        asked = [request.ip for request in witness.core.requests()]
        assert asked == list(LINK_B.ips)
        witness.close()
        return frozenset(witness.core.bars().named)

    assert asyncio.run(overhear()) == {"b"}


def test_the_timer_comes_again_whatever_it_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_module, "RETRY", 0.0)

    async def course() -> list[object]:
        heard: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: heard.append(context["part"]))
        witness, again = make_witness(lambda: None), asyncio.Event()
        real = witness.core.handle_timeout

        def handle_timeout(now: float) -> None:
            if len(heard) < 3:
                raise LookupError("injected")
            real(now)
            again.set()

        monkeypatch.setattr(witness.core, "handle_timeout", handle_timeout)
        witness._on_timer()
        async with asyncio.timeout(10.0):
            await again.wait()
        witness.close()
        return heard

    assert asyncio.run(course()) == ["failover"] * 3


def test_a_reply_that_raises_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def course() -> list[object]:
        heard: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: heard.append(context["part"]))
        witness = make_witness(lambda: None)

        def receive(limit: int) -> Iterator[Any]:
            raise LookupError("injected")
            yield

        witness._readable(7, cast(Any, SimpleNamespace(receive=receive)))
        # The timer is set by what was known before.
        assert witness._timer is not None
        witness.close()
        return heard

    assert asyncio.run(course()) == ["echoes"]


def test_ips_that_are_put_off_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    witness = make_witness(lambda: None)
    waiting = [frozenset({VIP}), frozenset()]
    monkeypatch.setattr(witness.core, "put_off", lambda: waiting.pop(0))
    told: list[frozenset[IPAddress]] = []
    witness.on_put_off = told.append
    monkeypatch.setattr(witness, "_schedule", lambda: None)
    witness.settle()
    witness.settle()
    assert told == [frozenset({VIP})]


def test_questions_that_wait_for_the_next_turn_leave_whoever_settles_between() -> None:
    """The heir of many IPs asks for some of them in each turn, and echoes come meanwhile."""
    ips = [VIP + number for number in range(3 * ASKS_AT_ONCE + 1)]
    asked = list[IPAddress]()

    async def inherit() -> None:
        begun, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
        all_asked = asyncio.Event()

        def ask(ip: IPAddress, _ifindex: int, _mac: bytes | None) -> None:
            asked.append(ip)
            if len(asked) == len(ips):
                all_asked.set()

        witness = make_witness(lambda: None, lambda: NOW + loop.time() - begun, ask)
        for ip in ips:
            witness.core.won("ns/a", ip, None, "b", NOW)
        witness.settle()
        witness._heed_replies()
        witness._heed_replies()
        await asyncio.wait_for(all_asked.wait(), 20.0)
        witness.close()

    asyncio.run(inherit())
    assert asked == ips
