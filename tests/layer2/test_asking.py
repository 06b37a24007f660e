"""What an heir asks the wire, who answers, and what is heard of it."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
import structlog

from arp.gratuitous import reply, request_to_client
from dualstack import Machine, dualstack, manifests
from link.address import IPAddress
from link.drop import DropReason
from link.interface import Interface, may_answer
from link.mac import parse_mac
from link.netlink.monitor import Monitor
from ndp.unsolicited import advertisement
from netns import missing_right
from ownership.announcing.announcer import Announcer
from ownership.announcing.clients import Clients
from ownership.contact import Contact
from speaker.wire.layer2 import Layer2
from speakers import Speaker, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]

VIP, VIP6 = ip_address("10.77.9.1"), ip_address("2001:db8:77::9:1")
NOBODYS, NOBODYS6 = IPv4Address("10.77.9.2"), IPv6Address("2001:db8:77::9:2")
IPS = frozenset({VIP, VIP6, NOBODYS, NOBODYS6})
PATIENCE, SILENCE = 5.0, 0.2
"""Seconds to wait for an answer, and for none."""


@dataclass
class Ear:
    """Somebody's layer 2 and what it overheard: IP, link and MAC."""

    announced_to_us: list[tuple[IPAddress, int, bytes]] = field(default_factory=list)
    links: dict[int, Interface] = field(default_factory=dict)
    gives_up: bool = False

    def __post_init__(self) -> None:
        clients, now = Clients(), time.monotonic()
        self.announcer = Announcer(Contact(now, alone=True), clients)
        log = structlog.get_logger()
        self.layer2 = Layer2(self.announcer, clients, time.monotonic, lambda now: None, log)
        self.layer2.listener = self
        self.overheard = asyncio.Event()

    def handle_frames(self, ifindex: int, now: float) -> None:
        assert ifindex in self.links

    def is_node(self, mac: bytes) -> bool:
        return False

    def handle_announcement(
        self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool = False
    ) -> None:
        self.announced_to_us.append((ip, ifindex, mac))
        if self.gives_up:
            self.announcer.fall_silent(ip, ifindex)
        else:
            self.overheard.set()

    def handle_client(self, ip: IPAddress, ifindex: int, client: IPAddress, now: float) -> None:
        raise AssertionError(f"{client} was not asked")

    def take(self, links: Mapping[int, Interface], own_macs: Container[bytes]) -> None:
        self.links = dict(links)
        self.layer2.set_interfaces(links, own_macs)

    @property
    def index(self) -> int:
        return next(index for index, link in self.links.items() if link.name == "eth0")

    async def listen(self, act: Callable[["Ear"], None], seconds: float) -> None:
        """Open the sockets, `act`, and read until something is overheard, or so long."""
        monitor = Monitor(self.take, partial(may_answer, None))
        self.layer2.set_service_ips(IPS)
        await monitor.start()
        try:
            act(self)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.overheard.wait(), seconds)
        finally:
            self.layer2.close()
            monitor.close()


def listen(machine: Machine, act: Callable[[Ear], None], seconds: float = PATIENCE) -> Ear:
    """Let `machine` be all ears."""

    def inside() -> Ear:
        ear = Ear()
        asyncio.run(ear.listen(act, seconds))
        return ear

    return machine.namespace.run(inside)


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[str, Machine]]:
    with dualstack("heir", "owner") as made:
        yield made


def converse(
    machines: dict[str, Machine], course: Callable[[Ear, socket.socket], Awaitable[None]]
) -> Ear:
    """Let the heir be all ears while `course` sends frames from a raw socket of the owner's."""
    running: list[asyncio.Task[None]] = []
    with machines["owner"].raw(0x0003) as raw:

        async def whole(ear: Ear) -> None:
            await course(ear, raw)
            ear.overheard.set()

        def begin(ear: Ear) -> None:
            running.append(asyncio.get_running_loop().create_task(whole(ear)))

        ear = listen(machines["heir"], begin)
    assert ear.overheard.is_set()
    return ear


@pytest.mark.parametrize("ip", [NOBODYS, NOBODYS6], ids=["ipv4", "ipv6"])
def test_nobody_answers_for_what_nobody_owns(machines: dict[str, Machine], ip: IPAddress) -> None:
    ear = listen(machines["heir"], lambda ear: ear.layer2.ask(ip, ear.index), SILENCE)
    assert ear.announced_to_us == []


def test_a_link_that_is_gone_is_not_asked_on(machines: dict[str, Machine]) -> None:
    ear = listen(machines["heir"], lambda ear: ear.layer2.ask(VIP, 9_999), SILENCE)
    assert ear.layer2.stats.dropped == {}


@pytest.mark.parametrize("version", [4, 6])
def test_an_announcement_is_counted_once(machines: dict[str, Machine], version: int) -> None:
    other, ip = machines["owner"], NOBODYS if version == 4 else NOBODYS6
    mac, own = parse_mac(other.mac), IPv6Address(other.ip6)

    def announce(_ear: Ear) -> None:
        frame = reply(mac, NOBODYS) if version == 4 else advertisement(mac, own, NOBODYS6)
        with other.raw(0x0003) as raw:
            raw.send(frame)

    ear = listen(machines["heir"], announce)
    assert ear.announced_to_us == [(ip, ear.index, mac)]
    assert ear.layer2.stats.dropped == {DropReason.ANNOUNCEMENT: 1}


def test_why_there_is_no_answer_is_remembered_only_while_it_holds(
    machines: dict[str, Machine],
) -> None:
    asker = machines["owner"]
    frame = request_to_client(parse_mac(asker.mac), IPv4Address(asker.ip), NOBODYS, None)

    async def course(ear: Ear, raw: socket.socket) -> None:
        dropped, counted = ear.layer2.stats.dropped, ear.layer2.stats.of(NOBODYS)

        def refused(times: int) -> bool:
            return dropped[DropReason.NOT_ANNOUNCED] == times

        async def send(reached: Callable[[], bool], what: str) -> None:
            raw.send(frame)
            await asyncio.to_thread(wait_until, reached, what, PATIENCE)

        for times in (1, 2):
            await send(partial(refused, times), "refused")
        ear.announcer.announce(NOBODYS, "some/service", None, time.monotonic(), quiet=True)
        await send(lambda: counted.responses == 1, "answered")

    ear = converse(machines, course)
    assert ear.layer2.stats.dropped == {DropReason.NOT_ANNOUNCED: 2}


def test_no_answer_is_remembered_past_the_announcement_of_another_owner(
    machines: dict[str, Machine],
) -> None:
    asker = machines["owner"]
    mac = parse_mac(asker.mac)
    question = request_to_client(mac, IPv4Address(asker.ip), NOBODYS, None)

    async def course(ear: Ear, raw: socket.socket) -> None:
        ear.gives_up = True
        ear.announcer.announce(NOBODYS, "some/service", None, time.monotonic(), quiet=True)
        counted, dropped = ear.layer2.stats.of(NOBODYS), ear.layer2.stats.dropped
        raw.send(question)
        await asyncio.to_thread(wait_until, lambda: counted.responses == 1, "answered", PATIENCE)
        # Both wait when the loop turns again, and are read in one go.
        raw.send(reply(mac, NOBODYS))
        raw.send(question)
        await asyncio.to_thread(
            wait_until, lambda: counted.requests + sum(dropped.values()) == 3, "read", PATIENCE
        )

    ear = converse(machines, course)
    assert ear.layer2.stats.of(NOBODYS).responses == 1
    assert ear.layer2.stats.dropped == {DropReason.ANNOUNCEMENT: 1, DropReason.HANDED_OVER: 1}


def refused_so_far(ear: Ear) -> int:
    """Read what there is; how many questions about what is not announced were there so far."""
    ear.layer2.read_dry()
    return ear.layer2.stats.dropped[DropReason.NOT_ANNOUNCED]


@pytest.mark.parametrize("caught_up", [True, False])
def test_what_was_asked_before_an_ip_came_is_its_last_owners_to_answer(
    machines: dict[str, Machine], caught_up: bool
) -> None:
    asker = machines["owner"]
    question = request_to_client(parse_mac(asker.mac), IPv4Address(asker.ip), NOBODYS, None)

    async def course(ear: Ear, raw: socket.socket) -> None:
        counted, dropped = ear.layer2.stats.of(NOBODYS), ear.layer2.stats.dropped
        raw.send(question)
        if caught_up:
            # The kernel of a busy machine may bring it later than it took it; the loop stands still
            # until it is read.
            wait_until(partial(refused_so_far, ear), "read before the IP came", PATIENCE)
        ear.announcer.announce(NOBODYS, "some/service", None, time.monotonic(), quiet=True)
        await asyncio.to_thread(
            wait_until, lambda: counted.requests + sum(dropped.values()), "read", PATIENCE
        )

    ear = converse(machines, course)
    assert ear.layer2.stats.of(NOBODYS).responses == (not caught_up)
    assert ear.layer2.stats.dropped[DropReason.NOT_ANNOUNCED] == caught_up


@pytest.fixture(scope="module")
def owner(
    machines: dict[str, Machine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Speaker]:
    folder = tmp_path_factory.mktemp("asking")
    source = manifests(folder / "source", str(VIP), str(VIP6))
    with speaker(machines["owner"].host, source, log=folder / "log") as started:
        started.wait_for("ready")
        yield started


@pytest.mark.parametrize("ip", [VIP, VIP6], ids=["ipv4", "ipv6"])
def test_the_owner_answers_who_asks_for_its_ip(
    machines: dict[str, Machine], owner: Speaker, ip: IPAddress
) -> None:
    series = f'metallb_layer2_requests_received{{ip="{ip}"}}'
    assert not owner.metric(series)
    ear = listen(machines["heir"], lambda ear: ear.layer2.ask(ip, ear.index))
    assert (ip, ear.index, parse_mac(machines["owner"].mac)) in ear.announced_to_us
    assert owner.metric(series) == 1
