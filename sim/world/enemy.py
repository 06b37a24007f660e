"""What a host on the segment sends that has no key. Pure."""

from collections.abc import Iterator
from ipaddress import IPv4Address

from arp import packet
from arp.packet import ArpPacket, Operation
from link import frame as ethernet
from link.frame import EthernetFrame, EtherType
from link.mac import BROADCAST


def forgeries(mac: bytes, ip: IPv4Address, to_mac: bytes, to_ip: IPv4Address) -> Iterator[bytes]:
    """Yield frames that say that `ip` is at `mac`: both gratuitous forms (RFC 5227, section 3), and
    the answer to a question of the node `to_mac`, `to_ip`. MACs are 6 raw bytes."""
    for operation in (Operation.REQUEST, Operation.REPLY):
        yield _frame(BROADCAST, ArpPacket(operation, mac, ip, BROADCAST, ip))
    yield _frame(to_mac, ArpPacket(Operation.REPLY, mac, ip, to_mac, to_ip))


def _frame(destination: bytes, arp: ArpPacket) -> bytes:
    payload = packet.encode(arp)
    return ethernet.encode(EthernetFrame(destination, arp.sender_mac, EtherType.ARP, payload))
