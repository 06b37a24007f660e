"""What a host sends of gossip, weighed by the kernel: datagrams, and push/pull exchanges by role.

Who is asked for a push/pull is chance, and an exchange is a tenth of what a quiet minute costs. So
exchanges are weighed one by one: those of two kinds of peer weigh the same or not, however many
each happened to have. Only what the peer wrote counts: whether an acknowledgement goes alone, four
packets or six, is the kernel's choice; and a ping by TCP, which follows a late answer, is none.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netns import Host

PORT = 7946
HEADERS = 52
"""Bytes of IPv4 and TCP with timestamps (RFC 7323, 3.2) before what was written."""
PING = 200
"""More bytes than a sealed ping by TCP has, and less than the state of five nodes."""
# A connection is counted by its SYN at the one who asks, by its SYN and ACK at the one who answers.
_RULES = f"""
table inet weighed {{
  counter datagrams {{ }}
  counter asked {{ }}
  counter asking {{ }}
  counter answered {{ }}
  counter answering {{ }}
  chain output {{
    type filter hook output priority 0;
    meta l4proto udp counter name datagrams
    tcp dport {PORT} ip length > {HEADERS + PING} counter name asking
    tcp sport {PORT} ip length > {HEADERS + PING} counter name answering
    tcp dport {PORT} tcp flags & (syn | ack) == syn counter name asked
    tcp sport {PORT} tcp flags & (syn | ack) == (syn | ack) counter name answered
  }}
}}
"""


class Weight(NamedTuple):
    """IP packets and bytes."""

    packets: int
    size: int

    @property
    def written(self) -> float:
        """Return the mean of the bytes behind the headers of TCP, 0 where there was no packet."""
        return self.size / self.packets - HEADERS if self.packets else 0.0

    def __sub__(self, before: "Weight") -> "Weight":
        """Return what came since."""
        return Weight(self.packets - before.packets, self.size - before.size)


@dataclass(frozen=True)
class Sent:
    """By one host or several: `asking` and `answering` are the states told in that role; `asked`
    and `answered` are connections, those of pings by TCP too."""

    datagrams: Weight
    asking: Weight
    answering: Weight
    asked: int
    answered: int

    def __sub__(self, before: "Sent") -> "Sent":
        """Return what was sent since."""
        return Sent(
            self.datagrams - before.datagrams,
            self.asking - before.asking,
            self.answering - before.answering,
            self.asked - before.asked,
            self.answered - before.answered,
        )


def total(parts: Sequence[Sent]) -> Sent:
    """Return the sum over hosts."""
    return Sent(
        _sum([part.datagrams for part in parts]),
        _sum([part.asking for part in parts]),
        _sum([part.answering for part in parts]),
        sum(part.asked for part in parts),
        sum(part.answered for part in parts),
    )


def _sum(weights: Sequence[Weight]) -> Weight:
    return Weight(sum(w.packets for w in weights), sum(w.size for w in weights))


def weigh(host: Host) -> None:
    """Begin to count what this host sends. Raises CalledProcessError."""
    _nft(host, "-f", "-", script=_RULES)


def sent(host: Host) -> Sent:
    """Return what it has sent since `weigh`. Raises CalledProcessError."""
    listed = json.loads(_nft(host, "-j", "list", "counters", "table", "inet", "weighed"))
    found = {
        counter["name"]: Weight(counter["packets"], counter["bytes"])
        for counter in (entry.get("counter") for entry in listed["nftables"])
        if counter
    }
    return Sent(
        found["datagrams"],
        found["asking"],
        found["answering"],
        found["asked"].packets,
        found["answered"].packets,
    )


def _nft(host: Host, *arguments: str, script: str = "") -> str:
    def run() -> str:
        return subprocess.run(
            ["nft", *arguments], input=script, capture_output=True, text=True, check=True
        ).stdout

    return host.namespace.run(run)
