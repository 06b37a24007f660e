"""Questions and announcements of either family: what the instruments say and hear."""

from typing import NamedTuple

from netnslab.instruments import arp, ndp

# What answers a question, by ARP and by NDP.
PLAIN = ("reply", "advertisement")


class Said(NamedTuple):
    """A frame that speaks for an IP; `answer` where it answers a question, of the MAC `to`."""

    mac: str
    ip: str
    kind: str
    answer: bool
    to: str = ""


def family(ips: list[str]) -> int:
    """4 or 6; all IPs of a run are of one family."""
    return 6 if ":" in ips[0] else 4


def ethertype(ips: list[str]) -> int:
    """What questions for these IPs are sent as."""
    return ndp.ETH_P_IPV6 if family(ips) == 6 else arp.ETH_P_ARP


def question(mac: bytes, own_ip: str, ip: str) -> bytes:
    """The frame that asks everybody for `ip`."""
    ask = ndp.question if ":" in ip else arp.question
    return ask(mac, own_ip, ip)


def announcements(mac: bytes, ip: str) -> list[bytes]:
    """The frames, each by itself, that tell everybody unasked that `ip` is at `mac`."""
    if ":" in ip:
        return [ndp.unsolicited_advertisement(mac, ip)]
    return [arp.gratuitous(mac, ip, form) for form in (arp.REQUEST, arp.REPLY)]


def read(frame: bytes) -> Said | None:
    """Read a frame; None where it is neither ARP nor a neighbour message."""
    if frame[12:14] == b"\x86\xdd":
        found = ndp.decode(frame)
        return None if found is None else _neighbour(found)
    packet = arp.decode(frame)
    if packet is None:
        return None
    answer = packet.operation == arp.REPLY and packet.spa != packet.tpa
    # A gratuitous reply is for all, whatever MAC it names.
    return Said(packet.sha, packet.spa, packet.kind(), answer, packet.tha if answer else "")


def _neighbour(found: ndp.Neighbour) -> Said:
    if found.type == ndp.SOLICITATION:
        return Said(found.source, found.source_ip, "solicitation", answer=False)
    if not found.solicited:
        return Said(found.link, found.target, "unsolicited advertisement", answer=False)
    return Said(found.link, found.target, "advertisement", True, found.destination)


def reply(frame: bytes, own_ip: str, mac: bytes) -> bytes | None:
    """The answer of a host with this address and MAC; None where it was not asked."""
    if frame[12:14] == b"\x86\xdd":
        found = ndp.decode(frame)
        asked = found is not None and found.type == ndp.SOLICITATION and found.target == own_ip
        return ndp.reply(mac, found) if found is not None and asked else None
    packet = arp.decode(frame)
    asked = packet is not None and packet.operation == arp.REQUEST and packet.tpa == own_ip
    return arp.reply(mac, packet) if packet is not None and asked else None
