"""Questions and announcements of either family: what the instruments say and hear."""

from typing import NamedTuple

from netnslab import arp, ndp


class Said(NamedTuple):
    """A frame that speaks for an IP; `answer` where it answers a question."""

    mac: str
    ip: str
    kind: str
    answer: bool


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


def said(frame: bytes) -> Said | None:
    """Reads a frame; None where it is neither ARP nor a neighbour message."""
    if frame[12:14] == b"\x86\xdd":
        found = ndp.decode(frame)
        return None if found is None else Said(*found)
    packet = arp.decode(frame)
    if packet is None:
        return None
    answer = packet.operation == arp.REPLY and packet.spa != packet.tpa
    return Said(packet.sha, packet.spa, packet.kind(), answer)
