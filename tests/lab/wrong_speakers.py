"""The real speaker, wrong in one way: each would please a careless lab, and has pleased this one.

    wrong_speakers.py MODE FLAGS OF THE SPEAKER

Modes: late-90, late-200: answers so many milliseconds later; every-second: answers only every
second question about an IP; thief: announces, three times after it took a dead node's IP over,
those that living others own; chatty: announces its own IPs 20 times a second for ever; favourite:
tells only the gateway that it has taken over, and nobody else; right: nothing is changed.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import cast

from arp import gratuitous
from link.address import IPAddress
from link.packet_socket import PacketSocket
from ownership.announcing.answering import Answer
from ownership.announcing.family import IPV4
from ownership.failover import Failover
from ownership.io import Announcement, Form, Moved, OwnershipEvent
from speaker import cli
from speaker.driver import Driver
from speaker.wire.layer2 import Layer2

CHATTER = 0.05
THEFTS, BETWEEN_THEFTS = 3, 0.1
GATEWAY = "10.77.0.2"

_answer, _announce, _take = Layer2._answer, Layer2._announce, Layer2.set_service_ips
_heed_event = Driver._heed_event


def swap(method: str, function: Callable[..., None], owner: type = Layer2) -> None:
    setattr(owner, method, function)


def tell(wire: Layer2, ip: IPAddress) -> None:
    """Announces an IP, whoever owns it, on every link."""
    assert ip.version == 4
    for link, side in wire._links.sides():
        if side.family is IPV4:
            wire._transmit(side.socket, gratuitous.request(link.interface.mac, ip))


def late(seconds: float) -> None:
    def answer(wire: Layer2, used: PacketSocket, answer: Answer) -> None:
        asyncio.get_running_loop().call_later(seconds, _answer, wire, used, answer)

    swap("_answer", answer)


def every_second() -> None:
    asked: Counter[int] = Counter()

    def answer(wire: Layer2, used: PacketSocket, answer: Answer) -> None:
        asked[id(answer.stats)] += 1
        if asked[id(answer.stats)] % 2:
            _answer(wire, used, answer)

    swap("_answer", answer)


def thief() -> None:
    def steal(wire: Layer2, left: int) -> None:
        for ip in wire._answering.service_ips - wire._announcer.ips():
            tell(wire, ip)
        if left > 1:
            asyncio.get_running_loop().call_later(BETWEEN_THEFTS, steal, wire, left - 1)

    def heed_event(driver: Driver, event: OwnershipEvent) -> None:
        _heed_event(driver, event)
        if isinstance(event, Moved) and event.move.after == driver.core.node:
            previous, failover = event.move.before, driver.core._handing
            # While a cluster starts, IPs move between the living.
            if previous is not None and cast(Failover, failover).lost_its_owner(previous):
                steal(driver._layer2, THEFTS)

    swap("_heed_event", heed_event, Driver)


def chatty() -> None:
    def chatter(wire: Layer2) -> None:
        for ip in wire._announcer.ips():
            tell(wire, ip)
        asyncio.get_running_loop().call_later(CHATTER, chatter, wire)

    def begin(wire: Layer2, ips: frozenset[IPAddress]) -> None:
        first = not wire._answering.service_ips
        _take(wire, ips)
        if first and ips:
            chatter(wire)

    swap("set_service_ips", begin)


def favourite() -> None:
    def announce(wire: Layer2, announcement: Announcement) -> None:
        told = announcement.client is not None and str(announcement.client.ip) == GATEWAY
        if announcement.form is Form.TO_CLIENT and told:
            _announce(wire, announcement)

    swap("_announce", announce)


MODES: dict[str, Callable[[], None]] = {
    "late-90": partial(late, 0.09),
    "late-200": partial(late, 0.2),
    "every-second": every_second,
    "thief": thief,
    "chatty": chatty,
    "favourite": favourite,
    "right": lambda: None,
}

if __name__ == "__main__":
    MODES[sys.argv.pop(1)]()
    cli.main()
