"""Throws mutated frames at the ARP and NDP responders: `python -m bench.fuzz COUNT [SEED]`.

Golden-like questions are bit-flipped, cut, lengthened and spliced; half of the NDP ones get a right
checksum again, so that mutations reach behind it. Any exception ends it with the frame in hex.
"""

import random
import sys
from ipaddress import IPv6Address

from arp import responder as arp
from link.checksum import internet_checksum
from link.drop import DropReason
from link.frame import EthernetFrame, EtherType, encode
from ndp import responder as ndp
from ndp.groups import multicast_mac, solicited_node
from ndp.packet import ICMPv6Type, NeighborMessage
from ndp.packet import encode as encode_message

_OWN, _PEER = bytes.fromhex("02000000000a"), bytes.fromhex("02000000000c")
_VIP, _CLIENT = IPv6Address("2001:db8::64"), IPv6Address("fe80::c")
_ARP = bytes.fromhex(
    "ffffffffffff02000000000c08060001080006040001"
    "02000000000cc0000202000000000000c0000264" + "00" * 18
)


def seeds() -> list[bytes]:
    """Good questions to start from."""
    group = solicited_node(_VIP)
    message = NeighborMessage(ICMPv6Type.SOLICITATION, _CLIENT, group, _VIP, _PEER)
    payload = encode_message(message)
    return [_ARP, encode(EthernetFrame(multicast_mac(group), _PEER, EtherType.IPV6, payload))]


def mutate(frame: bytes, chance: random.Random) -> bytes:
    """Return the frame with one to four things wrong."""
    data = bytearray(frame)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data)) if data else 0
        match chance.randrange(4):
            case 0 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 1 if data:
                data[at] = chance.choice((0, 1, 2, 8, 127, 128, 255))
            case 2:
                del data[at:]
            case _:
                data += chance.randbytes(chance.randint(1, 24))
    if len(data) > 78 and chance.random() < 0.5:
        data[56:58] = b"\0\0"
        end = 54 + int.from_bytes(data[18:20], "big")
        checksum = internet_checksum(bytes(data[22:38]), bytes(data[38:54]), bytes(data[54:end]))
        data[56:58] = checksum.to_bytes(2, "big")
    return bytes(data)


def run(count: int, seed: int) -> int:
    """Feed so many frames to both responders; return how many were answered."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    starts = seeds()
    answered = 0
    for _ in range(count):
        frame = mutate(chance.choice(starts), chance)
        try:
            replies = (
                arp.respond(frame, _OWN, lambda ip: None),
                ndp.respond(frame, _OWN, _CLIENT, lambda ip: None),
            )
        except Exception:
            print("crashed on", frame.hex(), file=sys.stderr)
            raise
        answered += any(not isinstance(reply, DropReason) for reply in replies)
    return answered


if __name__ == "__main__":
    total = int(sys.argv[1])
    print(run(total, int(sys.argv[2]) if len(sys.argv) > 2 else 0), "answered of", total)
