"""The naive way to answer ARP, as a yardstick: scapy sniffs, dissects, builds and sends.

Usage: python -m bench.naive INTERFACE IP
"""

import sys

import link.lean_scapy  # noqa: F401 - before scapy

from scapy.layers.l2 import ARP, Ether
from scapy.sendrecv import sendp, sniff


def main() -> None:
    """Answer for one IP until killed."""
    interface, ip = sys.argv[1:]

    def answer(packet: Ether) -> None:
        if ARP in packet and packet[ARP].op == 1 and packet[ARP].pdst == ip:
            asked = packet[ARP]
            reply = ARP(op=2, psrc=ip, pdst=asked.psrc, hwdst=asked.hwsrc)
            sendp(Ether(dst=asked.hwsrc) / reply, iface=interface, verbose=False)

    sniff(iface=interface, filter=None, lfilter=lambda p: ARP in p, prn=answer, store=False)


if __name__ == "__main__":
    main()
