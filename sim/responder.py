"""The ARP side of a simulated speaker: what `layer2` does with frames, without sockets. Pure."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

from arp.gratuitous import request_to_client
from arp.packet import ArpPacket, Operation
from arp.responder import respond
from link.drop import DropReason
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.announcing.clients import Clients
from ownership.announcing.frames import build
from ownership.ownership import Ownership
from sim.kernel import read_arp
from sim.site import LINK, Site

REMEMBERED = 1.0
"""As in `layer2`: seconds for which the answer to a question is remembered."""


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
        self._mac = site.mac
        self._ips = frozenset(ip for plan in site.plans.values() for ip in plan.ips)
        self._announcer = announcer
        self._clients = clients
        self._ownership = ownership
        self._remembered: dict[bytes, bytes | DropReason] = {}
        self._remembered_at = 0
        """What `Announcer.changes` was when the answers were remembered."""
        self._remembered_until = float("-inf")
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
        self._announcer.set_interfaces({LINK: self._interface}, now)
        self._ownership.set_interfaces({LINK: self._interface}, now)

    # ---- frames

    def hear(self, now: float) -> None:
        """Note that somebody's frames have come in, before they are answered."""
        self._ownership.handle_frames(LINK, now)

    def answer(self, frame: bytes, now: float) -> bytes | DropReason:
        """Answer an ARP frame, or say why not."""
        # After a second anew, so that `Clients` hears who is still asking.
        changed = self._remembered_at != self._announcer.changes
        if changed or now >= self._remembered_until:
            self._remembered.clear()
            self._remembered_at = self._announcer.changes
            self._remembered_until = now + REMEMBERED
        answer = self._remembered.get(frame)
        if answer is None:
            answer = self._answer_anew(frame, now)
        return answer

    def frames(self) -> list[bytes]:
        """Drain the frames to send: questions to old owners, and announcements."""
        own = self._site.address.ip
        frames = [
            request_to_client(self._mac, own, ask.ip, ask.mac)
            for _, ask in self._ownership.asks()
            if isinstance(ask.ip, IPv4Address)
        ]
        return frames + [build(announcement) for announcement in self._announcer.transmits()]

    def _answer_anew(self, frame: bytes, now: float) -> bytes | DropReason:
        """As `Layer2` does, remember answers to questions until what is answered changes."""
        heard = read_arp(frame)
        if heard is not None and (
            heard.operation is Operation.REPLY or heard.sender_ip == heard.target_ip
        ):
            self._overhear(heard, now)
            return DropReason.ANNOUNCEMENT
        if heard is not None and heard.target_ip in self._ips:
            self._hear_question(heard, now)
        answer = respond(frame, self._mac, lambda ip: self._announcer.answers(ip, LINK))
        self._remembered[frame] = answer
        return answer

    def _hear_question(self, heard: ArpPacket, now: float) -> None:
        ip, asker, mac = heard.target_ip, heard.sender_ip, heard.sender_mac
        if not self._ownership.is_node(mac):
            self._clients.heard(ip, self._interface, asker, mac, now)

    def _overhear(self, heard: ArpPacket, now: float) -> None:
        if heard.sender_ip not in self._ips:
            self._ownership.handle_client(heard.target_ip, LINK, heard.sender_ip, now)
            return
        if self._site.failover_after is None:
            return
        if heard.sender_mac != self._mac:
            self._ownership.handle_announcement(heard.sender_ip, LINK, heard.sender_mac, now)
        self._ownership.stir()
