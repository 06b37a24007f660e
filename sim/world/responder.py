"""The ARP side of a simulated speaker: `layer2` and `driver` without sockets, on one link. Pure.

What a frame gets is for the shipped `Answering` to say. A segment carries frames by MAC, so none
comes in that is for another host, and there is no IPv6.
"""

from dataclasses import replace
from ipaddress import IPv4Interface

from link.address import IPAddress
from link.drop import DropReason
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.announcing.answering import Answer, Answering
from ownership.announcing.clients import Clients
from ownership.announcing.family import IPV4
from ownership.announcing.frames import build
from ownership.ownership import Ownership
from sim.world.site import LINK, Site


class Responder:
    """Answers, overhears and builds frames on the only link there is."""

    def __init__(
        self,
        site: Site,
        announcer: Announcer,
        clients: Clients,
        ownership: Ownership,
    ) -> None:
        self._site = site
        self._announcer = announcer
        self._ownership = ownership
        self._answering = Answering(announcer, clients)
        self._answering.overhearer = self
        self._answering.set_service_ips(
            frozenset(ip for plan in site.plans.values() for ip in plan.ips)
        )
        self._interface = Interface(
            LINK,
            "eth0",
            site.mac,
            up=True,
            carrier=True,
            broadcast=True,
            noarp=False,
            addresses=frozenset({site.address}),
            gateways=frozenset({site.gateway}),
        )

    # ---- the link

    def set_carrier(self, up: bool, now: float) -> None:
        """Take what became of the link; as a cable has it, it stays up without carrier."""
        self._interface = replace(self._interface, carrier=up)
        self.take_link(now)

    def set_floating(self, addresses: frozenset[IPv4Interface], now: float) -> None:
        """Take the addresses that the link has beside its own."""
        own = frozenset({self._site.address})
        self._interface = replace(self._interface, addresses=own | addresses)
        self.take_link(now)

    def take_link(self, now: float) -> None:
        """Tell the cores of the link as it is."""
        self._answering.set_interfaces({LINK: self._interface}, frozenset({self._site.mac}))
        self._announcer.set_interfaces({LINK: self._interface}, now)
        self._ownership.set_interfaces({LINK: self._interface}, now)

    # ---- frames

    def hear(self, now: float) -> None:
        """Note that somebody's frames have come in, before they are answered."""
        self._ownership.handle_frames(LINK, now)

    def answer(self, frame: bytes, now: float) -> bytes | DropReason:
        """Answer an ARP frame, or say why not."""
        ear = self._answering.ear(LINK, IPV4.version)
        if ear is None:
            return DropReason.NOT_ON_INTERFACE
        outcome = self._answering.handle_frame(ear, frame, other_host=False, now=now)
        return outcome.frame if isinstance(outcome, Answer) else outcome

    def frames(self) -> list[bytes]:
        """Drain the frames to send: questions to old owners, and announcements."""
        asks = [IPV4.ask(self._interface, ask.ip, ask.mac) for _, ask in self._ownership.asks()]
        announcements = [build(announcement) for announcement in self._announcer.transmits()]
        return [frame for frame in asks if frame is not None] + announcements

    # ---- what is overheard

    def is_node(self, mac: bytes) -> bool:
        """See `answering.Overhearer`."""
        return self._ownership.is_node(mac)

    def handle_announcement(
        self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool = False
    ) -> None:
        """See `answering.Overhearer`."""
        if self._site.failover_after is not None:
            self._ownership.handle_announcement(ip, ifindex, mac, now, alone)
            self._ownership.stir()

    def handle_client(self, ip: IPAddress, ifindex: int, client: IPAddress, now: float) -> None:
        """See `answering.Overhearer`."""
        self._ownership.handle_client(ip, ifindex, client, now)
